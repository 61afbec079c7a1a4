"""The policy's section ``rules``: its form, what it refuses, and patches of it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings

from jobs.cli.policy import parse_changes
from jobs.policies.documents import nested
from jobs.pricing.policies import PatchError, PolicyBook, PolicyPatch, PolicyScope, check_patch
from jobs.pricing.policy import Policy, PolicyError
from jobs.pricing.rules.check import check_rules
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS
from tests.jobs.pricing.rule_builders import a_rule_policy, a_section, rule_lists

HOLD = {"name": "stop", "hold": True}


@settings(max_examples=60, deadline=None)
@given(rules=rule_lists)
def test_rules_survive_a_round_trip_and_keep_the_policys_hash(rules: list[dict[str, Any]]) -> None:
    policy = a_rule_policy(*rules)
    again = Policy.from_dict(orjson.loads(orjson.dumps(policy.to_dict())))
    assert again == policy and again.hash == policy.hash


def test_only_stated_keys_are_written() -> None:
    rule = {"name": "slow", "when": {"category": "shoes", "least_cover_days": 60.0}, "adjust": -0.1}
    assert a_rule_policy(rule).to_dict()["rules"] == {"entries": [rule]}


def test_rules_are_ordered_by_priority_and_then_by_name() -> None:
    names = [("b", 1), ("a", 1), ("d", 0), ("c", 2)]
    section = a_section([{"name": name, "priority": priority, "hold": True} for name, priority in names])
    assert [rule.name for rule in section.ordered] == ["c", "a", "b", "d"]


def test_dates_of_yaml_are_read_and_a_last_date_is_included() -> None:
    content = yaml.safe_load("[{name: x, valid_from: 2026-12-01, valid_to: 2026-12-24, hold: true}]")
    [rule] = a_section(content).entries
    assert (rule.valid_from, rule.valid_to) == ("2026-12-01", "2026-12-24")
    assert rule.ends.isoformat() == "2026-12-25T00:00:00"


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            [{"name": "x"}],
            "rules.entries.0: expected exactly one action of strategy, adjust, band, hold, got none",
        ),
        (
            [HOLD | {"adjust": 0.1}],
            "expected exactly one action of strategy, adjust, band, hold, got adjust, hold",
        ),
        ([{"hold": True}], "rules.entries.0.name: field required"),
        ([HOLD | {"name": "a|b"}], "name: expected no control characters, no vertical bar, got 'a|b'"),
        ([HOLD, HOLD], "expected unique names, got stop more than once"),
        ([{"name": "x", "strategy": "cheapest"}], "strategy: expected a strategy among cold_start"),
        ([{"name": "x", "strategy": "operator_price"}], "got 'operator_price'"),
        ([{"name": "x", "adjust": 0}], "adjust: expected a share other than 0"),
        ([{"name": "x", "adjust": -1}], "adjust: input should be greater than -1; got -1"),
        ([{"name": "x", "band": {}}], "rules.entries.0.band: expected least, most or both, got none"),
        ([{"name": "x", "band": {"least": 2, "most": 1}}], "expected least ≤ most, got 2.0 and 1.0"),
        ([{"name": "x", "band": {"of": "margin", "most": 1}}], "band.of: input should be 'minor', 'list'"),
        ([HOLD | {"valid_from": "soon"}], "valid_from: expected a date or a minute of the market's local time"),
        ([HOLD | {"valid_from": "2026-12-01T10:00Z"}], "without a time zone and without seconds"),
        ([HOLD | {"valid_to": "9999-01-01"}], "from 1970 to 2199"),
        ([HOLD | {"valid_from": "2026-12-02", "valid_to": "2026-12-01"}], "expected valid_from before valid_to"),
        ([HOLD | {"priority": 5000}], "rules.entries.0.priority: input should be less than or equal to 1000"),
        ([HOLD | {"colour": "red"}], "rules.entries.0.colour: extra inputs are not permitted"),
    ],
)
def test_wrong_rule_is_refused_with_key_expected_and_given(rules: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(PolicyError) as error:
        a_rule_policy(*rules)
    assert problem in str(error.value)


def test_strategy_that_a_named_role_may_not_use_is_refused() -> None:
    only = {"allowed_by_role": {"kvi": ["match_rival"]}, "by_role": {"kvi": "match_rival"}}
    rule = {"name": "x", "strategy": "cost_plus", "when": {"role": ["margin", "kvi"]}}
    with pytest.raises(
        PolicyError, match=r"rule 'x': expected a strategy that strategies.allowed_by_role.kvi allows"
    ):
        a_rule_policy(rule, strategies=only)
    a_rule_policy(rule | {"when": {"role": "margin"}}, strategies=only)


# -- patches ------------------------------------------------------------------------------------

ENTRY = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "kvi", "USD", 1, True, 700, 1000)
FROM_MS = START_MS + 2 * MINUTE_MS


def a_patch(scope: str, rules: list[dict[str, Any]] | None, number: int = 1, **sections: Any) -> Command:
    """Return a policy command that sets or removes the rules of a scope."""
    parsed = PolicyScope.parse(scope)
    changes = {"rules": {"entries": rules}} | sections
    return Command(
        f"c{number}", START_MS + number, parsed.tenant, "policy", "ann",
        selection=f"{parsed.field}={parsed.value}" if parsed.field else None,
        changes=orjson.dumps(changes).decode(), from_ms=START_MS + 3 * MINUTE_MS,
    )  # fmt: skip


def names_after(*commands: Command) -> list[str]:
    book = PolicyBook(Policy())
    for command in commands:
        book.take(command)
    book.advance(START_MS + 10 * MINUTE_MS)
    return [rule.name for rule in book.of(ENTRY).rules.entries]


def test_rules_hold_in_their_scope_and_a_narrower_scope_replaces_them() -> None:
    wide, narrow = a_patch("acme", [HOLD]), a_patch("acme:category=shoes", [HOLD | {"name": "shoes"}], 2)
    assert names_after(wide) == ["stop"]
    assert names_after(a_patch("acme:category=hats", [HOLD])) == []
    assert names_after(wide, narrow) == ["shoes"]
    assert names_after(wide, narrow, a_patch("acme:category=shoes", None, 3)) == ["stop"]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            [{"name": "x", "strategy": "cheapest"}],
            "acme: policy: rules.entries.0: strategy: expected a strategy among",
        ),
        ([HOLD | {"when": {"role": "vip"}}], "rules.entries.0.when: expected a role among kvi"),
        ([HOLD, HOLD], "expected unique names, got stop more than once"),
        ("all", "rules.entries: input should be a valid tuple"),
    ],
)
def test_patch_with_a_bad_rule_is_refused_with_key_expected_and_got(rules: Any, problem: str) -> None:
    with pytest.raises(PatchError) as error:
        PolicyBook(Policy()).take(a_patch("acme", rules))
    assert problem in str(error.value) and "got" in str(error.value)


def test_rules_of_the_operations_page_are_valid_and_can_be_sent_as_a_patch() -> None:
    text = (Path(__file__).parents[4] / "infra" / "docs" / "operations.md").read_text()
    [block] = re.findall(r"```\n(# rules\.yaml\n.*?)```", text, re.DOTALL)
    changes = nested(parse_changes([f"rules.entries={block}"], None))
    sent = orjson.loads(orjson.dumps(changes))
    check_patch(Policy(), {}, PolicyPatch("c", PolicyScope("demo"), changes, FROM_MS))
    assert names_after(a_patch("acme", sent["rules"]["entries"])) == [
        rule["name"] for rule in yaml.safe_load(block)
    ]
    found = check_rules(a_section(sent["rules"]["entries"]), datetime.fromisoformat("2026-12-01"))
    assert not found.has_errors


def test_patch_of_an_unknown_key_of_the_section_is_refused() -> None:
    patch = PolicyPatch("c", PolicyScope("acme"), {"rules": {"entry": []}}, FROM_MS)
    with pytest.raises(PatchError, match=r"rules.entry: expected a key of the policy, perhaps rules.entries"):
        check_patch(Policy(), {}, patch)


def test_rule_that_contradicts_the_allowed_strategies_of_another_scope_is_refused() -> None:
    book = PolicyBook(Policy())
    only = {"allowed_by_role": {"kvi": ["profit_lp"]}}
    book.take(a_patch("acme:category=shoes", [], strategies=only))
    rule = {"name": "x", "strategy": "cost_plus", "when": {"role": "kvi"}}
    with pytest.raises(PatchError, match="together with scope"):
        book.take(a_patch("acme:role=kvi", [rule], 2))
