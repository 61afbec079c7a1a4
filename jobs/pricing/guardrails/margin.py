"""MIN_MARGIN: no price below cost plus the least margin."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Case, Kind, money
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode
from schemas.money import ceil_minor


def least_price(cost_minor: float, min_margin: float) -> int:
    """The least price with (p − c)/p ≥ margin, rounded up: towards safety.

    >>> least_price(900, .10), least_price(901, .10)
    (1000, 1002)
    """
    return ceil_minor(cost_minor / (1.0 - min_margin))


class MinMargin:
    """(p − c)/p ≥ the policy's margin; the refusal names the least price that would pass."""

    code = GuardrailCode.MIN_MARGIN
    kind = Kind.HARD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """From the least price with the margin upwards; nothing without a cost (COST_MISSING holds then)."""
        cost = case.cost_minor
        if cost is None or not 0 < cost < float("inf"):
            return None
        low = least_price(cost, policy.margin.min_margin)
        detail = (
            f"margin of at least {policy.margin.min_margin:.0%} on a cost of {money(cost, case.currency)}: "
            f"the least price is {money(low, case.currency)}"
        )
        return Band(self.code, self.kind, detail, low=low)
