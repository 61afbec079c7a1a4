"""MIN_MARGIN: no price below cost plus the least margin."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, money
from jobs.pricing.policy import Policy
from schemas.money import ceil_minor


def least_price(cost_minor: float, min_margin: float) -> int:
    """Return the least price with (p − c)/p ≥ margin, rounded up, towards safety.

    >>> least_price(900, .10), least_price(901, .10)
    (1000, 1002)
    """
    return ceil_minor(cost_minor / (1.0 - min_margin))


class MinMargin(Guardrail):
    """Require (p − c)/p ≥ the policy's margin; the detail names the least price that satisfies it."""

    code = "MIN_MARGIN"
    kind = Kind.HARD
    title = "Minimum margin"
    meaning = "no price below the cost plus the least margin"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices from the least one upwards; None without a cost (COST_MISSING holds then)."""
        cost, currency = context.inputs.product.cost_minor, context.inputs.currency
        if cost is None or not 0 < cost < float("inf"):
            return None
        low = least_price(cost, policy.margin.min_margin)
        detail = (
            f"margin of at least {policy.margin.min_margin:.0%} on a cost of {money(cost, currency)}: "
            f"the least price is {money(low, currency)}"
        )
        return Band(self.code, self.kind, detail, low=low)

    def text(self, limit: LimitRecord) -> str:
        """Name margin, cost and least price."""
        cost = limit.money(limit.inputs.product.cost_minor)
        return f"a margin of {limit.policy.margin.min_margin:.0%} on the cost of {cost} needs {limit.prices}"
