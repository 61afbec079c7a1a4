"""Texts of the pricing rules that held for a recorded decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.guardrails import money
from jobs.pricing.guardrails.pricing_rules import lies_outside
from jobs.pricing.rules.matching import LostTo
from jobs.pricing.rules.rule import ActionKind

_LOST = {
    LostTo.PRIORITY: "{to} comes first",
    LostTo.ROLE: "its strategy may not be chosen for the listing's role",
    LostTo.STRATEGY: "the strategy starts from the current price, which is not adjusted again and again",
    LostTo.GROUP: "the price group follows {to}",
}


def rule_texts(result: Mapping[str, Any], inputs: PricingInputs) -> Iterator[str]:
    """Yield a sentence without a full stop per rule that applied, then per rule that held and did not apply.

    Parameters
    ----------
    result : a decision's ``result`` with ``rules``.
    """
    for rule in result["rules"]["applied"]:
        yield f"rule {rule['rule']} {_effect(rule, result, inputs)}"
    strategies = {rule.name: rule.strategy for rule in inputs.policy.rules.ordered}
    forbidden = {each.strategy: each.listing for each in inputs.group.forbidden} if inputs.group else {}
    for rule in result["rules"]["lost"]:
        reason, listing = LostTo(rule["reason"]), forbidden.get(strategies.get(rule["rule"]) or "")
        why = _LOST[reason].format(to=rule["to"] or "other rules")
        if reason is LostTo.GROUP and listing is not None:
            why = f"its strategy may not be chosen for the role of {listing}"
        yield f"rule {rule['rule']} did not apply: {why}"


def _effect(rule: Mapping[str, Any], result: Mapping[str, Any], inputs: PricingInputs) -> str:
    effect = rule["effect"]
    match ActionKind(rule["action"]):
        case ActionKind.STRATEGY:
            return f"chose the strategy {effect.replace('_', ' ')}"
        case ActionKind.ADJUST:
            return f"changed the strategy's price by {effect:+.1%}"
        case ActionKind.BAND:
            low, high = (None if end is None else money(end, inputs.currency) for end in effect)
            ends = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
            outside = ", which the other limits do not allow" if lies_outside(effect, result["hard"]) else ""
            return f"bounded the price: {ends}{outside}"
        case _:
            return "kept the price as it is"
