"""The optimizer: the share of each segment's requests per price (science § 7, 003 § K).

``hull`` solves the problem exactly, for one listing or for many at once; ``group_lp`` solves it for a price group,
whose members have one price and a stock each; ``judge`` states linear programs for OR-Tools' GLOP;
``exploration`` shows neighbouring prices to a few shoppers.
"""

from __future__ import annotations

from jobs.pricing.optimizer.exploration import explore, keep_neighbours
from jobs.pricing.optimizer.group_lp import GroupMember, GroupPlan, solve_group
from jobs.pricing.optimizer.hull import Plan, Plans, solve_many, solve_one

__all__ = [
    "GroupMember", "GroupPlan", "Plan", "Plans", "explore", "keep_neighbours", "solve_group", "solve_many",
    "solve_one",
]  # fmt: skip
