"""rule_table: a price by the first row of the policy's table that a listing matches."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy_section import Field, Number, PolicySection, check_section
from jobs.pricing.rules.conditions import Conditions, RuleFacts
from jobs.pricing.rules.matching import facts_of
from jobs.pricing.strategies.base import PriceRule, StrategyContext


class RuleRow(Conditions):
    """One row: conditions that must all hold, and either a markup over cost or a ratio to the rivals' mean.

    >>> RuleRow(role="kvi", markup=0.2).matches(RuleFacts(role="kvi"), None)
    True
    >>> RuleRow(least_stock=5, markup=0.2).matches(RuleFacts(role="kvi"), None)
    False
    """

    markup: Number | None = Field(default=None, ge=0, description="share of the cost that is added to it")
    rival_ratio: Number | None = Field(default=None, gt=0, description="price over the rivals' fresh mean")

    @check_section
    def _one_price(self) -> RuleRow:
        if (self.markup is None) == (self.rival_ratio is None):
            raise ValueError(
                f"expected either markup or rival_ratio, got markup: {self.markup} and rival_ratio: "
                f"{self.rival_ratio}"
            )
        return self

    @property
    def is_last(self) -> bool:
        """Whether every listing matches: the row has no condition and needs no rival."""
        return self.markup is not None and self.is_open

    def matches(self, facts: RuleFacts, rivals_mean_minor: float | None) -> bool:
        """Return whether all conditions hold; a ratio needs a fresh rival."""
        return (self.rival_ratio is None or rivals_mean_minor is not None) and self.hold(facts)


class RuleTableSettings(PolicySection):
    """The policy's section ``rule_table``."""

    key: ClassVar[str] = "rule_table"
    live: ClassVar[bool] = True

    rows: tuple[RuleRow, ...] = Field(
        default=(RuleRow(markup=0.40),),
        min_length=1,
        description="conditions and a markup or rival_ratio; the first match counts (science § 7)",
    )

    @check_section
    def _last_row_is_open(self) -> RuleTableSettings:
        is_last = [row.is_last for row in self.rows]
        if not is_last[-1]:
            raise ValueError(
                "expected a last row with a markup and without conditions, so that every listing has a price; got "
                f"{self.rows[-1].model_dump()}"
            )
        if True in is_last[:-1]:
            raise ValueError(
                f"expected conditions in every row but the last, got none in row {is_last.index(True) + 1}, after "
                "which no row would match"
            )
        return self


class RuleTable(PriceRule):
    """The price of the first row that matches: cost × (1 + markup), or the rivals' fresh mean × ratio.

    A row with a ratio matches only beside a fresh offer of a rival.
    """

    name = "rule_table"
    settings = RuleTableSettings

    def price_minor(self, context: StrategyContext) -> float:
        """Return the price of the first matching row."""
        inputs, rivals_minor = context.inputs, context.rivals_mean_minor
        row = matching_row(inputs, rivals_minor)
        if row.markup is not None or rivals_minor is None:
            return (inputs.product.cost_minor or 0.0) * (1 + (row.markup or 0.0))
        return rivals_minor * (row.rival_ratio or 1.0)


def matching_row(inputs: PricingInputs, rivals_mean_minor: float | None) -> RuleRow:
    """Return the first row that a listing matches; the last one matches every listing."""
    rows, facts = inputs.policy.section(RuleTableSettings).rows, facts_of(inputs)
    return next(row for row in rows if row.matches(facts, rivals_mean_minor))
