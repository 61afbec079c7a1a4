"""thompson: the prices that are best under sale probabilities drawn from the beliefs."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.valuation import Valuation
from jobs.pricing.optimizer.exploration import draw_at_prices
from jobs.pricing.strategies.profit_lp import ProfitLp


class Thompson(ProfitLp):
    """Quote the prices of highest profit under one draw of the sale probabilities per decision.

    The draw is a function of the decision's seed and of the price, so that narrower bounds do not change it. A
    change needs no expected gain, since a draw is worth what it teaches, and no further prices are explored.

    References
    ----------
    Ferreira, Simchi-Levi, Wang: Online network revenue management using Thompson sampling (TS-update).
    """

    name = "thompson"
    by_rule = True
    explores = False

    def drawn(self, inputs: PricingInputs, worth: Valuation) -> Sequence[Sequence[float]]:
        """Return the draw."""
        return draw_at_prices(*worth.beta(), worth.prices, inputs.seed)
