"""Residuals: the second pass over a history's rows, product by product, with the learned slopes.

It collects what the rows say of each listing, and tests whether price changes follow the residuals of the period
before (features/elasticity/endogeneity.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from features.elasticity.endogeneity import LaggedResponse, lagged_response
from jobs.learning.estimators import ElasticitySettings
from jobs.learning.history import Floats, History, Ints, PriceRows
from jobs.learning.listing_rows import ListingRows, listing_rows, share_in_stock

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and the whole."""


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What the rows say of all S series; 0 or NaN for a series without rows. Prices in minor units.

    ``mean_log_price`` is the mean over its rows, ``last_price`` that of the newest row. ``level`` is the log of
    units per period (within) or of orders per exposure (poisson) at the mean log price and the mean covariates,
    ``mean_covariates`` (S, C).
    """

    rows: Ints
    units: Floats
    revenue: Floats
    low_price: Floats
    high_price: Floats
    last_price: Floats
    mean_log_price: Floats
    level: Floats
    mean_covariates: Floats


class Residuals:
    """The second pass.

    Parameters
    ----------
    product_of, category_of : (S,) product and category of each series.
    slopes : (P, K) own-price and rival elasticity and slopes of the covariates of each product; the own-price
        elasticity is NaN where not identified.
    categories : number of categories.

    Attributes
    ----------
    facts : see :class:`SeriesFacts`.
    correlation, z : (P,) results of the test per product.
    by_category : parts of the test per category.
    """

    def __init__(
        self,
        history: History,
        settings: ElasticitySettings,
        product_of: Ints,
        category_of: Ints,
        slopes: Floats,
        categories: int,
    ) -> None:
        self.history = history
        self.settings = settings
        self.product_of = product_of
        self.category_of = category_of
        self.slopes = slopes
        size = len(product_of)
        unknown = [np.full(size, np.nan) for _ in range(5)]
        covariates = np.zeros((size, slopes.shape[1] - 2))
        self.facts = SeriesFacts(np.zeros(size, np.int64), *[np.zeros(size), np.zeros(size), *unknown, covariates])
        self.correlation, self.z = np.full(len(slopes), np.nan), np.full(len(slopes), np.nan)
        self.by_category: list[list[LaggedResponse]] = [[] for _ in range(categories)]

    def read(self, progress: Progress) -> None:
        """Read all rows once."""
        done = 0
        for rows in self._whole_products():
            done += rows.series.size
            found = self._describe(rows)
            for code in np.unique(self.category_of[rows.series]).tolist():
                self._test(code, found)
            progress("testing price changes", done, self.history.rows)

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

    def _describe(self, rows: PriceRows) -> ListingRows:
        """Fill in the facts of the rows' series; return their usable rows."""
        sold = np.maximum(rows.units, 0.0)
        np.add.at(self.facts.units, rows.series, sold)
        np.add.at(self.facts.revenue, rows.series, sold * rows.price)
        seen = rows.take((rows.units > 0) | (rows.exposures > 0))
        np.fmin.at(self.facts.low_price, seen.series, seen.price)
        np.fmax.at(self.facts.high_price, seen.series, seen.price)
        found, _ = listing_rows(rows, self.settings.kind)
        np.add.at(self.facts.rows, found.series, 1)
        if not found.series.size:
            return found
        start = np.flatnonzero(np.diff(found.series, prepend=-1))
        end = np.append(start[1:], found.series.size) - 1
        mine = found.series[start]
        counts = end - start + 1
        self.facts.last_price[mine] = np.exp(found.log_price[end])
        self.facts.mean_log_price[mine] = np.add.reduceat(found.log_price, start) / counts
        self.facts.mean_covariates[mine] = np.add.reduceat(found.covariates, start, axis=0) / counts[:, None]
        explained = self._explained(found)
        if self.settings.kind == "within":
            level = np.add.reduceat(self._log_demand(found) - explained, start) / counts
            self.facts.level[mine] = level
        else:
            expected = np.add.reduceat(found.exposures * np.exp(explained), start)
            self.facts.level[mine] = np.log(np.maximum(np.add.reduceat(found.sold, start), 0.5) / expected)
        return found

    def _explained(self, rows: ListingRows) -> Floats:
        """Return what own price, reference price and covariates explain of log demand.

        It is 0 for an own price whose slope is not identified.
        """
        slope = self.slopes[self.product_of[rows.series]]
        own = np.where(np.isfinite(slope[:, 0]), slope[:, 0], 0.0)
        named = np.einsum("rc,rc->r", slope[:, 2:], rows.covariates - self.facts.mean_covariates[rows.series])
        return np.asarray(
            own * (rows.log_price - self.facts.mean_log_price[rows.series]) + slope[:, 1] * rows.log_offer + named
        )

    def _test(self, code: int, rows: ListingRows) -> None:
        """Test the products of one category among the rows, and keep their part of the category's test."""
        identified = np.isfinite(self.slopes[self.product_of[rows.series], 0])
        rows = rows.take(identified & (self.category_of[rows.series] == code))
        if not rows.series.size:
            return
        fitted = self._explained(rows) + self.facts.level[rows.series]
        if self.settings.kind == "within":
            residual = self._log_demand(rows) - fitted
        else:
            expected = rows.exposures * np.exp(fitted)
            residual = (rows.sold - expected) / np.sqrt(expected)
        products, product = np.unique(self.product_of[rows.series], return_inverse=True)
        got = lagged_response(product, products.size, rows.series, rows.period, rows.log_price, residual)
        self.correlation[products], self.z[products] = got.correlation, got.z
        self.by_category[code].append(got)

    def _log_demand(self, rows: ListingRows) -> Floats:
        share = share_in_stock(rows, self.history.out_ms, self.settings.period_ms)
        return np.asarray(np.log(rows.sold) - np.log(share))


def _concatenated(parts: list[PriceRows]) -> PriceRows:
    return PriceRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
