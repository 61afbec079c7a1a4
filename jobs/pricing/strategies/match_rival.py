"""match_rival: the mean of the rivals' fresh prices, times a ratio."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.policy_section import Field, Number, PolicySection
from jobs.pricing.strategies.base import PriceRule, StrategyContext


class MatchRivalSettings(PolicySection):
    """The policy's section ``match_rival``."""

    key: ClassVar[str] = "match_rival"
    live: ClassVar[bool] = True

    ratio: Number = Field(default=1.0, gt=0.0, description="price over the rivals' mean")


class MatchRival(PriceRule):
    """The rivals' mean; without a fresh offer of a rival the current price, rounded to the grid's ending."""

    name = "match_rival"
    settings = MatchRivalSettings

    def price_minor(self, context: StrategyContext) -> float:
        """Return the rivals' mean × ratio."""
        inputs, mean = context.inputs, context.rivals_mean_minor
        if mean is None:
            return inputs.shown_minor or inputs.base_minor or 0.0
        return mean * inputs.policy.section(MatchRivalSettings).ratio
