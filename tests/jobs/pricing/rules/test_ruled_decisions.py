"""Decisions under rules: strategy, adjustment, band and hold, and their records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import same_bytes
from jobs.audit.strategies import deciding_strategy
from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.guardrails.pricing_rules import RuleBand
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.rules.matching import LostRule, LostTo
from jobs.pricing.strategies import strategy_of
from schemas.codes import Fallback, OutcomeCode
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_current,
    a_model,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
    prices_of,
)
from tests.jobs.pricing.rule_builders import KNOWN, rule_lists, ruled

ALONE: dict[str, Any] = {"exploration": {"mode": "none"}}


def band(name: str = "band", **ends: Any) -> dict[str, Any]:
    return {"name": name, "band": ends}


# -- strategy -----------------------------------------------------------------------------------


def test_rule_chooses_the_strategy_of_the_listings_that_it_matches() -> None:
    rule = {"name": "plus", "strategy": "cost_plus", "when": {"category": "shoes"}}
    assert strategy_of(ruled(rule)).strategy.name == "cost_plus"
    assert strategy_of(ruled(rule, attributes=KNOWN | {"category": "hats"})).strategy.name == "profit_lp"
    result = reprice(ruled(rule))
    assert result.strategy == "cost_plus" and result.candidate_minor == 1649


def test_operators_price_and_first_price_come_before_a_rule() -> None:
    rule = {"name": "plus", "strategy": "cost_plus"}
    assert strategy_of(ruled(rule, approved_minor=2100)).strategy.name == "operator_price"
    assert strategy_of(ruled(rule, cause="COLD_START", current=None)).strategy.name == "cold_start"


# -- adjustment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [-0.05, 0.05])
def test_adjustment_multiplies_the_strategys_price(share: float) -> None:
    plain = reprice(ruled(sections=ALONE, cause="SETTLE")).candidate_minor or 0
    found = reprice(ruled({"name": "a", "adjust": share}, sections=ALONE, cause="SETTLE"))
    assert abs((found.candidate_minor or 0) - plain * (1 + share)) <= 50  # a step of the grid
    assert found.default_minor == found.candidate_minor


def test_adjusted_price_needs_no_expected_gain_and_keeps_the_pace() -> None:
    result = reprice(ruled({"name": "a", "adjust": -0.3}))
    assert result.outcome is OutcomeCode.PUBLISHED and result.gain is not None and result.gain.mean < 0
    assert (result.default_minor or 0) >= 1999 * 0.9


def test_adjustment_is_not_applied_again_at_the_next_decision() -> None:
    rule, price, seen = {"name": "a", "adjust": -0.05}, 1999, []
    for _ in range(6):
        price = reprice(ruled(rule, sections=ALONE, current=a_current(price))).default_minor or 0
        seen.append(price)
    assert len(set(seen[2:])) == 1


@pytest.mark.parametrize("strategy", ["contextual_bandit", "match_rival"])
def test_price_that_starts_from_the_current_one_is_not_adjusted(strategy: str) -> None:
    rule = {"name": "a", "adjust": -0.05}
    result = reprice(ruled(rule, sections=ALONE | {"strategies": {"default": strategy}}, offers=[]))
    assert result.rules.lost == (LostRule("a", "adjust", "", LostTo.STRATEGY.value),)
    assert result.rules.applied == ()


# -- band ---------------------------------------------------------------------------------------

settings_of_worlds = st.fixed_dictionaries(
    {
        "catalog_cost_minor": st.integers(200, 2600),
        "catalog_ceiling_minor": st.one_of(st.none(), st.integers(1500, 4000)),
        "offers": st.lists(st.builds(an_offer_row, st.integers(500, 4000), st.just(START_MS - 1)), max_size=2),
        "current": st.one_of(st.none(), st.builds(a_current, st.integers(900, 3500))),
        "cause": st.sampled_from(["EVIDENCE", "SETTLE", "CONTINUED", "RULE_TURNED"]),
        "experience": st.sampled_from([None, an_experience(1800, 2100)]),
    }
)
ends = st.tuples(st.floats(0.3, 1.6), st.floats(0, 0.5)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=120, deadline=None)
@given(world=settings_of_worlds, limits=ends)
def test_band_makes_no_listing_unpriceable_and_breaks_no_limit(
    world: dict[str, Any], limits: tuple[float, float]
) -> None:
    inputs = ruled(band(least=limits[0], most=limits[1]), **world)
    result, plain = reprice(inputs), reprice(ruled(**world))
    assert (result.outcome is OutcomeCode.UNPRICEABLE) == (plain.outcome is OutcomeCode.UNPRICEABLE)
    assert result.hard is None or all(price in result.hard for price in prices_of(result))
    if result.allowed is not None and not result.allowed.empty and result.outcome is OutcomeCode.PUBLISHED:
        assert all(price in result.allowed for price in prices_of(result))
    record = a_record(inputs)
    assert same_bytes(recompute(record, catalog_of(inputs.policy)), record["result"])


@settings(max_examples=60, deadline=None)
@given(price=st.integers(1500, 2600), limits=ends)
def test_price_inside_a_band_stays_inside(price: int, limits: tuple[float, float]) -> None:
    low, high = round(price * limits[0]), round(price * limits[1])
    inputs = ruled(band(of="minor", least=low, most=high), current=a_current(price), offers=[])
    if low <= price <= high:
        assert all(low <= each <= high for each in prices_of(reprice(inputs)))


def test_price_outside_a_band_moves_into_it_step_by_step_without_a_gain() -> None:
    rule, price, steps = band(of="minor", most=1600), 1999, []
    while price > 1600:
        result = reprice(ruled(rule, sections={"limits": {"approval_over": 1.0}}, current=a_current(price)))
        assert result.outcome is OutcomeCode.PUBLISHED and not result.alert
        assert (result.continue_at_ms is not None) == ((result.default_minor or 0) > 1600)
        price = result.default_minor or 0
        steps.append(price)
    assert steps == [1849, 1699, 1599]


def test_band_outside_the_hard_limits_leaves_the_nearest_price_and_says_so() -> None:
    inputs = ruled(band(of="minor", most=1000), cause="SETTLE")
    result = reprice(inputs)
    assert result.outcome is OutcomeCode.PUBLISHED and result.default_minor == 1349  # least by the margin: 13.34
    text = " ".join(explain(a_record(inputs), catalog_of(inputs.policy)).split())
    assert "Rule band bounded the price: at most 10.00 USD, which the other limits do not allow." in text


def test_band_bounds_a_first_price() -> None:
    first = {"cause": "COLD_START", "current": None, "experience": an_experience(None, None)}
    assert reprice(ruled(**first)).default_minor == 1999
    result = reprice(ruled(band(most=0.9), **first))
    assert result.default_minor == 1849 and result.continue_at_ms is not None  # one step towards 17.99


def test_band_does_not_bound_an_operators_price() -> None:
    result = reprice(ruled(band(most=0.9), approved_minor=2100))
    assert result.default_minor == 2100 and RuleBand.code not in {each.code for each in result.bands}


# -- hold ---------------------------------------------------------------------------------------


def test_hold_keeps_the_price_and_lets_an_operators_price_pass() -> None:
    rule = {"name": "stop", "hold": True}
    held = reprice(ruled(rule))
    assert held.outcome is OutcomeCode.HELD and held.table is None and not held.alert
    assert reprice(ruled(rule, approved_minor=2100)).default_minor == 2100
    first = reprice(ruled(rule, cause="COLD_START", current=None, experience=an_experience(None, None)))
    assert first.outcome is OutcomeCode.COLD_START


# -- records ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(rules=rule_lists, shadow=st.sampled_from([[], ["cost_plus"]]))
def test_decision_recomputes_from_its_record(rules: list[dict[str, Any]], shadow: list[str]) -> None:
    inputs = ruled(*rules, sections={"strategies": {"shadow": shadow}})
    record = a_record(inputs)
    assert same_bytes(recompute(record, catalog_of(inputs.policy)), record["result"])


def test_record_names_the_rules_that_held_and_those_that_lost() -> None:
    rules = [{"name": "a", "adjust": -0.1, "priority": 1}, {"name": "b", "adjust": 0.1}, band(most=0.95)]
    found = a_record(ruled(*rules))["result"]
    assert found["rules"] == {
        "applied": [
            {"rule": "a", "action": "adjust", "effect": -0.1, "priority": 1},
            {"rule": "band", "action": "band", "effect": [None, 1899], "priority": 0},
        ],
        "lost": [{"rule": "b", "action": "adjust", "to": "a", "reason": "priority"}],
    }
    assert found["strategy"] == "profit_lp"


def test_record_without_a_matching_rule_has_no_further_keys() -> None:
    unmatched = {"name": "hats", "hold": True, "when": {"category": "hats"}}
    with_rules, without = a_record(ruled(unmatched))["result"], a_record(ruled())["result"]
    assert same_bytes(with_rules, without) and {"rules", "strategy"}.isdisjoint(with_rules)


def test_shadow_is_bounded_and_adjusted_by_rules_and_keeps_its_strategy() -> None:
    rules = [{"name": "s", "strategy": "match_rival"}, {"name": "a", "adjust": -0.1}, band(most=0.8)]
    sections = {"strategies": {"shadow": ["cost_plus"]}, "limits": {"max_step": 1.0, "approval_over": 1.0}}
    result = reprice(ruled(*rules, sections=sections))
    [shadow] = result.shadows
    assert result.strategy == "match_rival" and shadow.strategy == "cost_plus"
    assert shadow.candidate_minor == 1449  # cost 12.00 with the markup of .4 is 16.49 at the ending, less a tenth
    assert (
        result.candidate_minor == 1599
    )  # 19.00, rounded to the ending, less a tenth, within 80 % of the list price


# -- fallback chain -----------------------------------------------------------------------------


def test_strategy_of_a_rule_falls_back_as_any_other_and_its_price_is_adjusted() -> None:
    refused = {"model": a_model("no_exposures"), "sections": ALONE, "cause": "SETTLE"}
    revenue, less = {"name": "r", "strategy": "revenue_lp"}, {"name": "a", "adjust": -0.05}
    plain, found = reprice(ruled(revenue, **refused)), reprice(ruled(revenue, less, **refused))
    assert plain.strategy == found.strategy == "fallback_rule" and found.fallback is Fallback.RULE
    assert plain.candidate_minor is not None and found.candidate_minor is not None
    assert abs(found.candidate_minor - 0.95 * plain.candidate_minor) <= 50
    record = a_record(ruled(revenue, less, **refused))
    assert deciding_strategy(record, PolicyCatalog()) == "fallback_rule"


def test_strategy_of_a_rule_that_needs_no_demand_model_does_not_fall_back() -> None:
    found = reprice(ruled({"name": "plus", "strategy": "cost_plus"}, model=a_model("no_exposures")))
    assert found.strategy == "cost_plus" and found.fallback is Fallback.NONE
