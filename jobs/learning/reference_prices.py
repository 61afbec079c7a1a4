"""Reference price and time in stock of a listing at the minutes of its cells, as elasticity_job computes them.

Only listings with offers or stock levels have such minutes; all others have a constant reference price and are
always in stock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from features.books.offers import RivalBook, RivalSettings
from features.elasticity.settings import ElasticitySettings
from schemas.events import Offer
from schemas.listings import Listing
from schemas.time_units import MINUTE_MS

MinuteFact = tuple[int, int, dict[str, Any]]
"""Series, end of the minute, record with ``own_currency`` and ``own_pack`` of its listing."""
_OFFER = tuple(Offer.__dataclass_fields__)
_ALWAYS = 1 << 62
"""A time after all others, epoch milliseconds."""


class _Entry(NamedTuple):
    """Currency, pack size and key of a listing."""

    currency: str
    pack_size: int
    key: str


class Moment(NamedTuple):
    """A minute with cells: log reference price as a deviation from the first one, and the share in stock."""

    series: int
    window_end_ms: int
    deviation: float
    share: float


@dataclass(slots=True)
class OutOfStock:
    """Times out of stock per series: [start, end) in epoch milliseconds, end None while it lasts."""

    spans: dict[int, list[tuple[int, int | None]]] = field(default_factory=dict)

    def share(self, series: int, start_ms: int, end_ms: int) -> float:
        """Return the share of [start, end) in stock."""
        out = sum(
            max(0, min(end_ms if end is None else end, end_ms) - max(start, start_ms))
            for start, end in self.spans.get(series, ())
        )
        return 1 - out / (end_ms - start_ms)

    def by_period(self, period_ms: int, offset_ms: int, last_ms: int) -> dict[tuple[int, int], float]:
        """Return the milliseconds out of stock by (series, period) until ``last_ms``.

        Examples
        --------
        >>> OutOfStock({0: [(30, 70)]}).by_period(50, 0, 100)
        {(0, 0): 20.0, (0, 1): 20.0}
        """
        found: dict[tuple[int, int], float] = {}
        for series, spans in self.spans.items():
            for start, end in spans:
                stop = min(last_ms if end is None else end, last_ms)
                for period in range((start - offset_ms) // period_ms, (stop - 1 - offset_ms) // period_ms + 1):
                    low = period * period_ms + offset_ms
                    part = min(stop, low + period_ms) - max(start, low)
                    if part > 0:
                        found[series, period] = found.get((series, period), 0.0) + part
        return found


def out_of_stock(levels: Iterable[MinuteFact]) -> OutOfStock:
    """Return the times out of stock from stock levels by series and time; without a level a listing is in stock.

    A level that arrives late counts from the start of the minute in which it counts.
    """
    found = OutOfStock()
    for series, of_series in groupby(levels, key=itemgetter(0)):
        newest: int | None = None
        since: int | None = None
        spans: list[tuple[int, int | None]] = []
        for _, window_end_ms, level in of_series:
            at_ms = int(level["event_time_ms"])
            if newest is not None and at_ms < newest:
                continue
            newest = at_ms
            from_ms = min(max(at_ms, window_end_ms - MINUTE_MS), window_end_ms)
            if level["on_hand"] <= 0:
                since = from_ms if since is None else since
            elif since is not None:
                spans.append((since, from_ms))
                since = None
        if since is not None:
            spans.append((since, None))
        if spans:
            found.spans[series] = spans
    return found


def moments_of(
    minutes: Iterable[tuple[int, int]],
    offers: Iterable[MinuteFact],
    out: OutOfStock,
    settings: ElasticitySettings,
) -> Iterator[Moment]:
    """Yield the moment of every minute.

    Parameters
    ----------
    minutes : series and end of the minutes with cells, ascending.
    offers : valid offers by series and time, in canonical order within a minute.
    out : times out of stock; they shorten the exposures (poisson) or the period (within, by period).
    """
    waiting = _Ahead(offers)
    for series, of_series in groupby(minutes, key=itemgetter(0)):
        prices = _ReferencePrices(settings.rivals)
        for _, end_ms in of_series:
            for offer, entry in waiting.until(series, end_ms):
                prices.observe(offer, entry)
            share = 1.0 if settings.kind == "within" else out.share(series, end_ms - MINUTE_MS, end_ms)
            yield Moment(series, end_ms, prices.deviation(end_ms), share)


class _ReferencePrices:
    """Log reference price of one listing as a deviation from the first one, as period_counts.py computes it.

    Between two offers it changes only when an offer ends to be fresh, so that it is kept until then.
    """

    def __init__(self, settings: RivalSettings) -> None:
        self._book = RivalBook(settings)
        self._validity_ms = settings.validity_ms
        self._entry: _Entry | None = None
        self._centre: float | None = None
        self._fresh_until: list[int] = []
        self._kept, self._kept_until = 0.0, -1

    def observe(self, offer: Offer, entry: _Entry) -> None:
        self._entry = entry
        # An offer that is not comparable leaves the stored one, and its validity, in place.
        if self._book.observe(offer, currency=entry.currency, pack_size=entry.pack_size):
            self._fresh_until.append(offer.event_time_ms + (offer.validity_ms or self._validity_ms))
            self._kept_until = -1

    def deviation(self, now_ms: int) -> float:
        """Return the deviation at a time; 0 without a fresh offer."""
        entry = self._entry
        if entry is None:
            return 0.0
        if now_ms > self._kept_until:
            self._kept = self._computed(entry, now_ms)
            self._fresh_until = [end for end in self._fresh_until if end >= now_ms]
            self._kept_until = min(self._fresh_until, default=_ALWAYS)
        return self._kept

    def _computed(self, entry: _Entry, now_ms: int) -> float:
        got = self._book.reference(entry.key, now_ms, currency=entry.currency, pack_size=entry.pack_size)
        if got is None or not got.fresh or got.mean_minor <= 0:
            return 0.0
        log_price = math.log(got.mean_minor)
        if self._centre is None:
            self._centre = log_price
        return log_price - self._centre


class _Ahead:
    """Offers in order, read up to a series and minute."""

    def __init__(self, offers: Iterable[MinuteFact]) -> None:
        self._offers = iter(offers)
        self._next = next(self._offers, None)

    def until(self, series: int, end_ms: int) -> Iterator[tuple[Offer, _Entry]]:
        """Yield the series' offers until a minute, each with its listing's currency, pack size and key."""
        while self._next is not None and self._next[:2] <= (series, end_ms):
            of, _, record = self._next
            if of == series:
                offer = Offer(**{name: record[name] for name in _OFFER})
                yield offer, _Entry(record["own_currency"], record["own_pack"], Listing.key_of(offer))
            self._next = next(self._offers, None)
