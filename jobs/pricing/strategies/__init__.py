"""Strategies: ways to propose prices (science § 5, § 7).

To add one, write a file in this folder with a subclass of :class:`Strategy` (or :class:`PriceRule`, for one
price by a rule), and add its instance to :data:`STRATEGIES`. The class carries its name and, where it has
numbers of its own, its section of the policy. The check suite (tests/jobs/pricing/test_strategies.py) runs over
the tuple; a test fails for a class that is not in it. The policy's section ``strategies`` chooses by role, and its
section ``rules`` by conditions (:mod:`jobs.pricing.rules`).
"""

from __future__ import annotations

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import MatchedRules, matched_rules
from jobs.pricing.strategies.base import (
    PriceRule,
    ProfitPlan,
    Proposal,
    Strategy,
    StrategyContext,
    main_price,
    solve_profit,
)
from jobs.pricing.strategies.cold_start import ColdStart
from jobs.pricing.strategies.contextual_bandit import ContextualBandit
from jobs.pricing.strategies.cost_plus import CostPlus
from jobs.pricing.strategies.fallback_rule import FALLBACK_RULE, StrategyChoice, with_fallback
from jobs.pricing.strategies.match_rival import MatchRival
from jobs.pricing.strategies.operator_price import OperatorPrice
from jobs.pricing.strategies.profit_lp import ProfitLp
from jobs.pricing.strategies.revenue_lp import RevenueLp
from jobs.pricing.strategies.rule_table import RuleTable
from jobs.pricing.strategies.target_lp import TargetLp
from jobs.pricing.strategies.thompson import Thompson
from schemas.causes import Cause

STRATEGIES: tuple[Strategy, ...] = (
    ProfitLp(), RevenueLp(), TargetLp(), Thompson(), ColdStart(), CostPlus(), MatchRival(), RuleTable(),
    ContextualBandit(), OperatorPrice(), FALLBACK_RULE,
)  # fmt: skip
_BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}


def strategy_named(name: str) -> Strategy:
    """Return the strategy of a name.

    >>> strategy_named("cost_plus").by_rule
    True
    """
    return _BY_NAME[name]


def strategy_of(inputs: PricingInputs, rules: MatchedRules | None = None) -> StrategyChoice:
    """Return the strategy of a decision.

    Where the inputs of the chosen one cannot be used, the fallback chain replaces it and says why.

    Parameters
    ----------
    rules : the pricing rules to choose by; None: those that hold for the inputs.
    """
    return with_fallback(chosen_strategy(inputs, matched_rules(inputs) if rules is None else rules), inputs)


def chosen_strategy(inputs: PricingInputs, rules: MatchedRules) -> Strategy:
    """Return the strategy of an operator's price, of the first price, of a rule, or of the role."""
    approved = inputs.controls.approved_minor is not None
    if rules.strategy is not None and not approved and inputs.cause is not Cause.COLD_START:
        return _BY_NAME[rules.strategy]
    return strategy_in_force(inputs.policy, inputs.cause, inputs.product.role, approved=approved)


def strategy_in_force(policy: Policy, cause: Cause, role: str | None, *, approved: bool) -> Strategy:
    """Return the strategy of a decision by its cause and role, without a rule that chooses one.

    Parameters
    ----------
    approved : whether an operator set the price.
    """
    chosen = policy.strategies
    if approved:
        return _BY_NAME[OperatorPrice.name]
    return _BY_NAME[chosen.cold_start if cause is Cause.COLD_START else chosen.of_role(role)]


__all__ = [
    "FALLBACK_RULE", "STRATEGIES", "PriceRule", "ProfitPlan", "Proposal", "Strategy", "StrategyChoice",
    "StrategyContext", "chosen_strategy", "main_price", "solve_profit", "strategy_in_force", "strategy_named",
    "strategy_of", "with_fallback",
]  # fmt: skip
