"""Containment of a logic's exceptions: the job continues, the record is kept, the bucket's state is unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch, Fact, Output
from jobs.hosting.containment import FAILING_AFTER_MINUTES, parse_event_time, parse_window_end, record_text
from jobs.hosting.host import EncodedOutput, Host, LogicError

POISON = 666


class Fragile:
    """A logic that counts, and raises on a poison value after it has changed its state."""

    name, version = "fragile", 1

    def __init__(self) -> None:
        self.minutes: list[int] = []
        self.facts: list[int] = []

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        self.minutes.append(batch.window_end_ms)
        if any(stock.on_hand == POISON for stock in batch.stock):
            raise KeyError("web/eu")
        return [Output("evidence", "k", {"minutes": len(self.minutes)}, batch.window_end_ms)]

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        rows = fact.value.get("rows", [fact.value])
        for row in rows:
            self.facts.append(row["n"])
            if row["n"] == POISON:
                raise ValueError("poison")
        return [Output("evidence", "k", {"fact": row["n"]}, fact.event_time_ms) for row in rows]

    def snapshot(self) -> dict[str, Any]:
        return {"minutes": list(self.minutes), "facts": list(self.facts)}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        self.minutes, self.facts = list(snapshot["minutes"]), list(snapshot["facts"])


class Unencodable(Fragile):
    """A logic whose outputs cannot be encoded."""

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        return [Output("evidence", "k", {"too_large": 2**70}, fact.event_time_ms)]


class State:
    """One bucket's saved bytes, as a state backend stores them."""

    def __init__(self, host: Host) -> None:
        self.host, self.data = host, None

    def take(self, row: tuple[str, str, str, str]) -> list[EncodedOutput]:
        encoded, data = self.host.process_contained(row, lambda: self.data)
        self.data = data or self.data
        return encoded


def a_host(logic: type[Fragile] = Fragile) -> Host:
    return Host(logic, None)


def a_batch(minute: int, *, poison: bool = False) -> tuple[str, str, str, str]:
    stock = {
        "kind": "stock", "p": 0, "o": minute, "event_id": "e", "event_time_ms": 1, "tenant": "t", "market": "m",
        "sku": "s", "price_group": "s", "on_hand": POISON if poison else 1, "inbound": 0, "lead_time_days": 1.0,
    }  # fmt: skip
    value = {"bucket": 3, "window_end_ms": minute * 60_000, "rows": [stock]}
    return "3", "batch", f"cells-0-{minute}", orjson.dumps(value).decode()


def a_fact_list(*numbers: int) -> tuple[str, str, str, str]:
    facts = [[f"stock-0-{n}", {"event_time_ms": 5, "n": n}] for n in numbers]
    return "3", "stock", "", orjson.dumps(facts).decode()


def values(encoded: list[EncodedOutput], stream: str) -> list[dict[str, Any]]:
    return [each.output.value for each in encoded if each.output.stream == stream]


def test_failing_fact_of_a_list_goes_to_quarantine_and_the_others_are_processed() -> None:
    state = State(a_host())
    encoded = state.take(a_fact_list(1, POISON, 2))
    assert values(encoded, "evidence") == [{"fact": 1}, {"fact": 2}]
    (record,) = values(encoded, "quarantine")
    assert (record["logic"], record["bucket"], record["kind"]) == ("fragile", "3", "stock")
    assert (record["address"], record["error"]) == (f"stock-0-{POISON}", "ValueError: poison")
    assert orjson.loads(record["payload"]) == {"event_time_ms": 5, "n": POISON}
    assert "on_fact" in record["trace"]


def test_failing_fact_does_not_change_the_state() -> None:
    state = State(a_host())
    state.take(a_fact_list(1, POISON, 2))
    state.take(a_fact_list(3))
    assert state.host.bucket("3", lambda: state.data).logic.snapshot()["facts"] == [1, 2, 3]


def test_rows_of_one_record_are_retried_one_by_one() -> None:
    state = State(a_host())
    rows = [{"event_time_ms": 5, "n": n} for n in (1, POISON, 2)]
    encoded = state.take(("3", "segments", "", orjson.dumps({"rows": rows}).decode()))
    assert values(encoded, "evidence") == [{"fact": 1}, {"fact": 2}]
    assert orjson.loads(values(encoded, "quarantine")[0]["payload"]) == {"rows": [rows[1]]}


def test_row_that_is_not_json_goes_to_quarantine_with_its_text() -> None:
    (record,) = values(State(a_host()).take(("3", "stock", "stock-0-7", "{not json")), "quarantine")
    assert (record["address"], record["payload"]) == ("stock-0-7", "{not json")


def test_failing_batch_is_a_gap_and_the_window_end_advances() -> None:
    state = State(a_host())
    state.take(a_batch(1))
    (record,) = values(state.take(a_batch(2, poison=True)), "quarantine")
    assert (record["kind"], record["address"], record["failing_minutes"]) == ("batch", "cells-0-2", 1)
    assert record["error"] == "KeyError: 'web/eu'"
    assert state.take(a_batch(2, poison=True)) == []
    assert values(state.take(a_batch(3)), "evidence") == [{"minutes": 2}]


def test_bucket_fails_after_three_failed_minutes_and_reports_its_recovery() -> None:
    state = State(a_host())
    for minute in range(1, FAILING_AFTER_MINUTES + 1):
        assert state.host.counts["host"]["failing_buckets"] == 0
        state.take(a_batch(minute, poison=True))
    assert state.host.counts["host"]["failing_buckets"] == 1
    good = state.take(a_batch(9))
    assert [record["kind"] for record in values(good, "quarantine")] == ["recovered"]
    assert state.host.counts["host"]["failing_buckets"] == 0


def test_failed_minutes_are_counted_across_a_restart() -> None:
    state = State(a_host())
    state.take(a_batch(1, poison=True))
    state.take(a_batch(2, poison=True))
    state.host = a_host()
    assert values(state.take(a_batch(3, poison=True)), "quarantine")[0]["failing_minutes"] == 3
    state.host = a_host()
    state.take(a_fact_list(1))
    assert state.host.counts["host"]["failing_buckets"] == 1


def test_output_that_cannot_be_encoded_is_contained() -> None:
    (record,) = values(State(a_host(Unencodable)).take(a_fact_list(1)), "quarantine")
    assert "exceeds 64-bit" in record["error"]


def test_uncontained_error_names_logic_bucket_address_and_record() -> None:
    with pytest.raises(
        LogicError, match=r"fragile, bucket 3, stock stock-0-666: ValueError: poison; record: .*666"
    ):
        a_host().process(a_fact_list(1, POISON), lambda: None)
    with pytest.raises(LogicError, match=r"fragile, bucket 3, batch cells-0-2: KeyError: 'web/eu'; record: "):
        a_host().process(a_batch(2, poison=True), lambda: None)


def test_record_that_json_cannot_hold_is_shown_as_text() -> None:
    assert record_text({"sizes": {3}}) == '{"sizes":"{3}"}'


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"window_end_ms": "soon"}'])
def test_window_end_of_an_unreadable_batch_is_zero(payload: str) -> None:
    assert parse_window_end(payload) == 0


def test_quarantined_fact_has_its_event_time_where_it_can_be_read() -> None:
    assert parse_event_time("stock", {"event_time_ms": 5}) == 5
    assert parse_event_time("stock", {"event_time_ms": "soon"}) == 0
