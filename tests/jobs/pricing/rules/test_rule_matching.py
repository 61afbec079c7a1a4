"""Which rules hold, which one applies, and which lose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.pricing.rules.matching import (
    NO_RULES,
    AppliedRule,
    LostRule,
    LostTo,
    MatchedRules,
    matched_rules,
    rules_of_group,
)
from jobs.pricing.rules.rule import ActionKind
from tests.jobs.pricing.pricing_builders import START_MS, an_offer_row
from tests.jobs.pricing.rule_builders import a_rule_policy, rule_lists, ruled

STOP = {"name": "stop", "hold": True}
DAY_MS = 86_400_000


@settings(max_examples=150, deadline=None)
@given(rules=rule_lists, data=st.data())
def test_order_of_the_entries_changes_nothing(rules: list[dict[str, Any]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rules))
    assert matched_rules(ruled(*rules)) == matched_rules(ruled(*shuffled))


@settings(max_examples=150, deadline=None)
@given(rules=rule_lists)
def test_every_rule_that_holds_applies_or_loses_to_one_that_comes_before_it(rules: list[dict[str, Any]]) -> None:
    inputs = ruled(*rules)
    found = matched_rules(inputs)
    order = {rule.name: rule.order for rule in inputs.policy.rules.entries}
    assert len({rule.action for rule in found.applied}) == len(found.applied)
    names = [rule.rule for rule in (*found.applied, *found.lost)]
    assert len(set(names)) == len(names)
    for lost in found.lost:
        winner = found.of(ActionKind(lost.action))
        assert winner is not None and lost.to == winner.rule and order[winner.rule] < order[lost.rule]
    alone = [r["name"] for r in rules if matched_rules(ruled(r)).applied]
    assert sorted(alone) == sorted(names)


def test_rules_of_different_actions_combine() -> None:
    found = matched_rules(ruled({"name": "a", "strategy": "cost_plus"}, {"name": "b", "adjust": 0.1}, STOP))
    assert [rule.action for rule in found.applied] == ["strategy", "adjust", "hold"] and not found.lost
    assert found.strategy == "cost_plus" and found.adjustment == 0.1


def test_higher_priority_wins_and_at_equal_priority_the_first_name() -> None:
    rules = [{"name": name, "adjust": share, "priority": p} for name, share, p in
             (("a", 0.1, 0), ("b", 0.2, 5), ("c", 0.3, 5))]  # fmt: skip
    found = matched_rules(ruled(*rules))
    assert found.applied == (AppliedRule("b", "adjust", 0.2, 5),)
    assert found.lost == tuple(LostRule(n, "adjust", "b", LostTo.PRIORITY.value) for n in ("c", "a"))


def test_operators_price_leaves_all_rules_aside() -> None:
    assert matched_rules(ruled(STOP, approved_minor=2100)) is NO_RULES


def test_bands_alone_apply_to_a_first_price() -> None:
    rules = [STOP, {"name": "b", "band": {"most": 0.9}}, {"name": "c", "strategy": "cost_plus"}]
    found = matched_rules(ruled(*rules, cause="COLD_START", current=None))
    assert [rule.rule for rule in found.applied] == ["b"] and not found.lost


def test_rule_is_valid_in_the_markets_local_time() -> None:
    rule = STOP | {"valid_from": "2026-01-01T01:00", "valid_to": "2026-01-01"}
    berlin = {"local_time": {"time_zones": {"web-us-usd": "Europe/Berlin"}}}
    assert not matched_rules(ruled(rule)).applied
    assert matched_rules(ruled(rule, sections=berlin)).applied
    last_ms = START_MS + DAY_MS - 1
    assert matched_rules(ruled(rule, at_ms=last_ms)).applied
    assert not matched_rules(ruled(rule, at_ms=last_ms, sections=berlin)).applied


def test_strategy_that_the_role_may_not_use_is_passed_over_and_reported() -> None:
    only = {"strategies": {"allowed_by_role": {"margin": ["profit_lp", "match_rival"]}}}
    rules = [{"name": "a", "strategy": "cost_plus", "priority": 2}, {"name": "b", "strategy": "match_rival"}]
    found = matched_rules(ruled(*rules, sections=only))
    assert found.strategy == "match_rival"
    assert found.lost == (LostRule("a", "strategy", "", LostTo.ROLE.value),)


@pytest.mark.parametrize(
    ("band", "limits"),
    [
        ({"least": 0.7, "most": 0.9}, (1400, 1799)),
        ({"of": "minor", "least": 1500}, (1500, None)),
        ({"of": "cost", "least": 1.2}, (1440, None)),
        ({"of": "rivals", "most": 1.0}, (None, 1900)),
    ],
)
def test_band_is_a_multiple_of_its_amount(band: dict[str, Any], limits: tuple[int | None, int | None]) -> None:
    [rule] = matched_rules(ruled({"name": "b", "band": band})).applied
    assert rule.effect == limits


def test_band_of_an_unknown_amount_does_not_hold() -> None:
    low = {"name": "low", "band": {"of": "list", "most": 1}}
    rules = [{"name": "b", "band": {"of": "rivals", "most": 1}, "priority": 1}, low]
    stale = [an_offer_row(1900, START_MS - 10**9)]
    assert [rule.rule for rule in matched_rules(ruled(*rules, offers=stale)).applied] == ["low"]


def test_policy_without_rules_matches_nothing() -> None:
    assert matched_rules(ruled()) is NO_RULES and a_rule_policy().rules.ordered == ()


def test_group_follows_the_highest_priority_among_its_members_rules() -> None:
    one = MatchedRules((AppliedRule("a", "strategy", "cost_plus", 1), AppliedRule("stop", "hold", True)))
    other = MatchedRules((AppliedRule("b", "strategy", "match_rival", 2), AppliedRule("c", "adjust", -0.1)))
    common = rules_of_group([one, other], lambda name: True)
    assert [rule.rule for rule in common] == ["b", "c"]
    assert common == rules_of_group([other, one], lambda name: True)
    assert [rule.rule for rule in rules_of_group([one, other], lambda name: name == "cost_plus")] == ["a", "c"]
    member = one.in_group(common)
    assert [rule.rule for rule in member.applied] == ["b", "c", "stop"]
    assert member.lost == (LostRule("a", "strategy", "b", LostTo.GROUP.value),)
