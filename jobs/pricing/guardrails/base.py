"""What a guardrail reads and answers, and how bands meet (science § 8).

Every guardrail reads the same :class:`Case`, with the candidate as the optimizer found it, and answers
with a :class:`Band` of allowed prices or with nothing. Bands are intersected, so the order of the
guardrails cannot matter, and what does not meet is said with all codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from jobs.pricing.policy import Policy
from schemas.codes import Cause, GuardrailCode
from schemas.money import EXPONENTS, Money


class Kind(StrEnum):
    """How strong a band is."""

    HOLD = "hold"
    """Nothing new is published at all: what would be decided on cannot be trusted, or people said so."""
    HARD = "hard"
    """Law, margin, market, floor and ceiling: never broken."""
    PACE = "pace"
    """Slows a change down; a hard band goes over it."""


class Keeps(StrEnum):
    """What a pace band pins."""

    NOTHING = "nothing"
    """It only bounds prices."""
    CHOICE = "choice"
    """It bounds the chosen prices, as far as the other bands leave room; exploration around them is exempt."""
    TABLE_PRICES = "table_prices"
    """It bounds chosen and explored prices, as far as the other bands leave room."""
    MAIN = "main"
    """The main prices stay; exploration around them is exempt."""
    TABLE = "table"
    """The whole table stays as it is."""


@dataclass(frozen=True, slots=True)
class Band:
    """Allowed prices, inclusive, in minor units; an absent end is open."""

    code: GuardrailCode
    kind: Kind
    detail: str
    low: int | None = None
    high: int | None = None
    keeps: Keeps = Keeps.NOTHING
    alert: bool = False
    until_ms: int | None = None

    def to_record(self) -> dict[str, Any]:
        """Plain data, as in a decision."""
        return {
            "code": self.code.value,
            "kind": self.kind.value,
            "low": self.low,
            "high": self.high,
            "keeps": self.keeps.value,
            "alert": self.alert,
            "until_ms": self.until_ms,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Case:
    """All that guardrails read. Many fields, since each is one fact that some rule needs.

    ``candidate_minor`` and ``confidence`` are None while the candidate is not yet known; only bands that
    do not depend on it are asked then. ``current_minor`` is the table's default, or the list price of
    a listing without a table, which is what its shoppers see. ``approved_minor`` is a price that an
    operator approved or set by hand. ``rivals_fresh`` False: the mean is the last one known. ``usual_minor`` and
    ``bought``: the price that shoppers are used to, and what they bought below it and otherwise.
    """

    now_ms: int
    cause: Cause
    currency: str
    current_minor: int | None
    has_table: bool = True
    cost_minor: float | None = None
    trusted_cost_minor: float | None = None
    list_minor: float | None = None
    floor_minor: float | None = None
    ceiling_minor: float | None = None
    rivals_mean_minor: float | None = None
    rivals_fresh: bool = True
    surge_ban: str | None = None
    frozen: str | None = None
    last_change_ms: int | None = None
    changes_today: int = 0
    day_ends_ms: int | None = None
    approved_minor: int | None = None
    candidate_minor: int | None = None
    confidence: float | None = None
    usual_minor: float | None = None
    bought: tuple[int, ...] | None = None

    @property
    def ignores_pace(self) -> bool:
        """Settling leaves pace aside: its prices must not depend on the path."""
        return self.cause is Cause.SETTLE or self.current_minor is None


class Guardrail(Protocol):
    """One rule. ``needs_candidate``: its band depends on the candidate, so it cannot shape the search."""

    code: GuardrailCode
    kind: Kind
    needs_candidate: bool

    def band(self, case: Case, policy: Policy) -> Band | None:
        """The prices this rule allows, or None when it has nothing to say. Pure."""
        ...


GIVES_WAY = frozenset({Keeps.CHOICE, Keeps.TABLE_PRICES})
"""Bands that bound what is new only as far as all others leave room."""


class Meet(NamedTuple):
    """The intersection of bands; ``empty`` when no price is in all of them."""

    low: int
    high: int | None

    @property
    def empty(self) -> bool:
        """Whether no price is left."""
        return self.high is not None and self.low > self.high

    def __contains__(self, price_minor: object) -> bool:
        return (
            isinstance(price_minor, int)
            and self.low <= price_minor
            and (self.high is None or price_minor <= self.high)
        )

    def nearest(self, price_minor: int) -> int:
        """The allowed price nearest to one that may not be."""
        inside = max(price_minor, self.low)
        return inside if self.high is None else min(inside, self.high)


def meet(bands: Iterable[Band]) -> Meet:
    """Intersect bands; no price is ever below one minor unit.

    >>> a = Band(GuardrailCode.MIN_MARGIN, Kind.HARD, "", low=90)
    >>> b = Band(GuardrailCode.STEP_LIMIT, Kind.PACE, "", low=80, high=100)
    >>> meet([a, b]), meet([]).empty, meet([a, Band(GuardrailCode.MARKET_CAP, Kind.HARD, "", high=80)]).empty
    (Meet(low=90, high=100), False, True)
    """
    low, high = 1, None
    for band in bands:
        if band.low is not None:
            low = max(low, band.low)
        if band.high is not None:
            high = band.high if high is None else min(high, band.high)
    return Meet(low, high)


def meet_within(firm: Meet, soft: Iterable[Band]) -> Meet:
    """The firm meet cut by soft bands; where these leave nothing, its price nearest to them.

    >>> meet_within(Meet(80, 100), [Band(GuardrailCode.FORWARD_BUYING, Kind.PACE, "", low=95)])
    Meet(low=95, high=100)
    >>> meet_within(Meet(80, 90), [Band(GuardrailCode.FORWARD_BUYING, Kind.PACE, "", low=95)])
    Meet(low=90, high=90)
    """
    wanted = meet(soft)
    low, high = firm.nearest(wanted.low), firm.high
    if wanted.high is not None:
        high = firm.nearest(wanted.high)
    return Meet(low, high)


def money(minor: float | None, currency: str) -> str:
    """An amount for people: exact minor units as major ones where the currency is known.

    >>> money(1999, "USD"), money(None, "USD"), money(12.5, "???")
    ('19.99 USD', 'none', '12.5 ???')
    """
    if minor is None:
        return "none"
    if currency in EXPONENTS and minor == minor and abs(minor) < 1e15:
        return str(Money(round(minor), currency))
    return f"{minor:g} {currency}"
