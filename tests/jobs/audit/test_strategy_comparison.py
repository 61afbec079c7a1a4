"""Strategies compared from the decision log."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.audit.strategies import compare_strategies, list_strategies
from jobs.pricing.policy import Policy
from jobs.pricing.strategies import STRATEGIES
from tests.jobs.pricing.pricing_builders import START_MS, a_record, some_inputs

SHADOWS = Policy.from_dict({"strategies": {"shadow": ["cost_plus", "match_rival"]}})
KNOWN = {"category": "shoes", "on_hand": None, "cover_days": None, "age_days": None, "hour": 9}


def a_decision(name: str, policy: Policy = SHADOWS, category: str = "shoes", **changes: Any) -> dict[str, Any]:
    """Return a decision as it is read from the topic."""
    record = a_record(some_inputs(policy, attributes=KNOWN | {"category": category}, **changes))
    return record | {"decision_id": name, "tenant": record["inputs"]["listing"].split("/")[0]}


def test_results_are_by_category_and_strategy_with_the_one_in_force_first() -> None:
    found = compare_strategies([a_decision("d1"), a_decision("d2", category="hats"), a_decision("d3")])
    assert found.decisions == 3
    assert [(each.category, each.strategy, each.in_force, each.decisions) for each in found.results] == [
        ("acme/hats", "profit_lp", True, 1), ("acme/hats", "cost_plus", False, 1),
        ("acme/hats", "match_rival", False, 1), ("acme/shoes", "profit_lp", True, 2),
        ("acme/shoes", "cost_plus", False, 2), ("acme/shoes", "match_rival", False, 2),
    ]  # fmt: skip


def test_means_are_those_of_the_records() -> None:
    decisions = [a_decision("d1"), a_decision("d2", elasticity={"mean": -1.2, "sd": 0.2})]
    in_force, cost_plus, _ = compare_strategies(decisions).results
    prices = [each["result"]["default_minor"] for each in decisions]
    shadows = [each["result"]["shadows"][0] for each in decisions]
    assert in_force.mean_price_minor == sum(prices) / 2 and in_force.mean_change == 0
    assert cost_plus.mean_price_minor == sum(each["price_minor"] for each in shadows) / 2 == 1849
    changes = [each["price_minor"] / price - 1 for each, price in zip(shadows, prices, strict=True)]
    assert cost_plus.mean_change == pytest.approx(sum(changes) / 2)
    assert cost_plus.gain_minor == pytest.approx(sum(each["gain_minor"] for each in shadows) / 2)
    sd = sum(each["gain_sd_minor"] ** 2 for each in shadows) ** 0.5 / 2
    assert cost_plus.gain_high_minor == pytest.approx(cost_plus.gain_minor + 1.645 * sd)
    assert cost_plus.bound == {"STEP_LIMIT": 1.0}


def test_a_decision_that_publishes_nothing_has_no_gain() -> None:
    [in_force, *_] = compare_strategies([a_decision("d1", frozen="frozen by ann")]).results
    assert in_force.gain_minor == 0.0 and in_force.bound == {"FROZEN": 1.0}


def test_first_prices_have_no_gain_to_average() -> None:
    [first, *_] = compare_strategies([a_decision("d1", cause="COLD_START", current=None)]).results
    assert first.strategy == "cold_start" and first.gain_minor is None and first.gain_low_minor is None


def test_scope_and_time_select_decisions_and_a_repeated_one_counts_once() -> None:
    later = a_decision("d2", at_ms=START_MS + 60_000)
    decisions = [a_decision("d1"), a_decision("d1"), later]
    assert compare_strategies(decisions).decisions == 2
    assert compare_strategies(decisions, since_ms=START_MS + 1).decisions == 1
    for scope in ("acme", "acme/web-us-usd", "acme/web-us-usd/s1"):
        assert compare_strategies(decisions, scope).decisions == 2
    assert compare_strategies(decisions, "acme/web-us").results == ()


def test_strategy_of_a_record_without_it_follows_from_its_policy() -> None:
    policy = Policy.from_dict({"strategies": {"by_role": {"margin": "match_rival"}}})
    decisions = [a_decision("d1", policy), a_decision("d2", policy, approved_minor=2100)]
    for decision in decisions:
        del decision["inputs"]["attributes"]
    found = compare_strategies(decisions).results
    assert [(each.category, each.strategy) for each in found] == [
        ("acme/", "match_rival"), ("acme/", "operator_price"),
    ]  # fmt: skip


def test_list_names_every_strategy_with_its_use() -> None:
    content = {"by_role": {"kvi": "match_rival"}, "shadow": ["match_rival", "thompson"]}
    found = {each.name: each for each in list_strategies(Policy.from_dict({"strategies": content}))}
    assert list(found) == [strategy.name for strategy in STRATEGIES if strategy.selectable]
    assert (
        found["match_rival"].used_for == ("role kvi", "shadow") and found["match_rival"].settings == "match_rival"
    )
    assert found["thompson"].used_for == ("shadow",) and found["revenue_lp"].used_for == ()
    assert all(each.what.endswith(".") and "`" not in each.what for each in found.values())
