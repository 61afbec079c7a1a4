"""Strategies end to end: the prices that each rule reaches through ``reprice``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.pricing.decision.inputs import CurrentTable, PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.valuation import value_prices
from jobs.pricing.policy import Policy
from jobs.pricing.strategies import STRATEGIES, main_price, solve_profit
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from tests.jobs.pricing.pricing_builders import START_MS, a_current, an_offer_row, some_inputs
from tests.jobs.pricing.strategy_builders import a_context, proposal_of, refined


def test_operators_price_is_the_candidate_even_outside_the_allowed_prices() -> None:
    context = a_context(some_inputs(approved_minor=2500), 1500, 2000)
    [strategy] = [s for s in STRATEGIES if not s.selectable]
    assert proposal_of(strategy, context).candidate_minor == 2500
    assert refined(strategy, context, 1500, 2000).candidate_minor == 2000


def test_operators_strategy_without_an_operators_price_is_refused() -> None:
    [strategy] = [s for s in STRATEGIES if not s.selectable]
    with pytest.raises(ValueError, match="approved_minor: expected a price"):
        proposal_of(strategy, a_context(some_inputs(), 1500, 2000))


def test_main_price_of_equal_shares_is_the_lowest() -> None:
    plan = replace(solve_profit(some_inputs(), value_prices(some_inputs(), [1999], None)), shares={})
    plan = replace(plan, shares={"all": {1899: 0.5, 1999: 0.5}})
    assert main_price(plan, ("all",), 1) == 1899


def test_main_price_of_a_plan_without_prices_is_the_fallback() -> None:
    plan = replace(solve_profit(some_inputs(), value_prices(some_inputs(), [1999], None)), shares={"all": {}})
    assert main_price(plan, ("all",), 1234) == 1234


def in_steps(inputs: PricingInputs, most: int = 10) -> list[PricingDecision]:
    """Reprice, and go on at the time that each decision plans; return the decisions."""
    decisions = [reprice(inputs)]
    while decisions[-1].continue_at_ms is not None and len(decisions) < most:
        last = decisions[-1]
        assert last.table is not None and last.default_minor is not None and last.continue_at_ms is not None
        current = CurrentTable(last.default_minor, last.table, inputs.at_ms, len(decisions), START_MS + 86_400_000)
        inputs = replace(inputs, at_ms=last.continue_at_ms, cause=Cause.CONTINUED, current=current)
        decisions.append(reprice(inputs))
    return decisions


def by_strategy(name: str, **sections: dict[str, Any]) -> Policy:
    """Return a policy whose default strategy is the named one, without exploration."""
    return Policy.from_dict({"strategies": {"default": name}, "exploration": {"mode": "none"}, **sections})


def test_cost_plus_reaches_cost_and_markup_step_by_step() -> None:
    inputs = some_inputs(by_strategy("cost_plus", cost_plus={"markup": 0.4}))
    decisions = in_steps(inputs)
    assert [decision.candidate_minor for decision in decisions] == [1649] * 3
    assert [decision.default_minor for decision in decisions] == [1849, 1699, 1649]
    assert [decision.outcome for decision in decisions] == [OutcomeCode.PUBLISHED] * 3


def test_step_of_cost_plus_is_bounded_by_the_step_limit_and_continues_after_the_gap() -> None:
    first = reprice(some_inputs(by_strategy("cost_plus", cost_plus={"markup": 0.4})))
    assert "STEP_LIMIT" in {band.code for band in first.bands} and first.default_minor == 1849
    assert first.continue_at_ms == START_MS + 60 * 60_000


def test_cost_plus_publishes_a_price_without_an_expected_gain() -> None:
    result = reprice(some_inputs(by_strategy("cost_plus", cost_plus={"markup": 0.3})))
    assert result.gain is not None and result.gain.mean < 0 and result.outcome is OutcomeCode.PUBLISHED


def test_cost_plus_below_the_least_margin_is_raised_to_it() -> None:
    result = reprice(some_inputs(by_strategy("cost_plus", cost_plus={"markup": 0.0}), cause="SETTLE"))
    assert result.default_minor == 1349 and (1349 - 1200) / 1349 >= 0.10


def test_far_price_of_cost_plus_requests_an_approval() -> None:
    result = reprice(some_inputs(by_strategy("cost_plus", cost_plus={"markup": 0.2})))
    assert result.approval_until_ms is not None and result.continue_at_ms is None


def test_match_rival_reaches_the_rivals_mean_step_by_step() -> None:
    offers = [an_offer_row(1700, START_MS - 1)]
    decisions = in_steps(some_inputs(by_strategy("match_rival"), offers=offers))
    assert [decision.candidate_minor for decision in decisions] == [1699] * 2
    assert [decision.default_minor for decision in decisions] == [1849, 1699]


def test_match_rival_applies_its_ratio_to_the_mean_of_all_rivals() -> None:
    offers = [an_offer_row(price, START_MS - 1, name) for price, name in ((1900, "a"), (2100, "b"))]
    policy = by_strategy("match_rival", match_rival={"ratio": 0.95})
    assert reprice(some_inputs(policy, offers=offers)).default_minor == 1899


@pytest.mark.parametrize("offers", [[], [an_offer_row(1700, START_MS - 10**9)]])
def test_match_rival_without_a_fresh_offer_keeps_the_current_price(offers: list[dict[str, Any]]) -> None:
    result = reprice(some_inputs(by_strategy("match_rival"), offers=offers))
    assert result.default_minor == 1999 and result.continue_at_ms is None


def test_match_rival_without_a_fresh_offer_rounds_the_current_price_to_the_grids_ending() -> None:
    result = reprice(some_inputs(by_strategy("match_rival"), offers=[], current=a_current(2010)))
    assert result.default_minor == 1999


def test_match_rival_does_not_follow_a_reference() -> None:
    offers = [an_offer_row(1700, START_MS - 1, kind="reference")]
    assert reprice(some_inputs(by_strategy("match_rival"), offers=offers)).default_minor == 1999


def test_rule_explores_neighbouring_prices_where_the_policy_does() -> None:
    policy = Policy.from_dict({"strategies": {"default": "match_rival"}})
    result = reprice(some_inputs(policy, offers=[an_offer_row(1999, START_MS - 1)]))
    assert result.table is not None and all(len(prices.prices) > 1 for prices in result.table.values())
