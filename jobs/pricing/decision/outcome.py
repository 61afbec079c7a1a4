"""Which outcome a decision has, once candidate, bands and gain are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from features.books.offers import ReferenceOffer
from jobs.pricing.decision.inputs import PricingInputs, Shares, Table, main_segment, shares_of
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import table_record
from jobs.pricing.decision.valuation import Gain, Valuation, value_prices
from jobs.pricing.guardrails import GUARDRAIL_OF, YIELDING, AllowedPrices, Band, Kind, Pin, intersect, money
from jobs.pricing.rules.matching import NO_RULES, MatchedRules
from jobs.pricing.rules.rule import ActionKind
from jobs.pricing.strategies import ProfitPlan, Strategy
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from schemas.time_units import MINUTE_MS

Known = dict[tuple[int, ...], Valuation]
"""Prices, ascending → their valuation in the policy's objective."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What every step of one decision reads.

    ``reference``: the reference price over rivals and references, which demand responds to. ``rivals``: the one
    over rivals alone, which bounds prices. ``follow_minor``: the highest price that the listing's role allows
    beside its fresh rivals. ``exempt_from_gain``: the current table must change even without an expected gain,
    since it lies above ``follow_minor``, outside a pricing rule's band, or holds a deal that is bought ahead.
    ``known``: valuations so far of
    the same beliefs, which shadow strategies share. ``rules``: the pricing rules that hold.
    """

    inputs: PricingInputs
    strategy: Strategy
    reference: ReferenceOffer | None
    rivals: ReferenceOffer | None
    follow_minor: int | None
    exempt_from_gain: bool
    known: Known = field(default_factory=dict)
    rules: MatchedRules = NO_RULES

    @property
    def by_rule(self) -> bool:
        """Whether a change needs no expected gain, because the prices follow from a rule or from a draw."""
        return self.strategy.by_rule or self.rules.adjustment is not None

    @property
    def offers_mean_minor(self) -> float | None:
        """The fresh reference price; None without one."""
        return self.reference.mean_minor if self.reference and self.reference.fresh else None

    @property
    def rivals_mean_minor(self) -> float | None:
        """The fresh mean over rivals' offers; None without one."""
        return self.rivals.mean_minor if self.rivals and self.rivals.fresh else None

    @property
    def needs_gain(self) -> bool:
        """Whether a change is published only if it is expected to gain something."""
        free = self.by_rule or self.exempt_from_gain or not self.inputs.cause.needs_gain
        return self.inputs.current is not None and not free

    def lies_outside_rule(self, price_minor: int) -> bool:
        """Return whether a price lies outside the band of a pricing rule."""
        rule = self.rules.of(ActionKind.BAND)
        low, high = (None, None) if rule is None else rule.effect
        return (low is not None and price_minor < low) or (high is not None and price_minor > high)

    def moving_into(self, prices: AllowedPrices) -> Situation:
        """Return the situation, exempt from a gain where a pricing rule's band excludes a price in force."""
        outside = self.rules.of(ActionKind.BAND) is not None and not self.is_legal(prices)
        return replace(self, exempt_from_gain=True) if outside else self

    def is_legal(self, hard: AllowedPrices) -> bool:
        """Return whether every price in force lies within the hard bands; True without a table."""
        current = self.inputs.current
        return current is None or all(p in hard for prices in current.prices.values() for p in prices.prices)

    def value(self, prices: Iterable[int], known: Valuation | None = None) -> Valuation:
        """Return the valuation of some prices and of all prices in force; ``known`` if it covers them."""
        wanted = {*prices, *(known.prices if known else ())}
        if self.inputs.current is not None:
            wanted |= {p for prices_of in self.inputs.current.prices.values() for p in prices_of.prices}
        if known is not None and len(wanted) == len(known.prices):
            return known
        return self.at(sorted(wanted))

    def at(self, prices: Sequence[int]) -> Valuation:
        """Return the valuation of prices, ascending, in the strategy's objective."""
        key = tuple(prices)
        if key not in self.known:
            self.known[key] = value_prices(self.inputs, key, self.offers_mean_minor)
        return self.strategy.objective(self.known[key])


