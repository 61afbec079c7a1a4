"""Rows per listing and period, from rows per price: what the within estimator and the residuals need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jobs.learning.history import Floats, Ints, PriceRows

MIN_SHARE_IN_STOCK = 0.05
"""Smallest share of a period in stock by which units are divided (period_counts.py)."""


class ListingRows(NamedTuple):
    """One row per series and period: units (within) or orders (poisson), exposures, mean log prices.

    ``log_price`` is weighted by units or exposures, ``log_offer``, a deviation, and ``covariates`` (R, C), too.
    """

    period: Ints
    series: Ints
    sold: Floats
    exposures: Floats
    log_price: Floats
    log_offer: Floats
    covariates: Floats

    def take(self, index: Any) -> ListingRows:
        """Return the selected rows."""
        return ListingRows(*(column[index] for column in self))


def listing_rows(rows: PriceRows, kind: str) -> tuple[ListingRows, int]:
    """Return the usable rows per series and period, and the number of rows without a sale or exposure.

    Parameters
    ----------
    rows : those of a pair of series and period are consecutive.
    kind : ``within`` needs units above 0, ``poisson`` exposures above 0.
    """
    if not rows.series.size:
        none = np.zeros(0)
        return ListingRows(rows.period, rows.series, none, none, none, none, rows.weighted_covariates), 0
    within = kind == "within"
    weight = np.maximum(rows.units, 0.0) if within else rows.exposures
    sold = rows.units if within else np.maximum(rows.orders, 0.0)
    new = (np.diff(rows.series, prepend=-1) != 0) | (np.diff(rows.period, prepend=rows.period[0]) != 0)
    start = np.flatnonzero(new)
    total = np.add.reduceat(weight, start)
    named = np.add.reduceat(rows.weighted_covariates, start, axis=0)
    logs, offers = np.add.reduceat(weight * np.log(rows.price), start), np.add.reduceat(rows.weighted_offer, start)
    found = ListingRows(
        rows.period[start],
        rows.series[start],
        np.add.reduceat(sold, start),
        np.add.reduceat(rows.exposures, start),
        np.divide(logs, total, out=np.full(total.size, np.nan), where=total > 0),
        np.divide(offers, total, out=np.zeros(total.size), where=total > 0),
        np.divide(named, total[:, None], out=np.zeros_like(named), where=total[:, None] > 0),
    )
    usable = ((found.sold if within else found.exposures) > 0) & (total > 0)
    return found.take(usable), int((~usable).sum())


def share_in_stock(rows: ListingRows, out_ms: Mapping[tuple[int, int], float], period_ms: int) -> Floats:
    """Return the share of each row's period in stock, at least ``MIN_SHARE_IN_STOCK``."""
    if not out_ms:
        return np.ones(rows.series.size)
    pairs = zip(rows.series.tolist(), rows.period.tolist(), strict=True)
    share = 1 - np.array([out_ms.get(pair, 0.0) for pair in pairs]) / period_ms
    return np.asarray(np.maximum(share, MIN_SHARE_IN_STOCK))
