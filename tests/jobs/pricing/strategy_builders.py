"""Builders of tests of strategies: contexts and proposals."""

from __future__ import annotations

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.valuation import value_prices
from jobs.pricing.grid import price_grid
from jobs.pricing.guardrails import AllowedPrices
from jobs.pricing.strategies import Proposal, Strategy, StrategyContext


def a_context(inputs: PricingInputs, low: int, high: int) -> StrategyContext:
    """Return the context of some inputs with the prices from ``low`` to ``high`` allowed.

    The valuation covers the grid prices among them, and is None where there are none.
    """
    rivals = inputs.reference(rivals_only=True)
    mean = rivals.mean_minor if rivals and rivals.fresh else None
    grid = price_grid(low, high, inputs.product.list_minor or 0.0, inputs.policy.grid)
    valuation = value_prices(inputs, grid, mean) if grid else None
    return StrategyContext(inputs, AllowedPrices(low, high), valuation, mean)


def proposal_of(strategy: Strategy, context: StrategyContext) -> Proposal:
    """Return a strategy's proposal, with its plan over the context's prices."""
    valuation = context.valuation
    if valuation is None:
        valuation = value_prices(context.inputs, [context.allowed.low], context.rivals_mean_minor)
    return strategy.propose(context, strategy.plan(context.inputs, strategy.objective(valuation)))


def refined(strategy: Strategy, context: StrategyContext, low: int, high: int) -> Proposal:
    """Return a strategy's proposal, refined to the prices from ``low`` to ``high``."""
    within = a_context(context.inputs, low, high)
    return strategy.refine(proposal_of(strategy, context), within)[0]
