"""Patches in a bucket: which decisions they change, from which minute, and how each recomputes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch, Output
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policies import PolicyCatalog
from schemas.causes import Cause
from schemas.records.operator_events import Command
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, of_stream, restarted

SHOES, HATS = "acme/web-us-usd/s1", "acme/web-us-usd/h1"
FIRM = {"margin": {"min_margin": 0.45}}
"""A minimum margin that the list price of 19.99 on a cost of 12.00 does not reach."""


def minutes(logic: RepricingLogic, first: int, last: int) -> list[Output]:
    """Send empty minutes to a logic; return its outputs."""
    outputs: list[Output] = []
    for minute in range(first, last + 1):
        at_ms = START_MS + minute * MINUTE_MS
        outputs += logic.on_batch(Batch(0, at_ms, now_ms=at_ms))
    return outputs


def two_categories() -> tuple[RepricingLogic, list[Output]]:
    """Return a logic with shoes and hats at their list price, and its outputs."""
    logic, at_ms = RepricingLogic(), START_MS + MINUTE_MS
    entries = (a_catalog_entry("s1", category="shoes"), a_catalog_entry("h1", category="hats"))
    return logic, list(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms)))


def patch(
    logic: RepricingLogic, minute: int, changes: dict[str, Any], offset: int, replaces: bool = False
) -> list[Output]:
    """Send a patch for shoes that is sent in a minute and holds two minutes later."""
    at_ms = START_MS + minute * MINUTE_MS
    command = Command(
        f"c{offset}", at_ms, "acme", "policy", "ann", selection="category=shoes",
        changes=orjson.dumps(changes).decode(), from_ms=at_ms + 2 * MINUTE_MS, replaces=replaces, reason="test",
    )  # fmt: skip
    return list(logic.on_fact(a_fact("commands", command, at_ms, offset)))


def a_run(restart_at: int | None = None) -> list[Output]:
    """Run a patch in minute 100 and its rollback in minute 200; restart the logic in a minute."""
    logic, outputs = two_categories()
    for minute in range(2, 300):
        if minute == restart_at:
            logic = restarted(logic)
        outputs += minutes(logic, minute, minute)
        if minute == 100:
            outputs += patch(logic, minute, FIRM, 1)
        if minute == 200:
            outputs += patch(logic, minute, {}, 2, replaces=True)
    return outputs


def test_patch_changes_the_decisions_of_its_category_from_its_minute_and_no_others() -> None:
    changed = [d for d in of_stream(a_run(), "decisions") if d["cause"] == Cause.POLICY_CHANGED]
    assert {d["sku"] for d in changed} == {"s1"}
    assert [d["event_time_ms"] for d in changed] == [START_MS + minute * MINUTE_MS for minute in (103, 203)]
    assert changed[0]["cause_detail"]["scopes"] == ["acme:category=shoes"]
    assert changed[0]["result"]["default_minor"] >= 1200 / (1 - 0.45)
    assert changed[1]["cause_detail"]["scopes"] == []
    assert changed[1]["inputs"]["policy_hash"] == changed[0]["cause_detail"]["before"]


def test_decisions_before_between_and_after_recompute_from_record_and_topic() -> None:
    outputs = a_run()
    policies = PolicyCatalog.of(orjson.loads(orjson.dumps(value)) for value in of_stream(outputs, "policies"))
    decisions = [
        orjson.loads(orjson.dumps(d, option=orjson.OPT_SERIALIZE_NUMPY)) for d in of_stream(outputs, "decisions")
    ]
    assert len({d["inputs"]["policy_hash"] for d in decisions}) == len(policies) == 2
    audit = Audit.of(decisions, policies)
    assert audit.recomputed == len(decisions) and audit.differing == []
    assert "policy" not in decisions[0]["inputs"]


@pytest.mark.parametrize("restart_at", [101, 102, 103, 202])
def test_restart_around_a_patch_changes_no_output(restart_at: int) -> None:
    assert a_run(restart_at) == a_run()


def test_accepted_and_refused_patches_are_recorded() -> None:
    logic, _ = two_categories()
    minutes(logic, 2, 5)
    [accepted] = of_stream(patch(logic, 5, FIRM, 1), "policy_changes")
    assert accepted["accepted"] and accepted["operator"] == "ann" and accepted["reason"] == "test"
    before = orjson.dumps(logic.snapshot()["policies"])
    [refused] = of_stream(patch(logic, 5, {"segments": {"names": ["all"]}}, 2), "policy_changes")
    assert not refused["accepted"] and "segments.names: a deployment key" in refused["problem"]
    assert orjson.dumps(logic.snapshot()["policies"]) == before


def test_record_of_a_rollback_names_the_pending_patches_that_it_cancels() -> None:
    logic, _ = two_categories()
    minutes(logic, 2, 5)
    patch(logic, 8, FIRM, 1)
    [record] = of_stream(patch(logic, 6, {}, 2, replaces=True), "policy_changes")
    assert record["accepted"] and record["cancels"] == ["c1"]
    assert Cause.POLICY_CHANGED not in {d["cause"] for d in of_stream(minutes(logic, 6, 30), "decisions")}


def test_repeated_command_writes_no_record_and_changes_no_price() -> None:
    logic, _ = two_categories()
    minutes(logic, 2, 5)
    patch(logic, 5, FIRM, 1)
    outputs = minutes(logic, 6, 20)
    patch(logic, 20, {}, 2, replaces=True)
    outputs += minutes(logic, 21, 30)
    command = Command("c1", START_MS + 5 * MINUTE_MS, "acme", "policy", "ann", selection="category=shoes",
                      changes=orjson.dumps(FIRM).decode(), from_ms=START_MS + 7 * MINUTE_MS)  # fmt: skip
    assert list(logic.on_fact(a_fact("commands", command, command.event_time_ms, 3))) == []
    outputs += minutes(logic, 31, 60)
    changed = [d for d in of_stream(outputs, "decisions") if d["cause"] == Cause.POLICY_CHANGED]
    assert [d["event_time_ms"] for d in changed] == [START_MS + minute * MINUTE_MS for minute in (8, 23)]


def test_policy_is_published_once_and_before_its_first_decision() -> None:
    outputs = a_run()
    order = [o.stream for o in outputs if o.stream in ("policies", "decisions")]
    assert order[0] == "policies" and order.count("policies") == 2
    first_use = next(
        i for i, o in enumerate(outputs) if o.stream == "decisions" and o.value["cause"] == "POLICY_CHANGED"
    )
    assert outputs[first_use - 1].stream == "policies"
