"""Within estimator in one pass, as plain sums: the reference, and the model for K > 4 (science § 3).

Data: series i, period w, u = (x, y) with y = log q − log e. State: per series n, ū; A, c, yy, N, W.

  (1) d = u − ū,  g = n/(n + 1)                       before the row updates ū
  (2) with a category: d ← d − Σgd/Σg over its rows of the period (its common deviation); each row then
      counts 1 − g/Σg in N, because the common deviation was estimated from the same rows
  (3) z = √g·d;   A += z_x z_x′,  c += z_x z_y,  yy += z_y²;   N += 1, W += 1 per period, where n > 0
  (4) ū ← ū + (u − ū)/(n + 1),  n ← n + 1             without forgetting, because a decayed mean
                                                       changes the estimand
  (5) forgetting over g periods: A, c, yy, N, W times λ^g

Σzz′ equals the co-moment matrix of a batch regression with series intercepts (backward orthogonal deviations).
Without the weight √g the estimate is biased; without (1) it has the wrong sign on some scanner data. Period
effects are subtracted from deviations, never from raw values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from features.array_text import read_array
from features.bucket_logic import refuse_other_version
from features.elasticity.base import (
    Adjustment,
    Distribution,
    Expectation,
    Floats,
    Ints,
    PeriodRows,
    SeriesStatistics,
    elapsed,
    packed,
    ranks,
    unpacked,
)
from features.elasticity.settings import ElasticitySettings

MEAN_ROWS = 4.0
"""Largest weight of a series' mean after a change of its level, in rows."""


