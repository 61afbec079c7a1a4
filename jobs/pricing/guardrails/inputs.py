"""COST_MISSING, INPUT_INVALID: what cannot be trusted holds the price."""

from __future__ import annotations

import math

from jobs.pricing.guardrails.base import Band, Case, Kind, money
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode
from schemas.money import EXPONENTS


def _usable(amount: float | None) -> bool:
    return amount is not None and math.isfinite(amount) and amount > 0


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
        """Hold on a list price ≤ 0, an unknown currency, or a cost moved by more than the policy trusts."""
        if not _usable(case.list_minor):
            detail = f"list price: expected an amount above 0, got {case.list_minor!r}"
            return Band(self.code, self.kind, detail, alert=True)
        if case.currency not in EXPONENTS:
            return Band(
                self.code, self.kind, f"currency: expected an ISO 4217 code, got {case.currency!r}", alert=True
            )
        cost, trusted = case.cost_minor, case.trusted_cost_minor
        if cost is not None and trusted is not None and _usable(cost) and _usable(trusted):
            moved = cost / trusted - 1
            if abs(moved) > policy.margin.cost_jump:
                detail = (
                    f"cost moved by {moved:+.0%} at once, from {money(trusted, case.currency)} to "
                    f"{money(cost, case.currency)}; it holds until the same cost comes again "
                    f"{policy.margin.confirm_after_minutes} min later, or an operator approves"
                )
                return Band(self.code, self.kind, detail, alert=True)
        return None
