"""Learner: a history's periods through the estimators as arrays, and what the rows say of each listing.

Two passes over the rows. The first learns period by period, with the rules of elasticity_logic.py: orders at a
price that was not shown in their own period count with the exposures of the period before, cancellations are set
against the listing's next orders, and conversion has factors of hour, weekday and segment. All listings are one
bucket, so that category effects and factors are those of the whole category. The second pass reads the rows
product by product and tests whether price changes follow the residuals of the period before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.elasticity.endogeneity import LaggedResponse, lagged_response
from features.market_time import MarketTime
from jobs.learning.estimators import (
    CategoryEstimate,
    ElasticitySettings,
    PeriodRows,
    SeasonalFactors,
    learning_settings,
    new_model,
    pooled_estimates,
)
from jobs.learning.history import Floats, History, Ints, PriceRows
from schemas.time_units import DAY_MS, HOUR_MS

MIN_SHARE_IN_STOCK = 0.05
"""Smallest share of a period in stock by which units are divided (elasticity_logic.py)."""


class ListingRows(NamedTuple):
    """One row per series and period: units sold (orders with exposures), exposures, mean log price and offer."""

    period: Ints
    series: Ints
    sold: Floats
    exposures: Floats
    log_price: Floats
    log_offer: Floats


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What the rows say of all S series; 0 or NaN for a series without rows. Prices in minor units.

    ``mean_log_price`` is the mean over its rows, ``last_price`` that of the newest row.
    """

    rows: Ints
    units: Floats
    revenue: Floats
    low_price: Floats
    high_price: Floats
    last_price: Floats
    mean_log_price: Floats
    level: Floats


