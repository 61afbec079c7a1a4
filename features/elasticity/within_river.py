"""Within estimator in River: `stats.Mean` per series, `BayesianLinearRegression` on deviations.

The estimator of within_sums.py as an incremental River model (science § 3). Per series:

  (1) d = u − ū with River's means before the row,  z = √(n/(n+1))·d
  (2) the regression learns (prior_sd·z_x, z_y − m₀ z_x1): the features are scaled by the prior sd, and the prior
      mean m₀ of the own price is subtracted from y; alpha = 1, beta = 1/σ²
  (3) the sums follow from its posterior:  A = (S − I)/(β·sd²),  c = S·m/(β·sd) + m₀ A[:, 0]

Limits of River 0.23 and how this module handles them: an alpha other than 1 initialises both precision and
covariance with 1/alpha, so alpha is 1; ``smoothing`` invalidates the posterior sd, so forgetting scales the
exported precision; the state is in private attributes, which only :func:`export_regression` and
:func:`import_regression` access. The model is for K ≤ 4; use the plain sums for more (River learns 10k rows/s at K
= 4, the sums 240k).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from river import linear_model, stats

from features.bucket_logic import refuse_other_version
from features.elasticity.base import (
    Expectation,
    Floats,
    PeriodRows,
    SeriesStatistics,
)
from features.elasticity.settings import ElasticitySettings
from features.elasticity.within_sums import common_deviation, own_weight

MAX_SLOPES = 4


def export_regression(model: linear_model.BayesianLinearRegression, k: int) -> tuple[Floats, Floats, Floats]:
    """Return precision S (k, k), covariance (k, k) and mean (k,) of a River regression on features 0..k-1.

    Examples
    --------
    >>> model = linear_model.BayesianLinearRegression(alpha=1, beta=4)
    >>> model.learn_one({0: 1.0, 1: 0.5}, 2.0)
    >>> twin = import_regression(*export_regression(model, 2), beta=4)
    >>> twin.predict_one({0: 1.0, 1: 0.5}) == model.predict_one({0: 1.0, 1: 0.5})
    True
    """
    precision, covariance, mean = np.eye(k), np.eye(k), np.zeros(k)
    if model._m:
        for i in range(k):
            mean[i] = model._m[i]
            for j in range(i, k):
                precision[i, j] = precision[j, i] = model._ss[(i, j)]
                covariance[i, j] = covariance[j, i] = model._ss_inv[(i, j)]
    return precision, covariance, mean


def import_regression(
    precision: Floats, covariance: Floats, mean: Floats, beta: float
) -> linear_model.BayesianLinearRegression:
    """Return a River regression with this state; the inverse of :func:`export_regression`."""
    # River declares these dicts with float values but needs NumPy scalars.
    model: Any = linear_model.BayesianLinearRegression(alpha=1, beta=beta)
    k = len(mean)
    for i in range(k):
        model._m[i] = np.float64(mean[i])
        for j in range(i, k):
            model._ss[(i, j)] = np.float64(precision[i, j])
            model._ss_inv[(i, j)] = np.float64(covariance[i, j])
    regression: linear_model.BayesianLinearRegression = model
    return regression


class WithinRiver:
    """One River regression and K + 1 River means per series.

    Examples
    --------
    >>> model = WithinRiver(slopes=1)
    >>> for period, x in enumerate([0.0, 0.1, -0.1]):
    ...     rows = PeriodRows(period, np.array([0]), np.array([[x]]), np.exp(np.array([3 - 2 * x])), np.zeros(1))
    ...     _ = model.learn(rows)
    >>> got = model.statistics()
    >>> round(float(got.c[0, 0] / got.a[0, 0, 0]), 9)
    -2.0
    """

    name: ClassVar[str] = "within_river"
    version: ClassVar[int] = 1

    def __init__(self, settings: ElasticitySettings | None = None, slopes: int = 2) -> None:
        if slopes > MAX_SLOPES:
            raise ValueError(f"slopes: expected at most {MAX_SLOPES} with River, got {slopes}; use WithinSums")
        self.settings = s = settings or ElasticitySettings(kind="within")
        self._k = slopes
        self._beta = 1 / s.noise_variance
        self._period = -1
        self._means: list[list[stats.Mean]] = []
        self._regressions: list[linear_model.BayesianLinearRegression] = []
        self._sums: list[list[float]] = []  # yy, rows, periods, low, high
        self._last: list[int] = []

    def grow(self, series: int) -> None:
        """Extend the state to this number of series."""
        while len(self._means) < series:
            self._means.append([stats.Mean() for _ in range(self._k + 1)])
            self._regressions.append(linear_model.BayesianLinearRegression(alpha=1, beta=self._beta))
            self._sums.append([0.0, 0.0, 0.0, 0.0, 0.0])
            self._last.append(-1)

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows; rows without a sale are skipped, because log 0 is undefined."""
        nothing = np.zeros(len(rows.series))
        if rows.period <= self._period:
            return Expectation(nothing, nothing)
        self._period = rows.period
        sold = np.flatnonzero(rows.quantity > 0)
        if sold.size == 0:
            return Expectation(nothing, nothing)
        series = rows.series[sold].tolist()
        if series != sorted(series):
            raise ValueError("rows: expected rows sorted by series, got unsorted rows")
        self.grow(series[-1] + 1)
        u = np.column_stack([rows.x[sold], np.log(rows.quantity[sold]) - rows.log_exposure[sold]])
        d, g = np.zeros_like(u), np.zeros(len(series))
        for at, i in enumerate(series):
            self._forget(i, rows.period)
            n = self._means[i][0].n
            if n:
                d[at] = [value - mean.get() for value, mean in zip(u[at].tolist(), self._means[i], strict=True)]
                g[at] = n / (n + 1)
            for value, mean in zip(u[at].tolist(), self._means[i], strict=True):
                mean.update(value)
            sums, own = self._sums[i], float(u[at, 0])
            sums[3], sums[4] = (min(sums[3], own), max(sums[4], own)) if n else (own, own)
        count = (g > 0).astype(np.float64)
        if rows.group is not None:
            d = d - common_deviation(d, g, rows.group[sold])
            count -= own_weight(g, rows.group[sold])
        z = np.sqrt(g)[:, None] * d
        counted: set[int] = set()
        for at, i in enumerate(series):
            if count[at] > 1e-9:
                self._learn_deviation(i, z[at].tolist(), float(count[at]), first=i not in counted)
                counted.add(i)
        return Expectation(nothing, nothing)

    def _learn_deviation(self, i: int, z: list[float], count: float, *, first: bool) -> None:
        s = self.settings
        features = {j: s.prior_sd * z[j] for j in range(self._k)}
        self._regressions[i].learn_one(features, z[-1] - s.prior_mean * z[0])
        sums = self._sums[i]
        sums[0] += z[-1] * z[-1]
        sums[1] += count
        sums[2] += first

    def _forget(self, i: int, period: int) -> None:
        gap = period - self._last[i] if self._last[i] >= 0 else 0
        keep = self.settings.forgetting**gap
        if keep < 1:
            precision, _, mean = export_regression(self._regressions[i], self._k)
            faded = np.eye(self._k) + keep * (precision - np.eye(self._k))
            covariance = np.linalg.inv(faded)
            mean = covariance @ (keep * (precision @ mean))
            covariance = (covariance + covariance.T) / 2
            self._regressions[i] = import_regression(faded, covariance, mean, self._beta)
            self._sums[i][:3] = [keep * value for value in self._sums[i][:3]]
        self._last[i] = period

    def statistics(self) -> SeriesStatistics:
        """Return the sums that correspond to River's posteriors (3)."""
        s, k = len(self._means), self._k
        a, c = np.zeros((s, k, k)), np.zeros((s, k))
        sd = self.settings.prior_sd
        for i, model in enumerate(self._regressions):
            precision, _, mean = export_regression(model, k)
            a[i] = (precision - np.eye(k)) / (self._beta * sd * sd)
            c[i] = precision @ mean / (self._beta * sd) + self.settings.prior_mean * a[i][:, 0]
        yy, rows, periods, low, high = np.array(self._sums, np.float64).reshape(s, 5).T.copy()
        return SeriesStatistics(a, c, yy, rows, periods, np.zeros(s), np.zeros(s), low, high)

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data: means and regressions as numbers, matrices as lower triangles."""
        k, low = self._k, np.tril_indices(self._k)
        exported = [export_regression(model, k) for model in self._regressions]
        return {
            "v": self.version,
            "period": self._period,
            "n": [means[0].n for means in self._means],
            "means": [[mean.get() for mean in means] for means in self._means],
            "precision": [p[low].tolist() for p, _, _ in exported],
            "covariance": [v[low].tolist() for _, v, _ in exported],
            "slopes": [m.tolist() for _, _, m in exported],
            "sums": [list(sums) for sums in self._sums],
            "last": list(self._last),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        self._period = int(snapshot["period"])
        self._means = [
            [stats.Mean._from_state(n, float(value)) for value in row]
            for n, row in zip(snapshot["n"], snapshot["means"], strict=True)
        ]
        self._regressions = [
            import_regression(self._square(p), self._square(v), np.array(m), self._beta)
            for p, v, m in zip(snapshot["precision"], snapshot["covariance"], snapshot["slopes"], strict=True)
        ]
        self._sums = [[float(value) for value in sums] for sums in snapshot["sums"]]
        self._last = [int(value) for value in snapshot["last"]]

    def _square(self, packed: list[float]) -> Floats:
        low = np.tril_indices(self._k)
        full = np.zeros((self._k, self._k))
        full[low] = packed
        full.T[low] = packed
        return full
