"""PricingDecision: what a repricing results in."""

from __future__ import annotations

from dataclasses import dataclass

from features.books.offers import ReferenceOffer
from jobs.pricing.decision.inputs import Table
from jobs.pricing.decision.valuation import Gain
from jobs.pricing.guardrails import AllowedPrices, Band
from jobs.pricing.rules.matching import NO_RULES, MatchedRules
from schemas.codes import Fallback, FallbackReason, OutcomeCode


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """What another strategy would have decided on the same inputs; it is recorded and never published.

    ``price_minor``: main price that it would set, the current one where it would publish nothing. ``gain``: of its
    prices over the current table, in the policy's objective; None without a table. ``bound_by``: codes of the
    guardrails that excluded the candidate.
    """

    strategy: str
    outcome: OutcomeCode
    candidate_minor: int | None
    price_minor: int | None
    gain: Gain | None
    bound_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PricingDecision:
    """The result of one repricing; ``table`` is None when nothing new is published.

    ``bands``: in the guardrails' order. ``hard``, ``allowed``: prices within the hard bands, and within all of
    them. ``gain``: per period over the current table. ``continue_at_ms``: when a change that a pace limit cut
    short goes on. ``alert``: it needs an operator. ``review``: its confidence is low.
    ``follow_minor``: the highest price that the listing's role allows beside its rivals. ``strategy``: the one in
    force, stated where ``shadows`` were computed beside it or pricing rules held. ``rules``: these rules.
    ``fallback``, ``fallback_reasons``: the stage of the fallback chain, and which inputs could not be used.
    """

    outcome: OutcomeCode
    table: Table | None
    default_minor: int | None
    candidate_minor: int | None
    bands: tuple[Band, ...]
    hard: AllowedPrices | None
    allowed: AllowedPrices | None
    gain: Gain | None = None
    sales: float | None = None
    value: float | None = None
    multiplier: float = 0.0
    below_demand: bool = False
    reference: ReferenceOffer | None = None
    follow_minor: int | None = None
    continue_at_ms: int | None = None
    alert: bool = False
    review: bool = False
    approval_until_ms: int | None = None
    reason: str = ""
    strategy: str = ""
    shadows: tuple[ShadowDecision, ...] = ()
    rules: MatchedRules = NO_RULES
    fallback: Fallback = Fallback.NONE
    fallback_reasons: tuple[FallbackReason, ...] = ()

    @property
    def published(self) -> bool:
        """Whether there is a new table."""
        return self.table is not None
