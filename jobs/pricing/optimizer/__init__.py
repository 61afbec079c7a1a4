"""The optimizer: which share of each segment's requests is quoted which price (science § 7, 003 § K).

``hull`` solves the problem exactly, for one listing or for many at once; ``judge`` states the same
problem, and wider ones, to OR-Tools' GLOP; ``exploration`` keeps neighbouring prices in play.
"""

from __future__ import annotations

from jobs.pricing.optimizer.exploration import explore, keep_neighbours
from jobs.pricing.optimizer.hull import Plan, Plans, solve_many, solve_one

__all__ = ["Plan", "Plans", "explore", "keep_neighbours", "solve_many", "solve_one"]
