"""Counts of a bucket's listings by row: windows, price points and quoted prices.

:mod:`features.feature_logic` adds each minute and reads the sums. That module decides when events are counted,
this one what is counted. All listings share each ring (:mod:`features.windows`), so a minute costs one array
addition for any number of listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.books.offers import ReferenceOffer
from features.books.price_points import PricePoints
from features.bucket_logic import refuse_other_version
from features.segments.customers import SEGMENTS
from features.settings import FeatureSettings
from features.windows import DecayedMean, LocalTime, Numbers, SlotRing
from schemas.listings import Listing
from schemas.records.counts import Cell
from schemas.time_units import HOUR_MS, MINUTE_MS

_DAYS = 30
_DAY_SLOTS = _DAYS + 2
"""Local day numbers of markets differ by at most two; the ring advances with the latest one."""

_MINUTE = ("views", "exposures", "orders")
_HOUR = (
    "exposures", "orders", "units", "revenue_minor", "searches_matured", "searches_abandoned",
    "carts_matured", "carts_abandoned", *(f"exposures_{segment}" for segment in SEGMENTS),
)  # fmt: skip
_DAY = ("exposures", "orders", "units", "revenue_minor")
_ALL = ("views", *_HOUR)
_COLUMN = {name: i for i, name in enumerate(_ALL)}
_FROM_CELL = tuple((i, name) for name, i in _COLUMN.items() if not name.startswith("exposures_"))
_SEGMENT_COLUMN = {segment: _COLUMN[f"exposures_{segment}"] for segment in SEGMENTS}
_TAKE_MINUTE, _TAKE_HOUR, _TAKE_DAY = (
    np.array([_COLUMN[name] for name in names]) for names in (_MINUTE, _HOUR, _DAY)
)


@dataclass(frozen=True, slots=True)
class WindowTotals:
    """Sums per row at one time: ``minutes`` over 60 minutes, ``hours`` over 24 hours, ``days`` by last day.

    The sums are plain lists, because reading single elements of an array would create a NumPy object for each.
    """

    minutes: Mapping[str, list[int]]
    hours: Mapping[str, list[int]]
    days: Mapping[int, Mapping[str, list[int]]]
    units_by_day: Numbers
    rival_sum: list[float]
    rival_minutes: list[float]

    @staticmethod
    def of(sums: Mapping[str, list[int]], row: int) -> dict[str, int]:
        """Return one listing's sums by measure."""
        return {name: values[row] for name, values in sums.items()}


