"""Hosting of logics: each batch once, restartable, refused snapshots counted."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.bucket_logic import Batch, Fact, Output, SnapshotError
from jobs.hosting.containment import event_time_of
from jobs.hosting.host import Host, LogicError, run_batches, unpacked
from jobs.runtime.clock import Clock


class Counting:
    """A logic that records its batches and facts."""

    name = "counting"

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.minutes: list[int] = []
        self.facts: list[str] = []

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        self.minutes.append(batch.window_end_ms)
        return [
            Output("tables", str(batch.bucket), {"n": len(self.minutes), "now": batch.now_ms}, batch.window_end_ms)
        ]

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        self.facts.append(fact.address)
        return []

    def snapshot(self) -> dict[str, Any]:
        return {"v": self.version, "minutes": self.minutes, "facts": self.facts}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        if snapshot["v"] != self.version:
            raise SnapshotError(f"expected version {self.version}, got {snapshot['v']}")
        self.minutes, self.facts = list(snapshot["minutes"]), list(snapshot["facts"])


class Kept:
    """A sink that records the number of outputs per call."""

    streams = frozenset({"tables"})

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.counts = {"calls": 0}

    def write(self, outputs: Any) -> None:
        self.calls.append(len(outputs))


def a_batch(minute: int, bucket: int = 3) -> tuple[str, str, str, str]:
    value = {"bucket": bucket, "window_end_ms": minute * 60_000, "rows": []}
    return str(bucket), "batch", f"cells-0-{minute}", orjson.dumps(value).decode()


def a_fact(address: str) -> tuple[str, str, str, str]:
    return "3", "stock", address, '{"event_time_ms": 5}'


def nothing() -> None:
    return None


def test_repeated_minute_changes_nothing() -> None:
    host = Host(Counting, None)
    first, saved = host.process(a_batch(1), nothing)
    again, unchanged = host.process(a_batch(1), nothing)
    assert (len(first), saved is not None) == (1, True)
    assert (again, unchanged) == ([], None)
    assert host.counts["host"]["repeated_batches"] == 1


@given(st.lists(st.integers(1, 6), max_size=12), st.integers(0, 12))
def test_restart_after_any_row_changes_nothing(minutes: list[int], at: int) -> None:
    rows = [a_batch(m) for m in minutes] + [a_fact("stock-0-1")]

    def run(restart: int | None) -> tuple[list[Output], bytes | None]:
        host, outputs = Host(Counting, None), []
        kept: list[bytes | None] = [None]
        for i, row in enumerate(rows):
            if i == restart:
                host = Host(Counting, None)
            made, saved = host.process(row, lambda: kept[0])
            outputs += made
            kept[0] = saved or kept[0]
        return outputs, kept[0]

    assert run(None) == run(at)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=16), st.integers(1, 3))
def test_evicted_bucket_is_restored_unchanged(rows: list[tuple[int, int]], max_live_buckets: int) -> None:
    def run(host: Host) -> tuple[list[Output], dict[str, bytes]]:
        outputs: list[Output] = []
        kept: dict[str, bytes] = {}
        for row in (a_batch(minute, bucket) for minute, bucket in rows):
            made, saved = host.process(row, partial(kept.get, row[0]))
            outputs += made
            kept |= {row[0]: saved} if saved else {}
        return outputs, kept

    assert run(Host(Counting, None, max_live_buckets=max_live_buckets)) == run(Host(Counting, None))


def test_snapshot_of_another_version_is_refused_and_counted() -> None:
    old = Host(Counting, None)
    _, saved = old.process(a_batch(1), nothing)
    new = Host(lambda: Counting(version=2), None)
    outputs, _ = new.process(a_batch(2), lambda: saved)
    assert outputs[0].value["n"] == 1
    assert new.counts["host"]["refused_snapshots"] == 1


def test_snapshot_of_another_logic_is_refused() -> None:
    class Other(Counting):
        name = "other"

    _, saved = Host(Other, None).process(a_batch(1), nothing)
    host = Host(Counting, None)
    host.process(a_batch(2), lambda: saved)
    assert host.counts["host"]["refused_snapshots"] == 1


def test_sink_is_called_once_a_minute_and_not_for_facts_without_outputs() -> None:
    sink = Kept()
    host = Host(Counting, None, [sink])
    host.process(a_batch(1), nothing)
    host.process(a_fact("stock-0-1"), nothing)
    assert sink.calls == [1]


def test_without_a_clock_the_current_time_is_event_time() -> None:
    outputs, _ = Host(Counting, None).process(a_batch(7), nothing)
    assert outputs[0].value["now"] == 7 * 60_000
    simulated, _ = Host(Counting, Clock(10, 0, 1.0)).process(a_batch(7), nothing)
    assert simulated[0].value["now"] > 7 * 60_000


def test_run_batches_yields_the_outputs_of_each_batch() -> None:
    outputs = list(run_batches(Counting(), [a_batch(1)[3], a_batch(2)[3]]))
    assert [o.value["n"] for o in outputs] == [1, 2]


def test_fact_of_several_rows_has_the_latest_event_time() -> None:
    assert event_time_of("segments", {"rows": [{"event_time_ms": 1}, {"event_time_ms": 9}]}) == 9


def test_malformed_batch_is_refused() -> None:
    with pytest.raises(LogicError, match="expected kind cell"):
        Host(Counting, None).process(
            ("3", "batch", "", '{"bucket":3,"window_end_ms":1,"rows":[{"kind":"nonsense"}]}'), nothing
        )


def test_list_of_facts_is_processed_in_order_and_saved_once() -> None:
    host = Host(Counting, None)
    packet = ("3", "stock", "", '[["stock-0-1", {"event_time_ms": 5}], ["stock-0-2", {"event_time_ms": 6}]]')
    outputs, saved = host.process(packet, nothing)
    assert outputs == []
    assert saved is not None
    assert orjson.loads(unpacked(saved))["state"]["facts"] == ["stock-0-1", "stock-0-2"]
    assert host.counts["host"]["facts"] == 2
