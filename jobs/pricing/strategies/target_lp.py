"""target_lp: sell a stated number of units in the period at the highest profit."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy_section import Field, Number, PolicySection, Share
from jobs.pricing.strategies.profit_lp import ProfitLp


class TargetLpSettings(PolicySection):
    """The policy's section ``target_lp``."""

    key: ClassVar[str] = "target_lp"
    live: ClassVar[bool] = True

    units: Number | None = Field(
        default=None,
        gt=0,
        description="units to sell per listing and period; null: stock_share of the stock (science § 7)",
    )
    stock_share: Share = Field(
        default=0.1,
        gt=0,
        description="share of the stock on hand to sell in the period, without units (science § 7)",
    )


class TargetLp(ProfitLp):
    """Quote the prices of highest expected profit among those that sell the target: (B) as an equality.

    The target is an operator's sale target where there is one, else ``units``, else ``stock_share`` of the stock
    on hand. A listing without any of them, or with a share of no stock, is priced as by ``profit_lp``. Where no
    allowed prices sell as many, those that sell most are quoted, with outcome TARGET_ABOVE_DEMAND; where all of
    them sell more, those that sell least.
    """

    name = "target_lp"
    settings = TargetLpSettings

    def sold_units(self, inputs: PricingInputs) -> float | None:
        """Return the target; the LP's multiplier may be negative then."""
        return target_units(inputs)


def target_units(inputs: PricingInputs) -> float | None:
    """Return the units that the strategy sells in the period; None without a target."""
    if inputs.target.source == "sale_target":
        return inputs.target.units
    settings, attributes = inputs.policy.section(TargetLpSettings), inputs.attributes
    if settings.units is not None:
        return settings.units
    if attributes is None or attributes.on_hand is None or attributes.on_hand <= 0:
        return None  # a share of no stock would be a target of 0, which only the highest prices come near
    return settings.stock_share * attributes.on_hand
