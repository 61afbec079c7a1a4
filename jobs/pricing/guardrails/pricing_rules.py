"""RULE_BAND and RULE_HOLD: the band and the hold of the policy's pricing rules (science § 7, "Rules")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jobs.pricing.grid import round_to_ending
from jobs.pricing.guardrails.base import (
    AllowedPrices,
    Band,
    Guardrail,
    GuardrailContext,
    Kind,
    LimitRecord,
    Pin,
    intersect_yielding,
    money,
)
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import matched_rules
from jobs.pricing.rules.rule import ActionKind

if TYPE_CHECKING:
    from jobs.pricing.decision.inputs import PricingInputs


class RuleBand(Guardrail):
    """Keep prices within a pricing rule's band.

    The band gives way to the hard bands: where it lies outside of them the nearest price that they allow is left,
    so that a rule never makes a listing unpriceable. A price in force outside the band moves into it at the
    policy's pace, without an expected gain. Prices are searched within the band, and it comes before the other
    bands that yield.
    """

    code = "RULE_BAND"
    kind = Kind.PACE
    title = "Pricing rule's band"
    meaning = "a pricing rule bounds the price"
    advice = "change or end the rule with `walras policy set` if it is wrong"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the band of the rule that applies; None without one."""
        rule = context.rules.of(ActionKind.BAND)
        if rule is None:
            return None
        low, high = rule.effect
        detail = f"rule {rule.rule!r}: {_range(low, high, context)}"
        return Band(self.code, self.kind, detail, low, high, Pin.SHOWN_PRICES)

    def text(self, limit: LimitRecord) -> str:
        """Name the rule and its prices."""
        return _rule_text(limit, ActionKind.BAND, f", {limit.prices}") or super().text(limit)


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
        return _rule_text(limit, ActionKind.HOLD, " keeps the price as it is") or self.meaning


def cut_by_rules(firm: AllowedPrices, bands: Iterable[Band], inputs: PricingInputs) -> AllowedPrices:
    """Return prices cut by the rules' bands among some bands, in the given order.

    Each leaves at least one price: of a band outside of them the nearest one with the grid's ending.
    """
    for band in bands:
        if band.code != RuleBand.code or firm.empty:
            continue
        cut = intersect_yielding(firm, [band])
        if lies_outside((band.low, band.high), firm):
            base_minor = inputs.base_minor or cut.low
            price = round_to_ending(cut.low, firm, base_minor, inputs.policy.grid, up=False)
            cut = AllowedPrices(price, price)
        firm = cut
    return firm


def lies_outside(band: Sequence[int | None], hard: Sequence[int | None] | None) -> bool:
    """Return whether a band has no price in common with the hard limits; both as recorded: lowest, highest.

    >>> lies_outside([None, 80], [90, None]), lies_outside([None, 95], [90, None]), lies_outside([None, 80], None)
    (True, False, False)
    """
    if hard is None:
        return False
    lows, highs = ([each[end] for each in (band, hard)] for end in (0, 1))
    return not all(low is None or high is None or low <= high for low in lows for high in highs)


def cut_by_yielding(firm: AllowedPrices, bands: Sequence[Band], inputs: PricingInputs) -> AllowedPrices:
    """Return prices cut by yielding bands: first by those of rules, then by the others."""
    others = (band for band in bands if band.code != RuleBand.code)
    return intersect_yielding(cut_by_rules(firm, bands, inputs), others)


def _rule_text(limit: LimitRecord, action: ActionKind, what: str) -> str:
    """Return the name of the rule that applied, and what it did; empty without a rule."""
    rule = matched_rules(limit.inputs).of(action)
    return "" if rule is None else f"rule {rule.rule}{what}"


def _range(low: int | None, high: int | None, context: GuardrailContext) -> str:
    currency = context.inputs.currency
    if low is None:
        return f"at most {money(high, currency)}"
    return (
        f"at least {money(low, currency)}"
        if high is None
        else f"{money(low, currency)} to {money(high, currency)}"
    )
