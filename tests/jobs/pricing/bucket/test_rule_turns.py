"""Time turns rules on and off: which listings are repriced, in which minute, and what a restart changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch, Output
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.events import Stock
from schemas.records.operator_events import Command
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, of_stream, restarted
from tests.jobs.pricing.rule_builders import a_rule_policy

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
EVENING = {"name": "evening", "adjust": -0.05, "when": {"from_hour": 18, "until_hour": 20, "category": "shoes"}}


def a_logic(policy: Policy | None, **changes: Any) -> RepricingLogic:
    """Return a logic with shoes, hats and shoes on sale, at their first prices."""
    logic, at_ms = RepricingLogic(policy), START_MS + MINUTE_MS
    entries = (
        a_catalog_entry("s1", **changes), a_catalog_entry("h1", category="hats", **changes),
        a_catalog_entry("s2", tags="sale", **changes),
    )  # fmt: skip
    list(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms)))
    return logic


def batches(logic: RepricingLogic, *times_ms: int) -> list[Output]:
    outputs: list[Output] = []
    for at_ms in times_ms:
        outputs += logic.on_batch(Batch(0, at_ms, now_ms=at_ms))
    return outputs


def turned(outputs: Iterable[Output]) -> list[tuple[str, str, int]]:
    """Return SKU, what happened, and the minute of every decision that a rule's turn requested."""
    return [
        (d["sku"], d["cause_detail"]["turned"], (d["event_time_ms"] - START_MS) // MINUTE_MS)
        for d in of_stream(list(outputs), "decisions")
        if d["cause"] == Cause.RULE_TURNED
    ]


def a_day(logic: RepricingLogic, first: int = 17 * 60, last: int = 21 * 60) -> list[Output]:
    return batches(logic, *(START_MS + minute * MINUTE_MS for minute in range(first, last)))


def test_listings_of_a_rule_are_repriced_when_its_hours_begin_and_end() -> None:
    outputs = a_day(a_logic(a_rule_policy(EVENING)))
    assert turned(outputs) == [
        ("s1", "began", 18 * 60), ("s2", "began", 18 * 60), ("s1", "ended", 20 * 60), ("s2", "ended", 20 * 60),
    ]  # fmt: skip
    decisions = [d for d in of_stream(outputs, "decisions") if d["sku"] == "s1"]
    held = [bool(d["result"].get("rules")) for d in decisions if d["cause"] == Cause.RULE_TURNED]
    assert held == [True, False]
    policies = PolicyCatalog({policy.hash: policy for policy in (a_rule_policy(EVENING),)})
    records = [orjson.loads(orjson.dumps(d, option=orjson.OPT_SERIALIZE_NUMPY)) for d in decisions]
    assert Audit.of(records, policies).differing == []


def test_hours_are_the_markets() -> None:
    tokyo = a_rule_policy(EVENING, local_time={"time_zones": {"web-us-usd": "Asia/Tokyo"}})
    assert [minute for _, _, minute in turned(a_day(a_logic(tokyo), 8 * 60, 12 * 60))] == [9 * 60] * 2 + [
        11 * 60
    ] * 2


def test_validity_and_weekdays_turn_a_rule_at_midnight() -> None:
    friday = {"name": "friday", "hold": True, "when": {"weekdays": ["fri"]}}  # 2026-01-02
    third = {"name": "third", "adjust": 0.05, "valid_from": "2026-01-03", "valid_to": "2026-01-03"}
    minutes = range(24 * 60 - 1, 4 * 24 * 60, 30)
    outputs = batches(a_logic(a_rule_policy(friday, third)), *(START_MS + (m + 1) * MINUTE_MS for m in minutes))
    days = {(what, minute // (24 * 60)) for _, what, minute in turned(outputs)}
    # On the third day the hold ends and the adjustment begins: the rule that comes first by name is named.
    assert days == {("began", 1), ("ended", 2), ("ended", 3)}


def test_age_turns_a_rule_for_each_listing_by_itself() -> None:
    old = {"name": "old", "adjust": -0.05, "when": {"least_age_days": 2, "category": "hats"}}
    logic = a_logic(a_rule_policy(old), at_ms=START_MS + 30_000)
    outputs = batches(logic, *(START_MS + 2 * DAY_MS + minute * MINUTE_MS for minute in range(-2, 4)))
    assert turned(outputs) == [("h1", "began", 2 * 24 * 60 + 1)]


def test_listing_without_a_price_table_is_not_repriced() -> None:
    assert turned(a_day(a_logic(a_rule_policy(EVENING), cost_minor=None))) == []


def test_minute_without_a_turn_requests_nothing() -> None:
    assert turned(batches(a_logic(a_rule_policy(EVENING)), START_MS + 18 * HOUR_MS + MINUTE_MS)) != []
    assert turned(a_day(a_logic(a_rule_policy(EVENING)), 18 * 60 + 1, 18 * 60 + 1)) == []
    assert turned(a_day(a_logic(None))) == []


@pytest.mark.parametrize("restart_at", [17 * 60 + 59, 18 * 60, 19 * 60])
def test_restart_around_a_turn_changes_no_output(restart_at: int) -> None:
    def run(at: int | None) -> list[Output]:
        logic, outputs = a_logic(a_rule_policy(EVENING)), list[Output]()
        for minute in range(17 * 60, 21 * 60):
            logic = restarted(logic) if minute == at else logic
            outputs += batches(logic, START_MS + minute * MINUTE_MS)
        return outputs

    assert run(restart_at) == run(None)


def test_patched_rule_holds_from_its_minute_in_its_scope() -> None:
    logic, sent_ms = a_logic(None), START_MS + 17 * HOUR_MS
    batches(logic, sent_ms)
    sale = EVENING | {"when": {"from_hour": 18, "until_hour": 20}}
    command = Command(
        "c1", sent_ms, "acme", "policy", "ann", selection="sku=s1", from_ms=sent_ms + 2 * MINUTE_MS,
        changes=orjson.dumps({"rules": {"entries": [sale]}}).decode(), reason="test",
    )  # fmt: skip
    [accepted] = of_stream(list(logic.on_fact(a_fact("commands", command, sent_ms, 1))), "policy_changes")
    assert accepted["accepted"]
    outputs = a_day(logic, 17 * 60 + 1)
    causes = [(d["sku"], d["cause"]) for d in of_stream(outputs, "decisions") if "rules" in d["result"]]
    assert causes[0] == ("s1", "RULE_TURNED") and {sku for sku, _ in causes} == {"s1"}
    changed = [d for d in of_stream(outputs, "decisions") if d["cause"] == Cause.POLICY_CHANGED]
    assert [d["sku"] for d in changed] == ["s1"]


def test_attributes_hold_the_tags_and_the_local_weekday() -> None:
    tokyo = a_rule_policy(EVENING, local_time={"time_zones": {"web-us-usd": "Asia/Tokyo"}})
    outputs = a_day(a_logic(tokyo), 8 * 60, 9 * 60 + 1)
    found = {d["sku"]: d["inputs"]["attributes"] for d in of_stream(outputs, "decisions")}
    assert (found["s2"]["tags"], found["s1"]["tags"]) == (("sale",), ())
    assert (found["s2"]["hour"], found["s2"]["weekday"]) == (18, 3)  # 2026-01-01 is a Thursday


def test_changed_tags_reprice_the_listing() -> None:
    logic = a_logic(a_rule_policy({"name": "sale", "adjust": -0.05, "when": {"tags": ["sale"]}}))
    at_ms = START_MS + HOUR_MS
    entry = a_catalog_entry("s1", at_ms=at_ms, tags="sale,new")
    outputs = list(logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms)))
    [decision] = of_stream(outputs, "decisions")
    assert decision["cause"] == "COST_CHANGED" and decision["cause_detail"] == {"tags": [None, "sale,new"]}
    assert decision["result"]["rules"]["applied"][0]["rule"] == "sale"


def test_stock_condition_is_read_when_the_listing_is_decided_on() -> None:
    rule = {"name": "left", "adjust": -0.05, "when": {"least_stock": 5, "most_stock": 60}}
    logic, at_ms = a_logic(a_rule_policy(rule)), START_MS + HOUR_MS
    stock = Stock("e", at_ms - 1, "acme", "web-us-usd", "s1", "s1", 50, 0, 0.0)
    outputs = list(logic.on_batch(Batch(0, at_ms, stock=(stock,), now_ms=at_ms)))
    assert list(of_stream(outputs, "decisions")) == []
    settle = Command("c", at_ms, "acme", "settle", "ann", "web-us-usd", "s1")
    [decision] = of_stream(list(logic.on_fact(a_fact("commands", settle, at_ms, 1))), "decisions")
    assert decision["result"]["rules"]["applied"][0]["rule"] == "left"
