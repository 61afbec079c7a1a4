"""cost_plus: cost times one plus a markup."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.policy_section import Field, Number, PolicySection
from jobs.pricing.strategies.base import PriceRule, StrategyContext


class CostPlusSettings(PolicySection):
    """The policy's section ``cost_plus``."""

    key: ClassVar[str] = "cost_plus"
    live: ClassVar[bool] = True

    markup: Number = Field(default=0.40, ge=0.0, description="share of the cost that is added to it")


class CostPlus(PriceRule):
    """Cost plus a fixed markup, whatever demand and rivals do."""

    name = "cost_plus"
    settings = CostPlusSettings

    def price_minor(self, context: StrategyContext) -> float:
        """Return cost × (1 + markup)."""
        markup = context.inputs.policy.section(CostPlusSettings).markup
        return (context.inputs.product.cost_minor or 0.0) * (1 + markup)