class ListingCounts:
    """Windows, price points and mean quoted prices of a bucket's listings.

    Parameters
    ----------
    settings : prices kept and half-lives; not part of the snapshot.

    Examples
    --------
    >>> counts = ListingCounts()
    >>> counts.grow(1)
    >>> counts.advance(60_000, {719163})
    >>> cell = Cell("acme", "web", "s1", "s1", "base", "all", 999, "USD", exposures=4, orders=1)
    >>> counts.add([cell], {"acme/web/s1": 0}, 60_000, {"web": LocalTime(719163, 3, 0, 0.0)})
    {0: 4}
    >>> counts.totals({719163}).hours["orders"][0], counts.points.current_minor(0)
    (1, 999)
    """

    version = 1

    def __init__(self, settings: FeatureSettings | None = None) -> None:
        settings = settings or FeatureSettings()
        self.points = PricePoints(settings)
        self.quoted = {segment: DecayedMean(settings.quoted_half_life_ms) for segment in SEGMENTS}
        self._rings = {
            "minutes": SlotRing(_MINUTE, 60),
            "hours": SlotRing(_HOUR, 24),
            "days": SlotRing(_DAY, _DAY_SLOTS),
            "rivals": SlotRing(("sum", "minutes"), 28, np.float64),
        }

    def grow(self, rows: int) -> None:
        """Extend the arrays to ``rows`` listings."""
        for ring in self._rings.values():
            ring.grow(rows)
        self.points.grow(rows)
        for mean in self.quoted.values():
            mean.grow(rows)

    def advance(self, at_ms: int, days: Iterable[int]) -> None:
        """Advance to the minute that ends at ``at_ms``; ``days`` are the markets' local day numbers."""
        self._rings["minutes"].advance((at_ms - 1) // MINUTE_MS)
        self._rings["hours"].advance((at_ms - 1) // HOUR_MS)
        self._rings["rivals"].advance((at_ms - 1) // (6 * HOUR_MS))
        newest = max(days, default=None)
        if newest is not None:
            self._rings["days"].advance(newest)

    def add(
        self, cells: Sequence[Cell], row_of: Mapping[str, int], at_ms: int, when: Mapping[str, LocalTime]
    ) -> dict[int, int]:
        """Add a minute's cells; return the exposures of every listing with a cell, by row."""
        counts: dict[int, list[int]] = {}
        day_of: dict[int, int] = {}
        for cell in cells:
            row = row_of[Listing.key_of(cell)]
            sums = counts.get(row)
            if sums is None:
                sums = counts[row] = [0] * len(_ALL)
                day_of[row] = when[cell.market].day
            for i, name in _FROM_CELL:
                sums[i] += getattr(cell, name)
            if cell.segment in _SEGMENT_COLUMN and cell.exposures > 0:
                sums[_SEGMENT_COLUMN[cell.segment]] += cell.exposures
                self.quoted[cell.segment].add(row, float(cell.price_minor), float(cell.exposures), at_ms)
            if cell.exposures or cell.orders:
                self.points.observe(
                    row, cell.price_minor, exposures=cell.exposures, orders=cell.orders, at_ms=at_ms
                )
        for row in counts:
            self.points.update_current(row, at_ms)
        if counts:
            rows = np.fromiter(counts, dtype=np.int64)
            values = np.array(list(counts.values()), dtype=np.int64).T
            self._rings["minutes"].add_rows(rows, values[_TAKE_MINUTE])
            self._rings["hours"].add_rows(rows, values[_TAKE_HOUR])
            days = np.fromiter(day_of.values(), dtype=np.int64)
            for day in sorted(set(day_of.values())):
                for i, name in enumerate(_DAY):
                    self._rings["days"].add(name, rows[days == day], values[_TAKE_DAY[i]][days == day], slot=day)
        exposures = _COLUMN["exposures"]
        return {row: sums[exposures] for row, sums in counts.items()}

    def add_references(self, references: Sequence[ReferenceOffer | None]) -> None:
        """Add each listing's fresh reference price of the minute."""
        if not references:
            return
        sums = np.zeros((2, len(references)))
        for row, reference in enumerate(references):
            if reference is not None and reference.fresh:
                sums[:, row] = reference.mean_minor, 1.0
        self._rings["rivals"].add_rows(np.arange(len(references)), sums)

    def totals(self, days: Iterable[int]) -> WindowTotals:
        """Return the current sums of all windows; ``days`` has one 30-day sum per given last day."""
        ring = self._rings
        return WindowTotals(
            minutes={name: ring["minutes"].total(name).tolist() for name in _MINUTE},
            hours={name: ring["hours"].total(name).tolist() for name in _HOUR},
            days={
                day: {name: ring["days"].total(name, _DAYS, until=day).tolist() for name in _DAY} for day in days
            },
            units_by_day=ring["days"].series("units"),
            rival_sum=ring["rivals"].total("sum").tolist(),
            rival_minutes=ring["rivals"].total("minutes").tolist(),
        )

    def complete_days(self, totals: WindowTotals, row: int, first_day: int, today: int) -> list[float]:
        """Return units per complete day between ``first_day`` and ``today``, oldest first, at most 29."""
        whole = max(0, min(_DAYS - 1, today - first_day - 1))
        newest = self._rings["days"].newest
        end = _DAY_SLOTS - 1 - ((today if newest is None else newest) - today)
        return [float(x) for x in totals.units_by_day[row, end - whole : end]]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "v": self.version,
            "points": self.points.snapshot(),
            "quoted": {segment: mean.snapshot() for segment, mean in self.quoted.items()},
            "rings": {name: ring.snapshot() for name, ring in self._rings.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot or one of its components has another version.
        """
        refuse_other_version("ListingCounts", self.version, snapshot)
        self.points.restore(snapshot["points"])
        for segment, mean in self.quoted.items():
            mean.restore(snapshot["quoted"][segment])
        for name, ring in self._rings.items():
            ring.restore(snapshot["rings"][name])
