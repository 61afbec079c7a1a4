"""revenue_lp: the prices that maximise expected revenue, as the objective of 003 is printed (ω = 0)."""

from __future__ import annotations

from dataclasses import replace

from jobs.pricing.decision.valuation import Valuation
from jobs.pricing.strategies.profit_lp import ProfitLp


class RevenueLp(ProfitLp):
    """Quote the prices of highest expected revenue; the margin's floor still holds.

    Gains of its decisions are gains of revenue, whatever ``objective.cost_weight`` is.
    """

    name = "revenue_lp"

    def objective(self, worth: Valuation) -> Valuation:
        """Return the valuation without the unit cost: (A) with ω = 0."""
        return replace(worth, cost=0.0)
