"""The price grid (003 Eq. 3): ``k · step − ending`` in a range.

The step depends on the list price, not on the current price, so that the same price points recur and their counts
add up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jobs.pricing.policy_prices import PriceGrid
from schemas.money import to_grid

if TYPE_CHECKING:
    from jobs.pricing.guardrails import AllowedPrices


def grid_step(list_minor: float, policy: PriceGrid) -> int:
    """Return the step: ``step_share`` of the list price, rounded to the nearest 1, 2 or 5 × 10^k, at least 1.

    >>> grid_step(1999, PriceGrid()), grid_step(30, PriceGrid())
    (50, 1)
    """
    wanted = list_minor * policy.step_share
    if wanted <= 1:
        return 1
    decade = 10 ** math.floor(math.log10(wanted))
    nice = min((1, 2, 5, 10), key=lambda n: abs(math.log(n * decade / wanted)))
    return int(nice * decade)


def price_grid(low: int, high: int, list_minor: float, policy: PriceGrid) -> list[int]:
    """Return the grid prices in [low, high], ascending; the step is widened when there would be too many.

    Examples
    --------
    >>> price_grid(1850, 2050, 1999, PriceGrid())
    [1899, 1949, 1999, 2049]
    >>> price_grid(1000, 999, 1999, PriceGrid())
    []
    """
    if low > high:
        return []
    step = grid_step(list_minor, policy)
    while (high - low) // step + 1 > policy.max_prices:
        step = _wider(step)
    ending = policy.ending_minor if step > policy.ending_minor else 0
    first = to_grid(max(low, 1), step, ending, up=True)
    return list(range(first, high + 1, step))


def round_to_ending(
    price_minor: int, allowed: AllowedPrices, list_minor: float, policy: PriceGrid, *, up: bool
) -> int:
    """Round to the grid's price ending within the allowed prices; the plain price where no ending fits.

    ``up``: try the next ending above before the one below.
    """
    step = grid_step(list_minor, policy)
    ending = policy.ending_minor if step > policy.ending_minor else 0
    price_minor = allowed.nearest(price_minor)
    for way in (up, not up):
        ended = to_grid(price_minor, step, ending, up=way)
        if ended in allowed:
            return ended
    return price_minor


def _wider(step: int) -> int:
    """Return the next larger of 1, 2, 5 × 10^k."""
    decade = 10 ** math.floor(math.log10(step))
    return int({1: 2, 2: 5, 5: 10}[step // decade] * decade)
