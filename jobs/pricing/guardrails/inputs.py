"""COST_MISSING, INPUT_INVALID: what cannot be trusted holds the price."""

from __future__ import annotations

import math

from jobs.pricing.guardrails.base import Band, Case, Kind, money
from jobs.pricing.policy import Margin, Policy
from schemas.codes import GuardrailCode
from schemas.money import EXPONENTS
from schemas.topics import MAX_PRICE_MINOR


def _usable(amount: float | None) -> bool:
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


class CostMissing:
    """Without a cost there is no margin, so there is no price to decide on."""

    code = GuardrailCode.COST_MISSING
    kind = Kind.HOLD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """Hold unless the cost is a finite amount above zero."""
        if _usable(case.cost_minor):
            return None
        detail = f"cost: expected an amount above 0, got {case.cost_minor!r}; send a catalog entry with a cost"
        return Band(self.code, self.kind, detail, alert=True)


class InputInvalid:
    """List price or currency unusable, or a cost that jumped and waits for its confirmation.

    Incident: prices computed from a currency rate ten times too low (2015). A cost that falls to a
    tenth at once is more likely an error than a bargain.
    """

    code = GuardrailCode.INPUT_INVALID
    kind = Kind.HOLD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """Hold on a list price ≤ 0, an unknown currency, or a cost beyond the jump that the policy trusts."""
        if not _usable(case.list_minor):
            detail = f"list price: expected an amount above 0, got {case.list_minor!r}"
            return Band(self.code, self.kind, detail, alert=True)
        if case.list_minor is not None and case.list_minor > MAX_PRICE_MINOR:
            detail = f"list price: expected at most {MAX_PRICE_MINOR} minor units, got {case.list_minor}"
            return Band(self.code, self.kind, detail, alert=True)
        if case.currency not in EXPONENTS:
            return Band(
                self.code, self.kind, f"currency: expected an ISO 4217 code, got {case.currency!r}", alert=True
            )
        cost, trusted = case.cost_minor, case.trusted_cost_minor
        if cost is None or trusted is None or not (_usable(cost) and _usable(trusted)):
            return None
        margin = policy.margin
        if not is_cost_jump(cost, trusted, margin):
            return None
        # A record is recomputed to the letter, so a decision of before keeps the words of before.
        again = (
            "the same cost comes again"
            if margin.cost_jump_scale == "share"
            else f"a cost within {margin.cost_tolerance:.0%} of it comes again"
        )
        detail = (
            f"cost moved by {cost / trusted - 1:+.0%} at once, from {money(trusted, case.currency)} to "
            f"{money(cost, case.currency)}; it holds until {again} "
            f"{margin.confirm_after_minutes} min later, or an operator approves"
        )
        return Band(self.code, self.kind, detail, alert=True)
