"""What a decision on one listing starts from: its situation, the prices to search, and the bands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.outcome import Situation
from jobs.pricing.decision.valuation import Gain
from jobs.pricing.grid import price_grid
from jobs.pricing.guardrails import AllowedPrices, Band, Guardrail, GuardrailContext, Kind, intersect
from jobs.pricing.guardrails.forward_buying import is_bought_ahead
from jobs.pricing.guardrails.pricing_rules import cut_by_rules
from jobs.pricing.rules.matching import LostTo, MatchedRules, matched_rules
from jobs.pricing.rules.rule import ActionKind
from jobs.pricing.strategies import Strategy
from schemas.money import floor_minor


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
