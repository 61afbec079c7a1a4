"""Stage 2 of learning: from the statistics of series to products, and from products to their category.

=================  =================================================================================
products.py        raw estimates of products, and their errors
shrinkage.py       shrinkage of products to the mean of their category
sufficiency.py     whether an estimate's data suffice, and why not
contest.py         rolling scores per category, and which model's estimates are used
category_state.py  statistics and published estimates of a category's listings
pooling_logic.py   the three steps per category, as a logic of the job
=================  =================================================================================
"""

from __future__ import annotations

from features.elasticity.pooling.products import Products, pool_products, variance_prior
from features.elasticity.pooling.shrinkage import Shrunk, shrink
from features.elasticity.pooling.sufficiency import State, sufficiency

__all__ = ["Products", "Shrunk", "State", "pool_products", "shrink", "sufficiency", "variance_prior"]