class WithinSums:
    """Sums (3) of all series, vectorised over the series of a period.

    Examples
    --------
    Two series with different levels and elasticity -2:

    >>> model = WithinSums(slopes=1)
    >>> for period, x in enumerate([0.0, 0.1, -0.1]):
    ...     rows = PeriodRows(period, np.array([0, 1]), np.array([[x], [x + 1]]),
    ...                       np.exp(np.array([3 - 2 * x, 9 - 2 * x])), np.zeros(2))
    ...     _ = model.learn(rows)
    >>> got = model.statistics()
    >>> round(float(got.c.sum() / got.a.sum()), 9)
    -2.0
    """

    name: ClassVar[str] = "within_sums"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution.LOG_UNITS
    forecasts: ClassVar[bool] = False
    row_per_price: ClassVar[bool] = False

    def __init__(self, settings: ElasticitySettings | None = None, slopes: int = 2) -> None:
        self.settings = settings or ElasticitySettings(kind="within", host="sums")
        self._k = slopes
        self._period = -1
        self._n: Floats = np.zeros(0)
        self._mean: Floats = np.zeros((0, slopes + 1))
        self._zz: Floats = np.zeros((0, slopes + 1, slopes + 1))
        self._sums: Floats = np.zeros((0, 2))  # rows, periods
        self._range: Floats = np.zeros((0, 2))
        self._last: Ints = np.zeros(0, np.int64)

    def grow(self, series: int) -> None:
        """Extend the state to this number of series."""
        more = series - len(self._last)
        if more <= 0:
            return
        k1 = self._k + 1
        self._n = np.concatenate([self._n, np.zeros(more)])
        self._mean = np.concatenate([self._mean, np.zeros((more, k1))])
        self._zz = np.concatenate([self._zz, np.zeros((more, k1, k1))])
        self._sums = np.concatenate([self._sums, np.zeros((more, 2))])
        self._range = np.concatenate([self._range, np.zeros((more, 2))])
        self._last = np.concatenate([self._last, np.full(more, -1, np.int64)])

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows; rows without a sale are skipped, because log 0 is undefined."""
        nothing = Expectation.none(len(rows.series))
        if rows.period <= self._period:
            return nothing
        self._period = rows.period
        sold = np.flatnonzero(rows.quantity > 0)
        if sold.size == 0:
            return nothing
        i = rows.series[sold]
        self.grow(int(i[-1]) + 1)
        u = np.column_stack([rows.x[sold], np.log(rows.quantity[sold]) - rows.log_exposure[sold]])
        rank = ranks(i)
        first = i[rank == 0]
        keep = self.settings.forgetting ** elapsed(rows.period, self._last[first])
        self._zz[first] *= keep[:, None, None]
        self._sums[first] *= keep[:, None]
        self._last[first] = rows.period
        d, g = np.zeros_like(u), np.zeros(len(i))
        for r in range(int(rank.max()) + 1):
            at = np.flatnonzero(rank == r)
            self._deviate(i[at], u[at], d, g, at)
        count = (g > 0).astype(np.float64)
        if rows.group is not None:
            d = d - common_deviation(d, g, rows.group[sold])
            count -= own_weight(g, rows.group[sold])
        z = np.sqrt(g)[:, None] * d
        np.add.at(self._zz, i, np.einsum("ri,rj->rij", z, z))
        np.add.at(self._sums[:, 0], i, count)
        informed = np.zeros(len(self._n), bool)
        informed[i[count > 1e-9]] = True
        self._sums[:, 1] += informed
        return nothing

    def change(self, series: Ints, adjustment: Adjustment) -> None:
        """Shift the own slope of these series, and fade their sums so that its variance grows.

        The shift makes the sums those of rows whose own slope was different by it. The mean of a series keeps
        the weight of at most :data:`MEAN_ROWS` rows, so that it follows a new level.
        """
        k, rows = self._k, self._sums[series, 0]
        faded = fading(
            self._zz[series, :k, :k], self._zz[series, k, k], rows, self.settings, adjustment.slope_variance
        )
        shift, zz = adjustment.slope_shift, self._zz[series]
        zz[:, k, k] += 2 * shift * zz[:, 0, k] + shift**2 * zz[:, 0, 0]
        zz[:, :k, k] += shift * zz[:, :k, 0]
        zz[:, k, :k] = zz[:, :k, k]
        self._zz[series] = zz
        self._zz[series] *= faded[:, None, None]
        self._sums[series] *= faded[:, None]
        if adjustment.level_variance > 0:
            self._n[series] = np.minimum(self._n[series], MEAN_ROWS)

    def _deviate(self, i: Ints, u: Floats, d: Floats, g: Floats, at: Ints) -> None:
        n = self._n[i]
        d[at] = np.where(n[:, None] > 0, u - self._mean[i], 0.0)
        g[at] = n / (n + 1)
        self._mean[i] += (u - self._mean[i]) / (n + 1)[:, None]
        self._n[i] += 1
        fresh = n == 0
        self._range[i, 0] = np.where(fresh, u[:, 0], np.minimum(self._range[i, 0], u[:, 0]))
        self._range[i, 1] = np.where(fresh, u[:, 0], np.maximum(self._range[i, 1], u[:, 0]))

    def statistics(self) -> SeriesStatistics:
        """Return the sums per series."""
        k, zero = self._k, np.zeros(len(self._n))
        return SeriesStatistics(
            self._zz[:, :k, :k].copy(),
            self._zz[:, :k, k].copy(),
            self._zz[:, k, k].copy(),
            self._sums[:, 0].copy(),
            self._sums[:, 1].copy(),
            zero,
            zero.copy(),
            self._range[:, 0].copy(),
            self._range[:, 1].copy(),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data; the sums as lower triangles."""
        return {
            "v": self.version,
            "period": self._period,
            "n": self._n.copy(),
            "mean": self._mean.copy(),
            "zz": packed(self._zz),
            "sums": self._sums.copy(),
            "range": self._range.copy(),
            "last": self._last.copy(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        k1 = self._k + 1
        self._period = int(snapshot["period"])
        self._n = read_array(snapshot["n"], np.float64)
        s = len(self._n)
        self._mean = read_array(snapshot["mean"], np.float64).reshape(s, k1)
        self._zz = unpacked(snapshot["zz"], s, k1)
        self._sums = read_array(snapshot["sums"], np.float64).reshape(s, 2)
        self._range = read_array(snapshot["range"], np.float64).reshape(s, 2)
        self._last = read_array(snapshot["last"], np.int64)


def common_deviation(d: Floats, g: Floats, group: Ints) -> Floats:
    """Return the mean deviation of each row's category, weighted by g (2); 0 for a category without weight.

    Examples
    --------
    >>> common_deviation(np.array([[1.0], [3.0], [9.0]]), np.array([0.5, 0.5, 0.0]), np.array([0, 0, 1])).tolist()
    [[2.0], [2.0], [0.0]]
    """
    _, code = np.unique(group, return_inverse=True)
    weight = np.bincount(code, weights=g)
    total = np.zeros((len(weight), d.shape[1]))
    np.add.at(total, code, g[:, None] * d)
    mean = np.divide(total, weight[:, None], out=np.zeros_like(total), where=weight[:, None] > 0)
    return mean[code]


def own_weight(g: Floats, group: Ints) -> Floats:
    """Return each row's share of its category's weight, by which (2) reduces its count.

    Examples
    --------
    >>> own_weight(np.array([0.5, 0.5, 0.5, 0.0]), np.array([0, 0, 1, 2])).tolist()
    [0.5, 0.5, 1.0, 0.0]
    """
    _, code = np.unique(group, return_inverse=True)
    total = np.bincount(code, weights=g)[code]
    return np.divide(g, total, out=np.zeros_like(g), where=total > 0)


def fading(a: Floats, yy: Floats, rows: Floats, settings: ElasticitySettings, slope_variance: float) -> Floats:
    """Return the factor of each series' sums that adds a variance to its own slope, in (0, 1].

    With v the variance of the own slope, scaling the sums by v/(v + added) adds ``slope_variance`` to it.

    Parameters
    ----------
    a, yy, rows : sums of S series, shapes (S, K, K), (S,), (S,).
    settings : prior sd of the slope and noise variance, for series without data.

    Examples
    --------
    >>> sums = np.array([[[4.0]]]), np.array([10.0]), np.array([10.0])
    >>> fading(*sums, ElasticitySettings(), 0.25).round(1).tolist()
    [0.5]
    """
    noise = np.divide(yy, rows, out=np.full(len(rows), settings.noise_variance), where=rows > 0)
    variance = 1 / (a[:, 0, 0] / np.maximum(noise, 1e-9) + settings.prior_sd**-2)
    return np.asarray(variance / (variance + slope_variance))
