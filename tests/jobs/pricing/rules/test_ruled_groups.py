"""Price groups under rules: which member's rules the group follows, and its records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import Audit
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from schemas.codes import Fallback, OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import a_model, a_record, catalog_of, some_inputs
from tests.jobs.pricing.rule_builders import KNOWN, a_rule_policy, rule_lists


def band(name: str = "band", **ends: Any) -> dict[str, Any]:
    return {"name": name, "band": ends}


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


def test_group_whose_rule_needs_no_demand_model_does_not_fall_back() -> None:
    rule = {"name": "plus", "strategy": "cost_plus", "when": {"tags": ["sale"]}}
    bare = {"attributes": KNOWN | {"tags": []}, "model": a_model("no_exposures")}
    terms, records = decided(a_group(rule, s1=bare, s2={"model": a_model()}))
    assert terms.fallback is Fallback.NONE and {r["result"]["strategy"] for r in records} == {"cost_plus"}
    terms, records = decided(a_group({"name": "less", "adjust": -0.05}, s1=bare, s2={"model": a_model()}))
    assert terms.fallback is Fallback.RULE and {r["result"]["strategy"] for r in records} == {"fallback_rule"}


def test_terms_without_rules_have_no_key_for_them() -> None:
    assert "rules" not in plan_group([some_inputs()], "p1", "acme/web-us-usd/s1").to_record()
