"""PeriodCounts: a bucket's minutes as rows per listing, segment and quoted price, until their period is learned.

A row has exposures times the share of the minute in stock, orders, units, and the controls (reference prices as
log deviations from the first observed ones, and covariates; see controls.py).

Poisson: an order may be placed after its price has been replaced. A period is therefore learned one period later
(``order_lag_periods``), and orders at a price without exposures in their own period are added to the row of the
previous period. Negative counts (cancellations) are subtracted from the listing's next orders, because a count
cannot be negative. Until then a closed period is *pending*; the period that minutes are counted in is *open*.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from features.books.offers import RivalBook
from features.books.products import CatalogBook, validate_cell
from features.bucket_logic import Batch
from features.cells.availability import Availability
from features.elasticity.base import Ints, PeriodRows
from features.elasticity.controls import Controls, CountRow
from features.elasticity.listing_index import ListingIndex
from features.elasticity.settings import ElasticitySettings
from schemas.events import CatalogEntry, Offer
from schemas.listings import Listing
from schemas.time_units import MINUTE_MS

RowKey = tuple[int, str, int]  # listing number, segment, price
MIN_SHARE_IN_STOCK = 0.05
"""Smallest share of a period in stock by which units are divided."""


class ClosedPeriod(NamedTuple):
    """A period that has ended, and the rows that are to be learned then.

    ``period`` is the one that ended; the rows are those of the period before with ``order_lag_periods``. ``rows``
    is None without a row that can be learned. ``segments`` names each row's segment; it is empty for scanner data,
    which have one row per listing. ``unexposed``: listings whose first orders without an exposure are among them.
    """

    period: int
    rows: PeriodRows | None
    segments: tuple[str, ...]
    unexposed: frozenset[int]


class PeriodCounts:
    """Counts of the open and the pending period.

    Parameters
    ----------
    settings : kind of model, length of a period, and names of the controls.
    """

    def __init__(self, settings: ElasticitySettings) -> None:
        self.settings = settings
        self.listings = ListingIndex()
        self.unexposed: set[int] = set()  # listings with orders that no exposure explains
        self._rivals = RivalBook(settings.rivals)
        self._controls = Controls(settings)
        self._availability = Availability()
        # Per listing: log of its first price and of its first rivals' price, and outstanding cancellations.
        self._price_centre: list[float | None] = []
        self.offer_centre: list[float | None] = []
        self._cancellations: list[float] = []
        self._open: dict[RowKey, CountRow] = {}
        self.open_period: int | None = None
        self._pending: dict[RowKey, CountRow] = {}
        self._pending_period: int | None = None
        self._out_ms: dict[int, float] = {}

    # -- minutes -------------------------------------------------------------------------------

    def take_facts(self, batch: Batch) -> None:
        """Store a minute's catalog entries, offers and covariates."""
        for entry in batch.catalog:
            if self.listings.observe(entry):
                self._price_centre.append(None)
                self.offer_centre.append(None)
                self._cancellations.append(0.0)
        for offer in batch.offers:
            known = self.listings.catalog.get(Listing.key_of(offer))
            if known is not None:
                self._rivals.observe(offer, currency=known.currency, pack_size=known.pack_size)
        for covariate in batch.covariates:
            if Listing.key_of(covariate) in self.listings.number:
                self._controls.observe(covariate)

    def shares_in_stock(self, batch: Batch) -> Mapping[str, float]:
        """Return the share of the minute in which each listing was in stock."""
        return self._availability.shares(batch.stock, batch.window_end_ms - MINUTE_MS, batch.window_end_ms)

    def count(self, period: int, batch: Batch, shares: Mapping[str, float]) -> None:
        """Add a minute's cells to the rows of a period, which is then the open one."""
        self.open_period = period
        controls: dict[str, list[float]] = {}
        scanner = self.settings.kind == "within"
        number, catalog = self.listings.number, self.listings.catalog
        for key, share in shares.items():
            if scanner and key in number:
                i = number[key]
                self._out_ms[i] = self._out_ms.get(i, 0.0) + (1 - share) * MINUTE_MS
        for cell in batch.cells:
            if not (cell.exposures or cell.orders or cell.units):
                continue
            key = Listing.key_of(cell)
            if validate_cell(cell, catalog) is not None:
                continue
            if key not in controls:
                reference = self._offer_deviation(key, batch.window_end_ms)
                controls[key] = self._controls.values(catalog[key], reference, self._rivals, batch.window_end_ms)
            exposures = cell.exposures * shares.get(key, 1.0)
            weight = max(cell.units, 0) if scanner else exposures
            row_key = (number[key], cell.segment, cell.price_minor)
            row = self._open.get(row_key)
            if row is None:
                row = self._open[row_key] = CountRow.empty(self.settings.slopes - 1)
            row.exposures += exposures
            row.orders += cell.orders
            row.units += cell.units
            row.observe(controls[key], weight)

    def _offer_deviation(self, key: str, now_ms: int) -> float:
        """Return the log of the fresh rivals' reference price minus the first one's; 0 without one."""
        entry = self.listings.catalog[key]
        got = self._rivals.reference(key, now_ms, currency=entry.currency, pack_size=entry.pack_size)
        if got is None or not got.fresh or got.mean_minor <= 0:
            return 0.0
        i, log_offer = self.listings.number[key], float(np.log(got.mean_minor))
        centre = self.offer_centre[i]
        if centre is None:
            centre = self.offer_centre[i] = log_offer
        return log_offer - centre

    # -- end of a period -----------------------------------------------------------------------

    def close(self) -> ClosedPeriod | None:
        """Close the open period and return the rows that can be learned now; None without an open period."""
        period, rows = self.open_period, self._open
        if period is None:
            return None
        self._open, self.open_period = {}, None
        if self.settings.kind == "within":
            learned = self._scanner_rows(period, rows)
            self._out_ms = {}
            return ClosedPeriod(period, learned, (), frozenset())
        if not self.settings.order_lag_periods:
            return ClosedPeriod(period, *self._count_rows(period, rows))
        for key, row in rows.items():
            before = self._pending.get(key)
            if row.exposures <= 0 and row.orders and before is not None:
                before.orders += row.orders
                row.orders = 0.0
        due, due_period = self._pending, self._pending_period
        self._pending, self._pending_period = rows, period
        if due_period is None:
            return ClosedPeriod(period, None, (), frozenset())
        return ClosedPeriod(period, *self._count_rows(due_period, due))

    def _count_rows(
        self, period: int, rows: Mapping[RowKey, CountRow]
    ) -> tuple[PeriodRows | None, tuple[str, ...], frozenset[int]]:
        """Return one row per listing, segment and price with exposures, and its segment."""
        keys = sorted(key for key, row in rows.items() if row.exposures > 0)
        unexposed: set[int] = set()
        for key in sorted(rows):
            row = rows[key]
            if row.exposures <= 0 and row.orders < 0:
                self._cancellations[key[0]] -= row.orders
            elif row.exposures <= 0 and row.orders > 0 and key[0] not in self.unexposed:
                unexposed.add(key[0])
        self.unexposed |= unexposed
        if not keys:
            return None, (), frozenset(unexposed)
        exposures = np.array([rows[key].exposures for key in keys])
        quantity = np.array([self._net_orders(key[0], rows[key].orders) for key in keys])
        x = np.array([[self._log_price(i, price), *rows[i, name, price].means()] for i, name, price in keys])
        learned = PeriodRows(period, np.array([key[0] for key in keys], np.int64), x, quantity, np.log(exposures))
        return learned, tuple(key[1] for key in keys), frozenset(unexposed)

    def _scanner_rows(self, period: int, rows: Mapping[RowKey, CountRow]) -> PeriodRows | None:
        """Return one row per listing: units, log share in stock, the units' mean log price and controls."""
        units: dict[int, float] = {}
        means: dict[int, CountRow] = {}  # own log price and controls, weighted by the units sold
        for i, segment, price in sorted(rows):
            row = rows[i, segment, price]
            sales = max(row.units, 0.0)
            units[i] = units.get(i, 0.0) + row.units
            mean = means.setdefault(i, CountRow.empty(self.settings.slopes))
            mean.weight += sales
            for at, total in enumerate([sales * self._log_price(i, price), *row.controls]):
                mean.controls[at] += total
        sold = [i for i in sorted(units) if units[i] > 0 and means[i].weight > 0]
        if not sold:
            return None
        out = [self._out_ms.get(i, 0.0) / self.settings.period_ms for i in sold]
        return PeriodRows(
            period,
            np.array(sold, np.int64),
            np.array([means[i].means() for i in sold]),
            np.array([units[i] for i in sold]),
            np.log([max(1 - share, MIN_SHARE_IN_STOCK) for share in out]),
            self._groups(sold) if self.settings.category_effects else None,
        )

    def _groups(self, series: list[int]) -> Ints:
        names = [self.listings.entry(i).category for i in series]
        codes = {name: code for code, name in enumerate(sorted(set(names)))}
        return np.array([codes[name] for name in names], np.int64)

    def _net_orders(self, i: int, orders: float) -> float:
        """Return orders minus the outstanding cancellations, at least 0."""
        left = orders - self._cancellations[i]
        self._cancellations[i] = max(0.0, -left)
        return max(0.0, left)

    def _log_price(self, i: int, price_minor: int) -> float:
        centre = self._price_centre[i]
        if centre is None:
            centre = self._price_centre[i] = float(np.log(price_minor))
        return float(np.log(price_minor)) - centre

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the counts as plain data; entries and offers contain only the fields that learning reads."""
        entries = [(key, self.listings.catalog[key]) for key in self.listings.catalog]
        return {
            "catalog": {
                key: [e.event_time_ms, e.category, e.price_group, e.currency, e.pack_size] for key, e in entries
            },
            "rivals": {key: [_offer_row(o) for o in self._rivals.offers(key)] for key in self.listings.keys},
            "availability": self._availability.snapshot(),
            "unexposed": sorted(self.unexposed),
            "price_centre": list(self._price_centre),
            "offer_centre": list(self.offer_centre),
            "debt": list(self._cancellations),
            "open": [[*key, *row.to_list()] for key, row in self._open.items()],
            "open_period": self.open_period,
            "pending": [[*key, *row.to_list()] for key, row in self._pending.items()],
            "pending_period": self._pending_period,
            "out_ms": [[i, ms] for i, ms in self._out_ms.items()],
            **self._controls.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> bool:
        """Restore the counts; return whether the snapshot's statistics have the regressors of the settings.

        If they have not, the rows of open and pending periods are dropped.
        """
        same_regressors = self._controls.restore(snapshot)
        self.unexposed = {int(i) for i in snapshot.get("unexposed", [])}
        self.listings, self._rivals = ListingIndex(), RivalBook(self.settings.rivals)
        catalog = CatalogBook()
        for key, (at, category, group, currency, pack) in snapshot["catalog"].items():
            of = Listing.parse(key)
            catalog.observe(
                CatalogEntry("", at, of.tenant, of.market, of.sku, group, category, "", currency, pack, True)
            )
            for rival, seen, price, in_stock, validity in snapshot["rivals"][key]:
                offer = Offer(
                    "", seen, of.tenant, of.market, of.sku, group, rival, price, 0, bool(in_stock), currency, pack,
                    "", 1.0, validity,
                )  # fmt: skip
                self._rivals.observe(offer, currency=currency, pack_size=pack)
        self.listings.catalog = catalog
        self.listings.keys = list(snapshot["rivals"])
        self.listings.number = {key: i for i, key in enumerate(self.listings.keys)}
        self._availability = Availability()
        self._availability.restore(snapshot["availability"])
        self._price_centre = list(snapshot["price_centre"])
        self.offer_centre = list(snapshot["offer_centre"])
        self._cancellations = [float(value) for value in snapshot["debt"]]
        self._open = {(i, k, p): CountRow.from_list(row) for i, k, p, *row in snapshot["open"]}
        self.open_period = snapshot["open_period"]
        self._pending = {(i, k, p): CountRow.from_list(row) for i, k, p, *row in snapshot["pending"]}
        self._pending_period = snapshot["pending_period"]
        self._out_ms = {int(i): float(ms) for i, ms in snapshot["out_ms"]}
        if not same_regressors:
            self._open, self._pending = {}, {}
        return same_regressors


def _offer_row(offer: Offer) -> list[Any]:
    price = offer.price_minor + offer.shipping_minor
    return [offer.competitor, offer.event_time_ms, price, int(offer.in_stock), offer.validity_ms]
