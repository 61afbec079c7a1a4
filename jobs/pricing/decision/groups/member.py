"""One member's decision in a price group: its own bands and values at the prices that the group fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.outcome import GuardrailVerdict, Situation, held, priced, unchanged, unpriceable
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.valuation import Gain
from jobs.pricing.guardrails import AllowedPrices, Band, Kind, Pin, intersect
from jobs.pricing.guardrails.inputs import is_usable_amount
from jobs.pricing.strategies import FALLBACK_RULE, ProfitPlan, StrategyChoice, strategy_named
from schemas.codes import Fallback, OutcomeCode

_TABLES = (OutcomeCode.PUBLISHED, OutcomeCode.HARD_OVER_PACE, OutcomeCode.UNCHANGED)
"""Outcomes of a group in which every member has the group's new table."""


def gain_of(terms: GroupTerms) -> Gain | None:
    """Return the gain of the group; None where none was computed."""
    if terms.gain_minor is None or terms.gain_sd_minor is None:
        return None
    return Gain(terms.gain_minor, terms.gain_sd_minor, terms.confidence)


def is_outside(inputs: PricingInputs, held_by: str | None) -> bool:
    """Return whether a member is decided alone: it is held, and no strategy ever priced it.

    A listing whose cost was never known has no table, or one at its list price (science § 7, "Fallback chain").

    Parameters
    ----------
    held_by : what holds it; None if nothing does.
    """
    product = inputs.product
    unpriced = product.trusted_cost_minor is None and not is_usable_amount(product.cost_minor)
    return held_by is not None and (inputs.current is None or unpriced)


def choice_of_member(own: StrategyChoice, terms: GroupTerms, inputs: PricingInputs) -> StrategyChoice:
    """Return a member's strategy and fallback: the group's; its own where it is outside of the group.

    Parameters
    ----------
    own : what the listing would use alone.
    """
    if is_outside(inputs, terms.of(inputs.listing.key).held):
        return own
    strategy = FALLBACK_RULE if terms.fallback is Fallback.RULE else own.strategy
    if terms.strategy is not None:
        strategy = strategy_named(terms.strategy)
    return StrategyChoice(strategy, terms.fallback, terms.fallback_reasons)


def decide_member(situation: Situation, terms: GroupTerms, bands: Sequence[Band]) -> PricingDecision:
    """Return a member's decision under the terms of its group.

    Parameters
    ----------
    bands : the guardrails' bands for the group's candidate. A member that joins takes the group's prices at once:
        its own pace limits are left out.
    """
    inputs, member = situation.inputs, terms.of(situation.inputs.listing.key)
    if member.joins:
        bands = [band for band in bands if band.kind is not Kind.PACE]
    hard = intersect(band for band in bands if band.kind is Kind.HARD)
    if terms.outcome is OutcomeCode.UNPRICEABLE and member.held is None:
        return unpriceable(situation, bands, hard, terms.candidate_minor)
    # Terms from before the group's strategy was recorded gave the prices to a held listing without a known one.
    is_held = member.held is not None and terms.strategy is not None
    if is_held or any(band.kind is Kind.HOLD for band in bands):
        return held(situation, bands, hard)
    plan = ProfitPlan({}, member.multiplier, member.below_demand)
    allowed = AllowedPrices(terms.allowed_low, terms.allowed_high)
    verdict = GuardrailVerdict(tuple(bands), hard, allowed, terms.candidate_minor, plan)
    if terms.prices is None or not (member.joins or terms.outcome in _TABLES):
        if terms.outcome is OutcomeCode.HELD and terms.candidate_minor is None:
            return held(situation, bands, hard)
        kept = unchanged(situation, terms.outcome, verdict, gain_of(terms))
        return replace(kept, continue_at_ms=terms.continue_at_ms, review=terms.review)
    outcome = OutcomeCode.PUBLISHED
    if terms.outcome is OutcomeCode.HARD_OVER_PACE or (member.joins and inputs.current is not None):
        outcome = OutcomeCode.HARD_OVER_PACE
    result = priced(situation, outcome, verdict, terms.prices, situation.value(()))
    if result.table is None and inputs.current is not None and inputs.current.table_id != terms.table_id:
        # The same prices under another table id would show one customer two prices in the group.
        result = replace(result, table=terms.prices, outcome=outcome)
    pinned = [band.until_ms for band in bands if band.pin is Pin.TABLE and band.until_ms]
    continue_at_ms = terms.continue_at_ms or (result.continue_at_ms if inputs.is_start else None)
    return replace(
        result,
        continue_at_ms=continue_at_ms or (min(pinned) if pinned and terms.outcome is OutcomeCode.HELD else None),
        alert=result.alert or terms.outcome is OutcomeCode.HARD_OVER_PACE,
        review=terms.review,
    )