@dataclass(frozen=True, slots=True)
class GuardrailVerdict:
    """What the guardrails returned for a candidate.

    ``bands``: all of them. ``hard``: prices within the hard bands. ``allowed``: prices within all bands that do
    not yield. ``plan``: the profit LP's solution behind the candidate.
    """

    bands: tuple[Band, ...]
    hard: AllowedPrices
    allowed: AllowedPrices
    candidate_minor: int | None = None
    plan: ProfitPlan = field(default_factory=lambda: ProfitPlan({}, 0.0, False))

    @classmethod
    def of(cls, bands: Iterable[Band], candidate_minor: int, plan: ProfitPlan) -> GuardrailVerdict:
        """Intersect bands."""
        bands = tuple(bands)
        hard = intersect(b for b in bands if b.kind is Kind.HARD)
        allowed = intersect(b for b in bands if b.kind is not Kind.HOLD and b.pin not in YIELDING)
        return cls(bands, hard, allowed, candidate_minor, plan)

    @property
    def needs_review(self) -> bool:
        """Whether a band marks a published change for a review without keeping anything."""
        return any(GUARDRAIL_OF[b.code].requests_review and b.pin is Pin.NOTHING for b in self.bands)

    def pinned(self, pin: Pin) -> list[Band]:
        """Return the pace bands that pin this much."""
        return [band for band in self.bands if band.kind is Kind.PACE and band.pin is pin]


def is_material(situation: Situation, gain: Gain | None, worth: Valuation, before: Shares | None) -> bool:
    """Return whether a change pays for itself (science § 8): its gain reaches the policy's share and amount."""
    if gain is None or before is None or not situation.needs_gain:
        return True
    limits, value = situation.inputs.policy.materiality, worth.expect(before)[1]
    return gain.mean > 0 and gain.mean >= max(limits.min_gain_minor, limits.min_gain_share * max(value, 0.0))


def unchanged(
    situation: Situation, outcome: OutcomeCode, verdict: GuardrailVerdict, gain: Gain | None
) -> PricingDecision:
    """Return a decision that publishes nothing; candidate and gain stay in the record."""
    shown = situation.inputs.shown_minor
    return PricingDecision(
        outcome=outcome,
        table=None,
        default_minor=shown,
        candidate_minor=verdict.candidate_minor,
        bands=verdict.bands,
        hard=verdict.hard,
        allowed=verdict.allowed,
        gain=gain,
        multiplier=verdict.plan.multiplier,
        below_demand=verdict.plan.below_demand,
        reference=situation.reference,
        follow_minor=situation.follow_minor,
        alert=any(band.alert for band in verdict.bands),
        reason=_reason(situation, outcome, shown, verdict),
    )


def held(situation: Situation, bands: Iterable[Band], hard: AllowedPrices) -> PricingDecision:
    """Return a hold; a price in force outside the hard bands is UNPRICEABLE and needs an operator."""
    outcome = OutcomeCode.HELD if situation.is_legal(hard) and not hard.empty else OutcomeCode.UNPRICEABLE
    result = unchanged(situation, outcome, GuardrailVerdict(tuple(bands), hard, hard), None)
    return replace(result, allowed=None, alert=result.alert or outcome is OutcomeCode.UNPRICEABLE)


def unpriceable(
    situation: Situation, bands: Iterable[Band], hard: AllowedPrices, candidate_minor: int | None = None
) -> PricingDecision:
    """Return the decision for hard bands that no price satisfies."""
    verdict = GuardrailVerdict(tuple(bands), hard, hard, candidate_minor)
    return replace(unchanged(situation, OutcomeCode.UNPRICEABLE, verdict, None), allowed=None, alert=True)


