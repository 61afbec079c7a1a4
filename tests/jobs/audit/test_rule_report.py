"""Rules in the decision log: statistics that add up, rules that never matched, and conflicts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.rules import RuleReport, Statistics, rule_report
from jobs.audit.strategies import compare_strategies, list_strategies
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.rules.rule import ActionKind
from tests.jobs.pricing.pricing_builders import START_MS, a_current, a_record, catalog_of, some_inputs
from tests.jobs.pricing.rule_builders import KNOWN, a_rule_policy, rule_lists

MINUTE_MS = 60_000
DOWN = {"name": "down", "adjust": -0.1, "when": {"category": "shoes"}}
UP = {"name": "up", "strategy": "cost_plus", "when": {"category": "hats"}}
UNUSED = {"name": "unused", "hold": True, "when": {"category": "bags"}}
LOSING = {"name": "losing", "adjust": 0.1, "priority": -1}


def a_decision(sku: str, minute: int, *rules: dict[str, Any], category: str = "shoes", **changes: Any) -> Any:
    """Return a decision as it is read from the topic, with the policy that it ran under."""
    policy = a_rule_policy(*rules)
    listing, at_ms = f"acme/web-us-usd/{sku}", START_MS + minute * MINUTE_MS
    known = {"attributes": KNOWN | {"category": category}}
    record = a_record(some_inputs(policy, listing=listing, at_ms=at_ms, **(known | changes)))
    return record | {"decision_id": f"{sku}-{minute}", "tenant": "acme"}, policy


def a_log(*decisions: Any) -> tuple[list[dict[str, Any]], PolicyCatalog]:
    return [record for record, _ in decisions], catalog_of(*(policy for _, policy in decisions))


def assert_adds_up(found: RuleReport) -> None:
    """Check that every partition of the listings has all of them."""
    assert sum(row.listings for row in found.strategies) == found.listings
    for action in found.actions:
        assert sum(row.listings for row in action.rules) + action.without.listings == found.listings
    rows = (*found.strategies, found.without_rule, *(r for a in found.actions for r in (*a.rules, a.without)))
    for row in rows:
        assert row.up + row.down + row.unchanged + row.unpriced == row.listings


def test_statistics_per_rule_and_strategy_add_up_to_the_listings() -> None:
    rules = (DOWN, UP, UNUSED, LOSING)
    log, policies = a_log(
        *(a_decision(f"s{i}", 1, *rules) for i in range(4)),
        *(a_decision(f"h{i}", 1, *rules, category="hats", catalog_cost_minor=1700) for i in range(3)),
        a_decision("plain", 1),
    )
    found = rule_report(log, policies)
    assert_adds_up(found)
    assert found.listings == found.decisions == 8
    assert [row.name for row in found.strategies] == ["cost_plus", "profit_lp"]
    assert [row.listings for row in found.strategies] == [3, 5]
    down = found.of_rule("down")
    assert down is not None and down.listings == down.down == 4
    assert down.mean_change == pytest.approx(1849 / 1999 - 1)
    assert down.text == "4 listings, mean −7.5 %, 0 up, 4 down"
    up = found.of_rule("up")
    assert up is not None and up.up == up.listings == 3
    assert found.without_rule.listings == 1
    assert found.never_matched == ("unused",)
    [conflict] = found.conflicts
    assert (conflict.rule, conflict.to, conflict.reason, conflict.listings) == ("losing", "down", "priority", 4)


def test_listing_counts_once_by_its_last_decision_and_changes_from_its_first_price() -> None:
    first, second = a_decision("s1", 1, DOWN), a_decision("s1", 2, UP, category="hats", current=a_current(1849))
    log, policies = a_log(second, first, first)
    found = rule_report(log, policies)
    assert found.listings == 1 and found.decisions == 2 and found.of_rule("down") is None
    row = found.of_rule("up")
    last = log[0]["result"]["default_minor"]
    assert row is not None and row.listings == 1 and row.mean_change == pytest.approx(last / 1999 - 1)
    assert_adds_up(found)


def test_period_and_scope_select_decisions() -> None:
    log, policies = a_log(a_decision("s1", 1, DOWN), a_decision("s1", 9, DOWN), a_decision("s2", 9, DOWN))
    assert rule_report(log, policies, since_ms=START_MS + 5 * MINUTE_MS).decisions == 2
    assert rule_report(log, policies, scope="acme/web-us-usd/s2").listings == 1
    assert rule_report(log, policies, scope="acme/web-us").listings == 0


def test_rules_in_force_that_no_decision_ran_under_never_matched() -> None:
    log, policies = a_log(a_decision("s1", 1, DOWN))
    assert rule_report(log, policies, rules=["new", "down"]).never_matched == ("new",)


def test_band_outside_the_hard_limits_is_counted() -> None:
    low = {"name": "low", "band": {"of": "minor", "most": 1000}}
    log, policies = a_log(a_decision("s1", 1, low), a_decision("s2", 1, low | {"band": {"most": 0.9}}))
    assert rule_report(log, policies).overruled == {"low": 1}


def test_listing_without_a_price_is_counted_as_such() -> None:
    log, policies = a_log(a_decision("s1", 1, catalog_list_minor=None, current=None))
    found = rule_report(log, policies)
    assert found.without_rule.unpriced == 1 and found.without_rule.mean_change is None
    assert found.without_rule.text == "1 listing, 0 up, 0 down, 1 without a price"
    assert_adds_up(found)


def test_strategy_of_a_record_is_that_of_its_policy_or_of_its_rule() -> None:
    log, policies = a_log(a_decision("s1", 1), a_decision("h1", 1, UP, category="hats"))
    assert [row.name for row in rule_report(log, policies).strategies] == ["cost_plus", "profit_lp"]
    assert [row.strategy for row in compare_strategies(log, policies=policies).results] == [
        "cost_plus",
        "profit_lp",
    ]
    assert [row.name for row in rule_report(log, PolicyCatalog()).strategies] == ["", "cost_plus"]


def test_strategies_list_names_the_rules_that_use_each() -> None:
    uses = {row.name: row.used_for for row in list_strategies(a_rule_policy(UP))}
    assert uses["cost_plus"] == ("rule up",)


changes = st.sampled_from(
    [{}, {"catalog_cost_minor": None}, {"frozen": "frozen by ann"}, {"approved_minor": 2100}]
)
decisions = st.tuples(
    st.integers(0, 3), st.integers(0, 5), rule_lists, st.sampled_from(["shoes", "hats"]), changes
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(decisions, max_size=6, unique_by=lambda row: row[:2]))
def test_statistics_add_up_for_any_log(rows: list[Any]) -> None:
    log, policies = a_log(*(a_decision(f"s{i}", at, *rules, category=c, **more) for i, at, rules, c, more in rows))
    found = rule_report(log, policies)
    assert_adds_up(found)
    assert found.listings == len({i for i, *_ in rows})
    assert [action.action for action in found.actions] == [kind.value for kind in ActionKind]
    assert found == rule_report(reversed(log), policies)


def test_text_of_statistics_is_that_of_the_issue() -> None:
    assert Statistics("r", 205, -0.111, 20, 185, 0, 0).text == "205 listings, mean −11.1 %, 20 up, 185 down"
