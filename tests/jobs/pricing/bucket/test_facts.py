"""Facts: stock levels, estimates and calendar entries reprice a listing at once."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from features.bucket_logic import Batch, Fact, Output
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.causes import Cause
from schemas.events import CalendarEvent, Stock
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    NOON_MS,
    FactSender,
    a_command,
    a_running_logic,
    an_estimate,
    decision_of,
)
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    a_catalog_entry,
    a_fact,
    an_offer,
    of_stream,
    restarted,
)


def test_fact_with_a_repeated_offset_changes_nothing() -> None:
    logic, _ = a_running_logic()
    fact = a_fact("offers", an_offer(1700, NOON_MS), NOON_MS, 7)
    assert logic.on_fact(fact)
    before = logic.snapshot()
    assert not logic.on_fact(fact)
    assert str(logic.snapshot()) == str(before)


def test_optional_field_of_another_type_is_read_as_absent() -> None:
    logic, _ = a_running_logic()
    at_ms = START_MS + DAY_MS
    command = asdict(a_command("freeze")) | {"until_ms": "tomorrow"}
    logic.on_fact(Fact("commands", command, at_ms, "commands-0-1", at_ms))
    list(logic.on_batch(Batch(0, at_ms + MINUTE_MS, now_ms=at_ms + MINUTE_MS)))
    assert logic.snapshot()["control"]["freezes"][0]["until_ms"] is None


def test_fact_of_an_unknown_kind_is_refused_by_name() -> None:
    logic, _ = a_running_logic()
    tick = {"event_time_ms": NOON_MS, "bucket": 0, "tick": True}
    with pytest.raises(ValueError, match=r"fact.kind: expected offers, .*; got 'ticks'"):
        list(logic.on_fact(Fact("ticks", tick, NOON_MS, "ticks-0-1", NOON_MS)))


# -- stock --------------------------------------------------------------------------------------


def send_stock(sender: FactSender, units: int) -> list[Output]:
    """Send a stock level of the listing; return the logic's outputs."""
    return sender.send("stock", Stock("e", sender.at_ms, "acme", "web-us-usd", "s1", "s1", units, 0, 3.0))


def test_first_stock_level_requests_no_repricing() -> None:
    assert not send_stock(FactSender(a_running_logic()[0]), 5)


def test_stock_that_runs_out_requests_a_repricing() -> None:
    sender = FactSender(a_running_logic()[0])
    send_stock(sender, 5)
    assert decision_of(send_stock(sender, 0))["cause"] == Cause.STOCK_OUT


def test_stock_that_comes_back_requests_a_repricing() -> None:
    sender = FactSender(a_running_logic()[0])
    send_stock(sender, 0)
    assert decision_of(send_stock(sender, 50))["cause"] == Cause.RESTOCKED


# -- estimates ----------------------------------------------------------------------------------


def a_logic_with_a_parked_estimate() -> tuple[RepricingLogic, list[Output]]:
    """Return a logic that received an estimate ahead of its listing, and the outputs of the listing's minute."""
    logic = RepricingLogic()
    logic.on_fact(a_fact("estimates", an_estimate(-3.3, rival_elasticity=0.7), START_MS, 1))
    logic, at_ms = restarted(logic), START_MS + MINUTE_MS
    return logic, list(logic.on_batch(Batch(0, at_ms, catalog=(a_catalog_entry(),), now_ms=at_ms)))


def test_estimate_received_before_its_listing_becomes_the_belief() -> None:
    inputs = decision_of(a_logic_with_a_parked_estimate()[1])["inputs"]
    # The list price implies little beside an estimate with an sd of 0.05.
    assert inputs["elasticity"]["mean"] == pytest.approx(-3.3, abs=0.01)
    assert inputs["elasticity"]["sd"] == pytest.approx(0.05, abs=0.001)
    assert inputs["rival_elasticity"]["mean"] == 0.7


def test_older_estimate_changes_no_belief() -> None:
    logic, outputs = a_logic_with_a_parked_estimate()
    logic.on_fact(a_fact("estimates", an_estimate(-9.0, at_ms=START_MS), START_MS, 2))
    settled = decision_of(FactSender(logic).command("settle"))
    assert settled["inputs"]["elasticity"] == decision_of(outputs)["inputs"]["elasticity"]


def test_change_that_the_step_limit_cut_short_continues_after_the_gap() -> None:
    logic, _ = a_running_logic()
    first = decision_of(FactSender(logic).send("estimates", an_estimate(-2.1, 0.02)))
    assert first["cause"] == Cause.BELIEFS_MOVED
    assert first["published"] and first["result"]["continue_at_ms"] is not None
    at_ms = first["result"]["continue_at_ms"]
    assert not list(of_stream(list(logic.on_batch(Batch(0, at_ms - MINUTE_MS, now_ms=at_ms))), "decisions"))
    logic = restarted(logic)
    then = decision_of(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))
    assert then["cause"] == Cause.CONTINUED and then["inputs"]["current"]["default_minor"] != 1999
    assert then["cause_detail"]["after"] == Cause.BELIEFS_MOVED
    assert then["result"]["reason"].startswith("CONTINUED after BELIEFS_MOVED: ")


# -- calendar -----------------------------------------------------------------------------------


def an_event(kind: str, start_ms: int, end_ms: int) -> CalendarEvent:
    """Return a calendar entry of the listing's market."""
    return CalendarEvent("ev", NOON_MS, "acme", kind, "storm", "us", "", start_ms, end_ms, 2.0)


def test_event_requests_a_repricing_when_it_starts() -> None:
    logic, _ = a_running_logic()
    at_ms = NOON_MS + MINUTE_MS
    assert not logic.on_fact(a_fact("calendar", an_event("campaign", at_ms, NOON_MS + DAY_MS), NOON_MS, 1))
    assert decision_of(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))["cause"] == Cause.EVENT_STARTED


def test_emergency_bans_increases() -> None:
    logic, _ = a_running_logic()
    at_ms = NOON_MS + MINUTE_MS
    assert not logic.on_fact(a_fact("calendar", an_event("emergency", at_ms, NOON_MS + DAY_MS), NOON_MS, 1))
    decision = decision_of(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))
    assert decision["cause"] == Cause.EVENT_STARTED and decision["inputs"]["surge_ban"] == "storm"
    assert decision["result"]["hard"][1] == decision["inputs"]["current"]["default_minor"]


def test_event_that_ends_now_does_not_start() -> None:
    logic, _ = a_running_logic()
    over = an_event("campaign", START_MS, NOON_MS)
    assert not list(logic.on_fact(a_fact("calendar", over, NOON_MS, 1)))


def test_event_received_while_it_runs_starts_at_once() -> None:
    logic, _ = a_running_logic()
    running = replace(an_event("campaign", START_MS, NOON_MS + 1), event_id="ev2")
    decision = decision_of(list(logic.on_fact(a_fact("calendar", running, NOON_MS, 2))))
    assert decision["cause"] == Cause.EVENT_STARTED