def priced(
    situation: Situation, outcome: OutcomeCode, verdict: GuardrailVerdict, table: Table, worth: Valuation
) -> PricingDecision:
    """Return a decision for a new table with its expected sales, value and gain; an equal table is UNCHANGED."""
    inputs, strategy = situation.inputs, situation.strategy
    after, before = shares_of(table, inputs.policy.segments.names), inputs.current_shares()
    worth = situation.value({p for prices in table.values() for p in prices.prices}, worth)
    sales, value = worth.expect(after)
    gain = worth.gain(after, before, verdict.plan.multiplier) if before else None
    default = table[main_segment(tuple(table))].default
    same = inputs.current is not None and table_record(inputs.current.prices) == table_record(table)
    if same:
        outcome = OutcomeCode.HELD if outcome is OutcomeCode.HELD else OutcomeCode.UNCHANGED
    elif outcome is OutcomeCode.PUBLISHED and inputs.cause is Cause.COLD_START:
        outcome = OutcomeCode.COLD_START
    elif outcome is OutcomeCode.PUBLISHED and verdict.plan.below_demand:
        outcome = OutcomeCode.TARGET_BELOW_DEMAND
    elif outcome is OutcomeCode.PUBLISHED and verdict.plan.above_demand:
        outcome = OutcomeCode.TARGET_ABOVE_DEMAND
    approval_ms = max(
        (b.until_ms or 0 for b in verdict.bands if GUARDRAIL_OF[b.code].requests_approval), default=0
    )
    stepping = strategy.continues and not approval_ms and verdict.candidate_minor not in verdict.allowed
    goes_on = stepping and not same and any(GUARDRAIL_OF[b.code].cuts_short for b in verdict.bands)
    # The first price is the known one; beside cheaper rivals the role's bound applies after the gap, and so does
    # a pricing rule's band.
    goes_on = goes_on or (
        inputs.is_start and situation.follow_minor is not None and default > situation.follow_minor
    )
    goes_on = goes_on or (inputs.is_start and situation.lies_outside_rule(default))
    return PricingDecision(
        outcome=outcome,
        table=None if same else table,
        default_minor=default,
        candidate_minor=verdict.candidate_minor,
        bands=verdict.bands,
        hard=verdict.hard,
        allowed=verdict.allowed,
        gain=gain,
        sales=sales,
        value=value,
        multiplier=verdict.plan.multiplier,
        below_demand=verdict.plan.below_demand,
        reference=situation.reference,
        follow_minor=situation.follow_minor,
        continue_at_ms=after_the_gap_ms(inputs) if goes_on else None,
        alert=any(band.alert for band in verdict.bands),
        approval_until_ms=approval_ms or None,
        reason=_reason(situation, outcome, default, verdict),
    )


def at_list_price(
    situation: Situation, bands: Iterable[Band], hard: AllowedPrices, table: Table
) -> PricingDecision:
    """Return the decision for a first table at the price nearest to the list price that the hard bands allow.

    Nothing is expected of it: its sales and value are not computed, since the cost is not known.
    """
    verdict = GuardrailVerdict(tuple(bands), hard, hard, round(situation.inputs.product.list_minor or 0))
    price = table[main_segment(tuple(table))].default
    outcome = OutcomeCode.PUBLISHED
    if situation.inputs.cause is Cause.COLD_START:
        outcome = OutcomeCode.COLD_START
    result = unchanged(situation, outcome, verdict, None)
    return replace(result, table=table, default_minor=price, reason=_reason(situation, outcome, price, verdict))


def after_the_gap_ms(inputs: PricingInputs) -> int:
    """Return the event time at which the next change is possible."""
    return inputs.at_ms + inputs.policy.limits.min_gap_minutes * MINUTE_MS


def _reason(situation: Situation, outcome: OutcomeCode, price: int | None, verdict: GuardrailVerdict) -> str:
    """Return one line for people; details are in the record."""
    inputs, detail = situation.inputs, situation.inputs.cause_detail
    why = inputs.cause.value
    if inputs.cause is Cause.CONTINUED and detail.get("after"):
        why += f" after {detail['after']}"
    if "signal" in detail and "effect" in detail:
        why += f" {detail['signal']} ×{detail['effect']:g}"
    before = inputs.shown_minor if inputs.current else None
    candidate = verdict.candidate_minor
    binding = [band.code for band in verdict.bands if candidate and _binds(band, candidate)]
    limited = f" ({', '.join(binding)})" if binding else ""
    if price is None:
        return f"{why}: {outcome.value}{limited}"
    if before is None or before == price:
        return f"{why}: {outcome.value} {money(price, inputs.currency)}{limited}"
    return f"{why}: {outcome.value} {money(before, inputs.currency)} → {money(price, inputs.currency)}{limited}"


def _binds(band: Band, candidate: int) -> bool:
    if band.kind is Kind.HOLD or band.pin in (Pin.MAIN, Pin.TABLE) or GUARDRAIL_OF[band.code].requests_approval:
        return True
    return (band.low is not None and candidate < band.low) or (band.high is not None and candidate > band.high)
