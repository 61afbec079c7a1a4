"""Windows and decayed means, compared with a recount of the same events."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.array_text import array_text
from features.bucket_logic import SnapshotError
from features.windows import DecayedMean, SlotRing

ROWS, SLOTS = 3, 5
events = st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 9), st.integers(0, 7)), max_size=40)
"""(row, count, slots since the previous event)."""


def a_ring(history: list[tuple[int, int, int]], start: int = 100) -> tuple[SlotRing, list[tuple[int, int, int]]]:
    """Return a ring with a history, and the history as (row, count, slot)."""
    ring = SlotRing(("n",), SLOTS)
    ring.grow(ROWS)
    slot, seen = start, []
    ring.advance(slot)
    for row, count, passed in history:
        slot += passed
        ring.advance(slot)
        ring.add("n", np.array([row]), np.array([count]))
        seen.append((row, count, slot))
    return ring, seen


def recount(seen: list[tuple[int, int, int]], row: int, newest: int, last: int) -> int:
    """Recount the events directly."""
    return sum(count for r, count, slot in seen if r == row and newest - last < slot <= newest)


@given(events, st.integers(1, SLOTS))
def test_window_equals_a_recount(history, last):
    ring, seen = a_ring(history)
    for row in range(ROWS):
        assert ring.total("n", last)[row] == recount(seen, row, ring.newest, last)


@given(events)
def test_series_is_in_order_of_time(history):
    ring, seen = a_ring(history)
    for row in range(ROWS):
        slots = range(ring.newest - SLOTS + 1, ring.newest + 1)
        expected = [sum(c for r, c, s in seen if r == row and s == slot) for slot in slots]
        assert ring.series("n")[row].tolist() == expected


@given(events, events, st.integers(-12, 12))
def test_merged_rings_equal_the_ring_of_both_histories(first, second, shift):
    a, seen_a = a_ring(first)
    b, seen_b = a_ring(second, start=100 + shift)
    a.merge(b)
    for row in range(ROWS):
        assert a.total("n")[row] == recount(seen_a + seen_b, row, a.newest, SLOTS)


@given(events, st.integers(0, 40))
def test_restart_changes_nothing(history, at):
    whole, _ = a_ring(history)
    before, _ = a_ring(history[:at])
    restored = SlotRing(("n",), SLOTS)
    restored.restore(orjson.loads(orjson.dumps(before.snapshot(), default=array_text)))
    slot = restored.newest
    for row, count, passed in history[at:]:
        slot += passed
        restored.advance(slot)
        restored.add("n", np.array([row]), np.array([count]))
    assert np.array_equal(restored.series("n"), whole.series("n"))
    assert restored.newest == whole.newest


def test_count_of_an_older_slot_is_added_to_that_slot():
    ring = SlotRing(("n",), 3)
    ring.grow(1)
    ring.advance(10)
    ring.add("n", np.array([0]), np.array([1]), slot=8)
    ring.add("n", np.array([0]), np.array([9]), slot=7)
    assert ring.series("n").tolist() == [[1, 0, 0]]


def test_count_of_a_future_slot_is_rejected():
    ring = SlotRing(("n",), 3)
    ring.grow(1)
    ring.advance(10)
    with pytest.raises(ValueError, match="advance first"):
        ring.add("n", np.array([0]), np.array([1]), slot=11)


def test_grow_preserves_the_counts():
    ring = SlotRing(("n",), 2)
    ring.grow(1)
    ring.advance(1)
    ring.add("n", np.array([0]), np.array([4]))
    ring.grow(100)
    assert ring.total("n").tolist() == [4] + [0] * 99


def test_snapshot_with_other_slots_is_rejected():
    ring = SlotRing(("n",), 2)
    ring.grow(1)
    with pytest.raises(SnapshotError, match="3 slots"):
        SlotRing(("n",), 3).restore(ring.snapshot())


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError, match="version"):
        SlotRing(("n",), 2).restore({"v": 99})


def test_empty_ring_is_restored():
    ring = SlotRing(("n", "m"), 4)
    ring.restore(orjson.loads(orjson.dumps(SlotRing(("n", "m"), 4).snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)))
    assert ring.rows == 0 and ring.newest is None


pairs = st.lists(st.tuples(st.floats(1, 1e5), st.floats(0.1, 10), st.integers(0, 10_000)), min_size=1, max_size=15)


@given(pairs)
def test_decayed_mean_equals_the_weighted_mean_for_any_order(values):
    mean = DecayedMean(1000)
    mean.grow(1)
    for value, weight, at in values:
        mean.add(0, value, weight, at)
    end = max(at for *_, at in values)
    weights = [w * 0.5 ** ((end - at) / 1000) for _, w, at in values]
    expected = sum(w * v for w, (v, *_) in zip(weights, values, strict=True)) / sum(weights)
    assert mean.value(0) == pytest.approx(expected, rel=1e-9)


@given(pairs, pairs)
def test_merged_decayed_means_equal_the_mean_of_both_histories(first, second):
    def of(values):
        mean = DecayedMean(1000)
        mean.grow(1)
        for value, weight, at in values:
            mean.add(0, value, weight, at)
        return mean

    merged = of(first)
    merged.merge(of(second))
    assert merged.value(0) == pytest.approx(of(first + second).value(0), rel=1e-9)


def test_ring_of_one_slot_contains_the_newest_slot_only():
    ring = SlotRing(("orders",), slots=1)
    ring.grow(1)
    for slot in (1, 2):
        ring.advance(slot)
        ring.add("orders", np.array([0]), np.array([slot]))
    assert ring.total("orders").tolist() == [2]
