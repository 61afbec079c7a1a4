"""Operators' commands: prices set by hand, freezes, rollbacks, sale targets, approvals and settlements."""

from __future__ import annotations

from typing import Any

import pytest

from features.bucket_logic import Batch, Output
from jobs.pricing.bucket.listing.listing_state import ROW
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.decision.texts.times import time_text
from jobs.pricing.policy import Policy
from schemas.codes import OutcomeCode
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    NOON_MS,
    FactSender,
    a_cell,
    a_command,
    a_running_logic,
    an_estimate,
    decision_of,
    price_of,
    state_value,
)
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    SmallMarket,
    a_catalog_entry,
    a_fact,
    catalog_of,
    of_stream,
    restarted,
)

# -- prices set by hand -------------------------------------------------------------------------


def test_manual_price_is_published_at_once() -> None:
    sender = FactSender(a_running_logic()[0])
    assert price_of(sender.command("manual_price", sku="s1", price_minor=2500)) == 2500


def test_manual_price_stays_until_it_is_unfrozen() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.command("manual_price", sku="s1", price_minor=2500)
    settled = decision_of(sender.command("settle"))
    assert settled["result"]["outcome"] == OutcomeCode.HELD and settled["inputs"]["frozen"] == "price set by ann"
    sender.command("unfreeze")
    assert decision_of(sender.command("settle"))["published"]


def test_manual_price_below_the_margin_is_raised_to_it() -> None:
    assert price_of(FactSender(a_running_logic()[0]).command("manual_price", price_minor=1)) >= 1334


def test_manual_price_moved_into_the_hard_limits_stays_until_it_is_unfrozen() -> None:
    sender = FactSender(a_running_logic()[0])
    assert not list(of_stream(sender.command("manual_price", price_minor=1), "refused_commands"))
    assert decision_of(sender.command("settle"))["inputs"]["frozen"] == "price set by ann"


def test_manual_price_freezes_no_other_listing() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.send("catalog", a_catalog_entry("s2", at_ms=sender.at_ms))
    sender.command("manual_price", price_minor=2100)
    settled = list(of_stream(sender.command("settle"), "decisions"))
    assert {d["sku"]: d["inputs"]["frozen"] for d in settled} == {"s1": "price set by ann", "s2": None}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"cost_minor": None}, "the current price is kept: cost: expected an amount above 0, got None"),
        ({"floor_minor": 3000, "ceiling_minor": 2000}, "no price satisfies all hard limits"),
        ({"active": False}, "the listing is not for sale"),
    ],
)
def test_manual_price_that_is_not_published_freezes_nothing_and_is_refused_with_the_reason(
    entry: dict[str, Any], why: str
) -> None:
    sender = FactSender(a_running_logic()[0])
    sender.send("catalog", a_catalog_entry(at_ms=sender.at_ms, **entry))
    outputs = sender.command("manual_price", price_minor=2500)
    [refused] = of_stream(outputs, "refused_commands")
    assert refused["kind"] == "manual_price" and refused["operator"] == "ann"
    assert refused["problem"].startswith("acme/web-us-usd/s1: ") and why in refused["problem"]
    assert {table["default_minor"] for table in of_stream(outputs, "tables")} <= {"1999"}
    sender.send("catalog", a_catalog_entry(at_ms=sender.at_ms + 1))
    assert decision_of(sender.command("settle"))["inputs"]["frozen"] is None


def test_manual_price_again_while_the_price_is_held_stays_frozen() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.command("manual_price", price_minor=2500)
    sender.send("catalog", a_catalog_entry(at_ms=sender.at_ms, cost_minor=None))
    assert not list(of_stream(sender.command("manual_price", price_minor=2500), "refused_commands"))
    assert decision_of(sender.command("settle"))["inputs"]["frozen"] == "price set by ann"


def test_decision_of_another_listing_is_neither_approved_nor_rejected() -> None:
    sender, decision = a_pending_change()
    for kind in ("approve", "reject"):
        assert not sender.command(kind, sku="s2", decision_id=decision["decision_id"])
    assert state_value(sender.logic, "pending")["decision_id"] == decision["decision_id"]


def test_rollback_returns_to_the_price_before() -> None:
    logic, outputs = a_running_logic()
    sender = FactSender(logic)
    assert price_of(sender.command("manual_price", price_minor=2100)) == 2100
    assert price_of(sender.command("rollback")) == price_of(outputs)


def test_versions_rise_although_the_clock_stands_still() -> None:
    logic, outputs = a_running_logic()
    sender = FactSender(logic)
    sender.at_ms = START_MS
    for price in (1899, 1949):
        outputs = outputs + sender.send("commands", a_command("manual_price", price_minor=price), 0)
    versions = [int(record["version"]) for record in of_stream(outputs, "tables")]
    assert versions == sorted(set(versions))


# -- freezes and kill switches ------------------------------------------------------------------


def a_frozen_logic() -> tuple[FactSender, int]:
    """Return the sender to a logic with a freeze, and when its table expires."""
    logic, outputs = a_running_logic()
    sender = FactSender(logic)
    assert not sender.command("freeze")
    return sender, int(list(of_stream(outputs, "tables"))[-1]["expires_ms"])


def minute(logic: RepricingLogic, at_ms: int) -> list[Output]:
    """Return the outputs of a minute without cells."""
    return list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms)))


def test_frozen_price_is_held() -> None:
    sender, _ = a_frozen_logic()
    assert decision_of(sender.command("settle"))["result"]["outcome"] == OutcomeCode.HELD


def test_table_of_a_frozen_price_is_renewed() -> None:
    sender, end_ms = a_frozen_logic()
    assert list(of_stream(minute(sender.logic, end_ms - MINUTE_MS), "tables"))


