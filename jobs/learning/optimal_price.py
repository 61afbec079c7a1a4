"""The price of highest profit under constant elasticity, within the prices that were observed.

Demand at price P relative to demand at P₀ is (P/P₀)^ε. Profit (P − c)(P/P₀)^ε has its maximum at P* = cε/(1 + ε)
if ε < −1, and rises without bound otherwise. The data say nothing of prices outside the observed range, so that P*
is bounded by it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OptimalPrice:
    """A price of highest profit, in the unit of the given prices.

    Attributes
    ----------
    price : within the observed range.
    lowest, highest : the prices at the ends of the elasticity's interval.
    bound : ``lowest`` or ``highest`` if the range bounds the price, else empty.
    gain : expected change of profit from the last price, as a share; None if the last price earns no profit.
    """

    price: float
    lowest: float
    highest: float
    bound: str
    gain: float | None


def optimal_price(
    elasticity: float, interval: tuple[float, float], cost: float, observed: tuple[float, float], last: float
) -> OptimalPrice:
    """Return the price of highest profit between the lowest and the highest observed price.

    Parameters
    ----------
    elasticity, interval : own-price elasticity and its interval (low, high).
    cost : unit cost, at least 0.
    observed : lowest and highest price.
    last : the newest price, with which profit is compared.

    Examples
    --------
    >>> optimal_price(-3.0, (-3.5, -2.5), 6.0, (7.0, 12.0), 10.0).price
    9.0
    >>> optimal_price(-0.8, (-1.2, -0.4), 6.0, (7.0, 12.0), 10.0).bound
    'highest'
    """
    price = _best(elasticity, cost, observed)
    ends = sorted(_best(each, cost, observed) for each in interval)
    bound = "lowest" if price <= observed[0] else "highest" if price >= observed[1] else ""
    gain = None
    if last > cost:
        gain = (price - cost) / (last - cost) * (price / last) ** elasticity - 1
    return OptimalPrice(price, ends[0], ends[1], bound, gain)


def _best(elasticity: float, cost: float, observed: tuple[float, float]) -> float:
    free = cost * elasticity / (1 + elasticity) if elasticity < -1 else float("inf")
    return min(max(free, observed[0]), observed[1])
