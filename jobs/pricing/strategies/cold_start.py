"""cold_start: the first price of a listing, from list price, cost and rivals (science § 5)."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.policy_section import Field, PolicySection, Share
from jobs.pricing.strategies.base import PriceRule, StrategyContext


class ColdStartSettings(PolicySection):
    """The policy's section ``cold_start``."""

    key: ClassVar[str] = "cold_start"

    margin: Share = Field(default=0.30, lt=1.0, description="(p - c)/p of the starting price at least")


def cold_start_price(
    list_minor: float, cost_minor: float, rivals_mean_minor: float | None, margin: float
) -> float:
    """Return the list price, lowered to the rivals' mean, and raised to cost plus margin; the margin wins.

    Shoppers see the list price until there is a table, so the rule moves it only where it must.

    >>> [round(cold_start_price(1000, 700, mean, 0.3)) for mean in (None, 1100, 950)]
    [1000, 1000, 1000]
    >>> round(cold_start_price(1000, 500, 950, 0.3)), round(cold_start_price(1000, 800, 950, 0.3))
    (950, 1143)
    """
    highest = list_minor if rivals_mean_minor is None else min(list_minor, rivals_mean_minor)
    return max(highest, cost_minor / (1 - margin))


class ColdStart(PriceRule):
    """The first price of a listing without a table."""

    name = "cold_start"
    continues = False
    settings = ColdStartSettings

    def price_minor(self, context: StrategyContext) -> float:
        """Apply :func:`cold_start_price`."""
        product, margin = context.inputs.product, context.inputs.policy.section(ColdStartSettings).margin
        list_minor, cost_minor = product.list_minor or 0.0, product.cost_minor or 0.0
        return round(cold_start_price(list_minor, cost_minor, context.rivals_mean_minor, margin))
