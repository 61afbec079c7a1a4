"""Mergeable accumulators over sliding windows with bounded state.

A feature such as ``orders_24h`` must cost the same for any rate of sales, must survive a restart exactly, and must
not depend on how often it is read. Counts are therefore kept in rings of slots (minutes, hours, days). Adding is
one array addition, advancing in time clears the expired slots, and a window is a sum of slots. The rows of an
array are the listings of a bucket. All rows advance together, because every bucket gets one batch per minute.

Variables: slot s (absolute number: minutes, hours or days since some origin), ring of S slots,
newest slot n; c[m, r, s mod S] counts of measure m and row r in slot s.

  (1) window(m, r, k) = Σ_{s = n−k+1..n} c[m, r, s mod S],  k ≤ S
  (2) advance to n' > n: c[·, ·, s mod S] = 0 for every s in n+1..n'
  (3) merge: counts of equal slots add up; slots older than the window of the later ring are dropped

A test compares each equation with a recount of the same events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.array_text import read_array
from features.bucket_logic import SnapshotError, refuse_other_version

Numbers = npt.NDArray[Any]
_INITIAL_ROWS = 8


class SlotRing:
    """Counts of several measures for many rows over the last ``slots`` slots.

    Parameters
    ----------
    measures : names, in the order of the first axis.
    slots : number of slots, including the newest one, which is still being filled.
    dtype : int64 for counts (exact), float64 for sums of means.

    Examples
    --------
    >>> ring = SlotRing(("orders",), slots=3)
    >>> ring.grow(1)
    >>> for slot, orders in ((10, 5), (11, 2), (13, 1)):
    ...     ring.advance(slot)
    ...     ring.add("orders", np.array([0]), np.array([orders]))
    >>> int(ring.total("orders")[0]), int(ring.total("orders", last=1)[0])
    (3, 1)
    """

    version = 1

    def __init__(self, measures: Sequence[str], slots: int, dtype: type = np.int64) -> None:
        if slots < 1:
            raise ValueError(f"slots: expected at least 1, got {slots}")
        self.measures = tuple(measures)
        self.slots = slots
        self.rows = 0
        self.newest: int | None = None
        self._index = {name: i for i, name in enumerate(self.measures)}
        self._data: Numbers = np.zeros((len(self.measures), _INITIAL_ROWS, slots), dtype=dtype)

    def grow(self, rows: int) -> None:
        """Extend the arrays to at least ``rows`` rows; new rows start with 0."""
        if rows > self._data.shape[1]:
            wider = np.zeros((len(self.measures), max(rows, 2 * self.rows), self.slots), dtype=self._data.dtype)
            wider[:, : self.rows] = self._data[:, : self.rows]
            self._data = wider
        self.rows = max(self.rows, rows)

    def advance(self, slot: int) -> None:
        """Advance to a slot and clear the slots that it reuses (2); an earlier slot changes nothing."""
        if self.newest is None:
            self.newest = slot
        passed = slot - self.newest
        if passed <= 0:
            return
        if passed >= self.slots:
            self._data[:] = 0
        else:
            free = np.arange(self.newest + 1, slot + 1) % self.slots
            self._data[:, :, free] = 0
        self.newest = slot

    def add(self, measure: str, rows: Numbers, values: Numbers, slot: int | None = None) -> None:
        """Add to the newest slot or to an older slot of the ring; drop counts of slots before the ring.

        Raises
        ------
        ValueError
            If the ring was never advanced, or ``slot`` is after the newest slot.
        """
        if self.newest is None:
            raise ValueError("add: expected advance(slot) before the first count")
        at = self.newest if slot is None else slot
        if at > self.newest:
            raise ValueError(f"add: expected a slot up to {self.newest}, got {at}; advance first")
        if at > self.newest - self.slots:
            np.add.at(self._data[self._index[measure], :, at % self.slots], rows, values)

    def add_rows(self, rows: Numbers, values: Numbers) -> None:
        """Add to the newest slot of distinct rows: ``values`` of shape (measures, rows).

        Raises
        ------
        ValueError
            If the ring was never advanced.
        """
        if self.newest is None:
            raise ValueError("add_rows: expected advance(slot) before the first count")
        self._data[:, rows, self.newest % self.slots] += values

    def total(self, measure: str, last: int | None = None, until: int | None = None) -> Numbers:
        """Return sums per row over ``last`` slots (default all) up to slot ``until`` (default the newest) (1).

        Raises
        ------
        ValueError
            If the window exceeds the ring.
        """
        counts = self._data[self._index[measure], : self.rows]
        behind = 0 if until is None or self.newest is None else self.newest - until
        width = self.slots if last is None else last
        result: Numbers
        if behind == 0 and width == self.slots:
            result = counts.sum(axis=1)
            return result
        if behind < 0 or behind + width > self.slots:
            raise ValueError(
                f"total: expected a window inside the last {self.slots} slots, got {width} slots that end "
                f"{behind} before the newest"
            )
        result = self.series(measure)[:, self.slots - behind - width : self.slots - behind].sum(axis=1)
        return result

    def series(self, measure: str) -> Numbers:
        """Return counts per row and slot, oldest slot first, shape (rows, slots)."""
        counts = self._data[self._index[measure], : self.rows]
        first = ((self.newest or 0) + 1) % self.slots
        return np.concatenate((counts[:, first:], counts[:, :first]), axis=1)

    def merge(self, other: SlotRing) -> None:
        """Add another ring's counts, row by row and slot by slot (3).

        Raises
        ------
        ValueError
            If the measures or the number of slots differ.
        """
        if (self.measures, self.slots) != (other.measures, other.slots):
            raise ValueError(
                f"merge: expected {self.measures} over {self.slots} slots, got {other.measures} over {other.slots}"
            )
        self.grow(other.rows)
        if other.newest is None:
            return
        self.advance(other.newest)
        newest = other.newest if self.newest is None else max(self.newest, other.newest)
        kept = np.arange(newest - self.slots + 1, other.newest + 1) % self.slots
        if kept.size:
            self._data[:, : other.rows, kept] += other._data[:, : other.rows, kept]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data; arrays are copies."""
        return {"v": self.version, "newest": self.newest, "data": self._data[:, : self.rows].copy()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version, or another number of measures or slots.
        """
        refuse_other_version("SlotRing", self.version, snapshot)
        data = read_array(snapshot["data"], self._data.dtype)
        if data.size == 0:
            data = data.reshape(len(self.measures), 0, self.slots)
        if data.ndim != 3 or (data.shape[0], data.shape[2]) != (len(self.measures), self.slots):
            raise SnapshotError(
                f"SlotRing: expected {len(self.measures)} measures over {self.slots} slots, got shape {data.shape}"
            )
        self.rows, self._data = 0, np.zeros((len(self.measures), _INITIAL_ROWS, self.slots), dtype=data.dtype)
        self.grow(data.shape[1])
        self._data[:, : self.rows] = data
        self.newest = snapshot["newest"]


class LocalTime(NamedTuple):
    """A time in a market's calendar."""

    day: int
    weekday: int
    hour: int
    day_fraction: float


def local_time(at_ms: int, zone: tzinfo = UTC) -> LocalTime:
    """Return day number (proleptic Gregorian ordinal), weekday (Monday 0), hour and elapsed fraction of the day.

    The day is the market's local day, so a day of 23 or 25 hours is one slot.

    Examples
    --------
    >>> local_time(1_700_000_000_000)
    LocalTime(day=738838, weekday=1, hour=22, day_fraction=0.9259259259259259)
    """
    t = datetime.fromtimestamp(at_ms / 1000, zone)
    seconds = t.hour * 3600 + t.minute * 60 + t.second
    return LocalTime(t.toordinal(), t.weekday(), t.hour, seconds / 86_400)


class DecayedMean:
    """Weighted means per row; weights halve every ``half_life_ms`` of event time. Mergeable.

    State per row: weight w, weighted sum s, time t. At t' ≥ t both are multiplied by 2^−(t'−t)/half-life.

    Examples
    --------
    >>> mean = DecayedMean(half_life_ms=1000)
    >>> mean.grow(1)
    >>> mean.add(0, 100.0, 1.0, 0)
    >>> mean.add(0, 200.0, 0.5, 1000)
    >>> mean.value(0)
    150.0
    """

    version = 1

    def __init__(self, half_life_ms: int) -> None:
        self._half_life_ms = half_life_ms
        self._state: list[list[float]] = []

    def grow(self, rows: int) -> None:
        """Extend the state to ``rows`` rows."""
        self._state.extend([0.0, 0.0, 0.0] for _ in range(rows - len(self._state)))

    def add(self, row: int, value: float, weight: float, at_ms: float) -> None:
        """Add a value; a value older than the newest gets a decayed weight."""
        state = self._state[row]
        at_ms = float(at_ms)
        shrink = 0.5 ** (abs(at_ms - state[2]) / self._half_life_ms)
        if at_ms >= state[2]:
            state[0], state[1], state[2] = state[0] * shrink + weight, state[1] * shrink + weight * value, at_ms
        else:
            state[0] += weight * shrink
            state[1] += weight * shrink * value

    def value(self, row: int) -> float | None:
        """Return the mean, or None before the first value."""
        weight, total, _ = self._state[row]
        return total / weight if weight > 0 else None

    def merge(self, other: DecayedMean) -> None:
        """Add the weights of another instance, row by row."""
        self.grow(len(other._state))
        for row, (weight, total, at_ms) in enumerate(other._state):
            if weight > 0:
                self.add(row, total / weight, weight, at_ms)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"v": self.version, "rows": [list(state) for state in self._state]}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("DecayedMean", self.version, snapshot)
        self._state = [[float(x) for x in row] for row in snapshot["rows"]]
