"""reprice: compute a decision from its inputs. Pure.

Steps (science § 7, § 8):

1. Guardrails that do not need a candidate. A hold ends here; so do hard bands without a common price.
2. Propose: the strategy's candidate over the grid prices within the hard bands and a pricing rule's band, around
   the current price.
   A pricing rule may adjust it by a share; the adjusted prices need no expected gain.
3. Bound: all guardrails read the candidate. Hard bands are intersected, and all bands.
4. Decide: a change that does not pay for itself is NOT_MATERIAL. If only pace limits and hard bands exclude each
   other, the nearest price within the hard bands is published at once (HARD_OVER_PACE). If hard bands exclude each
   other, the price is held and a notification is sent (UNPRICEABLE).
5. Build the table: the strategy's prices within all bands, and neighbouring prices for exploration.

The same steps compute the policy's shadow strategies, whose results are recorded beside the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jobs.pricing.decision.groups.member import decide_member, gain_of
from jobs.pricing.decision.inputs import PricingInputs, Shares
from jobs.pricing.decision.outcome import (
    GuardrailVerdict,
    Known,
    Situation,
    after_the_gap_ms,
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
from jobs.pricing.grid import price_grid, round_to_ending
from jobs.pricing.guardrails import (
    GUARDRAILS,
    YIELDING,
    AllowedPrices,
    Band,
    Guardrail,
    GuardrailContext,
    Kind,
    Pin,
    intersect,
)
from jobs.pricing.guardrails.forward_buying import is_bought_ahead
from jobs.pricing.guardrails.pricing_rules import cut_by_rules, cut_by_yielding
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import NO_RULES, LostTo, MatchedRules, matched_rules
from jobs.pricing.rules.rule import ActionKind
from jobs.pricing.strategies import Proposal, Strategy, StrategyContext, strategy_of
from schemas.codes import OutcomeCode
from schemas.events import DEFAULT_SEGMENT
from schemas.money import floor_minor


def reprice(inputs: PricingInputs, guardrails: Sequence[Guardrail] = GUARDRAILS) -> PricingDecision:
    """Decide on one listing's prices, and compute the policy's shadow strategies beside it.

    A member of a price group has the prices that the group's joint decision fixed (``inputs.group``). Its shadows
    are those of the listing alone.
    """
    strategy = strategy_of(inputs)
    rules, again = rules_beside(inputs, strategy), partial(decide, guardrails=guardrails, known={})
    if (terms := inputs.group) is not None:
        situation = assess(inputs, strategy)
        own = bands_of(situation, guardrails, terms.candidate_minor, gain_of(terms))
        result, inputs = decide_member(situation, terms, own), replace(inputs, group=None)
    else:
        result = again(inputs, strategy)
    if rules != NO_RULES:
        result = replace(result, strategy=strategy.name, rules=rules)
    return with_shadows(result, inputs, strategy, again)


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


def assess(inputs: PricingInputs, strategy: Strategy) -> Situation:
    """Return what every step reads: rivals, strategy, the role's bound, and whether a gain is required."""
    policy, rivals = inputs.policy, inputs.reference(rivals_only=True)
    ratio = policy.roles.follow_ratio(inputs.product.role or "")
    fresh_mean = rivals.mean_minor if rivals and rivals.fresh else None
    follow = None if ratio is None or fresh_mean is None else floor_minor(fresh_mean * ratio)
    shown = inputs.shown_minor
    exempt = follow is not None and shown is not None and shown > follow
    # The gain of ending a deal that is bought ahead falls on later days, outside the demand model's period.
    if inputs.current is not None and not inputs.ignores_pace:
        lowest = min(min(prices.prices) for prices in inputs.current.prices.values())
        exempt = exempt or is_bought_ahead(lowest, inputs.habits.usual_minor, inputs.habits.bought, policy)
    rules = rules_beside(inputs, strategy)
    return Situation(inputs, strategy, inputs.reference(), rivals, follow, exempt, rules=rules)


def rules_beside(inputs: PricingInputs, strategy: Strategy) -> MatchedRules:
    """Return the pricing rules that hold beside a strategy.

    A price that starts from the current one is not adjusted: each decision would apply the share again.
    """
    rules = matched_rules(inputs)
    if rules.adjustment is None or inputs.group is not None or not strategy.starts_from_current(inputs):
        return rules
    return rules.without(ActionKind.ADJUST, LostTo.STRATEGY)


def within_rules(
    situation: Situation, guardrails: Sequence[Guardrail], hard: AllowedPrices, bands: Sequence[Band]
) -> AllowedPrices:
    """Return the prices to which pricing rules may move a candidate: within the hard bands and the rules' bands.

    A rule moves no candidate above the price from which on MARKET_CAP, the hard band that depends on it, allows
    less.

    Parameters
    ----------
    hard : prices within the hard bands that need no candidate.
    bands : the rules' bands, in the order of priority; others are not read.
    """
    if situation.rules.adjustment is None and situation.rules.of(ActionKind.BAND) is None:
        return hard
    lowest = intersect(b for b in bands_of(situation, guardrails, hard.low) if b.kind is Kind.HARD)
    return cut_by_rules(hard if lowest.empty else lowest, bands, situation.inputs)


def candidate_prices(situation: Situation, hard: AllowedPrices) -> list[int]:
    """Return the grid prices to search: within the given ones, around the current price, ascending.

    Settling searches twice as far, around the list price, since its prices must not depend on the path. A listing
    above the price that its role allows is searched from that price downwards.
    """
    inputs, grid = situation.inputs, situation.inputs.policy.grid
    base_minor, settling = inputs.base_minor or 0.0, inputs.cause.ignores_pace
    shown = inputs.shown_minor
    centre = hard.nearest(round(base_minor if settling or shown is None else shown))
    span = grid.span_share * (2 if settling else 1)
    low = max(hard.low, round(centre * (1 - span)))
    high = round(centre * (1 + span)) if hard.high is None else min(hard.high, round(centre * (1 + span)))
    if situation.follow_minor is not None and situation.strategy.searches:
        high = max(hard.low, min(high, situation.follow_minor))
        low = max(hard.low, min(low, round(high * (1 - span))))
    return price_grid(low, high, base_minor, grid) or [hard.nearest(min(centre, high))]


def bands_of(
    situation: Situation,
    guardrails: Sequence[Guardrail],
    candidate_minor: int | None = None,
    gain: Gain | None = None,
) -> list[Band]:
    """Return the guardrails' bands; without a candidate only of those that do not need one."""
    free = situation.exempt_from_gain or situation.by_rule
    confidence = gain.confidence if gain and not free else None
    context = GuardrailContext(situation.inputs, situation.rivals, candidate_minor, confidence, situation.rules)
    applicable = (g for g in guardrails if candidate_minor is not None or not g.needs_candidate)
    bands = (guardrail.band(context, situation.inputs.policy) for guardrail in applicable)
    return [band for band in bands if band is not None]


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
