"""What every elasticity model takes and answers.

Data: series i (one listing: a SKU in one market), periods w, rows (i, w, x, q, log e): x of width K,
own log price first, then controls; q quantity; log e the log of what it is counted against (exposures
until the stock-out and the seasonal factor; 0 for scanner weeks).

A model keeps numbers per series that *add up* over series of one product:

  (1) A = Σ z_x z_x′,  c = Σ z_x z_y,  yy = Σ z_y²   (within; see within_sums.py)
      A = precision of the slopes that the data gave,  c = A·(their slopes)   (poisson; see poisson.py)
  (2) N rows that informed, W periods in which one did
  (3) χ, χ_n: squared and expected scatter of counts, whose ratio is the dispersion φ (poisson)
  (4) lo, hi: range of the own log price; a price that never moved identifies nothing

so that a product, over whatever markets and buckets, is the sum of its series, in sorted order; no
arrival order and no restart can change it. b = A⁻¹c and its error come from pooling.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.array_text import read_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PeriodRows(NamedTuple):
    """The rows of one period, sorted by series; shapes (R,), (R, K), (R,), (R,), (R,).

    ``group`` (R,), when given, names each row's category: period effects common to it are taken out of
    the deviations (within only; for several series in a period).
    """

    period: int
    series: Ints
    x: Floats
    quantity: Floats
    log_exposure: Floats
    group: Ints | None = None


class Learned(NamedTuple):
    """What a model answers per row: the mean it expected and the variance of its log (0: within)."""

    expected: Floats
    variance: Floats


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
        """The statistics of some series."""
        return SeriesStatistics(*(column[index] for column in self))


class SeriesModel(Protocol):
    """One model over all series of a bucket. The contract is features/elasticity/checks.py.

    ``learn`` of a period that is not newer than the last one changes nothing: a period is its own name.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def grow(self, series: int) -> None:
        """Have room for this many series."""
        ...

    def learn(self, rows: PeriodRows) -> Learned:
        """Take one period's rows."""
        ...

    def statistics(self) -> SeriesStatistics:
        """Cumulative statistics of every series."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Versioned plain data, no settings."""
        ...

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back; another version raises :class:`SnapshotError`."""
        ...


def ranks(series: Ints) -> Ints:
    """Each row's place among its series' rows: rows of one rank touch every series at most once.

    >>> ranks(np.array([0, 0, 2, 5, 5, 5])).tolist()
    [0, 1, 0, 0, 1, 2]
    """
    if series.size == 0:
        return np.zeros(0, np.int64)
    if bool(np.any(np.diff(series) < 0)):
        raise ValueError("rows: expected sorted by series, so that their order is defined; sort them first")
    start = np.flatnonzero(np.concatenate([[True], np.diff(series) > 0]))
    return np.arange(series.size) - np.repeat(start, np.diff(np.append(start, series.size)))


def elapsed(period: int, last: Ints) -> Floats:
    """Periods since each series was last learned; 0 for a new one (``last`` < 0)."""
    return np.where(last < 0, 0, period - last).astype(np.float64)


def packed(symmetric: Floats) -> Floats:
    """Symmetric matrices [S, K, K] as their lower triangles [S, K(K+1)/2]: half the size in a snapshot."""
    low = np.tril_indices(symmetric.shape[-1])
    return np.ascontiguousarray(symmetric[:, low[0], low[1]])


def unpacked(triangles: Any, size: int, k: int) -> Floats:
    """:func:`packed` back: ``size`` symmetric k × k matrices.

    >>> unpacked(packed(np.array([[[1.0, 2.0], [2.0, 3.0]]])), 1, 2).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    low = np.tril_indices(k)
    rows = read_array(triangles, np.float64).reshape(size, low[0].size)
    whole = np.zeros((size, k, k))
    whole[:, low[0], low[1]] = rows
    whole[:, low[1], low[0]] = rows
    return whole
