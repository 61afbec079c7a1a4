"""operator_price: a price that an operator set by hand or approved."""

from __future__ import annotations

from jobs.pricing.strategies.base import ProfitPlan, Proposal, Strategy, StrategyContext


class OperatorPrice(Strategy):
    """The operator's price, as near as the hard bands allow; chosen by the decision, never by the policy."""

    name = "operator_price"
    continues = False
    explores = False
    selectable = False

    def propose(self, context: StrategyContext, plan: ProfitPlan) -> Proposal:
        """Propose the operator's price itself, even outside the allowed prices; :meth:`bounded` bounds it.

        Raises
        ------
        ValueError
            If no operator set or approved a price.
        """
        price = context.inputs.controls.approved_minor
        if price is None:
            raise ValueError("approved_minor: expected a price that an operator set or approved, got None")
        return Proposal.single(price, context.inputs.policy.segments.names)

    def bounded(self, candidate_minor: int, context: StrategyContext) -> int:
        """Return the allowed price nearest to it, without rounding."""
        return context.allowed.nearest(candidate_minor)
