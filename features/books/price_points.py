"""Recently quoted prices of a listing, with the counts at each price.

Data per listing: up to K prices, each with exposures n, orders y, a weight that halves every half-life (how much
the price is quoted now), the time of its last quote and the start of its current run. The *current price* is the
price with the highest weight: with exploration a table quotes two or three prices at a time, and the one with the
highest weight is the shop's price. It is computed from cells alone, so features do not depend on the time at which
a table was published, and it also exists for recorded data without tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.bucket_logic import refuse_other_version
from features.settings import FeatureSettings

_PRICE, _EXPOSURES, _ORDERS, _WEIGHT, _LAST_MS, _SINCE_MS = range(6)


class PricePoints:
    """Prices of a bucket's listings, by row.

    Parameters
    ----------
    settings : K and the half-life (``prices_kept``, ``price_half_life_ms``), ``price_run_gap_ms`` and
        ``price_change_ms``; not part of the snapshot.

    Examples
    --------
    >>> points = PricePoints()
    >>> points.grow(1)
    >>> for minute in range(200):
    ...     points.observe(0, 999 if minute < 100 else 899, exposures=10, orders=1, at_ms=minute * 60_000)
    ...     points.update_current(0, minute * 60_000)
    >>> points.current_minor(0), points.changed_ms(0) == 100 * 60_000, points.counts(0, 999)
    (899, True, (1000, 100))
    """

    version = 1

    def __init__(self, settings: FeatureSettings | None = None) -> None:
        settings = settings or FeatureSettings()
        self._kept = settings.prices_kept
        self._half_life_ms = settings.price_half_life_ms
        self._run_gap_ms = settings.price_run_gap_ms
        self._change_ms = settings.price_change_ms
        self._points: list[dict[int, list[Any]]] = []
        self._current: list[int | None] = []
        self._changed_ms: list[int | None] = []

    def grow(self, rows: int) -> None:
        """Extend the state to ``rows`` listings."""
        for _ in range(rows - len(self._points)):
            self._points.append({})
            self._current.append(None)
            self._changed_ms.append(None)

    def observe(self, row: int, price_minor: int, *, exposures: int, orders: int, at_ms: int) -> None:
        """Add a minute's exposures and orders at one price."""
        points = self._points[row]
        point = points.get(price_minor)
        if point is None:
            point = points[price_minor] = [price_minor, 0, 0, 0.0, at_ms, at_ms]
        point[_EXPOSURES] += exposures
        point[_ORDERS] += orders
        if exposures > 0:
            gap = max(at_ms - point[_LAST_MS], 0)
            if gap >= self._run_gap_ms:
                point[_SINCE_MS] = at_ms
            point[_WEIGHT] = point[_WEIGHT] * 0.5 ** (gap / self._half_life_ms) + exposures
            point[_LAST_MS] = at_ms
        if len(points) > self._kept:
            others = [p for p in points.values() if p[_PRICE] != self._current[row]]
            del points[min(others, key=lambda p: (p[_LAST_MS], p[_PRICE]))[_PRICE]]

    def update_current(self, row: int, at_ms: int) -> None:
        """Determine the current price after a minute's counts; of equal weights the lowest price."""
        points = self._points[row]
        if not points:
            return

        def weight(point: list[Any]) -> float:
            return float(point[_WEIGHT] * 0.5 ** ((at_ms - point[_LAST_MS]) / self._half_life_ms))

        leader = max(points.values(), key=lambda p: (weight(p), -p[_PRICE]))
        if weight(leader) <= 0 or leader[_PRICE] == self._current[row]:
            return
        # The run of an explored price may have started long before: the price then changed only now.
        fresh_run = at_ms - leader[_SINCE_MS] < self._change_ms
        first = self._current[row] is None
        self._current[row] = leader[_PRICE]
        self._changed_ms[row] = leader[_SINCE_MS] if fresh_run or first else at_ms

    def current_minor(self, row: int) -> int | None:
        """Return the current price, or None before the first exposure."""
        return self._current[row]

    def changed_ms(self, row: int) -> int | None:
        """Return the time at which quoting of the current price started."""
        return self._changed_ms[row]

    def counts(self, row: int, price_minor: int) -> tuple[int, int]:
        """Return exposures and orders at a price since it was added; zeros if it is not kept."""
        point = self._points[row].get(price_minor)
        return (point[_EXPOSURES], point[_ORDERS]) if point else (0, 0)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "v": self.version,
            "points": [[list(p) for p in points.values()] for points in self._points],
            "current": list(self._current),
            "changed_ms": list(self._changed_ms),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("PricePoints", self.version, snapshot)
        self._points = [{p[_PRICE]: list(p) for p in points} for points in snapshot["points"]]
        self._current = list(snapshot["current"])
        self._changed_ms = list(snapshot["changed_ms"])
