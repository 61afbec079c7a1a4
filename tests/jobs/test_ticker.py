"""The ticker's schedule: which ticks are due when, each exactly once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.runtime.clock import Clock
from jobs.ticker import TickSchedule, run
from schemas.ticks import DueTick, closing_ticks, due_ticks
from schemas.time_units import MINUTE_MS
from schemas.topics import INPUTS, TOPICS

PARTITIONS = {topic.name: topic.partitions for topic in INPUTS}


def window_closed_by(tick: DueTick) -> int:
    """Return the end of the last minute that a tick's watermark closes."""
    return (tick.at_ms - TOPICS[tick.topic].lateness_ms) // MINUTE_MS * MINUTE_MS


def test_every_bucket_gets_one_tick_a_minute() -> None:
    ticks = [t for t in due_ticks(0, 60 * MINUTE_MS, buckets=5, partitions=PARTITIONS) if t.topic == "ticks"]
    per_minute = Counter((t.bucket, t.at_ms // MINUTE_MS) for t in ticks)
    assert set(per_minute.values()) == {1}
    assert len(per_minute) == 5 * 60


def test_every_partition_closes_each_minute_as_early_as_its_lateness_allows() -> None:
    ticks = due_ticks(0, 30 * MINUTE_MS, buckets=1, partitions=PARTITIONS)
    for name, count in PARTITIONS.items():
        for partition in range(count):
            here = [t for t in ticks if (t.topic, t.partition) == (name, partition)]
            for minute in range(1, 29):
                end = minute * MINUTE_MS
                closing = min(t.at_ms for t in here if window_closed_by(t) >= end)
                assert closing == end + TOPICS[name].lateness_ms


def test_ticks_satisfy_the_contract_of_their_topic() -> None:
    for tick in due_ticks(10**12, 10**12 + MINUTE_MS, buckets=2, partitions=PARTITIONS):
        record = tick.record()
        assert set(record) == {"event_time_ms", "bucket", "tick"}
        assert TOPICS["ticks"].validate(record, tick.at_ms) is None
        assert (tick.bucket >= 0) == (tick.topic == "ticks")


def test_new_partition_gets_ticks() -> None:
    partitions = {"clicks": 1, "ticks": 1}
    schedule = TickSchedule(0, buckets=1, partitions=partitions)
    assert {t.partition for t in schedule.advance(MINUTE_MS)} == {0}
    partitions["clicks"] = 2
    assert {(t.topic, t.partition) for t in schedule.advance(2 * MINUTE_MS)} == {
        ("clicks", 0), ("clicks", 1), ("ticks", 0)
    }  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    start=st.integers(0, 10**7),
    hops=st.lists(st.integers(0, 200_000), max_size=12),
    period=st.sampled_from([1_000, 10_000, 60_000]),
)
def test_due_ticks_do_not_depend_on_the_intervals(start: int, hops: list[int], period: int) -> None:
    shape = {"buckets": 2, "partitions": {"clicks": 2, "ticks": 1}, "period_ms": period}
    pieces, at = [], start
    for hop in hops:
        pieces += due_ticks(at, at + hop, **shape)
        at += hop
    assert sorted(pieces) == due_ticks(start, at, **shape)


def test_period_that_does_not_divide_a_minute_is_refused() -> None:
    with pytest.raises(ValueError, match="divisor of 60000, got 7000"):
        due_ticks(0, 1, buckets=1, partitions=PARTITIONS, period_ms=7_000)


def test_closing_ticks_close_the_last_minute() -> None:
    for end in (1, MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1):
        ticks = closing_ticks(end, buckets=3, partitions=PARTITIONS)
        assert len(ticks) == 3 + sum(n for name, n in PARTITIONS.items() if name != "ticks")
        assert all(window_closed_by(t) >= end for t in ticks)


def test_short_stall_is_caught_up_and_a_long_one_is_a_gap() -> None:
    schedule = TickSchedule(0, buckets=1, partitions={"ticks": 1}, catch_up_ms=5 * MINUTE_MS)
    assert len(schedule.advance(4 * MINUTE_MS)) == 4
    assert schedule.advance(20 * MINUTE_MS) == []
    assert schedule.gaps == 1
    assert [t.at_ms for t in schedule.advance(21 * MINUTE_MS)] == [20 * MINUTE_MS + 10_000]


def test_loop_sends_each_minute_once_and_ends_at_until() -> None:
    clock = Clock.simulated(0, speed=60_000.0)
    sent: list[DueTick] = []
    schedule = TickSchedule(0, buckets=1, partitions={"ticks": 1}, guard_ms=5_000, catch_up_ms=10**9)
    run(schedule, clock, sent.extend, threading.Event(), until_ms=10 * MINUTE_MS)
    times = [t.at_ms for t in sent]
    assert times == sorted(set(times))
    assert times[:9] == [k * MINUTE_MS + 10_000 for k in range(9)]


def test_stop_event_ends_the_loop() -> None:
    stop = threading.Event()
    schedule = TickSchedule(0, buckets=1, partitions={"ticks": 1})

    def once(ticks: object) -> None:
        stop.set()

    run(schedule, Clock.simulated(0, speed=60_000.0), once, stop)
    assert stop.is_set()
