"""Strategies that solve the pricing LP with another objective, target or draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.optimizer import solve_one
from jobs.pricing.policy import Policy
from jobs.pricing.strategies.profit_lp import ProfitLp
from jobs.pricing.strategies.revenue_lp import RevenueLp
from jobs.pricing.strategies.target_lp import TargetLp
from jobs.pricing.strategies.thompson import Thompson
from schemas.codes import OutcomeCode
from tests.jobs.pricing.pricing_builders import a_record, catalog_of, some_inputs
from tests.jobs.pricing.strategy_builders import a_context, proposal_of, refined

KNOWN = {"category": "shoes", "on_hand": 400, "cover_days": 9.0, "age_days": 30.0, "hour": 9}


def by_strategy(name: str, **sections: dict[str, Any]) -> Policy:
    """Return a policy whose default strategy is the named one, without exploration."""
    return Policy.from_dict({"strategies": {"default": name}, "exploration": {"mode": "none"}, **sections})


def units_sold(inputs: PricingInputs, low: int = 1500, high: int = 2500) -> float:
    """Return the expected units of the target LP's plan over the prices of a range."""
    context = a_context(inputs, low, high)
    assert context.valuation is not None
    return context.valuation.expect(TargetLp().plan(inputs, context.valuation).shares)[0]


segments = st.lists(
    st.lists(st.tuples(st.integers(0, 100), st.integers(-500, 500)), min_size=1, max_size=6),
    min_size=1,
    max_size=3,
)


@settings(max_examples=100, deadline=None)
@given(points=segments, share=st.floats(0, 1))
def test_the_lp_with_an_equality_equals_a_simplex(points: list[list[tuple[int, int]]], share: float) -> None:
    sales, values = [[float(s) for s, _ in row] for row in points], [[float(v) for _, v in row] for row in points]
    least, most = sum(min(row) for row in sales), sum(max(row) for row in sales)
    target = least + share * (most - least)
    plan = solve_one(sales, values, target, equal=True)
    flat = np.concatenate([np.array(row) for row in values])
    one_each = [[float(k == j) for j, row in enumerate(sales) for _ in row] for k in range(len(sales))]
    solved = linprog(
        -flat, A_eq=[*one_each, [s for row in sales for s in row]], b_eq=[1.0] * len(sales) + [target]
    )
    if solved.status == 0:
        assert plan.value == pytest.approx(-solved.fun, abs=1e-6)
        assert plan.sales == pytest.approx(target, abs=1e-6)


def test_revenue_lp_proposes_a_lower_price_than_profit_lp() -> None:
    context = a_context(some_inputs(), 1400, 2600)
    assert context.valuation is not None
    revenue = RevenueLp().objective(context.valuation)
    assert revenue.cost == 0.0 and context.valuation.cost == 1200
    assert proposal_of(RevenueLp(), context).candidate_minor < proposal_of(ProfitLp(), context).candidate_minor


def test_price_of_revenue_lp_keeps_the_least_margin() -> None:
    result = reprice(some_inputs(by_strategy("revenue_lp"), cause="SETTLE", elasticity={"mean": -6.0, "sd": 0.1}))
    assert result.default_minor == 1349 and (1349 - 1200) / 1349 >= 0.10


def test_gain_of_revenue_lp_is_one_of_revenue() -> None:
    inputs = some_inputs(by_strategy("revenue_lp"))
    result = reprice(inputs)
    assert result.outcome is OutcomeCode.PUBLISHED and result.default_minor < 1999
    assert result.gain is not None and result.gain.mean > 0


@pytest.mark.parametrize("units", [30.0, 45.0, 60.0])
def test_target_lp_sells_the_stated_units(units: float) -> None:
    inputs = some_inputs(by_strategy("target_lp", target_lp={"units": units}))
    assert units_sold(inputs) == pytest.approx(units)


def test_target_lp_sells_the_share_of_the_stock() -> None:
    inputs = some_inputs(by_strategy("target_lp", target_lp={"stock_share": 0.1}), attributes=KNOWN)
    assert units_sold(inputs) == pytest.approx(40.0)


def test_sale_target_of_an_operator_takes_precedence_over_the_policys_units() -> None:
    policy = by_strategy("target_lp", target_lp={"units": 30.0})
    assert units_sold(some_inputs(policy, target_units=50.0, target_from="sale_target")) == pytest.approx(50.0)
    assert units_sold(some_inputs(policy, target_units=50.0, target_from="stock")) == pytest.approx(30.0)


def test_target_lp_without_a_target_is_profit_lp() -> None:
    target, profit = (reprice(some_inputs(by_strategy(name))) for name in ("target_lp", "profit_lp"))
    assert target == profit


@pytest.mark.parametrize("on_hand", [0, -3])
def test_target_lp_of_a_listing_without_stock_is_profit_lp(on_hand: int) -> None:
    attributes = KNOWN | {"on_hand": on_hand}
    target, profit = (
        reprice(some_inputs(by_strategy(name), attributes=attributes)) for name in ("target_lp", "profit_lp")
    )
    assert target == profit


def test_target_above_demand_quotes_the_prices_that_sell_most() -> None:
    inputs = some_inputs(by_strategy("target_lp", target_lp={"units": 5000.0}), cause="SETTLE")
    result = reprice(inputs)
    assert result.outcome is OutcomeCode.TARGET_ABOVE_DEMAND and result.default_minor == 1349
    assert result.multiplier < 0 and result.sales is not None and result.sales < 5000


def test_target_below_demand_quotes_the_prices_that_sell_least() -> None:
    inputs = some_inputs(by_strategy("target_lp", target_lp={"units": 1.0}), cause="SETTLE")
    assert reprice(inputs).outcome is OutcomeCode.TARGET_BELOW_DEMAND


def test_change_to_a_target_has_a_gain_at_its_multiplier() -> None:
    result = reprice(some_inputs(by_strategy("target_lp", target_lp={"units": 60.0})))
    assert result.table is not None and result.gain is not None and result.gain.mean > 0
    assert result.default_minor < 1999 and result.multiplier < 0


def test_thompson_draws_the_same_under_narrower_bounds() -> None:
    inputs = some_inputs(by_strategy("thompson"), seed=11)
    context = a_context(inputs, 1500, 2500)
    price = proposal_of(Thompson(), context).candidate_minor
    narrowed = refined(Thompson(), context, price - 100, price + 100)
    assert max(narrowed.shares["all"], key=lambda p: narrowed.shares["all"][p]) == price


def test_thompson_proposes_several_prices_over_seeds_around_the_best() -> None:
    contexts = [a_context(some_inputs(by_strategy("thompson"), seed=seed), 1500, 2500) for seed in range(40)]
    prices = [proposal_of(Thompson(), context).candidate_minor for context in contexts]
    assert len(set(prices)) > 3
    assert abs(np.mean(prices) - proposal_of(ProfitLp(), contexts[0]).candidate_minor) < 250


@pytest.mark.parametrize("name", ["revenue_lp", "target_lp", "thompson"])
def test_decision_recomputes_from_its_record(name: str) -> None:
    inputs = some_inputs(by_strategy(name, target_lp={"units": 40.0}), attributes=KNOWN, seed=5)
    record = a_record(inputs)
    assert recompute(record, catalog_of(inputs.policy)) == record["result"]
