"""Within estimator in River: `stats.Mean` per series, `BayesianLinearRegression` on deviations.

The estimator of within_sums.py as an incremental River model (science § 3). Per series:

  (1) d = u − ū with River's means before the row,  z = √(n/(n+1))·d
  (2) the regression learns (prior_sd·z_x, z_y − m₀ z_x1): the features are scaled by the prior sd, and the prior
      mean m₀ of the own price is subtracted from y; alpha = 1, beta = 1/σ²
  (3) the sums follow from its posterior:  A = (S − I)/(β·sd²),  c = S·m/(β·sd) + m₀ A[:, 0]
  (4) forecast of a row before it is learned: log units ~ N(ȳ + m₀·d_x1 + m′(sd·d_x), v),
      v = s²·(1 + 1/n) + d_x′Σd_x·sd², with s² the mean of squared errors r²/(1 + 1/n), shrunk to the initial
      noise variance with a weight of five rows

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
    unpacked,
)
from features.elasticity.models.within_sums import MEAN_ROWS, common_deviation, fading, own_weight
from features.elasticity.settings import ElasticitySettings

MAX_SLOPES = 4
_MAX_LOG = 20.0
NOISE_ROWS = 5.0
"""Weight of the initial noise variance in a series' noise variance, in rows."""


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
    distribution: ClassVar[Distribution] = Distribution.LOG_UNITS
    forecasts: ClassVar[bool] = True
    row_per_price: ClassVar[bool] = False

    def __init__(self, settings: ElasticitySettings | None = None, slopes: int = 2) -> None:
        if slopes > MAX_SLOPES:
            raise ValueError(f"slopes: expected at most {MAX_SLOPES} with River, got {slopes}; use WithinSums")
        self.settings = s = settings or ElasticitySettings(kind="within")
        self._k = slopes
        self._beta = 1 / s.noise_variance
        self._period = -1
        self._means: list[list[stats.Mean]] = []
        self._regressions: list[linear_model.BayesianLinearRegression] = []
        self._noise: list[stats.Mean] = []
        self._sums: list[list[float]] = []  # yy, rows, periods, low, high
        self._last: list[int] = []

    def grow(self, series: int) -> None:
        """Extend the state to this number of series."""
        while len(self._means) < series:
            self._means.append([stats.Mean() for _ in range(self._k + 1)])
            self._regressions.append(linear_model.BayesianLinearRegression(alpha=1, beta=self._beta))
            self._noise.append(stats.Mean())
            self._sums.append([0.0, 0.0, 0.0, 0.0, 0.0])
            self._last.append(-1)

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows and return their forecasts.

        A row without a sale has a forecast, but nothing is learned from it, because log 0 is undefined.
        """
        if rows.period <= self._period:
            return Expectation.none(len(rows.series))
        self._period = rows.period
        forecast = self._forecast(rows)
        sold = np.flatnonzero(rows.quantity > 0)
        if sold.size == 0:
            return forecast
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
                error = u[at, -1] - np.log(forecast.expected[sold[at]])
                self._noise[i].update(float(error * error / (1 + 1 / n)))
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
        return forecast

    def _forecast(self, rows: PeriodRows) -> Expectation:
        """Return the forecasts (4); a series without a row has the prior of the level."""
        s, k = self.settings, self._k
        forecast = Expectation.none(len(rows.series))
        for at, i in enumerate(rows.series.tolist()):
            self.grow(i + 1)
            means, n = self._means[i], self._means[i][0].n
            level, variance = float(np.log(s.conversion)), s.conversion_sd**2 + s.noise_variance
            if n:
                d = [value - means[j].get() for j, value in enumerate(rows.x[at].tolist())]
                posterior: Any = self._regressions[i].predict_one(
                    {j: s.prior_sd * d[j] for j in range(k)}, with_dist=True
                )
                # River's variance contains the fixed noise 1/β, which the learned noise replaces.
                spread = max(posterior.sigma**2 - 1 / self._beta, 0.0)
                level = means[k].get() + s.prior_mean * d[0] + posterior.mu
                variance = self._noise_variance(i) * (1 + 1 / n) + spread
            forecast.expected[at] = np.exp(np.clip(level + rows.log_exposure[at], -_MAX_LOG, _MAX_LOG))
            forecast.variance[at] = variance
        return forecast

    def _noise_variance(self, i: int) -> float:
        mean = self._noise[i]
        total = NOISE_ROWS * self.settings.noise_variance + mean.n * mean.get()
        return float(total / (NOISE_ROWS + mean.n))

    def change(self, series: Ints, adjustment: Adjustment) -> None:
        """Shift the own slope of these series, and fade their posteriors so that its variance grows.

        The mean of a series keeps the weight of at most ``MEAN_ROWS`` rows, so that it follows a new level.
        """
        if not len(series):
            return
        got = self.statistics().take(series)
        faded = fading(got.a, got.yy, got.rows, self.settings, adjustment.slope_variance)
        shift = adjustment.slope_shift
        for at, (i, keep) in enumerate(zip(np.asarray(series).tolist(), faded.tolist(), strict=True)):
            precision, covariance, mean = export_regression(self._regressions[i], self._k)
            # The part of the slope that the data carry shifts; the prior's part stays.
            data = precision - np.eye(self._k)
            mean = mean + covariance @ data[:, 0] * (shift / self.settings.prior_sd)
            self._regressions[i] = import_regression(precision, covariance, mean, self._beta)
            self._sums[i][0] += 2 * shift * got.c[at, 0] + shift**2 * got.a[at, 0, 0]
            self._fade(i, keep)
            if adjustment.level_variance > 0:
                kept = [(min(mean.n, MEAN_ROWS), mean.get()) for mean in self._means[i]]
                self._means[i] = [stats.Mean._from_state(n, value) for n, value in kept]

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
        self._fade(i, self.settings.forgetting**gap)
        self._last[i] = period

    def _fade(self, i: int, keep: float) -> None:
        if keep < 1:
            precision, _, mean = export_regression(self._regressions[i], self._k)
            faded = np.eye(self._k) + keep * (precision - np.eye(self._k))
            covariance = np.linalg.inv(faded)
            mean = covariance @ (keep * (precision @ mean))
            covariance = (covariance + covariance.T) / 2
            self._regressions[i] = import_regression(faded, covariance, mean, self._beta)
            self._sums[i][:3] = [keep * value for value in self._sums[i][:3]]

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
        """Return versioned plain data: means and regressions as arrays, matrices as lower triangles."""
        k, low = self._k, np.tril_indices(self._k)
        exported = [export_regression(model, k) for model in self._regressions]
        return {
            "v": self.version,
            "period": self._period,
            "n": np.array([means[0].n for means in self._means], np.float64),
            "means": np.array([[mean.get() for mean in means] for means in self._means], np.float64),
            "precision": np.array([p[low] for p, _, _ in exported], np.float64),
            "covariance": np.array([v[low] for _, v, _ in exported], np.float64),
            "slopes": np.array([m for _, _, m in exported], np.float64),
            "noise": np.array([[mean.n, mean.get()] for mean in self._noise], np.float64),
            "sums": np.array(self._sums, np.float64),
            "last": np.array(self._last, np.int64),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version(self.name, self.version, snapshot)
        k = self._k
        triangle = k * (k + 1) // 2

        def read(name: str, columns: int) -> Floats:
            return read_array(snapshot[name], np.float64).reshape(-1, columns)

        self._period = int(snapshot["period"])
        rows = zip(read("n", 1).ravel().tolist(), read("means", k + 1).tolist(), strict=True)
        self._means = [[stats.Mean._from_state(n, value) for value in row] for n, row in rows]
        posteriors = zip(read("precision", triangle), read("covariance", triangle), read("slopes", k), strict=True)
        self._regressions = [
            import_regression(self._square(p), self._square(v), m, self._beta) for p, v, m in posteriors
        ]
        # A snapshot written before the noise was kept starts at the initial noise variance.
        noise = read("noise", 2).tolist() if "noise" in snapshot else [[0.0, 0.0] for _ in self._means]
        self._noise = [stats.Mean._from_state(n, value) for n, value in noise]
        self._sums = read("sums", 5).tolist()
        self._last = read_array(snapshot["last"], np.int64).tolist()

    def _square(self, packed: Floats) -> Floats:
        return np.asarray(unpacked(packed, 1, self._k)[0])
