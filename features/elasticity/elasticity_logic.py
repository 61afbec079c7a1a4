"""ElasticityLogic: stage 1 of learning, from one bucket's minutes to cumulative statistics per listing.

The rows of a period are counted per (listing, segment, quoted price): exposures times the share of the minute in
stock, orders, units, and the controls (reference prices as log deviations from the first observed ones, and
covariates; see controls.py). After the end of a period the model learns its rows, and the stream ``sums`` gets one
output per category with the cumulative statistics of each listing whose statistics changed. Stage 2
(pooling_logic.py) keeps the newest statistics per listing, so the order of arrival and repeats change nothing.

Poisson: an order may be placed after its price has been replaced. A period is therefore learned one period later
(``order_lag_periods``), and orders at a price without exposures in their own period are added to the row of the
previous period. Negative counts (cancellations) are subtracted from the listing's next orders, because a count
cannot be negative.

The file exceeds 300 lines because it contains the states of a period (open, pending, learned, published) and their
snapshot. Each step reads and writes the same fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.books.offers import RivalBook
from features.books.products import CatalogBook, validate_cell
from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from features.cells.availability import Availability
from features.elasticity.base import Distribution, Expectation, Ints, PeriodRows, SeriesModel
from features.elasticity.controls import Controls, CountRow
from features.elasticity.count_scores import count_variance, listing_totals, log_probability
from features.elasticity.drift import MAX_LOG_VARIANCE, Change, DriftMonitor, Residuals, Scope
from features.elasticity.models import competing_models
from features.elasticity.seasonal import SeasonalFactors
from features.elasticity.settings import ElasticitySettings
from features.market_time import MarketTime
from schemas.events import CatalogEntry, DriftEvent, Listing, Offer
from schemas.time_units import HOUR_MS, MINUTE_MS

SUMS = "sums"
DRIFT = "drift"
RowKey = tuple[int, str, int]  # listing index, segment, price


class ListingChange(NamedTuple):
    """The last confirmed change of a listing, and how far changes moved its slope so far, as a mean square."""

    at_ms: int
    slope_variance: float


class ElasticityLogic:
    """Learning of one bucket (a :class:`features.bucket_logic.BucketLogic`).

    Parameters
    ----------
    settings : see :class:`ElasticitySettings`; not part of the snapshot.
    """

    name = "elasticity"
    version = 1

    def __init__(self, settings: ElasticitySettings | None = None) -> None:
        self.settings = settings or ElasticitySettings()
        self._catalog = CatalogBook()
        self._rivals = RivalBook(self.settings.rivals)
        self._controls = Controls(self.settings)
        self._availability = Availability()
        self._models: tuple[SeriesModel, ...] = competing_models(self.settings, self.settings.slopes)
        self._monitor = DriftMonitor(self.settings.drift)
        self._changes: dict[int, ListingChange] = {}
        self._unexposed: set[int] = set()  # listings with orders that no exposure explains
        self._scores: dict[tuple[str, str], dict[str, list[float]]] = {}  # of the period learned last
        self._drift: list[tuple[Change, str]] = []  # confirmed changes of that period, with their tenant
        self._factors: dict[str, SeasonalFactors] = {}
        self._market_time = MarketTime(self.settings.time_zones)
        self._time_ms = 0
        self._index: dict[str, int] = {}
        self._keys: list[str] = []
        # Per listing: log of its first price and of its first rivals' price, and outstanding cancellations.
        self._price_centre: list[float | None] = []
        self._offer_centre: list[float | None] = []
        self._cancellations: list[float] = []
        self._sent_category: list[str] = []  # category of each listing's last output, "" before the first
        self._open: dict[RowKey, CountRow] = {}
        self._open_period: int | None = None
        self._pending: dict[RowKey, CountRow] = {}
        self._pending_period: int | None = None
        self._out_ms: dict[int, float] = {}

    # -- input ---------------------------------------------------------------------------------

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Process one minute; outputs follow in a period's last minute, or in the first minute after it."""
        if batch.window_end_ms <= self._time_ms:
            return []
        s = self.settings
        self._time_ms = batch.window_end_ms
        self._take_facts(batch)
        shares = self._availability.shares(batch.stock, batch.window_end_ms - MINUTE_MS, batch.window_end_ms)
        period = (batch.window_end_ms - 1 - s.period_offset_ms) // s.period_ms
        outputs: list[Output] = []
        if self._open_period is not None and period > self._open_period:
            outputs += self._close(batch.bucket)
        self._open_period = period
        self._count(batch, shares)
        if batch.window_end_ms == self._period_end(period):
            outputs += self._close(batch.bucket)
        return outputs

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Return no output: facts are learned from the minute's batch, in order of event time."""
        return []

    def _take_facts(self, batch: Batch) -> None:
        for entry in batch.catalog:
            key = Listing.key_of(entry)
            self._catalog.observe(entry)
            if key not in self._index:
                self._index[key] = len(self._keys)
                self._keys.append(key)
                self._price_centre.append(None)
                self._offer_centre.append(None)
                self._cancellations.append(0.0)
                self._sent_category.append("")
                for model in self._models:
                    model.grow(len(self._keys))
        for offer in batch.offers:
            known = self._catalog.get(Listing.key_of(offer))
            if known is not None:
                self._rivals.observe(offer, currency=known.currency, pack_size=known.pack_size)
        for covariate in batch.covariates:
            if Listing.key_of(covariate) in self._index:
                self._controls.observe(covariate)

    def _count(self, batch: Batch, shares: Mapping[str, float]) -> None:
        controls: dict[str, list[float]] = {}
        scanner = self.settings.kind == "within"
        for key, share in shares.items():
            if scanner and key in self._index:
                i = self._index[key]
                self._out_ms[i] = self._out_ms.get(i, 0.0) + (1 - share) * MINUTE_MS
        for cell in batch.cells:
            if not (cell.exposures or cell.orders or cell.units):
                continue
            key = Listing.key_of(cell)
            if validate_cell(cell, self._catalog) is not None:
                continue
            if key not in controls:
                reference = self._offer_deviation(key, batch.window_end_ms)
                controls[key] = self._controls.values(
                    self._catalog[key], reference, self._rivals, batch.window_end_ms
                )
            exposures = cell.exposures * shares.get(key, 1.0)
            weight = max(cell.units, 0) if scanner else exposures
            row_key = (self._index[key], cell.segment, cell.price_minor)
            row = self._open.get(row_key)
            if row is None:
                row = self._open[row_key] = CountRow.empty(self.settings.slopes - 1)
            row.exposures += exposures
            row.orders += cell.orders
            row.units += cell.units
            row.observe(controls[key], weight)

    def _offer_deviation(self, key: str, now_ms: int) -> float:
        """Return the log of the fresh rivals' reference price minus the first one's; 0 without one."""
        entry = self._catalog[key]
        got = self._rivals.reference(key, now_ms, currency=entry.currency, pack_size=entry.pack_size)
        if got is None or not got.fresh or got.mean_minor <= 0:
            return 0.0
        i, log_offer = self._index[key], float(np.log(got.mean_minor))
        centre = self._offer_centre[i]
        if centre is None:
            centre = self._offer_centre[i] = log_offer
        return log_offer - centre

    # -- closing a period ----------------------------------------------------------------------

    def _period_end(self, period: int) -> int:
        return (period + 1) * self.settings.period_ms + self.settings.period_offset_ms

    def _close(self, bucket: int) -> list[Output]:
        period, rows = self._open_period, self._open
        if period is None:
            return []
        self._open, self._open_period = {}, None
        if self.settings.kind == "within":
            changed = self._learn_scanner(period, rows)
            self._out_ms = {}
            return self._outputs(bucket, period, changed)
        if not self.settings.order_lag_periods:
            return self._outputs(bucket, period, self._learn_counts(period, rows))
        for key, row in rows.items():
            before = self._pending.get(key)
            if row.exposures <= 0 and row.orders and before is not None:
                before.orders += row.orders
                row.orders = 0.0
        due, due_period = self._pending, self._pending_period
        self._pending, self._pending_period = rows, period
        changed = self._learn_counts(due_period, due) if due_period is not None else set()
        return self._outputs(bucket, period, changed)

    def _learn_counts(self, period: int, rows: dict[RowKey, CountRow]) -> set[int]:
        keys = sorted(key for key, row in rows.items() if row.exposures > 0)
        unexposed: set[int] = set()
        for key in sorted(rows):
            row = rows[key]
            if row.exposures <= 0 and row.orders < 0:
                self._cancellations[key[0]] -= row.orders
            elif row.exposures <= 0 and row.orders > 0 and key[0] not in self._unexposed:
                unexposed.add(key[0])
        self._unexposed |= unexposed
        if not keys:
            self._scores, self._drift = {}, []
            return unexposed
        series = np.array([key[0] for key in keys], np.int64)
        exposures = np.array([rows[key].exposures for key in keys])
        quantity = np.array([self._net_orders(key[0], rows[key].orders) for key in keys])
        x = np.array([[self._log_price(i, price), *rows[i, name, price].means()] for i, name, price in keys])
        moments = {market: self._moment(market, period) for market in {self._entry(key[0]).market for key in keys}}
        levels = [(*moments[self._entry(i).market], segment) for i, segment, _ in keys]
        categories = [self._entry(i).category for i in series.tolist()]
        factor = np.zeros(len(keys))
        groups = {name: np.array([c == name for c in categories]) for name in sorted(set(categories))}
        for name, mask in groups.items():
            factors = self._factors.setdefault(name, SeasonalFactors())
            factor[mask] = factors.log_factor([level for level, m in zip(levels, mask, strict=True) if m])
        by_price = PeriodRows(period, series, x, quantity, np.log(exposures) + factor)
        learned = self._learn_models(by_price, listing_rows(by_price))
        if self._models[0].row_per_price:
            for name, mask in groups.items():
                mine = [level for level, m in zip(levels, mask, strict=True) if m]
                self._factors[name].learn(mine, quantity[mask], learned.expected[mask], learned.variance[mask])
        return unexposed | set(series.tolist()) | {i for change, _ in self._drift for i in change.rows}

    def _learn_models(self, by_price: PeriodRows, by_listing: PeriodRows) -> Expectation:
        """Learn a period in every model, score their forecasts and observe the residuals of the first one.

        Returns the first model's forecast of the rows that it learned.
        """
        learned = [model.learn(by_price if model.row_per_price else by_listing) for model in self._models]
        self._scores, self._drift = {}, []
        totals = [
            listing_totals(by_price.series, by_price.quantity, forecast)[2] if model.row_per_price else forecast
            for model, forecast in zip(self._models, learned, strict=True)
        ]
        known = np.all([total.expected > 0 for total in totals], axis=0)
        if known.any():
            self._score(by_listing, totals, known)
            if self._models[0].distribution is Distribution.COUNTS:
                self._observe(by_price if self._models[0].row_per_price else by_listing, learned[0])
        return learned[0]

    def _score(self, rows: PeriodRows, totals: list[Expectation], known: NDArray[np.bool_]) -> None:
        categories = [self._category_key(i) for i in rows.series.tolist()]
        for model, total in zip(self._models, totals, strict=True):
            scores = log_probability(model.distribution, rows.quantity, total)
            for category, score, use in zip(categories, scores.tolist(), known.tolist(), strict=True):
                if use:
                    pair = self._scores.setdefault(category, {}).setdefault(model.name, [0.0, 0.0])
                    pair[0] += score
                    pair[1] += 1

    def _observe(self, rows: PeriodRows, forecast: Expectation) -> None:
        """Observe the residuals of forecasts that are precise enough, and adjust where a change is confirmed."""
        used = np.flatnonzero((forecast.expected > 0) & (forecast.variance < MAX_LOG_VARIANCE))
        if not used.size:
            return
        precise = Expectation(*(column[used] for column in forecast))
        entries = [self._entry(i) for i in rows.series[used].tolist()]
        found = self._monitor.observe(
            Residuals(
                rows.quantity[used] - precise.expected,
                count_variance(precise),
                precise.expected,
                precise.dispersion,
                rows.x[used, 0],
                [Listing.key_of(entry) for entry in entries],
                ["/".join((entry.tenant, entry.category)) for entry in entries],
                ["/".join((entry.tenant, entry.market)) for entry in entries],
            )
        )
        for change in found:
            self._adjust(change)

    def _adjust(self, change: Change) -> None:
        """Adjust the listings of a change's scope, also those without an exposure in the period."""
        members = tuple(
            i
            for i, key in enumerate(self._keys)
            if change.key == self._scope_key(change.scope, self._entry(i), key)
        )
        for model in self._models:
            model.change(np.array(members, np.int64), change.adjustment)
        added = change.adjustment.slope_shift**2 + change.adjustment.slope_variance
        for i in members:
            before = self._changes[i].slope_variance if i in self._changes else 0.0
            self._changes[i] = ListingChange(0, before + added)
        self._drift.append((change._replace(rows=members), self._entry(members[0]).tenant))

    @staticmethod
    def _scope_key(scope: Scope, entry: CatalogEntry, key: str) -> str:
        match scope:
            case Scope.MARKET:
                return "/".join((entry.tenant, entry.market))
            case Scope.CATEGORY:
                return "/".join((entry.tenant, entry.category))
        return key

    def _category_key(self, i: int) -> tuple[str, str]:
        entry = self._entry(i)
        return entry.tenant, entry.category

    def _moment(self, market: str, period: int) -> tuple[str, str]:
        """Return hour of the day and weekday of a period's end in a market.

        The hour is empty for a period longer than an hour, the weekday for a period longer than a day.
        """
        local = self._market_time.hour(market, self._period_end(period) - 1)
        return (
            str(local.hour) if self.settings.period_ms <= HOUR_MS else "",
            str(local.weekday) if self.settings.period_ms <= 24 * HOUR_MS else "",
        )

    def _learn_scanner(self, period: int, rows: dict[RowKey, CountRow]) -> set[int]:
        """Learn one row per listing: log units per time in stock, at the units' mean log price and controls."""
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
            return set()
        share = [max(1 - self._out_ms.get(i, 0.0) / self.settings.period_ms, 0.05) for i in sold]
        learned = PeriodRows(
            period,
            np.array(sold, np.int64),
            np.array([means[i].means() for i in sold]),
            np.array([units[i] for i in sold]),
            np.log(share),
            self._groups(sold) if self.settings.category_effects else None,
        )
        self._learn_models(learned, learned)
        return set(sold) | {i for change, _ in self._drift for i in change.rows}

    def _groups(self, series: list[int]) -> Ints:
        names = [self._entry(i).category for i in series]
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

    def _entry(self, i: int) -> CatalogEntry:
        return self._catalog[self._keys[i]]

    def _outputs(self, bucket: int, period: int, changed: set[int]) -> list[Output]:
        """Return one output per category, with all listings that changed, are new, or have changed category.

        Confirmed changes of the period precede them, one output each.
        """
        end_ms = self._period_end(period)
        outputs = [self._drift_output(change, tenant, bucket, end_ms) for change, tenant in self._drift]
        self._drift = []
        grouped: dict[tuple[str, str], list[int]] = {}
        gone: dict[tuple[str, str], list[str]] = {}
        for i, key in enumerate(self._keys):
            entry = self._entry(i)
            if i not in changed and entry.category == self._sent_category[i]:
                continue
            if self._sent_category[i] and entry.category != self._sent_category[i]:
                gone.setdefault((entry.tenant, self._sent_category[i]), []).append(key)
            self._sent_category[i] = entry.category
            grouped.setdefault((entry.tenant, entry.category), []).append(i)
        if not grouped:
            return outputs
        statistics = {model.name: model.statistics() for model in self._models}
        for tenant, category in sorted(grouped.keys() | gone.keys()):
            index = sorted(grouped.get((tenant, category), []), key=lambda i: self._keys[i])
            changes = [self._changes.get(i, ListingChange(0, 0.0)) for i in index]
            value = {
                "tenant": tenant,
                "category": category,
                "bucket": bucket,
                "kind": self.settings.kind,
                "period": period,
                "period_end_ms": end_ms,
                "gone": sorted(gone.get((tenant, category), [])),
                "listings": [self._keys[i] for i in index],
                "price_groups": [self._entry(i).price_group for i in index],
                "offer_centre": [self._offer_centre[i] for i in index],
                "changed_ms": [change.at_ms for change in changes],
                "changed_variance": [change.slope_variance for change in changes],
                "unexposed": [i in self._unexposed for i in index],
                "scores": {name: list(pair) for name, pair in self._scores.get((tenant, category), {}).items()},
                "models": {
                    name: {column: values.tolist() for column, values in found.take(index)._asdict().items()}
                    for name, found in statistics.items()
                },
            }
            # Statistics of other regressors are pooled under a key, and therefore in a state, of their own.
            key = "|".join((f"{tenant}/{category}", *self.settings.control_names))
            outputs.append(Output(SUMS, key, value, end_ms))
        return outputs

    def _drift_output(self, change: Change, tenant: str, bucket: int, end_ms: int) -> Output:
        """Return a confirmed change as a record, and note its time for its listings."""
        for i in change.rows:
            self._changes[i] = self._changes[i]._replace(at_ms=end_ms)
        record = DriftEvent(
            tenant=tenant,
            scope=change.scope.value,
            name=change.key.split("/", 1)[1],
            bucket=bucket,
            statistic=change.statistic.value,
            residual_before=change.before,
            residual_after=change.after,
            periods=change.periods,
            slope_shift=change.adjustment.slope_shift,
            slope_shift_sd=change.adjustment.slope_variance**0.5,
            listings=len(change.rows),
            window_end_ms=end_ms,
        )
        return Output(DRIFT, f"{change.scope.value}/{change.key}", asdict(record), end_ms)

    # -- snapshot ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data, about 1 kB per listing.

        Catalog entries and offers contain only the fields that learning reads.
        """
        entries = [(key, self._catalog[key]) for key in self._catalog]
        return {
            "v": self.version,
            "time_ms": self._time_ms,
            "catalog": {
                key: [e.event_time_ms, e.category, e.price_group, e.currency, e.pack_size] for key, e in entries
            },
            "rivals": {
                key: [
                    [
                        o.competitor,
                        o.event_time_ms,
                        o.price_minor + o.shipping_minor,
                        int(o.in_stock),
                        o.validity_ms,
                    ]
                    for o in self._rivals.offers(key)
                ]
                for key in self._keys
            },
            "availability": self._availability.snapshot(),
            "models": {model.name: model.snapshot() for model in self._models},
            "drift": self._monitor.snapshot(),
            "unexposed": sorted(self._unexposed),
            "changes": [[i, *change] for i, change in sorted(self._changes.items())],
            "factors": {name: factors.snapshot() for name, factors in self._factors.items()},
            "local_time": True,
            "price_centre": list(self._price_centre),
            "offer_centre": list(self._offer_centre),
            "debt": list(self._cancellations),
            "announced": list(self._sent_category),
            "open": [[*key, *row.to_list()] for key, row in self._open.items()],
            "open_period": self._open_period,
            "pending": [[*key, *row.to_list()] for key, row in self._pending.items()],
            "pending_period": self._pending_period,
            "out_ms": [[i, ms] for i, ms in self._out_ms.items()],
            **self._controls.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        If competitors or covariates of the settings have changed, the statistics of the former regressors and the
        rows of open periods are dropped, and learning starts from the prior. Everything else is kept.

        Raises
        ------
        SnapshotError
            If the snapshot or the model's snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        same_regressors = self._controls.restore(snapshot)
        self._models = competing_models(self.settings, self.settings.slopes)
        self._monitor = DriftMonitor(self.settings.drift)
        self._unexposed = {int(i) for i in snapshot.get("unexposed", [])}
        self._changes = {}
        if same_regressors:
            # A snapshot written before models competed has one model, the first.
            kept = snapshot.get("models") or {self._models[0].name: snapshot["model"]}
            for model in self._models:
                if model.name in kept:
                    model.restore(kept[model.name])
            if "drift" in snapshot:
                self._monitor.restore(snapshot["drift"])
            self._changes = {int(i): ListingChange(int(at), float(v)) for i, at, v in snapshot.get("changes", [])}
        for model in self._models:
            model.grow(len(snapshot["rivals"]))
        self._time_ms = int(snapshot["time_ms"])
        self._catalog, self._rivals = CatalogBook(), RivalBook(self.settings.rivals)
        for key, (at, category, group, currency, pack) in snapshot["catalog"].items():
            listing = Listing.parse(key)
            tenant, market, sku = listing.tenant, listing.market, listing.sku
            self._catalog.observe(
                CatalogEntry("", at, tenant, market, sku, group, category, "", currency, pack, True)
            )
            for rival, seen, price, in_stock, validity in snapshot["rivals"][key]:
                offer = Offer(
                    "", seen, tenant, market, sku, group, rival, price, 0, bool(in_stock), currency, pack, "", 1.0,
                    validity,
                )  # fmt: skip
                self._rivals.observe(offer, currency=currency, pack_size=pack)
        self._keys = list(snapshot["rivals"])
        self._index = {key: i for i, key in enumerate(self._keys)}
        self._availability = Availability()
        self._availability.restore(snapshot["availability"])
        self._factors = {}
        for name, factors in snapshot["factors"].items():
            self._factors[name] = SeasonalFactors()
            self._factors[name].restore(factors)
        if not snapshot.get("local_time") and any(
            self._market_time.zone(Listing.parse(key).market) is not UTC for key in self._keys
        ):
            # Factors of an earlier version are in UTC and do not apply to markets with another zone.
            for factors in self._factors.values():
                factors.forget_times()
        self._price_centre = list(snapshot["price_centre"])
        self._offer_centre = list(snapshot["offer_centre"])
        self._cancellations = [float(value) for value in snapshot["debt"]]
        self._sent_category = list(snapshot["announced"])
        self._open = {(i, k, p): CountRow.from_list(row) for i, k, p, *row in snapshot["open"]}
        self._open_period = snapshot["open_period"]
        self._pending = {(i, k, p): CountRow.from_list(row) for i, k, p, *row in snapshot["pending"]}
        self._pending_period = snapshot["pending_period"]
        self._out_ms = {int(i): float(ms) for i, ms in snapshot["out_ms"]}
        if not same_regressors:
            self._open, self._pending = {}, {}
            self._sent_category = [""] * len(self._keys)


def listing_rows(rows: PeriodRows) -> PeriodRows:
    """Return one row per series from rows per price and segment.

    Orders and exposures (with the seasonal factor) are added up, regressors are means weighted by exposures.

    Examples
    --------
    >>> x, orders, exposures = np.array([[0.0], [0.1]]), np.array([1.0, 2.0]), np.array([30.0, 10.0])
    >>> one = listing_rows(PeriodRows(3, np.array([5, 5]), x, orders, np.log(exposures)))
    >>> one.series.tolist(), one.x.round(3).tolist(), one.quantity.tolist()
    ([5], [[0.025]], [3.0])
    >>> np.exp(one.log_exposure).round().tolist()
    [40.0]
    """
    names, at = np.unique(rows.series, return_inverse=True)
    exposures = np.exp(rows.log_exposure)
    total = np.asarray(np.bincount(at, weights=exposures, minlength=len(names)), np.float64)
    x = np.zeros((len(names), rows.x.shape[1]))
    np.add.at(x, at, rows.x * exposures[:, None])
    quantity = np.asarray(np.bincount(at, weights=rows.quantity, minlength=len(names)), np.float64)
    return PeriodRows(rows.period, names, x / total[:, None], quantity, np.log(total))
