"""reprice: compute a decision from its inputs. Pure.

Steps (science § 7, § 8):

1. Guardrails that do not need a candidate. A hold ends here; so do hard bands without a common price.
2. Propose: the strategy's candidate over the grid prices within the hard bands and a pricing rule's band, around
   the current price. A pricing rule may adjust it by a share; the adjusted prices need no expected gain.
3. Bound: all guardrails read the candidate. Hard bands are intersected, and all bands.
4. Decide: a change that does not pay for itself is NOT_MATERIAL. If only pace limits and hard bands exclude each
   other, the nearest price within the hard bands is published at once (HARD_OVER_PACE). If hard bands exclude each
   other, the price is held and the decision needs an operator (UNPRICEABLE).
5. Build the table: the strategy's prices within all bands, and neighbouring prices for exploration.

The fallback chain replaces a strategy whose inputs cannot be used (:mod:`jobs.pricing.strategies.fallback_rule`).
The decision records its stage and the reasons. The same steps compute the policy's shadow strategies, whose
results are recorded beside the decision. No fallback replaces a shadow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jobs.pricing.decision.assessment import assess, bands_of, candidate_prices, rules_beside, within_rules
from jobs.pricing.decision.groups.member import choice_of_member, decide_member, gain_of
from jobs.pricing.decision.inputs import PricingInputs, Shares
from jobs.pricing.decision.outcome import (
    GuardrailVerdict,
    Known,
    Situation,
    after_the_gap_ms,
    at_list_price,
    held,
    is_material,
    priced,
    unchanged,
    unpriceable,
)
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record, read_inputs
from jobs.pricing.decision.shadows import with_shadows
from jobs.pricing.decision.table import build_table
from jobs.pricing.decision.valuation import Gain, Valuation
from jobs.pricing.grid import round_to_ending
from jobs.pricing.guardrails import (
    GUARDRAIL_OF,
    GUARDRAILS,
    YIELDING,
    Guardrail,
    Kind,
    Pin,
    intersect,
)
from jobs.pricing.guardrails.inputs import is_usable_amount
from jobs.pricing.guardrails.pricing_rules import cut_by_yielding
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import NO_RULES
from jobs.pricing.strategies import Proposal, Strategy, StrategyContext, strategy_of
from schemas.codes import Fallback, OutcomeCode
from schemas.events import DEFAULT_SEGMENT


def reprice(inputs: PricingInputs, guardrails: Sequence[Guardrail] = GUARDRAILS) -> PricingDecision:
    """Decide on one listing's prices, and compute the policy's shadow strategies beside it.

    A member of a price group has the prices that the group's joint decision fixed (``inputs.group``). A held one
    without a table is decided alone. The shadows are those of the listing alone.
    """
    choice = strategy_of(inputs)
    again = partial(decide, guardrails=guardrails, known={})
    terms = inputs.group
    if terms is not None:
        choice = choice_of_member(choice, terms, inputs)
    rules = rules_beside(inputs, choice.strategy)
    if terms is not None:
        situation = assess(inputs, choice.strategy)
        own = bands_of(situation, guardrails, terms.candidate_minor, gain_of(terms))
        result = decide_member(situation, terms, own)
    else:
        result = again(inputs, choice.strategy)
    if choice.fallback is Fallback.LIST_PRICE and (terms is None or terms.strategy is not None):
        result = _at_list_price(assess(inputs, choice.strategy), guardrails) or result
    inputs = replace(inputs, group=None)
    result = replace(result, fallback=choice.fallback, fallback_reasons=choice.reasons)
    if rules != NO_RULES or (terms is not None and terms.strategy is not None):
        result = replace(result, strategy=choice.strategy.name, rules=rules)
    return with_shadows(result, inputs, choice.strategy, again)


def decide(
    inputs: PricingInputs, strategy: Strategy, guardrails: Sequence[Guardrail], known: Known
) -> PricingDecision:
    """Decide on one listing's prices by a strategy; the module's docstring lists the steps.

    Parameters
    ----------
    known : valuations of the same beliefs so far; new ones are added.
    """
    situation = replace(assess(inputs, strategy), known=known)
    bands = bands_of(situation, guardrails)
    hard = intersect(band for band in bands if band.kind is Kind.HARD)
    if any(band.kind is Kind.HOLD for band in bands) or (inputs.shown_minor is None and not inputs.is_start):
        return held(situation, bands, hard)
    if hard.empty:
        return unpriceable(situation, bands, hard)

    bounded, share = within_rules(situation, guardrails, hard, bands), situation.rules.adjustment
    situation = situation.moving_into(bounded)
    searched = bounded if share is None else hard
    grid = candidate_prices(situation, searched)
    on_grid = situation.at(grid)
    context = StrategyContext(inputs, searched, on_grid, situation.rivals_mean_minor)
    plan = situation.strategy.plan(inputs, on_grid)
    proposal = situation.strategy.propose(context, plan)
    if share is not None:
        proposal = proposal.adjusted(share, replace(context, allowed=bounded))
    candidate, before = proposal.candidate_minor, inputs.current_shares()
    worth = situation.value({*grid, candidate, *(p for of in proposal.shares.values() for p in of)}, on_grid)
    gain = worth.gain(proposal.shares, before, plan.multiplier) if before else None

    bands = bands_of(situation, guardrails, candidate, gain)
    verdict = GuardrailVerdict.of(bands, candidate, plan)
    if verdict.hard.empty:
        return unpriceable(situation, bands, verdict.hard, candidate)
    legal = situation.is_legal(verdict.hard)
    if verdict.allowed.empty or (not legal and verdict.pinned(Pin.TABLE)):
        return _override_pace(situation, verdict, worth)
    if legal and not is_material(situation, gain, worth, before):
        return unchanged(situation, OutcomeCode.NOT_MATERIAL, verdict, gain)
    if pinned := verdict.pinned(Pin.TABLE):
        result = unchanged(situation, OutcomeCode.HELD, verdict, gain)
        return replace(
            result, continue_at_ms=min((band.until_ms for band in pinned if band.until_ms), default=None)
        )
    if verdict.pinned(Pin.MAIN) and inputs.current is not None:
        return _keep_main_prices(situation, verdict, worth, gain)
    return _publish(situation, verdict, proposal, on_grid, worth)


def _at_list_price(situation: Situation, guardrails: Sequence[Guardrail]) -> PricingDecision | None:
    """Return the first table of a listing whose list price the hard bands exclude; None where it needs none.

    Without a table the edge quotes the list price. None too where an operator set a price, or anything but a
    missing cost holds the listing.
    """
    inputs = situation.inputs
    list_minor = inputs.product.list_minor
    if not is_usable_amount(list_minor) or inputs.controls.approved_minor is not None:
        return None
    bands = bands_of(situation, guardrails, round(list_minor or 0))
    hard = intersect(band for band in bands if band.kind is Kind.HARD)
    held_by = [GUARDRAIL_OF[band.code] for band in bands if band.kind is Kind.HOLD]
    price = hard.nearest(round(list_minor or 0))
    if hard.empty or price == list_minor or not all(guardrail.allows_list_price for guardrail in held_by):
        return None
    single = Proposal.single(price, inputs.policy.segments.names).shares
    table = build_table(inputs, single, hard, follow_minor=None, explored=False, offers_mean_minor=None)
    return at_list_price(situation, bands, hard, table)


def _publish(
    situation: Situation, verdict: GuardrailVerdict, proposal: Proposal, on_grid: Valuation, worth: Valuation
) -> PricingDecision:
    """Publish the strategy's prices within all bands, with exploration."""
    inputs, strategy = situation.inputs, situation.strategy
    chosen = cut_by_yielding(verdict.allowed, [b for b in verdict.bands if b.pin in YIELDING], inputs)
    points = [p for p in on_grid.prices if p in chosen]
    is_adjusted = situation.rules.adjustment is not None
    valuation = situation.at(points) if points and strategy.searches and not is_adjusted else None
    context = StrategyContext(inputs, chosen, valuation, situation.rivals_mean_minor)
    refined, plan = (proposal.adjusted(0.0, context), None) if is_adjusted else strategy.refine(proposal, context)
    of_table = (Pin.TABLE_PRICES, Pin.SHOWN_PRICES)
    shown = cut_by_yielding(verdict.allowed, [b for b in verdict.bands if b.pin in of_table], inputs)
    table = build_table(
        inputs,
        refined.shares,
        shown,
        follow_minor=situation.follow_minor,
        explored=strategy.explores,
        offers_mean_minor=situation.offers_mean_minor,
    )
    within = verdict if plan is None else replace(verdict, plan=plan)
    result = priced(situation, OutcomeCode.PUBLISHED, within, table, worth)
    result = replace(result, review=verdict.needs_review and result.published)
    if situation.needs_gain and result.gain and situation.is_legal(verdict.hard):
        # Where the range of experience excludes the candidate, its gain is not that of the change that is left.
        cut = any(verdict.candidate_minor not in intersect([b]) for b in verdict.pinned(Pin.SHOWN_PRICES))
        small = cut and not is_material(situation, result.gain, worth, inputs.current_shares())
        if result.gain.mean <= 0 or small:
            return unchanged(situation, OutcomeCode.NOT_MATERIAL, verdict, result.gain)
    return result


