"""fallback_rule: the price of a listing whose demand model cannot be used, and the fallback chain that decides so.

The chain (science § 7, "Fallback chain"; 001): the policy's strategy; without a usable estimate a rule from margin
and rivals, without rivals whose offers are past their validity; without a cost the last table; without a table the
list price.
"""

from __future__ import annotations

from typing import NamedTuple

from jobs.pricing.decision.inputs import ModelState, PricingInputs
from jobs.pricing.guardrails.inputs import is_usable_amount
from jobs.pricing.policy_fallback import FallbackChain
from jobs.pricing.strategies.base import PriceRule, Strategy, StrategyContext
from schemas.codes import Fallback, FallbackReason
from schemas.time_units import MINUTE_MS


class FallbackRule(PriceRule):
    """The price of the fallback margin, averaged with the rivals' fresh mean.

    With m = ``fallback.margin``, w = ``fallback.rivals_weight``, cost c and the rivals' mean o the price is
    (1 - w)·c/(1 - m) + w·o, at most o times the ratio of the listing's role (section ``roles``); without a fresh
    rival c/(1 - m). Neighbouring prices are explored as ever, so that the data may identify the elasticity again.
    """

    name = "fallback_rule"

    def price_minor(self, context: StrategyContext) -> float:
        """Return the rule's price."""
        policy, product, mean = context.inputs.policy, context.inputs.product, context.rivals_mean_minor
        price = rule_price(product.cost_minor or 0.0, mean, policy.fallback)
        ratio = policy.roles.follow_ratio(product.role or "")
        return price if mean is None or ratio is None else min(price, mean * ratio)


class StrategyChoice(NamedTuple):
    """The strategy of a decision, the stage of the fallback chain that it stands for, and why.

    ``fallback`` NONE: the policy's own strategy; ``reasons`` are empty then. At LAST_TABLE and LIST_PRICE no
    strategy can propose a price, and ``strategy`` is the policy's.
    """

    strategy: Strategy
    fallback: Fallback = Fallback.NONE
    reasons: tuple[FallbackReason, ...] = ()


FALLBACK_RULE = FallbackRule()


def rule_price(cost_minor: float, rivals_mean_minor: float | None, chain: FallbackChain) -> float:
    """Return the rule's price in minor units, before rounding and bounds.

    >>> chain = FallbackChain(margin=0.3, rivals_weight=0.5)
    >>> [round(rule_price(700, mean, chain)) for mean in (None, 1100, 900)]
    [1000, 1050, 950]
    """
    own_minor = cost_minor / (1 - chain.margin)
    if rivals_mean_minor is None:
        return own_minor
    return (1 - chain.rivals_weight) * own_minor + chain.rivals_weight * rivals_mean_minor


def model_problem(model: ModelState, at_ms: int, chain: FallbackChain) -> FallbackReason | None:
    """Return why a listing's estimate cannot be used as a demand model; None if it can.

    >>> chain = FallbackChain(max_estimate_age_minutes=60)
    >>> model_problem(ModelState(estimated_ms=0), 3_600_000, chain) is None
    True
    >>> model_problem(ModelState(estimated_ms=0), 3_600_001, chain).value
    'estimate_too_old'
    >>> model_problem(ModelState(0, "no_exposures"), 0, chain).value
    'not_identified'
    """
    if model.refused == FallbackReason.ESTIMATE_UNUSABLE:
        return FallbackReason.ESTIMATE_UNUSABLE
    if model.refused in chain.refused_reasons:
        return FallbackReason.NOT_IDENTIFIED
    if model.estimated_ms is None:
        return None if chain.prior_counts else FallbackReason.NO_ESTIMATE
    oldest = chain.max_estimate_age_minutes
    too_old = oldest is not None and at_ms - model.estimated_ms > oldest * MINUTE_MS
    return FallbackReason.ESTIMATE_TOO_OLD if too_old else None


def with_fallback(chosen: Strategy, inputs: PricingInputs) -> StrategyChoice:
    """Return the strategy that a decision can use in place of the chosen one, with the stage of the chain and why.

    A strategy that reads no demand model (``searches`` False) needs a cost alone. A price without a known cost is
    held.
    """
    chain, reasons = inputs.policy.fallback, list[FallbackReason]()
    if inputs.model is None or not chain.enabled:
        return StrategyChoice(chosen)
    problem = model_problem(inputs.model, inputs.at_ms, chain) if chosen.searches else None
    if problem is not None:
        reasons.append(problem)
    if not is_usable_amount(inputs.product.cost_minor):
        reasons.append(FallbackReason.NO_COST)
        if inputs.current is not None:
            return StrategyChoice(chosen, Fallback.LAST_TABLE, tuple(reasons))
        if not is_usable_amount(inputs.product.list_minor):
            reasons.append(FallbackReason.NO_LIST_PRICE)
        return StrategyChoice(chosen, Fallback.LIST_PRICE, tuple(reasons))
    if problem is None:
        return StrategyChoice(chosen)
    rivals = inputs.reference(rivals_only=True)
    if chain.rivals_weight > 0 and (rivals is None or not rivals.fresh):
        reasons.append(FallbackReason.NO_RIVALS if rivals is None else FallbackReason.RIVALS_STALE)
    return StrategyChoice(FALLBACK_RULE, Fallback.RULE, tuple(reasons))