@dataclass(frozen=True, slots=True)
class CategoryLearned:
    """Estimates of a category; ``first`` is the number of its first product."""

    tenant: str
    category: str
    first: int
    estimate: CategoryEstimate
    lagged: tuple[LaggedResponse, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """Result of learning a history.

    ``product_of`` (S,) is the product of each series; products are numbered by tenant, category and SKU.
    """

    settings: ElasticitySettings
    product_of: Ints
    facts: SeriesFacts
    categories: tuple[CategoryLearned, ...]
    correlation: Floats
    z: Floats
    learned_rows: int
    rows_without_sale: int


Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and the whole."""


def learn(history: History, settings: ElasticitySettings, progress: Progress = lambda *_: None) -> Learned:
    """Learn all periods of a history and return the estimates of every product."""
    return _Learner(history, learning_settings(settings), progress).learn()


class _Learner:
    def __init__(self, history: History, settings: ElasticitySettings, progress: Progress) -> None:
        self.history = history
        self.settings = settings
        self.progress = progress
        series = history.series
        products = sorted({each.product for each in series})
        place = {product: at for at, product in enumerate(products)}
        self.products = products
        self.product_of = np.array([place[each.product] for each in series], np.int64)
        names = sorted({(each.tenant, each.category) for each in series})
        codes = {name: at for at, name in enumerate(names)}
        self.category_names = names
        self.category_of = np.array([codes[each.tenant, each.category] for each in series], np.int64)
        markets = sorted({each.market for each in series})
        self.markets = markets
        self.market_of = np.array([markets.index(each.market) for each in series], np.int64)
        self.model = new_model(settings)
        self.model.grow(len(series))
        self.price_centre = np.full(len(series), np.nan)
        self.cancellations = np.zeros(len(series))
        self.factors = [SeasonalFactors() for _ in names]
        self.market_time = MarketTime(settings.time_zones)
        self.learned_rows = self.rows_without_sale = 0

    def learn(self) -> Learned:
        periods = self._shifted() if self.settings.kind == "poisson" else self.history.by_period()
        first, last = self.history.first_period, self.history.last_period
        for rows in periods:
            if self.settings.kind == "poisson":
                self._learn_counts(rows)
            else:
                self._learn_scanner(rows)
            self.progress("learning periods", int(rows.period[0]) - first + 1, last - first + 1)
        return self._results()

    # -- first pass: scanner data --------------------------------------------------------------

    def _learn_scanner(self, rows: PriceRows) -> None:
        self._set_centres(rows)
        weight = np.maximum(rows.units, 0.0)
        found = self._listing_rows(rows, weight, rows.units)
        kept = (found.sold > 0) & np.isfinite(found.log_price)
        self.rows_without_sale += int((~kept).sum())
        found = ListingRows(*(column[kept] for column in found))
        if not found.series.size:
            return
        self.learned_rows += found.series.size
        self.model.learn(
            PeriodRows(
                int(found.period[0]),
                found.series,
                np.column_stack([found.log_price - self.price_centre[found.series], found.log_offer]),
                found.sold,
                np.log(self._share(found)),
                self.category_of[found.series] if self.settings.category_effects else None,
            )
        )

    def _share(self, rows: ListingRows) -> Floats:
        """Return the share of each row's period in stock."""
        out = self.history.out_ms
        if not out:
            return np.ones(rows.series.size)
        pairs = zip(rows.series.tolist(), rows.period.tolist(), strict=True)
        share = 1 - np.array([out.get(pair, 0.0) for pair in pairs]) / self.settings.period_ms
        return np.asarray(np.maximum(share, MIN_SHARE_IN_STOCK))

    # -- first pass: counts given exposures ----------------------------------------------------

    def _shifted(self) -> Iterator[PriceRows]:
        """Yield the periods with late orders moved to the row of the period before (elasticity_logic.py)."""
        before: PriceRows | None = None
        for rows in self.history.by_period():
            if before is None or not self.settings.order_lag_periods:
                if before is not None:
                    yield before
                before = rows
                continue
            if int(before.period[0]) + 1 == int(rows.period[0]):
                _move_late_orders(before, rows)
            yield before
            before = rows
        if before is not None:
            yield before

    def _learn_counts(self, rows: PriceRows) -> None:
        returned = (rows.exposures <= 0) & (rows.orders < 0)
        np.add.at(self.cancellations, rows.series[returned], -rows.orders[returned])
        shown = rows.exposures > 0
        self.rows_without_sale += int((~shown).sum())
        rows = rows.take(shown)
        if not rows.series.size:
            return
        self.learned_rows += rows.series.size
        self._set_centres(rows)
        quantity = self._net_orders(rows.series, rows.orders)
        x = np.column_stack(
            [np.log(rows.price) - self.price_centre[rows.series], _ratio(rows.weighted_offer, rows.weight)]
        )
        category, level = self.category_of[rows.series], self._levels(rows)
        factor = np.zeros(rows.series.size)
        groups = [(self.factors[code], np.flatnonzero(category == code)) for code in np.unique(category).tolist()]
        for factors, at in groups:
            factor[at] = factors.log_factor([level[i] for i in at.tolist()])
        got = self.model.learn(
            PeriodRows(int(rows.period[0]), rows.series, x, quantity, np.log(rows.exposures) + factor)
        )
        for factors, at in groups:
            factors.learn([level[i] for i in at.tolist()], quantity[at], got.expected[at], got.variance[at])

    def _levels(self, rows: PriceRows) -> list[tuple[str, str, str]]:
        """Return hour, weekday and segment of each row; empty where the period is longer."""
        s = self.settings
        end_ms = (int(rows.period[0]) + 1) * s.period_ms + s.period_offset_ms
        market = self.market_of[rows.series]
        moments = {}
        for code in np.unique(market).tolist():
            local = self.market_time.hour(self.markets[code], end_ms - 1)
            hour = str(local.hour) if s.period_ms <= HOUR_MS else ""
            moments[code] = (hour, str(local.weekday) if s.period_ms <= DAY_MS else "")
        names = self.history.segments
        return [
            (*moments[m], names[g]) for m, g in zip(market.tolist(), rows.segment.tolist(), strict=True)
        ]

    def _net_orders(self, series: Ints, orders: Floats) -> Floats:
        """Return orders less outstanding cancellations, at least 0, row by row where there are any."""
        net = orders.copy()
        owing = (self.cancellations[series] > 0) | np.isin(series, series[orders < 0])
        for at in np.flatnonzero(owing).tolist():
            left = orders[at] - self.cancellations[series[at]]
            self.cancellations[series[at]] = max(0.0, -left)
            net[at] = max(0.0, left)
        return net

    # -- both ----------------------------------------------------------------------------------

    def _set_centres(self, rows: PriceRows) -> None:
        """Set the centre of series that have none: the log of the first price."""
        first = np.flatnonzero(np.diff(rows.series, prepend=-1))
        new = first[np.isnan(self.price_centre[rows.series[first]])]
        self.price_centre[rows.series[new]] = np.log(rows.price[new])

    def _listing_rows(self, rows: PriceRows, weight: Floats, sold: Floats) -> ListingRows:
        """Return one row per series and period; rows are sorted so that those of a pair are consecutive."""
        if not rows.series.size:
            return ListingRows(rows.period, rows.series, *(np.zeros(0) for _ in range(4)))
        start = np.flatnonzero(np.diff(rows.series, prepend=-1).astype(bool) | np.diff(rows.period, prepend=-1).astype(bool))
        total = np.add.reduceat(weight, start)
        with np.errstate(invalid="ignore", divide="ignore"):
            log_price = np.add.reduceat(weight * np.log(rows.price), start) / total
            log_offer = np.add.reduceat(rows.weighted_offer, start) / total
        return ListingRows(
            rows.period[start],
            rows.series[start],
            np.add.reduceat(sold, start),
            np.add.reduceat(rows.exposures, start),
            log_price,
            np.where(total > 0, log_offer, 0.0),
        )

    def listing_rows(self, rows: PriceRows) -> ListingRows:
        """Return the usable rows per series and period: with sales (within) or exposures (poisson)."""
        if self.settings.kind == "within":
            found = self._listing_rows(rows, np.maximum(rows.units, 0.0), rows.units)
            kept = (found.sold > 0) & np.isfinite(found.log_price)
        else:
            found = self._listing_rows(rows, rows.exposures, np.maximum(rows.orders, 0.0))
            kept = found.exposures > 0
        return ListingRows(*(column[kept] for column in found))

    # -- second pass ---------------------------------------------------------------------------

    def _results(self) -> Learned:
        statistics = self.model.statistics()
        size, products = len(self.history.series), len(self.products)
        estimates, first = [], 0
        slopes = np.full((products, 2), np.nan)
        for code in range(len(self.category_names)):
            mine = np.flatnonzero(self.category_of == code)
            first = int(self.product_of[mine[0]])
            own = self.product_of[mine] - first
            estimate = pooled_estimates(statistics.take(mine), own, int(own.max()) + 1, self.settings)
            for p, each in enumerate(estimate.products):
                slopes[first + p] = (np.nan if each.raw is None else each.raw), each.rival
            estimates.append((first, estimate))
        facts = SeriesFacts(
            np.zeros(size, np.int64), *(np.zeros(size) for _ in range(2)), *(np.full(size, np.nan) for _ in range(5))
        )
        correlation, z = np.full(products, np.nan), np.full(products, np.nan)
        lagged: list[list[LaggedResponse]] = [[] for _ in self.category_names]
        done = 0
        for rows in self._whole_products():
            done += rows.series.size
            found = self._describe(rows, facts, slopes)
            for code in np.unique(self.category_of[rows.series]).tolist():
                self._test(code, found, slopes, facts, (correlation, z), lagged[code])
            self.progress("testing price changes", done, self.history.rows)
        categories = tuple(
            CategoryLearned(*name, at, estimate, tuple(parts))
            for name, (at, estimate), parts in zip(self.category_names, estimates, lagged, strict=True)
        )
        return Learned(
            self.settings, self.product_of, facts, categories, correlation, z, self.learned_rows, self.rows_without_sale
        )

    def _whole_products(self) -> Iterator[PriceRows]:
        """Yield the rows of whole products."""
        held: list[PriceRows] = []
        for rows in self.history.by_series():
            product = self.product_of[rows.series]
            if held and self.product_of[held[-1].series[-1]] != product[0]:
                yield _concatenated(held)
                held = []
            cut = int(np.searchsorted(product, product[-1]))
            if cut:
                yield _concatenated([*held, rows.take(slice(0, cut))])
                held = [rows.take(slice(cut, None))]
            else:
                held.append(rows)
        if held:
            yield _concatenated(held)

    def _describe(self, rows: PriceRows, facts: SeriesFacts, slopes: Floats) -> ListingRows:
        """Fill in the facts of the rows' series; return their usable rows."""
        sold = np.maximum(rows.units, 0.0)
        np.add.at(facts.units, rows.series, sold)
        np.add.at(facts.revenue, rows.series, sold * rows.price)
        seen = rows.take((rows.units > 0) | (rows.exposures > 0))
        np.fmin.at(facts.low_price, seen.series, seen.price)
        np.fmax.at(facts.high_price, seen.series, seen.price)
        found = self.listing_rows(rows)
        np.add.at(facts.rows, found.series, 1)
        if not found.series.size:
            return found
        start = np.flatnonzero(np.diff(found.series, prepend=-1))
        end = np.append(start[1:], found.series.size) - 1
        mine = found.series[start]
        counts = end - start + 1
        facts.last_price[mine] = np.exp(found.log_price[end])
        facts.mean_log_price[mine] = np.add.reduceat(found.log_price, start) / counts
        explained = self._explained(found, slopes, facts)
        if self.settings.kind == "within":
            demand = np.log(found.sold) - np.log(self._share(found))
            facts.level[mine] = np.add.reduceat(demand - explained, start) / counts
        else:
            expected = np.add.reduceat(found.exposures * np.exp(explained), start)
            facts.level[mine] = np.log(np.maximum(np.add.reduceat(found.sold, start), 0.5) / expected)
        return found

    def _explained(self, rows: ListingRows, slopes: Floats, facts: SeriesFacts) -> Floats:
        """Return what own price and reference price explain of log demand; 0 where the slope is not identified."""
        slope = slopes[self.product_of[rows.series]]
        own = np.where(np.isfinite(slope[:, 0]), slope[:, 0], 0.0)
        return np.asarray(own * (rows.log_price - facts.mean_log_price[rows.series]) + slope[:, 1] * rows.log_offer)

    def _test(
        self,
        code: int,
        rows: ListingRows,
        slopes: Floats,
        facts: SeriesFacts,
        results: tuple[Floats, Floats],
        parts: list[LaggedResponse],
    ) -> None:
        """Test the products of one category among the rows, and keep their part of the category's test."""
        identified = np.isfinite(slopes[self.product_of[rows.series], 0])
        rows = ListingRows(*(column[identified & (self.category_of[rows.series] == code)] for column in rows))
        if not rows.series.size:
            return
        fitted = self._explained(rows, slopes, facts) + facts.level[rows.series]
        if self.settings.kind == "within":
            residual = np.log(rows.sold) - np.log(self._share(rows)) - fitted
        else:
            expected = rows.exposures * np.exp(fitted)
            residual = (rows.sold - expected) / np.sqrt(expected)
        products, product = np.unique(self.product_of[rows.series], return_inverse=True)
        got = lagged_response(product, products.size, rows.series, rows.period, rows.log_price, residual)
        results[0][products], results[1][products] = got.correlation, got.z
        parts.append(got)


def _move_late_orders(before: PriceRows, rows: PriceRows) -> None:
    """Add the orders of rows without exposures to the same listing, segment and price of the period before."""
    late = np.flatnonzero((rows.exposures <= 0) & (rows.orders != 0)).tolist()
    if not late:
        return
    near = np.flatnonzero(np.isin(before.series, rows.series[late])).tolist()
    held = {(before.series[i], before.segment[i], before.price[i]): i for i in near}
    for i in late:
        at = held.get((rows.series[i], rows.segment[i], rows.price[i]))
        if at is not None:
            before.orders[at] += rows.orders[i]
            rows.orders[i] = 0.0


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _concatenated(parts: list[PriceRows]) -> PriceRows:
    return PriceRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