def test_table_under_a_kill_switch_is_not_renewed_until_publishing_resumes() -> None:
    sender, end_ms = a_frozen_logic()
    logic = restarted(sender.logic)
    logic.on_fact(a_fact("commands", a_command("kill_switch"), sender.at_ms, 99))
    assert not minute(logic, end_ms - MINUTE_MS)
    logic.on_fact(a_fact("commands", a_command("resume"), sender.at_ms, 100))
    assert list(of_stream(minute(logic, end_ms), "tables"))


# -- sale targets -------------------------------------------------------------------------------


def test_sale_target_is_an_input_of_its_decision() -> None:
    sender = FactSender(a_running_logic()[0])
    inputs = decision_of(sender.command("sale_target", units=2, until_ms=START_MS + 3 * DAY_MS))["inputs"]
    assert inputs["target_from"] == "sale_target" and 0 < inputs["target_units"] < 2


def test_sale_target_without_units_ends_the_target() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.command("sale_target", units=2, until_ms=START_MS + 3 * DAY_MS)
    assert decision_of(sender.command("sale_target"))["inputs"]["target_from"] is None


def test_units_sold_are_subtracted_from_the_sale_target() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.command("sale_target", units=40, until_ms=START_MS + 3 * DAY_MS)
    end_ms = sender.at_ms + MINUTE_MS
    list(sender.logic.on_batch(Batch(0, end_ms, (a_cell(1999, 50, 4, 6),), now_ms=end_ms)))
    assert state_value(sender.logic, "target")[0] == 34


# -- approvals ----------------------------------------------------------------------------------


def a_pending_change() -> tuple[FactSender, dict[str, Any]]:
    """Return the sender to a logic with a change that awaits an approval, and the decision on it."""
    sender = FactSender(a_running_logic(Policy.from_dict({"limits": {"min_confidence": 0.0}}))[0])
    decision = decision_of(sender.send("estimates", an_estimate(-1.6)))
    assert decision["result"]["approval_until_ms"] is not None
    return sender, decision


def test_approved_change_is_published_whole() -> None:
    sender, decision = a_pending_change()
    outputs = sender.command("approve", decision_id=decision["decision_id"])
    assert price_of(outputs) == decision["result"]["candidate_minor"]


def test_explanation_names_an_approval_if_and_only_if_the_bucket_awaits_one() -> None:
    sender = FactSender(a_running_logic()[0])
    facts: list[tuple[str, Any]] = [
        ("estimates", an_estimate(-1.6)),
        ("catalog", a_catalog_entry(at_ms=NOON_MS, cost_minor=3000)),
        ("commands", a_command("reject")),
        ("catalog", a_catalog_entry(at_ms=NOON_MS + 1)),
        ("estimates", an_estimate(-3.0, at_ms=START_MS + 2 * MINUTE_MS)),
        ("commands", a_command("settle")),
    ]
    seen = set()
    for kind, value in facts:
        answered = a_command("reject", decision_id=(state_value(sender.logic, "pending") or {}).get("decision_id"))
        sender.send("commands", answered)
        for decision in of_stream(sender.send(kind, value), "decisions"):
            pending = state_value(sender.logic, "pending")
            text = " ".join(explain(decision, catalog_of(sender.logic.policy)).split())
            named = f"`walras approve acme/web-us-usd/s1 {decision['decision_id']}`" in text
            assert named == (pending is not None), text
            assert pending is None or f"Until {time_text(pending['until_ms'])} " in text
            seen.add(pending and pending["what"])
    assert seen == {None, "cost", "price"}


def test_rejected_change_is_not_published() -> None:
    sender, decision = a_pending_change()
    assert not sender.command("reject", decision_id=decision["decision_id"])
    assert not sender.command("approve", decision_id=decision["decision_id"]), "the request has ended"


def test_approval_of_another_decision_approves_nothing() -> None:
    sender, _ = a_pending_change()
    assert not sender.command("approve", decision_id="another")


def test_approval_after_its_time_rejects_the_change() -> None:
    sender, decision = a_pending_change()
    approval = a_command("approve", decision_id=decision["decision_id"])
    assert not sender.send("commands", approval, later_ms=DAY_MS + 1)
    assert state_value(sender.logic, "pending") is None


# -- settlements --------------------------------------------------------------------------------


def test_settling_gives_the_same_prices_after_different_paths() -> None:
    market = SmallMarket(2, 40.0)
    steady, moved = RepricingLogic(), RepricingLogic()
    for number in range(50):
        batch = market.minute(number)
        market.take(list(steady.on_batch(batch)))
        list(moved.on_batch(batch))
        if number == 25:
            moved.on_fact(a_fact("commands", a_command("manual_price", price_minor=2300), batch.window_end_ms, 1))
            moved.on_fact(a_fact("commands", a_command("unfreeze"), batch.window_end_ms, 2))
    tables = []
    for logic in (steady, moved):
        logic.on_fact(a_fact("commands", a_command("settle"), START_MS + 51 * MINUTE_MS, 9))
        tables.append([state[ROW.index("table")]["table"] for state in logic.snapshot()["bucket"]["states"]])
    assert tables[0] == tables[1]


@pytest.mark.parametrize("changes", [1, 2])
def test_changes_of_a_day_are_counted(changes: int) -> None:
    sender = FactSender(a_running_logic()[0])
    for number in range(1, changes):
        sender.command("manual_price", price_minor=1999 + 50 * number)
    settled = decision_of(sender.command("settle"))
    assert settled["inputs"]["current"]["changes_today"] == changes
