"""COST_MISSING, INPUT_INVALID: an input that cannot be trusted holds the price."""

from __future__ import annotations

import math

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, money
from jobs.pricing.policy import Policy
from jobs.pricing.policy_limits import Margin
from schemas.money import EXPONENTS
from schemas.topics import MAX_PRICE_MINOR


def is_usable_amount(amount: float | None) -> bool:
    """Return whether an amount of the catalog is a finite number above 0.

    >>> is_usable_amount(700), is_usable_amount(0), is_usable_amount(None)
    (True, False, False)
    """
    return amount is not None and math.isfinite(amount) and amount > 0


def is_cost_jump(cost: float, trusted: float, margin: Margin) -> bool:
    """Return whether a cost lies further from the trusted one than the policy trusts at once; both above 0.

    >>> [is_cost_jump(cost, 1000, Margin()) for cost in (666, 667, 1500, 1501)]
    [True, False, False, True]
    """
    if margin.cost_jump_scale == "share":
        return abs(cost / trusted - 1) > margin.cost_jump
    # |ln(cost/trusted)| > ln(1 + jump), without the rounding of the logarithms.
    return max(cost, trusted) > min(cost, trusted) * (1 + margin.cost_jump)


def costs_agree(one: float, other: float, margin: Margin) -> bool:
    """Return whether two costs above 0 are near enough to confirm each other.

    >>> costs_agree(1000, 1050, Margin()), costs_agree(1051, 1000, Margin())
    (True, False)
    """
    return max(one, other) <= min(one, other) * (1 + margin.cost_tolerance)


class CostMissing(Guardrail):
    """Hold a listing without a cost: no margin can be computed."""

    code = "COST_MISSING"
    kind = Kind.HOLD
    title = "Cost missing"
    meaning = "without a cost above 0 no price is computed"
    advice = "send a catalog entry with a cost"
    allows_list_price = True

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Hold unless the cost is a finite amount above zero."""
        cost = context.inputs.product.cost_minor
        if is_usable_amount(cost):
            return None
        detail = f"cost: expected an amount above 0, got {cost!r}; send a catalog entry with a cost"
        return Band(self.code, self.kind, detail, alert=True)

    def text(self, limit: LimitRecord) -> str:
        """Name the cost."""
        cost = limit.inputs.product.cost_minor
        if cost is None:
            return "the catalog gives no cost"
        return f"the catalog's cost {limit.money(cost)} is not above 0"


class InputInvalid(Guardrail):
    """Hold on a list price or currency that cannot be used, or a cost that jumped and is not confirmed yet.

    Incident: prices computed from a currency rate ten times too low (2015). A cost that falls to a tenth at
    once is more likely an error than a bargain.
    """

    code = "INPUT_INVALID"
    kind = Kind.HOLD
    title = "Input not trusted"
    meaning = "the list price, the currency or the cost cannot be used"
    advice = "correct the catalog entry if it is wrong"
    questions_cost = True

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Hold on a list price ≤ 0, an unknown currency, or a cost beyond the jump that the policy trusts."""
        product, currency = context.inputs.product, context.inputs.currency
        # A listing may have no list price: it starts at the price of its orders, or by the cold-start rule.
        has_none = product.list_minor is None and context.inputs.experience is not None
        if not has_none and not is_usable_amount(product.list_minor):
            detail = f"list price: expected an amount above 0, got {product.list_minor!r}"
            return Band(self.code, self.kind, detail, alert=True)
        if product.list_minor is not None and product.list_minor > MAX_PRICE_MINOR:
            detail = f"list price: expected at most {MAX_PRICE_MINOR} minor units, got {product.list_minor}"
            return Band(self.code, self.kind, detail, alert=True)
        if currency not in EXPONENTS:
            detail = f"currency: expected an ISO 4217 code, got {currency!r}"
            return Band(self.code, self.kind, detail, alert=True)
        cost, trusted, margin = product.cost_minor, product.trusted_cost_minor, policy.margin
        if cost is None or trusted is None or not (is_usable_amount(cost) and is_usable_amount(trusted)):
            return None
        if not is_cost_jump(cost, trusted, margin):
            return None
        # Recomputation must reproduce the recorded text, so the older scale keeps its own wording.
        again = (
            "the same cost comes again"
            if margin.cost_jump_scale == "share"
            else f"a cost within {margin.cost_tolerance:.0%} of it comes again"
        )
        detail = (
            f"cost moved by {cost / trusted - 1:+.0%} at once, from {money(trusted, currency)} to "
            f"{money(cost, currency)}; it holds until {again} "
            f"{margin.confirm_after_minutes} min later, or an operator approves"
        )
        return Band(self.code, self.kind, detail, alert=True)

    def text(self, limit: LimitRecord) -> str:
        """Name the input that cannot be used."""
        product, margin = limit.inputs.product, limit.policy.margin
        list_minor, cost, trusted = product.list_minor, product.cost_minor, product.trusted_cost_minor
        has_none = list_minor is None and limit.inputs.experience is not None
        if not has_none and not is_usable_amount(list_minor):
            return "the list price is missing or not above 0"
        if list_minor is not None and list_minor > MAX_PRICE_MINOR:
            largest = limit.money(MAX_PRICE_MINOR)
            return f"the list price {limit.money(list_minor)} is above the largest price, {largest}"
        if limit.inputs.currency not in EXPONENTS:
            return f"the currency {limit.inputs.currency} is not an ISO 4217 code"
        again = (
            "the same cost"
            if margin.cost_jump_scale == "share"
            else f"a cost within {margin.cost_tolerance:.0%} of it"
        )
        moved = f" ({cost / trusted - 1:+.0%})" if cost is not None and trusted else ""
        return (
            f"the cost changed from {limit.money(trusted)} to {limit.money(cost)}{moved}, more "
            f"than is trusted at once; the price is held until {again} is sent "
            f"{margin.confirm_after_minutes} minutes later or an operator approves the new cost"
        )
