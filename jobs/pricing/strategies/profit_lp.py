"""profit_lp: the prices that maximise expected profit, by the linear program of science § 7.

The other linear programs are subclasses that replace the objective or the plan.
"""

from __future__ import annotations

from jobs.pricing.strategies.base import (
    ProfitPlan,
    Proposal,
    Strategy,
    StrategyContext,
    main_price,
)


class ProfitLp(Strategy):
    """Quote each segment the prices of highest expected profit under the current beliefs."""

    name = "profit_lp"
    by_rule = False
    searches = True

    def propose(self, context: StrategyContext, plan: ProfitPlan) -> Proposal:
        """Propose the plan; the candidate is the main segment's price of the largest share."""
        inputs = context.inputs
        fallback = context.allowed.nearest(inputs.shown_minor or 1)
        return Proposal(main_price(plan, inputs.policy.segments.names, fallback), plan.shares)

    def refine(self, proposal: Proposal, context: StrategyContext) -> tuple[Proposal, ProfitPlan | None]:
        """Solve again over the prices that all bands allow; without one on the grid, the nearest price."""
        if context.valuation is None:
            return super().refine(proposal, context)
        plan = self.plan(context.inputs, context.valuation)
        return Proposal(proposal.candidate_minor, plan.shares), plan
