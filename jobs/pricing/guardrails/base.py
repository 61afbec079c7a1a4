"""What a guardrail reads and returns, and how bands of allowed prices are intersected (science § 8).

Every guardrail reads the same :class:`GuardrailContext`, with the candidate as the strategy proposed it, and
returns a :class:`Band` of allowed prices or None. Bands are intersected, so the order of the guardrails makes
no difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from features.books.offers import ReferenceOffer
from jobs.pricing.policy_section import PolicySection
from jobs.pricing.rules.matching import NO_RULES, MatchedRules
from schemas.money import EXPONENTS, Money

if TYPE_CHECKING:
    from jobs.pricing.decision.inputs import PricingInputs
    from jobs.pricing.policy import Policy


class Kind(StrEnum):
    """How strong a band is."""

    HOLD = "hold"
    """Nothing new is published: an input cannot be trusted, or an operator froze the price."""
    HARD = "hard"
    """Law, margin, market, floor and ceiling: never broken."""
    PACE = "pace"
    """Slows a change down; a hard band overrides it."""


class Pin(StrEnum):
    """What a pace band keeps unchanged. The values are those of recorded decisions."""

    NOTHING = "nothing"
    """It only bounds prices."""
    CHOICE = "choice"
    """It bounds the chosen prices, as far as the other bands leave room; exploration around them is exempt."""
    TABLE_PRICES = "table_prices"
    """It bounds chosen and explored prices, as far as the other bands leave room."""
    SHOWN_PRICES = "shown_prices"
    """As ``TABLE_PRICES``, and also the prices explored where the main prices stay or pace is overridden."""
    MAIN = "main"
    """The main prices stay; exploration around them is exempt."""
    TABLE = "table"
    """The whole table stays as it is."""


YIELDING = frozenset({Pin.CHOICE, Pin.TABLE_PRICES, Pin.SHOWN_PRICES})
"""Bands that bound new prices only as far as all others leave room."""


@dataclass(frozen=True, slots=True)
class Band:
    """Allowed prices, inclusive, in minor units; an absent end is open.

    ``detail``: a sentence that is part of the decision's record and therefore never reworded. ``alert``: it
    needs an operator. ``until_ms``: when the band ends, where it is known.
    """

    code: str
    kind: Kind
    detail: str
    low: int | None = None
    high: int | None = None
    pin: Pin = Pin.NOTHING
    alert: bool = False
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GuardrailContext:
    """What a guardrail reads: the decision's inputs, the rivals' price and the candidate.

    ``rivals``: the reference price over rivals' offers alone, None without one; ``fresh`` False: the last one
    known. ``candidate_minor`` and ``confidence``, P(gain > 0), are None while the candidate is not yet known;
    only guardrails that do not need it are evaluated then. ``confidence`` is None too where no gain is required.
    ``rules``: the pricing rules that hold for the inputs.
    """

    inputs: PricingInputs
    rivals: ReferenceOffer | None = None
    candidate_minor: int | None = None
    confidence: float | None = None
    rules: MatchedRules = NO_RULES

    @property
    def rivals_mean_minor(self) -> float | None:
        """The rivals' mean, fresh or not."""
        return self.rivals.mean_minor if self.rivals else None

    @property
    def rivals_fresh(self) -> bool:
        """Whether the rivals' mean is within its validity; True without rivals."""
        return self.rivals is None or self.rivals.fresh


class LimitRecord(NamedTuple):
    """What a guardrail's sentence is made of: its band's record, the decision's inputs and the candidate."""

    band: Mapping[str, Any]
    inputs: PricingInputs
    candidate_minor: int | None

    @property
    def policy(self) -> Policy:
        """The policy that the decision ran under."""
        return self.inputs.policy

    def money(self, minor: float | None) -> str:
        """Return an amount in the listing's currency."""
        return "unknown" if minor is None else money(minor, self.inputs.currency)

    @property
    def prices(self) -> str:
        """The allowed prices."""
        low, high = self.band["low"], self.band["high"]
        if low is None:
            return f"at most {self.money(high)}"
        return f"at least {self.money(low)}" if high is None else f"{self.money(low)} to {self.money(high)}"


