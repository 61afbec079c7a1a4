"""Learner: a history's periods through the estimators as arrays, and what the rows say of each listing.

Two passes over the rows. The first learns period by period, with the rules of period_counts.py: orders at a
price that was not shown in their own period count with the exposures of the period before, cancellations are set
against the listing's next orders, and conversion has factors of hour, weekday and segment. All listings are one
bucket, so that category effects and factors are those of the whole category. The second pass is
:mod:`jobs.learning.residuals`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from features.elasticity.endogeneity import LaggedResponse
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
from jobs.learning.listing_rows import ListingRows, listing_rows, share_in_stock
from jobs.learning.residuals import Progress, Residuals, SeriesFacts
from schemas.time_units import DAY_MS, HOUR_MS


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
        found, without = listing_rows(rows, "within")
        self.rows_without_sale += without
        if not found.series.size:
            return
        self.learned_rows += found.series.size
        self.model.learn(
            PeriodRows(
                int(found.period[0]),
                found.series,
                np.column_stack(
                    [found.log_price - self.price_centre[found.series], found.log_offer, found.covariates]
                ),
                found.sold,
                np.log(self._share(found)),
                self.category_of[found.series] if self.settings.category_effects else None,
            )
        )

    def _share(self, rows: ListingRows) -> Floats:
        return share_in_stock(rows, self.history.out_ms, self.settings.period_ms)

    # -- first pass: counts given exposures ----------------------------------------------------

    def _shifted(self) -> Iterator[PriceRows]:
        """Yield the periods with late orders moved to the row of the period before (period_counts.py)."""
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
            [
                np.log(rows.price) - self.price_centre[rows.series],
                _ratio(rows.weighted_offer, rows.weight),
                *(_ratio(weighted, rows.weight) for weighted in rows.weighted_covariates.T),
            ]
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
        return [(*moments[m], names[g]) for m, g in zip(market.tolist(), rows.segment.tolist(), strict=True)]

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

    # -- second pass ---------------------------------------------------------------------------

    def _results(self) -> Learned:
        statistics = self.model.statistics()
        estimates: list[tuple[int, CategoryEstimate]] = []
        slopes = np.full((len(self.products), self.settings.slopes), np.nan)
        for code in range(len(self.category_names)):
            mine = np.flatnonzero(self.category_of == code)
            first = int(self.product_of[mine[0]])
            product = self.product_of[mine] - first
            estimate = pooled_estimates(statistics.take(mine), product, int(product.max()) + 1, self.settings)
            for p, each in enumerate(estimate.products):
                own = np.nan if each.raw is None else each.raw
                slopes[first + p] = own, each.rival, *(effect.slope or 0.0 for effect in each.covariates)
            estimates.append((first, estimate))
        residuals = Residuals(
            self.history, self.settings, self.product_of, self.category_of, slopes, len(estimates)
        )
        residuals.read(self.progress)
        categories = tuple(
            CategoryLearned(*name, at, estimate, tuple(parts))
            for name, (at, estimate), parts in zip(
                self.category_names, estimates, residuals.by_category, strict=True
            )
        )
        return Learned(
            self.settings,
            self.product_of,
            residuals.facts,
            categories,
            residuals.correlation,
            residuals.z,
            self.learned_rows,
            self.rows_without_sale,
        )


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
