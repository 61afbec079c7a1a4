"""match_rival: a fresh price of the rivals, times a ratio, plus an offset."""

from __future__ import annotations

from typing import ClassVar, Literal

from features.books.offers import reference_of
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy_section import Field, Number, PolicySection, check_section
from jobs.pricing.strategies.base import PriceRule, StrategyContext
from schemas.time_units import MINUTE_MS


class MatchRivalSettings(PolicySection):
    """The policy's section ``match_rival``."""

    key: ClassVar[str] = "match_rival"
    live: ClassVar[bool] = True

    to: Literal["mean", "lowest", "named"] = Field(
        default="mean",
        description="price that is matched: the rivals' mean, their lowest, or that of competitor (science § 7)",
    )
    competitor: str = Field(
        default="", description="competitor whose price is matched, with to: named (science § 7)"
    )
    ratio: Number = Field(default=1.0, gt=0.0, description="price over the matched price")
    offset_minor: int = Field(
        default=0, description="minor units added after the ratio; negative: below (science § 7)"
    )

    @check_section
    def _named(self) -> MatchRivalSettings:
        if (self.to == "named") != bool(self.competitor):
            raise ValueError(
                f"expected a competitor with to: named and none otherwise, got to: {self.to} and competitor: "
                f"{self.competitor!r}"
            )
        return self


class MatchRival(PriceRule):
    """The matched price; without a fresh offer of it the current price, rounded to the grid's ending.

    Offers include shipping; only rivals' offers in stock count.
    """

    name = "match_rival"
    settings = MatchRivalSettings

    def starts_from_current(self, inputs: PricingInputs) -> bool:
        """Return whether there is no fresh offer to match."""
        return _matched_minor(inputs, inputs.policy.section(MatchRivalSettings)) is None

    def price_minor(self, context: StrategyContext) -> float:
        """Return the matched price × ratio + offset."""
        inputs = context.inputs
        settings = inputs.policy.section(MatchRivalSettings)
        matched = context.rivals_mean_minor if settings.to == "mean" else _matched_minor(inputs, settings)
        if matched is None:
            return inputs.shown_minor or inputs.base_minor or 0.0
        return matched * settings.ratio + settings.offset_minor


def _matched_minor(inputs: PricingInputs, settings: MatchRivalSettings) -> float | None:
    """Return the lowest fresh price of the rivals, or of the named competitor; None without one."""
    named = settings.to == "named"
    offers = [offer for offer in inputs.offers if not named or offer.competitor == settings.competitor]
    validity_ms = inputs.policy.market.offer_validity_minutes * MINUTE_MS
    found = reference_of(offers, inputs.at_ms, validity_ms, rivals_only=True)
    return found.min_minor if found is not None and found.fresh else None