class Guardrail(ABC):
    """One rule about prices. See the package for how to add one.

    Attributes
    ----------
    code : its code in decisions, upper case; never changed once decisions carry it.
    kind : how strong its bands are.
    needs_candidate : whether its band depends on the candidate, so that it cannot shape the search for one.
    title, meaning, advice : texts for operators: name, what it does, what to do where it holds a price.
    settings : its section of the policy, if it has numbers that no other part of the system reads.
    cuts_short : whether a change that it cut short goes on after the minimum gap.
    requests_approval : whether an operator may approve the whole change.
    questions_cost : whether an operator's approval concerns the cost instead of the price.
    requests_review : whether a band that keeps nothing still marks the published decision for a review.
    allows_list_price : whether a listing that it holds before its first table may get its list price, moved into
        the hard bands.
    """

    code: ClassVar[str]
    kind: ClassVar[Kind]
    needs_candidate: ClassVar[bool] = False
    title: ClassVar[str]
    meaning: ClassVar[str]
    advice: ClassVar[str] = ""
    settings: ClassVar[type[PolicySection] | None] = None
    cuts_short: ClassVar[bool] = False
    requests_approval: ClassVar[bool] = False
    questions_cost: ClassVar[bool] = False
    requests_review: ClassVar[bool] = False
    allows_list_price: ClassVar[bool] = False

    @abstractmethod
    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices that this rule allows, or None if it does not apply. Pure."""

    def text(self, limit: LimitRecord) -> str:
        """Return what the band of a recorded decision means, without the title and without a full stop."""
        bounded = limit.band["low"] is not None or limit.band["high"] is not None
        return f"{self.meaning}, {limit.prices}" if bounded else self.meaning


class AllowedPrices(NamedTuple):
    """The intersection of bands, in minor units; ``high`` None: no upper end."""

    low: int
    high: int | None

    @property
    def empty(self) -> bool:
        """Whether no price is left."""
        return self.high is not None and self.low > self.high

    def __contains__(self, price_minor: object) -> bool:
        """Return whether a price is allowed."""
        return (
            isinstance(price_minor, int)
            and self.low <= price_minor
            and (self.high is None or price_minor <= self.high)
        )

    def nearest(self, price_minor: int) -> int:
        """Return the allowed price nearest to one that may not be allowed."""
        inside = max(price_minor, self.low)
        return inside if self.high is None else min(inside, self.high)


def intersect(bands: Iterable[Band]) -> AllowedPrices:
    """Intersect bands; no price is ever below one minor unit.

    >>> a = Band("MIN_MARGIN", Kind.HARD, "", low=90)
    >>> b = Band("STEP_LIMIT", Kind.PACE, "", low=80, high=100)
    >>> intersect([a, b]), intersect([]).empty, intersect([a, Band("MARKET_CAP", Kind.HARD, "", high=80)]).empty
    (AllowedPrices(low=90, high=100), False, True)
    """
    low, high = 1, None
    for band in bands:
        if band.low is not None:
            low = max(low, band.low)
        if band.high is not None:
            high = band.high if high is None else min(high, band.high)
    return AllowedPrices(low, high)


def intersect_yielding(firm: AllowedPrices, yielding: Iterable[Band]) -> AllowedPrices:
    """Cut the firm bands' prices by yielding bands; where these leave nothing, return the price nearest to them.

    >>> intersect_yielding(AllowedPrices(80, 100), [Band("FORWARD_BUYING", Kind.PACE, "", low=95)])
    AllowedPrices(low=95, high=100)
    >>> intersect_yielding(AllowedPrices(80, 90), [Band("FORWARD_BUYING", Kind.PACE, "", low=95)])
    AllowedPrices(low=90, high=90)
    """
    wanted = intersect(yielding)
    low, high = firm.nearest(wanted.low), firm.high
    if wanted.high is not None:
        high = firm.nearest(wanted.high)
    return AllowedPrices(low, high)


def money(minor: float | None, currency: str) -> str:
    """Return an amount for people: exact minor units as major ones where the currency is known.

    >>> money(1999, "USD"), money(None, "USD"), money(12.5, "???")
    ('19.99 USD', 'none', '12.5 ???')
    """
    if minor is None:
        return "none"
    if currency in EXPONENTS and minor == minor and abs(minor) < 1e15:
        return str(Money(round(minor), currency))
    return f"{minor:g} {currency}"
