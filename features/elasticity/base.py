"""Interface of the elasticity models.

Data: series i (one listing: a SKU in one market), periods w, rows (i, w, x, q, log e): x of width K,
own log price first, then controls; q quantity; log e the log of the exposure (price requests until the
stock-out and the seasonal factor; 0 for scanner weeks).

A model keeps statistics per series that are *additive* over the series of one product:

  (1) A = Σ z_x z_x′,  c = Σ z_x z_y,  yy = Σ z_y²   (log units; see models/within_sums.py)
      A = precision of the slopes from the data alone,  c = A·(their slopes)   (counts; see models/poisson.py)
  (2) N informative rows, W periods with an informative row
  (3) χ, χ_n: squared deviations of counts and their expectation, whose ratio is the dispersion φ (counts)
  (4) lo, hi: range of the own log price; without price variation the elasticity is not identified

The statistics of a product are the sum over its series in sorted order, for any markets and buckets, so they
depend neither on the order of arrival nor on restarts. pooling/products.py computes b = A⁻¹c and its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.array_text import read_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PeriodRows(NamedTuple):
    """Rows of one period, sorted by series; shapes (R,), (R, K), (R,), (R,), (R,).

    ``group`` (R,), if given, is each row's category. The deviations are then corrected for the category's common
    effect of the period (within models only; needs several series in a period).
    """

    period: int
    series: Ints
    x: Floats
    quantity: Floats
    log_exposure: Floats
    group: Ints | None = None


class Distribution(StrEnum):
    """Distribution of the next period's count that a model forecasts.

    ``COUNTS``: negative binomial with the expected count m and variance φ·m + m²(e^v − 1).
    ``LOG_UNITS``: log units are normal with mean log m and variance v.
    """

    COUNTS = "counts"
    LOG_UNITS = "log_units"


class Expectation(NamedTuple):
    """Forecast per row, made before the row is learned; each of shape (R,).

    ``expected``: m, 0 without a forecast. ``variance``: v. ``dispersion``: φ of a count, 1 for log units.
    """

    expected: Floats
    variance: Floats
    dispersion: Floats

    @classmethod
    def none(cls, rows: int) -> Expectation:
        """Return no forecast."""
        return cls(np.zeros(rows), np.zeros(rows), np.ones(rows))


class SeriesStatistics(NamedTuple):
    """Cumulative, additive statistics per series (1-4); S series, K slopes."""

    a: Floats  # (S, K, K)
    c: Floats  # (S, K)
    yy: Floats
    rows: Floats
    periods: Floats
    chi: Floats
    chi_n: Floats
    low: Floats
    high: Floats

    def take(self, index: Any) -> SeriesStatistics:
        """Return the statistics of the selected series."""
        return SeriesStatistics(*(column[index] for column in self))


class Adjustment(NamedTuple):
    """What a confirmed change of demand does to the models of its listings (drift/).

    ``slope_shift``: added to the own slope; ``slope_variance``, ``level_variance``: added to the variance of slope
    and of the level's log.
    """

    slope_shift: float
    slope_variance: float
    level_variance: float


class SeriesModel(Protocol):
    """A model of all series of a bucket. features/elasticity/checks.py is its contract.

    ``learn`` changes nothing for a period that is not newer than the last one, because the period identifies the
    rows.

    Attributes
    ----------
    name, version : identify the model and its snapshot.
    distribution : of the counts that it forecasts; it also determines how statistics become errors (pooling/).
    forecasts : whether ``learn`` returns a forecast, so that the model can compete.
    row_per_price : whether it learns a row per price and segment of a period, or one row per series.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    distribution: ClassVar[Distribution]
    forecasts: ClassVar[bool]
    row_per_price: ClassVar[bool]

    def grow(self, series: int) -> None:
        """Extend the state to this number of series."""
        ...

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows and return their expectations."""
        ...

    def change(self, series: Ints, adjustment: Adjustment) -> None:
        """Shift the own slope of these series and add variance to it and to the level (science § 11)."""
        ...

    def statistics(self) -> SeriesStatistics:
        """Return the cumulative statistics of all series."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data without settings."""
        ...

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state; raise :class:`SnapshotError` for another version."""
        ...


def ranks(series: Ints) -> Ints:
    """Return each row's rank among the rows of its series.

    Rows of one rank contain each series at most once, so they can be processed as one array.

    Raises
    ------
    ValueError
        If the rows are not sorted by series.

    Examples
    --------
    >>> ranks(np.array([0, 0, 2, 5, 5, 5])).tolist()
    [0, 1, 0, 0, 1, 2]
    """
    if series.size == 0:
        return np.zeros(0, np.int64)
    if bool(np.any(np.diff(series) < 0)):
        raise ValueError("rows: expected rows sorted by series, got unsorted rows")
    start = np.flatnonzero(np.concatenate([[True], np.diff(series) > 0]))
    return np.arange(series.size) - np.repeat(start, np.diff(np.append(start, series.size)))


def elapsed(period: int, last: Ints) -> Floats:
    """Return the periods since the last one of each series, or 0 for a new series (``last`` < 0)."""
    return np.where(last < 0, 0, period - last).astype(np.float64)


def packed(symmetric: Floats) -> Floats:
    """Return symmetric matrices [S, K, K] as lower triangles [S, K(K+1)/2], which halves the snapshot."""
    low = np.tril_indices(symmetric.shape[-1])
    return np.ascontiguousarray(symmetric[:, low[0], low[1]])


def unpacked(triangles: Any, size: int, k: int) -> Floats:
    """Return ``size`` symmetric k × k matrices from the lower triangles of :func:`packed`.

    Examples
    --------
    >>> unpacked(packed(np.array([[[1.0, 2.0], [2.0, 3.0]]])), 1, 2).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    low = np.tril_indices(k)
    rows = read_array(triangles, np.float64).reshape(size, low[0].size)
    whole = np.zeros((size, k, k))
    whole[:, low[0], low[1]] = rows
    whole[:, low[1], low[0]] = rows
    return whole
