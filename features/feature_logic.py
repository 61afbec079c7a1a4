"""FeatureLogic: computes feature rows from the minutes of a bucket.

All computation uses event time and cells. Facts arrive in the batch of their minute. Catalog entries are applied
first, so that cells of a new listing are accepted. Estimates come from another job. They take effect at a fixed
lag after the end of their window, so that a row depends on the data and not on the time of arrival:

  (1) an estimate of window end W is used from the first batch with window end ≥ W + lag

A listing gets a row when an event occurred in the minute (at most one row per ``emit_every_minutes``), and at
least every ``refresh_minutes``, because windows change without events and a row has an age limit. Offers, stock
levels and cells of a listing outside the catalog are ignored; such cells are reported on ``rejected_cells``.

Cost: arrays over the bucket's listings; about 2 kB of state per listing.

The file exceeds 300 lines because it contains one state with one snapshot. Components that are independent of it
(counts, rows, rivals, stock, seasonality) have their own modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from features.books.offers import ReferenceOffer, RivalBook
from features.books.products import CatalogBook, rejected_cell_record, validate_cells
from features.books.seasonality import SeasonalProfile
from features.books.stock import StockBook
from features.bucket_logic import Batch, Fact, Output, SnapshotError, refuse_other_version
from features.feature_row import feature_row
from features.listing_counts import ListingCounts, WindowTotals
from features.market_time import MarketTime
from features.rows import RowInputs
from features.segments.customers import SEGMENTS
from features.settings import FeatureSettings
from features.windows import LocalTime
from schemas.listings import Listing, category_key
from schemas.records.results import OWN_PRICE_ELASTICITY
from schemas.time_units import MINUTE_MS

__all__ = ["ELASTICITY", "FeatureLogic", "FeatureSettings"]

ELASTICITY = OWN_PRICE_ELASTICITY
_PENDING_PER_KEY = 8


class FeatureLogic:
    """Features of a bucket's listings; a :class:`features.bucket_logic.BucketLogic`.

    Notes
    -----
    Output streams:

    features : key is the listing; value ``listing``, ``event_timestamp`` and ``created_ms`` (both the end of the
        minute, so that a repeated run writes the same row), then all public names of
        :data:`features.registry.FEATURES`.
    rejected_cells : see :func:`features.books.products.rejected_cell_record`.

    Examples
    --------
    >>> from schemas.records.counts import Cell
    >>> from schemas.events import CatalogEntry
    >>> from schemas.listings import Listing, category_key
    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 600, 999)
    >>> cell = Cell("acme", "web", "s1", "s1", "base", "all", 1000, "USD", exposures=10, orders=2, units=2)
    >>> rows = list(FeatureLogic().on_batch(Batch(0, 300_000, cells=(cell,), catalog=(entry,))))
    >>> rows[0].key, rows[0].value["conversion_rate_1h"], rows[0].value["margin_percent"]
    ('acme/web/s1', 0.2, 40.0)
    """

    name = "features"
    version = 1

    def __init__(self, settings: FeatureSettings | None = None) -> None:
        self._settings = settings or FeatureSettings()
        self._market_time = MarketTime(self._settings.time_zones)
        self._clear()

    def _clear(self) -> None:
        self._catalog = CatalogBook()
        self._rivals = RivalBook(self._settings.rivals)
        self._stock = StockBook()
        self._seasons = SeasonalProfile(self._settings)
        self._counts = ListingCounts(self._settings)
        self._keys: list[str] = []
        self._row: dict[str, int] = {}
        self._first_ms: list[int] = []
        self._emitted_ms: list[int] = []
        self._dirty: set[int] = set()
        self._estimates: dict[str, list[Any]] = {}
        self._pending: dict[str, list[list[Any]]] = {}
        self._last_batch_ms = 0
        self.late_estimates = 0

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Process one minute: return the rejected cells, then the due rows in order of first observation.

        A batch that is not newer than the last one changes nothing.
        """
        at = batch.window_end_ms
        if at <= self._last_batch_ms:
            return []
        self._last_batch_ms = at
        self._take_facts(batch, at)
        valid, rejected = validate_cells(batch.cells, self._catalog)
        outputs = [Output("rejected_cells", r.cell.listing.key, rejected_cell_record(r, at), at) for r in rejected]
        markets = {self._catalog[key].market for key in self._keys}
        when = {market: self._market_time.at(market, at - 1) for market in markets}
        self._counts.advance(at, {local.day for local in when.values()})
        exposures = self._counts.add(valid, self._row, at, when)
        self._dirty.update(exposures)
        self._learn_seasons(exposures, when)
        references = self._follow_rivals(at)
        self._apply_estimates(at)
        outputs.extend(self._rows(at, when, references))
        return outputs

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Store an own-price elasticity until it is due (1); other facts change nothing."""
        value = fact.value
        if fact.kind != "estimates" or value.get("name") != ELASTICITY:
            return []
        key = f"{Listing.key_in(value)}|{value['segment']}"
        waiting = self._pending.setdefault(key, [])
        estimate = [value["window_end_ms"], value["mean"], value["sd"], value["n"], value["sufficient"]]
        # An estimate of the same window replaces the earlier one, so a repeated fact changes nothing.
        waiting[:] = sorted([e for e in waiting if e[0] != estimate[0]] + [estimate], key=lambda e: e[0])
        del waiting[:-_PENDING_PER_KEY]
        if self._last_batch_ms >= estimate[0] + self._settings.estimate_lag_ms:
            self.late_estimates += 1
        return []

    def _take_facts(self, batch: Batch, at: int) -> None:
        for entry in batch.catalog:
            if self._catalog.observe(entry):
                self._dirty.add(self._row_of(Listing.key_of(entry), at))
        for offer in batch.offers:
            key = Listing.key_of(offer)
            known = self._catalog.get(key)
            if known and self._rivals.observe(offer, currency=known.currency, pack_size=known.pack_size):
                self._dirty.add(self._row[key])
        for stock in batch.stock:
            key = Listing.key_of(stock)
            if key in self._row and self._stock.observe(stock):
                self._dirty.add(self._row[key])

    def _row_of(self, key: str, at: int) -> int:
        row = self._row.get(key)
        if row is None:
            row = self._row[key] = len(self._keys)
            self._keys.append(key)
            # The minute that ends at ``at`` is the first one that is counted.
            self._first_ms.append(at - MINUTE_MS)
            self._emitted_ms.append(0)
            self._counts.grow(row + 1)
        return row

    def _learn_seasons(self, exposures: Mapping[int, int], when: Mapping[str, LocalTime]) -> None:
        groups: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(self._keys):
            entry = self._catalog[key]
            if entry.active:
                group = groups.setdefault(
                    (entry.market, category_key(entry.tenant, entry.market, entry.category)), [0, 0]
                )
                group[0] += exposures.get(row, 0)
                group[1] += 1
        for (market, name), (events, listings) in groups.items():
            self._seasons.observe(name, when[market], events, listings)

    def _market(self, row: int) -> str:
        return self._catalog[self._keys[row]].market

    def _follow_rivals(self, at: int) -> list[ReferenceOffer | None]:
        references: list[ReferenceOffer | None] = []
        for key in self._keys:
            entry = self._catalog[key]
            reference = self._rivals.reference(key, at, currency=entry.currency, pack_size=entry.pack_size)
            references.append(reference)
        self._counts.add_references(references)
        return references

    def _apply_estimates(self, at: int) -> None:
        for key in sorted(self._pending):
            waiting = self._pending[key]
            due = [e for e in waiting if e[0] + self._settings.estimate_lag_ms <= at]
            row = self._row.get(key.rpartition("|")[0])
            if not due or row is None:
                continue
            held = self._estimates.get(key)
            if held is None or held[0] <= due[-1][0]:
                self._estimates[key] = due[-1]
                self._dirty.add(row)
            rest = waiting[len(due) :]
            if rest:
                self._pending[key] = rest
            else:
                del self._pending[key]

    def _rows(
        self, at: int, when: Mapping[str, LocalTime], references: list[ReferenceOffer | None]
    ) -> Iterable[Output]:
        settings = self._settings
        due = [row for row in range(len(self._keys)) if self._is_due(row, at)]
        if not due:
            return
        counts = self._counts
        totals = counts.totals({local.day for local in when.values()})
        requests = self._market_requests(totals)
        seasons: dict[str, float | None] = {}
        for row in due:
            key = self._keys[row]
            entry = self._catalog[key]
            local = when[entry.market]
            price = counts.points.current_minor(row)
            group = category_key(entry.tenant, entry.market, entry.category)
            if group not in seasons:
                seasons[group] = self._seasons.factor(group, local)
            inputs = RowInputs(
                at_ms=at,
                first_ms=self._first_ms[row],
                local=local,
                entry=entry,
                hour_1=totals.of(totals.minutes, row),
                hours_24=totals.of(totals.hours, row),
                days_30=totals.of(totals.days[local.day], row),
                complete_days=counts.complete_days(totals, row, self._first_day(row), local.day),
                price_minor=price,
                changed_ms=counts.points.changed_ms(row),
                at_price=counts.points.counts(row, price) if price is not None else (0, 0),
                reference=references[row],
                rival_sum_7d=totals.rival_sum[row],
                rival_minutes_7d=totals.rival_minutes[row],
                stock=self._stock.level(key),
                estimates={
                    segment: tuple(self._estimates[f"{key}|{segment}"])
                    for segment in ("all", *SEGMENTS)
                    if f"{key}|{segment}" in self._estimates
                },
                seasonality=seasons[group],
                market_requests=requests[entry.market],
                mean_quoted={segment: mean.value(row) for segment, mean in counts.quoted.items()},
            )
            self._emitted_ms[row] = at
            self._dirty.discard(row)
            yield Output("features", key, feature_row(inputs, settings), at)

    def _is_due(self, row: int, at: int) -> bool:
        age_ms = at - self._emitted_ms[row]
        if row in self._dirty:
            return age_ms >= self._settings.emit_every_minutes * MINUTE_MS
        return age_ms >= self._settings.refresh_minutes * MINUTE_MS and self._catalog[self._keys[row]].active

    def _first_day(self, row: int) -> int:
        return self._market_time.at(self._market(row), self._first_ms[row]).day

    def _market_requests(self, totals: WindowTotals) -> dict[str, dict[str, int]]:
        sums: dict[str, dict[str, int]] = {}
        for row in range(len(self._keys)):
            market = sums.setdefault(self._market(row), dict.fromkeys(SEGMENTS, 0))
            for segment in SEGMENTS:
                market[segment] += totals.hours[f"exposures_{segment}"][row]
        return sums

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: listings in order of first observation, then the components' snapshots."""
        return {
            "v": self.version,
            "keys": list(self._keys),
            "first_ms": list(self._first_ms),
            "emitted_ms": list(self._emitted_ms),
            "dirty": sorted(self._dirty),
            "last_batch_ms": self._last_batch_ms,
            "late_estimates": self.late_estimates,
            "estimates": {key: list(estimate) for key, estimate in sorted(self._estimates.items())},
            "pending": {key: [list(e) for e in waiting] for key, waiting in sorted(self._pending.items())},
            **{name: part.snapshot() for name, part in self._parts().items()},
        }

    def _parts(self) -> dict[str, Any]:
        return {
            "catalog": self._catalog,
            "rivals": self._rivals,
            "stock": self._stock,
            "seasons": self._seasons,
            "counts": self._counts,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot or one of its components has another version; the state is then empty.
        """
        self._clear()
        try:
            refuse_other_version("features", self.version, snapshot)
            for name, part in self._parts().items():
                part.restore(snapshot[name])
        except SnapshotError:
            self._clear()
            raise
        self._keys = list(snapshot["keys"])
        self._row = {key: row for row, key in enumerate(self._keys)}
        self._first_ms = list(snapshot["first_ms"])
        self._emitted_ms = list(snapshot["emitted_ms"])
        self._dirty = set(snapshot["dirty"])
        self._last_batch_ms = snapshot["last_batch_ms"]
        self.late_estimates = snapshot["late_estimates"]
        self._estimates = {key: list(estimate) for key, estimate in snapshot["estimates"].items()}
        self._pending = {key: [list(e) for e in waiting] for key, waiting in snapshot["pending"].items()}
        self._counts.grow(len(self._keys))
