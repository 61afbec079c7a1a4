"""Check of rules: conflicts, gaps, expired and shadowed rules, and the catalog's listings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings

from jobs.pricing.rules.check import FindingKind, RuleCheck, Severity, check_rules
from jobs.pricing.rules.matching import matched_rules
from tests.jobs.pricing.pricing_builders import a_catalog_entry
from tests.jobs.pricing.rule_builders import a_section, rule_lists, ruled

NOW = datetime.fromisoformat("2026-12-10T12:00")


def checked(*rules: dict[str, Any], **more: Any) -> RuleCheck:
    return check_rules(a_section(list(rules)), NOW, **more)


def adjusting(name: str, share: float = -0.1, priority: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "adjust": share, "priority": priority} | more


def test_set_with_conflicts_gaps_and_expired_entries_is_reported_as_such() -> None:
    found = checked(
        adjusting("morning", when={"from_hour": 8, "until_hour": 12, "category": "shoes"}),
        adjusting("evening", when={"from_hour": 14, "until_hour": 20, "category": "shoes"}),
        adjusting("kvi", 0.05, when={"role": "kvi"}),
        adjusting("november", valid_to="2026-11-30"),
        adjusting("christmas", -0.3, priority=9, valid_from="2026-12-20"),
    )
    kinds = {finding.kind: finding for finding in found.findings}
    assert found.rules == 5 and found.has_errors
    assert kinds[FindingKind.EXPIRED].rules == ("november",)
    assert kinds[FindingKind.NOT_YET_VALID].rules == ("christmas",)
    errors = [finding.rules for finding in found.findings if finding.severity is Severity.ERROR]
    assert errors == [("evening", "kvi"), ("kvi", "morning")]
    [gap] = found.of(FindingKind.GAP)
    assert gap.rules == ("evening", "morning") and gap.text.endswith(
        "on mon, tue, wed, thu, fri, sat, sun 0–8, 12–14, 20–24"
    )


def test_conflict_of_different_priorities_is_a_note_that_names_the_winner() -> None:
    found = checked(
        adjusting("a", priority=1, when={"category": "shoes"}), adjusting("b", 0.1, when={"role": "kvi"})
    )
    [conflict] = found.findings
    assert conflict.severity is Severity.NOTE and not found.has_errors
    assert conflict.text == "a (priority 1) applies instead of b (priority 0) where both hold"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"when": {"category": "shoes"}}, {"when": {"category": ["hats", "bags"]}}),
        ({"when": {"role": "kvi"}}, {"when": {"role": "margin"}}),
        ({"when": {"weekdays": ["sat"]}}, {"when": {"weekdays": ["sun"], "role": "kvi"}}),
        (
            {"when": {"from_hour": 22, "until_hour": 2}},
            {"when": {"from_hour": 2, "until_hour": 22, "role": "kvi"}},
        ),
        ({"when": {"most_stock": 10}}, {"when": {"least_stock": 11}}),
        ({"valid_to": "2026-12-24"}, {"valid_from": "2026-12-25"}),
        ({}, {"adjust": -0.1}),
    ],
)
def test_rules_that_exclude_each_other_or_do_the_same_do_not_conflict(one: Any, other: Any) -> None:
    found = checked(adjusting("a") | one, adjusting("b", 0.1) | other)
    assert not found.of(FindingKind.CONFLICT)


def test_rules_of_different_actions_do_not_conflict() -> None:
    assert checked(adjusting("a"), {"name": "b", "hold": True}).findings == ()


def test_rule_that_never_applies_is_shadowed() -> None:
    wide = adjusting("wide", priority=5, when={"category": ["shoes", "hats"], "least_stock": 10})
    narrow = adjusting("narrow", 0.1, when={"category": "shoes", "least_stock": 20, "weekdays": ["sat"]})
    [finding] = checked(wide, narrow).findings
    assert finding.kind is FindingKind.SHADOWED and finding.rules == ("narrow", "wide")
    assert not checked(wide | {"valid_to": "2026-12-24"}, narrow).of(FindingKind.SHADOWED)
    assert not checked(wide, narrow | {"when": {"category": "shoes"}}).of(FindingKind.SHADOWED)


def test_rule_does_not_shadow_where_its_strategy_or_its_band_may_not_apply() -> None:
    rules = [{"name": "a", "strategy": "cost_plus", "priority": 1}, {"name": "b", "strategy": "match_rival"}]
    assert checked(*rules).of(FindingKind.SHADOWED)
    assert not checked(*rules, allows=lambda role, name: role != "kvi").of(FindingKind.SHADOWED)
    bands = [{"name": "a", "band": {"of": "rivals", "most": 1}, "priority": 1}, {"name": "b", "band": {"most": 1}}]
    assert not checked(*bands).of(FindingKind.SHADOWED)


def test_days_between_the_validities_of_like_rules_are_a_gap() -> None:
    found = checked(adjusting("a", valid_to="2026-12-24"), adjusting("b", valid_from="2026-12-27"))
    [gap] = found.of(FindingKind.GAP)
    assert gap.text == "no rule of a, b is valid from 2026-12-25 to 2026-12-27"
    assert not checked(adjusting("a", valid_to="2026-12-24"), adjusting("b", valid_from="2026-12-25")).of(
        FindingKind.GAP
    )


def test_hours_that_a_wider_rule_covers_are_no_gap() -> None:
    day = {"from_hour": 8, "until_hour": 12, "category": "shoes"}
    like = [adjusting("a", when=day), adjusting("b", when=day | {"from_hour": 14, "until_hour": 20})]
    assert checked(*like).of(FindingKind.GAP)
    assert not checked(*like, adjusting("c", priority=-1)).of(FindingKind.GAP)


def test_listings_that_fit_no_rule_and_rules_that_fit_no_listing_are_reported() -> None:
    entries = [
        a_catalog_entry("s1", tags="sale"), a_catalog_entry("s2"), a_catalog_entry("s3", category="hats"),
        a_catalog_entry("s4", active=False),
    ]  # fmt: skip
    rules = [
        adjusting("sale", when={"tags": ["sale"]}),
        {"name": "bags", "hold": True, "when": {"category": "bags"}},
    ]
    found = checked(*rules, entries=entries)
    [unused], [uncovered] = found.of(FindingKind.FITS_NO_LISTING), found.of(FindingKind.UNCOVERED)
    assert unused.rules == ("bags",)
    assert uncovered.text.startswith("2 of 3 active listings fit no rule, for example acme/web-us-usd/s2")


@settings(max_examples=150, deadline=None)
@given(rules=rule_lists)
def test_rules_that_compete_in_a_decision_are_reported_unless_they_do_the_same(
    rules: list[dict[str, Any]],
) -> None:
    section = a_section(rules)
    found = check_rules(section, datetime.fromisoformat("2026-01-01"))
    effects = {rule.name: rule.effect for rule in section.entries}
    reported = {frozenset(finding.rules) for finding in found.findings}
    shadowed = {finding.rules[0] for finding in found.of(FindingKind.SHADOWED)}
    for lost in matched_rules(ruled(*rules)).lost:
        same = effects[lost.rule] == effects[lost.to]
        assert same or lost.rule in shadowed or frozenset((lost.rule, lost.to)) in reported


@settings(max_examples=150, deadline=None)
@given(rules=rule_lists)
def test_shadowed_rule_applies_to_no_decision(rules: list[dict[str, Any]]) -> None:
    found = check_rules(a_section(rules), datetime.fromisoformat("2026-01-01"))
    shadowed = {finding.rules[0] for finding in found.of(FindingKind.SHADOWED)}
    assert shadowed.isdisjoint(rule.rule for rule in matched_rules(ruled(*rules)).applied)
