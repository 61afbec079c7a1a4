"""rule_table: a price by the first row of the policy's table that a listing matches."""

from __future__ import annotations

from typing import Any, ClassVar

from jobs.pricing.decision.inputs import ListingAttributes, PricingInputs
from jobs.pricing.policy_section import Field, Number, PolicySection, as_stated, check_section
from jobs.pricing.strategies.base import PriceRule, StrategyContext
from schemas.events import Role

_CONDITIONS = (
    "role", "category", "least_stock", "most_stock", "least_cover_days", "most_cover_days", "least_age_days",
    "most_age_days",
)  # fmt: skip


class RuleRow(PolicySection):
    """One row: conditions that must all hold, and either a markup over cost or a ratio to the rivals' mean."""

    role: str | None = Field(default=None, description="the listing's role")
    category: str | None = Field(default=None, description="the listing's category")
    least_stock: int | None = Field(default=None, ge=0, description="units on hand at least")
    most_stock: int | None = Field(default=None, ge=0, description="units on hand at most")
    least_cover_days: Number | None = Field(default=None, ge=0, description="days that the stock lasts, at least")
    most_cover_days: Number | None = Field(default=None, ge=0, description="days that the stock lasts, at most")
    least_age_days: Number | None = Field(
        default=None, ge=0, description="days since the listing's first catalog entry, at least"
    )
    most_age_days: Number | None = Field(
        default=None, ge=0, description="days since the listing's first catalog entry, at most"
    )
    markup: Number | None = Field(default=None, ge=0, description="share of the cost that is added to it")
    rival_ratio: Number | None = Field(default=None, gt=0, description="price over the rivals' fresh mean")

    @check_section
    def _can_match(self) -> RuleRow:
        if self.role is not None and self.role not in set(Role):
            raise ValueError(f"expected a role among {', '.join(sorted(Role))}, got {self.role!r}")
        for what in ("stock", "cover_days", "age_days"):
            least, most = getattr(self, f"least_{what}"), getattr(self, f"most_{what}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"expected least_{what} ≤ most_{what}, got {least} and {most}")
        return self

    @check_section
    def _one_price(self) -> RuleRow:
        if (self.markup is None) == (self.rival_ratio is None):
            raise ValueError(
                f"expected either markup or rival_ratio, got markup: {self.markup} and rival_ratio: "
                f"{self.rival_ratio}"
            )
        return self

    @as_stated
    def _stated(self) -> dict[str, Any]:
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    @property
    def is_open(self) -> bool:
        """Whether the row has no condition and needs no rival."""
        return self.markup is not None and all(getattr(self, name) is None for name in _CONDITIONS)

    def matches(
        self, role: str | None, attributes: ListingAttributes | None, rivals_mean_minor: float | None
    ) -> bool:
        """Return whether all conditions hold; one on a number that is not known does not.

        >>> RuleRow(role="kvi", markup=0.2).matches("kvi", None, None)
        True
        >>> RuleRow(least_stock=5, markup=0.2).matches("kvi", None, None)
        False
        """
        known = attributes or ListingAttributes()
        return (
            (self.role is None or self.role == role)
            and (self.category is None or self.category == known.category)
            and _within(known.on_hand, self.least_stock, self.most_stock)
            and _within(known.cover_days, self.least_cover_days, self.most_cover_days)
            and _within(known.age_days, self.least_age_days, self.most_age_days)
            and (self.rival_ratio is None or rivals_mean_minor is not None)
        )


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
        is_open = [row.is_open for row in self.rows]
        if not is_open[-1]:
            raise ValueError(
                "expected a last row with a markup and without conditions, so that every listing has a price; got "
                f"{self.rows[-1].model_dump()}"
            )
        if True in is_open[:-1]:
            raise ValueError(
                f"expected conditions in every row but the last, got none in row {is_open.index(True) + 1}, after "
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
    rows = inputs.policy.section(RuleTableSettings).rows
    role, attributes = inputs.product.role, inputs.attributes
    return next(row for row in rows if row.matches(role, attributes, rivals_mean_minor))


def _within(value: float | None, least: float | None, most: float | None) -> bool:
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value <= most)
