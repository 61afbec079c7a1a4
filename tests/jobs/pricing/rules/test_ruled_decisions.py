"""Decisions under rules: strategy, adjustment, band and hold, alone and in price groups, and their records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import Audit, same_bytes
from jobs.pricing.decision.explain import explain
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.guardrails.pricing_rules import RuleBand
from jobs.pricing.rules.matching import LostRule, LostTo
from jobs.pricing.strategies import strategy_of
from schemas.codes import OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_current,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
    prices_of,
    some_inputs,
)
from tests.jobs.pricing.rule_builders import KNOWN, a_rule_policy, rule_lists, ruled

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


# -- price groups -------------------------------------------------------------------------------


def a_group(*rules: dict[str, Any], **of_skus: dict[str, Any]) -> list[PricingInputs]:
    """Return two members of a group under rules, with changes of each."""
    policy = a_rule_policy(*rules)
    return [a_member(sku, policy, **({"attributes": KNOWN} | of_skus.get(sku, {}))) for sku in ("s1", "s2")]


def decided(members: list[PricingInputs]) -> tuple[GroupTerms, list[dict[str, Any]]]:
    """Return a group's terms and its members' decisions, after an audit of both."""
    terms = plan_group(members, "p1", "acme/web-us-usd/s1")
    records = [a_record(replace(each, group=terms)) | {"decision_id": each.listing.sku} for each in members]
    audit = Audit.of(records, catalog_of(members[0].policy))
    assert audit.differing == [] and audit.joint == 1
    assert GroupTerms.from_record(orjson.loads(orjson.dumps(terms.to_record()))) == terms
    return terms, records


def test_group_follows_the_strategy_rule_of_the_highest_priority_among_its_members() -> None:
    rules = [
        {"name": "few", "strategy": "match_rival", "priority": 1, "when": {"most_stock": 5}},
        {"name": "all", "strategy": "cost_plus"},
    ]
    terms, [one, other] = decided(a_group(*rules, s2={"attributes": KNOWN | {"on_hand": 3}}))
    assert [rule.rule for rule in terms.rules] == ["few"]
    assert terms.candidate_minor == 1899  # 19.00, rounded down to the ending
    assert one["result"]["strategy"] == other["result"]["strategy"] == "match_rival"
    assert one["result"]["rules"]["lost"] == [
        {"rule": "all", "action": "strategy", "to": "few", "reason": "group"}
    ]


def test_adjustment_of_one_member_applies_to_the_group() -> None:
    rule = {"name": "sale", "adjust": -0.1, "when": {"tags": ["sale"]}}
    bare = {"attributes": KNOWN | {"tags": []}}
    plain, _ = decided(a_group(rule, s1=bare, s2=bare))
    terms, records = decided(a_group(rule, s1=bare))
    assert abs((terms.candidate_minor or 0) - 0.9 * (plain.candidate_minor or 0)) <= 50
    assert terms.outcome is OutcomeCode.PUBLISHED
    assert all(record["result"]["rules"]["applied"][0]["rule"] == "sale" for record in records)


def test_band_of_one_member_bounds_the_group() -> None:
    rule = band(of="minor", most=1900) | {"when": {"tags": ["sale"]}}
    terms, records = decided(a_group(rule, s1={"attributes": KNOWN | {"tags": []}}))
    assert terms.prices is not None and max(p for each in terms.prices.values() for p in each.prices) <= 1900
    assert "rules" not in records[0]["result"] and records[1]["result"]["rules"]["applied"][0]["rule"] == "band"


def test_bands_of_two_members_that_exclude_each_other_follow_the_priority() -> None:
    low = band("low", of="minor", most=1850) | {"when": {"most_stock": 5}}
    high = band("high", of="minor", least=2050) | {"when": {"least_stock": 6}}
    few = {"s2": {"attributes": KNOWN | {"on_hand": 3}}}
    terms, _ = decided(a_group(low | {"priority": 1}, high, **few))
    assert terms.outcome is OutcomeCode.PUBLISHED and terms.candidate_minor is not None
    assert terms.candidate_minor <= 1850
    terms, _ = decided(a_group(low, high | {"priority": 1}, **few))
    assert terms.candidate_minor is not None and terms.candidate_minor >= 2050


def test_hold_of_one_member_holds_the_group() -> None:
    rule = {"name": "stop", "hold": True, "when": {"tags": ["sale"]}}
    terms, [one, _] = decided(a_group(rule, s1={"attributes": KNOWN | {"tags": []}}))
    assert terms.outcome is OutcomeCode.HELD and terms.holders[0].listing.endswith("s2")
    assert one["result"]["outcome"] == "HELD"


@settings(max_examples=40, deadline=None)
@given(rules=rule_lists, stock=st.integers(0, 80))
def test_group_under_any_rules_has_one_price_and_recomputes(rules: list[dict[str, Any]], stock: int) -> None:
    _, records = decided(a_group(*rules, s2={"attributes": KNOWN | {"on_hand": stock, "tags": ["old"]}}))
    assert len({record["result"]["default_minor"] for record in records}) == 1


def test_terms_without_rules_have_no_key_for_them() -> None:
    assert "rules" not in plan_group([some_inputs()], "p1", "acme/web-us-usd/s1").to_record()
