"""RULE_BAND and RULE_HOLD: the band and the hold of the policy's pricing rules (science § 7, "Rules")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.pricing.guardrails.base import (
    AllowedPrices,
    Band,
    Guardrail,
    GuardrailContext,
    Kind,
    LimitRecord,
    intersect,
    intersect_yielding,
    money,
)
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import matched_rules
from jobs.pricing.rules.rule import ActionKind


class RuleBand(Guardrail):
    """Keep prices within a pricing rule's band.

    The band is hard, and narrower than the other hard bands: where it lies outside of them they prevail, and the
    nearest price that they allow is left (:func:`within_hard_bands`). A rule never makes a listing unpriceable.
    """

    code = "RULE_BAND"
    kind = Kind.HARD
    title = "Pricing rule's band"
    meaning = "a pricing rule bounds the price"
    advice = "change or end the rule with `walras policy set` if it is wrong"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the band of the rule that applies; None without one."""
        rule = context.rules.of(ActionKind.BAND)
        if rule is None:
            return None
        low, high = rule.effect
        return Band(self.code, self.kind, f"rule {rule.rule!r}: {_range(low, high, context)}", low, high)

    def text(self, limit: LimitRecord) -> str:
        """Name the rule and its prices."""
        rule = matched_rules(limit.inputs).of(ActionKind.BAND)
        return super().text(limit) if rule is None else f"rule {rule.rule}, {limit.prices}"


class RuleHold(Guardrail):
    """Keep the price as it is while a pricing rule holds it."""

    code = "RULE_HOLD"
    kind = Kind.HOLD
    title = "Pricing rule's hold"
    meaning = "a pricing rule keeps the price as it is"
    advice = "change or end the rule with `walras policy set` to let the price move"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Hold while a rule says so; rules do not hold an operator's or a first price."""
        rule = context.rules.of(ActionKind.HOLD)
        return None if rule is None else Band(self.code, self.kind, f"rule {rule.rule!r} holds the price")

    def text(self, limit: LimitRecord) -> str:
        """Name the rule."""
        rule = matched_rules(limit.inputs).of(ActionKind.HOLD)
        return self.meaning if rule is None else f"rule {rule.rule} keeps the price as it is"


def within_hard_bands(bands: Sequence[Band]) -> list[Band]:
    """Return bands with a rule's band cut to the prices of the other hard bands, or to the nearest of them.

    >>> margin, rule = Band("MIN_MARGIN", Kind.HARD, "", low=90), Band("RULE_BAND", Kind.HARD, "rule 'x'", high=80)
    >>> [(band.low, band.high) for band in within_hard_bands([margin, rule])]
    [(90, None), (90, 90)]
    """
    at = next((i for i, band in enumerate(bands) if band.code == RuleBand.code), None)
    found = list(bands)
    if at is None:
        return found
    firm, rule = firm_prices(bands), bands[at]
    if firm.empty or not intersect((rule, *hard_of(bands))).empty:
        return found
    nearest = intersect_yielding(firm, [rule])
    detail = f"{rule.detail}; the policy's hard limits leave the nearest price that they allow"
    found[at] = replace(rule, low=nearest.low, high=nearest.high, detail=detail)
    return found


def hard_of(bands: Sequence[Band]) -> list[Band]:
    """Return the hard bands without that of a rule."""
    return [band for band in bands if band.kind is Kind.HARD and band.code != RuleBand.code]


def firm_prices(bands: Sequence[Band]) -> AllowedPrices:
    """Return the prices within the hard bands without that of a rule."""
    return intersect(hard_of(bands))


def _range(low: int | None, high: int | None, context: GuardrailContext) -> str:
    currency = context.inputs.currency
    if low is None:
        return f"at most {money(high, currency)}"
    return (
        f"at least {money(low, currency)}"
        if high is None
        else f"{money(low, currency)} to {money(high, currency)}"
    )