def _keep_main_prices(
    situation: Situation, verdict: GuardrailVerdict, worth: Valuation, gain: Gain | None
) -> PricingDecision:
    """Hold the main prices and request a review; exploration around them may still be added."""
    inputs, segments = situation.inputs, situation.inputs.policy.segments.names
    current = inputs.current.prices if inputs.current else {}
    kept = all(p in verdict.allowed for prices in current.values() for p in prices.prices)
    explored = any(len(prices.prices) > 1 for prices in current.values())
    if kept and (explored or inputs.policy.exploration.mode != "bounded"):
        return replace(unchanged(situation, OutcomeCode.HELD, verdict, gain), review=True)
    mains = {segment: {verdict.allowed.nearest(prices.default): 1.0} for segment, prices in current.items()}
    filled: Shares = {s: mains.get(s) or mains.get(DEFAULT_SEGMENT) or mains[min(mains)] for s in segments}
    shown = cut_by_yielding(verdict.allowed, verdict.pinned(Pin.SHOWN_PRICES), inputs)
    table = build_table(
        inputs,
        filled,
        shown,
        follow_minor=situation.follow_minor,
        explored=True,
        offers_mean_minor=situation.offers_mean_minor,
    )
    return replace(priced(situation, OutcomeCode.HELD, verdict, table, worth), review=True)


