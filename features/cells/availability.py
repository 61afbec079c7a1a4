"""Share of a minute in which a listing was in stock (science § 3, "Stock-outs").

Exposures count until the stock-out and again from the restocking. Dropping minutes with a stock-out would select
on the outcome, and ignoring the stock-out has a larger bias. Every model therefore multiplies exposures by this
share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from features.bucket_logic import refuse_other_version
from schemas.events import Stock
from schemas.listings import Listing


class Availability:
    """Stock state per listing of a bucket; a listing without a stock record is in stock.

    Examples
    --------
    >>> def stock(at_ms, on_hand):
    ...     return Stock("e", at_ms, "acme", "web", "s1", "s1", on_hand, 0, 1.0)
    >>> book = Availability()
    >>> book.shares([stock(15_000, 0)], 0, 60_000), book.shares([], 60_000, 120_000)
    ({'acme/web/s1': 0.25}, {'acme/web/s1': 0.0})
    >>> book.shares([stock(150_000, 7)], 120_000, 180_000)
    {'acme/web/s1': 0.5}
    """

    version = 1

    def __init__(self) -> None:
        self._state: dict[str, tuple[int, bool]] = {}  # event time of the newest level, in stock

    def shares(self, stock: Iterable[Stock], start_ms: int, end_ms: int) -> dict[str, float]:
        """Return the share of [start, end) in stock, for the listings that were out of stock at some time in it.

        Stock levels are in canonical order. A late level counts from the start of the minute. A level older than
        the newest one changes nothing.
        """
        out_ms: dict[str, float] = {}
        since = {key: start_ms for key, (_, in_stock) in self._state.items() if not in_stock}
        for level in stock:
            key = Listing.key_of(level)
            held = self._state.get(key)
            if held is not None and level.event_time_ms < held[0]:
                continue
            in_stock = level.on_hand > 0
            self._state[key] = (level.event_time_ms, in_stock)
            at = min(max(level.event_time_ms, start_ms), end_ms)
            if in_stock and key in since:
                out_ms[key] = out_ms.get(key, 0.0) + at - since.pop(key)
            elif not in_stock and key not in since:
                since[key] = at
        for key, at in since.items():
            out_ms[key] = out_ms.get(key, 0.0) + end_ms - at
        return {key: 1 - out_ms[key] / (end_ms - start_ms) for key in sorted(out_ms)}

    def in_stock(self, listing_key: str) -> bool:
        """Return the state after the newest level."""
        return self._state.get(listing_key, (0, True))[1]

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data."""
        return {"v": self.version, "state": {key: list(state) for key, state in self._state.items()}}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("Availability", self.version, snapshot)
        self._state = {key: (int(at), bool(in_stock)) for key, (at, in_stock) in snapshot["state"].items()}
