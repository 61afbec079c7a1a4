"""The optimizer: the share of each segment's requests per price (science § 7, 003 § K).

``hull`` solves the problem exactly, for one listing or for many at once; ``judge`` solves the same problem, and
wider ones, by OR-Tools' GLOP; ``exploration`` shows neighbouring prices to a few shoppers.
"""

from __future__ import annotations

from jobs.pricing.optimizer.exploration import explore, keep_neighbours
from jobs.pricing.optimizer.hull import Plan, Plans, solve_many, solve_one

__all__ = ["Plan", "Plans", "explore", "keep_neighbours", "solve_many", "solve_one"]