def _override_pace(situation: Situation, verdict: GuardrailVerdict, worth: Valuation) -> PricingDecision:
    """Publish the nearest price within the hard bands at once, against pace limits."""
    inputs, hard = situation.inputs, verdict.hard
    shown = inputs.shown_minor or verdict.candidate_minor or hard.low
    price = round_to_ending(
        hard.nearest(shown), hard, inputs.base_minor or 0.0, inputs.policy.grid, up=shown < hard.low
    )
    single = Proposal.single(price, inputs.policy.segments.names).shares
    explored = cut_by_yielding(hard, verdict.pinned(Pin.SHOWN_PRICES), inputs)
    table = build_table(
        inputs,
        single,
        explored,
        follow_minor=situation.follow_minor,
        explored=True,
        offers_mean_minor=situation.offers_mean_minor,
        within_step_of=price,
    )
    result = priced(situation, OutcomeCode.HARD_OVER_PACE, verdict, table, worth)
    return replace(result, alert=True, continue_at_ms=after_the_gap_ms(inputs))


def recompute(decision: Mapping[str, Any], policies: Mapping[str, Policy]) -> dict[str, Any]:
    """Return a decision's ``result`` again, from its own ``inputs`` and its policy.

    Parameters
    ----------
    decision : a decision's record, from the topic or the archive.
    policies : policies by hash; not needed where the inputs embed one.

    Returns
    -------
    What ``decision["result"]`` must equal, bit for bit.
    """
    return decision_record(reprice(read_inputs(decision["inputs"], policies)))


def recompute_without_offer(decision: Mapping[str, Any], policies: Mapping[str, Policy]) -> dict[str, Any]:
    """Return the same as if no rival had been known."""
    return decision_record(reprice(replace(read_inputs(decision["inputs"], policies), offers=())))
