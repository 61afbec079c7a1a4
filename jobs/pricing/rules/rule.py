"""PricingRule: a name, a priority, a validity, conditions and one action."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, Literal

from jobs.pricing.policy_prices import strategy_names
from jobs.pricing.policy_section import Field, LocalTimeText, Number, PolicySection, as_stated, check_section
from jobs.pricing.rules.conditions import Conditions, stated
from schemas.money import ceil_minor, floor_minor
from schemas.topics import IDENTIFIER

_DATE = len("2026-12-24")
EARLIEST, LATEST = (datetime.fromisoformat(text) for text in ("1970-01-01", "2300-01-01"))
"""Local times from which on and before which a rule without validity holds."""


class ActionKind(StrEnum):
    """What a rule does. Of each kind one rule applies to a listing; different kinds combine."""

    STRATEGY = "strategy"
    """It chooses the strategy that proposes the prices."""
    ADJUST = "adjust"
    """It multiplies the strategy's prices by one plus a share, before guardrails."""
    BAND = "band"
    """It bounds the prices (guardrail RULE_BAND)."""
    HOLD = "hold"
    """It keeps the price as it is (guardrail RULE_HOLD)."""


Bound = Literal["minor", "list", "cost", "rivals"]
"""What the ends of a band are multiples of; ``minor``: they are amounts in minor units."""


class PriceBand(PolicySection):
    """The lowest and highest price of a rule's band.

    >>> PriceBand(of="list", least=0.7, most=0.9).limits({"list": 2000})
    (1400, 1800)
    >>> PriceBand(of="rivals", most=1.0).limits({"rivals": None}) is None
    True
    """

    of: Bound = Field(
        default="list", description="list price, cost or the rivals' fresh mean; minor: amounts in minor units"
    )
    least: Number | None = Field(default=None, gt=0, description="lowest price, as a multiple of it")
    most: Number | None = Field(default=None, gt=0, description="highest price, as a multiple of it")

    @check_section
    def _has_an_end(self) -> PriceBand:
        if self.least is None and self.most is None:
            raise ValueError("expected least, most or both, got none")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"expected least ≤ most, got {self.least} and {self.most}")
        return self

    @as_stated
    def _stated(self) -> dict[str, Any]:
        return {"of": self.of} | stated(self)

    def limits(self, amounts: Mapping[str, float | None]) -> tuple[int | None, int | None] | None:
        """Return the lowest and highest price in minor units; None where the amount behind them is not known.

        The ends are rounded inwards; a band without a whole price between them has its highest one.

        Parameters
        ----------
        amounts : ``list``, ``cost`` and ``rivals`` → minor units, None if not known.
        """
        unit = 1.0 if self.of == "minor" else amounts[self.of]
        if unit is None or unit <= 0:
            return None
        low = None if self.least is None else max(1, ceil_minor(self.least * unit))
        high = None if self.most is None else max(1, floor_minor(self.most * unit))
        return (low if low is None or high is None else min(low, high)), high


class PricingRule(PolicySection):
    """One rule of the policy's section ``rules``.

    Examples
    --------
    >>> markdown = PricingRule(
    ...     name="slow shoes", priority=10, valid_from="2026-12-01", valid_to="2026-12-24",
    ...     when=Conditions(category="shoes", least_cover_days=60), adjust=-0.1,
    ... )
    >>> markdown.action.value, markdown.effect
    ('adjust', -0.1)
    """

    name: str = Field(min_length=1, max_length=64, description="name, unique in the section")
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="of two rules of one action the one of higher priority applies"
    )
    valid_from: LocalTimeText | None = Field(
        default=None, description="date or minute of the market's local time from which on it holds"
    )
    valid_to: LocalTimeText | None = Field(
        default=None, description="minute before which it holds, or its last date"
    )
    when: Conditions = Field(default=Conditions(), description="conditions, all of which must hold")
    strategy: str | None = Field(default=None, description="action: the strategy that proposes the prices")
    adjust: Number | None = Field(
        default=None, gt=-1, le=10, description="action: share by which the strategy's prices are changed"
    )
    band: PriceBand | None = Field(default=None, description="action: the band that prices stay in")
    hold: bool = Field(default=False, description="action: true: the price is kept as it is")

    @check_section
    def _one_action(self) -> PricingRule:
        given = [kind.value for kind in ActionKind if self._states(kind)]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one action of {', '.join(ActionKind)}, got {', '.join(given) or 'none'}"
            )
        if self.adjust == 0:
            raise ValueError("adjust: expected a share other than 0, got 0")
        if self.strategy is not None and self.strategy not in (known := strategy_names()):
            expected = ", ".join(sorted(known))
            raise ValueError(f"strategy: expected a strategy among {expected}, got {self.strategy!r}")
        if not IDENTIFIER.allows(self.name):
            raise ValueError(f"name: expected {IDENTIFIER.words}, got {self.name!r}")
        if self.valid_from is not None and self.valid_to is not None and not self.begins < self.ends:
            raise ValueError(f"expected valid_from before valid_to, got {self.valid_from} and {self.valid_to}")
        return self

    @as_stated
    def _stated(self) -> dict[str, Any]:
        return stated(self)

    @cached_property
    def action(self) -> ActionKind:
        """The kind of its action."""
        return next(kind for kind in ActionKind if self._states(kind))

    def _states(self, kind: ActionKind) -> bool:
        value = getattr(self, kind.value)
        return value is not None and value is not False

    @property
    def effect(self) -> Any:
        """The action's value as plain data: a strategy's name, a share, a band's keys, or True."""
        value = getattr(self, self.action.value)
        return value.model_dump(mode="json") if isinstance(value, PriceBand) else value

    @property
    def order(self) -> tuple[int, str]:
        """Rules are tried in this order: by falling priority, then by name."""
        return -self.priority, self.name

    @property
    def begins(self) -> datetime:
        """Local time from which on it holds."""
        return EARLIEST if self.valid_from is None else datetime.fromisoformat(self.valid_from)

    @property
    def ends(self) -> datetime:
        """Local time before which it holds."""
        return LATEST if self.valid_to is None else _end_of(self.valid_to)

    @property
    def is_timed(self) -> bool:
        """Whether time alone can turn it on or off."""
        return self.valid_from is not None or self.valid_to is not None or self.when.is_timed

    def is_valid(self, at_ms: int, zone: tzinfo) -> bool:
        """Return whether it is valid at a time, in the market's time zone.

        >>> from datetime import UTC
        >>> rule = PricingRule(name="new year", valid_from="1970-01-01", valid_to="1970-01-01", hold=True)
        >>> [rule.is_valid(at_ms, UTC) for at_ms in (-1, 0, 86_399_999, 86_400_000)]
        [False, True, True, False]
        """
        return (self.valid_from is None or at_ms >= _epoch_ms(self.begins, zone)) and (
            self.valid_to is None or at_ms < _epoch_ms(self.ends, zone)
        )


def _end_of(text: str) -> datetime:
    """Return the minute itself, or the end of the date."""
    time = datetime.fromisoformat(text)
    return time + timedelta(days=1) if len(text) == _DATE else time


@lru_cache(maxsize=4_096)
def _epoch_ms(local: datetime, zone: tzinfo) -> int:
    return round(local.replace(tzinfo=zone).timestamp() * 1000)
