"""Logit utility per exposure in River: a logistic regression per series on exposures and orders.

Data: a row with exposures e (times the seasonal factor), orders q, regressors x. A shopper buys with probability
P = σ(u) (science § 9). Per series, with m₀ and r the prior means of own and rival elasticity:

  (1) u = a + w₁·m₀x₁ + w₂·r·x₂ + …, w = 1 at the start, so that the start is the prior
  (2) River's regression learns "bought" with weight q/e and "left" with weight 1 − q/e, both times
      g = m/(1 + m)/(P(1 − P)), m = e·P: a row's step is a Newton step of the level, damped by its orders
  (3) own elasticity ε = w₁·m₀·(1 − P̄), with P̄ the series' conversion; likewise the others
  (4) statistics: A = Σ m(1 − P)·x x′ around the running mean of x weighted by m, c = A·ε: the information that the
      rows carry, not the error of the stochastic gradient
  (5) forecast of the count: mean e·P, log variance 1/(Σm + 1/s²) + x′(A + R)⁻¹x, s the prior sd of the level, R
      the prior precision of the slopes

The stochastic gradient of (2) forgets at the rate of its step, so that (4) is optimistic. The model competes as a
challenger: its score decides whether its estimates are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

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
    unpacked,
)
from features.elasticity.settings import ElasticitySettings

STEP = 0.05
"""Learning rate of level and slopes."""
_MAX_LOG = 20.0


def import_logit(intercept: float, weights: Floats) -> linear_model.LogisticRegression:
    """Return a River logistic regression with this state.

    Examples
    --------
    >>> model = import_logit(-3.0, np.array([1.0, 1.0]))
    >>> round(model.predict_proba_one({0: 0.0, 1: 0.0})[True], 4)
    0.0474
    """
    model: Any = linear_model.LogisticRegression(
        optimizer=optim.SGD(STEP),
        intercept_init=float(intercept),
        intercept_lr=STEP,
        initializer=optim.initializers.Constant(1.0),
    )
    model._weights = VectorDict({j: float(weight) for j, weight in enumerate(weights)})
    regression: linear_model.LogisticRegression = model
    return regression


class LogitRiver:
    """One River logistic regression per series.

    Examples
    --------
    >>> model = LogitRiver(slopes=1)
    >>> rng = np.random.default_rng(1)
    >>> for period in range(4000):
    ...     x = rng.choice([-0.2, 0.0, 0.2])
    ...     orders = rng.binomial(400, 1 / (1 + np.exp(3 + 3 * x)))
    ...     rows = PeriodRows(period, np.array([0]), np.array([[x]]), np.array([float(orders)]), np.log([400.0]))
    ...     _ = model.learn(rows)
    >>> got = model.statistics()
    >>> -3.3 < float(got.c[0, 0] / got.a[0, 0, 0]) < -2.4
    True
    """

    name: ClassVar[str] = "logit_river"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution.COUNTS
    forecasts: ClassVar[bool] = True
    row_per_price: ClassVar[bool] = True

    def __init__(self, settings: ElasticitySettings | None = None, slopes: int = 2) -> None:
        self.settings = s = settings or ElasticitySettings()
        self._k = slopes
        self._scale = np.array([s.prior_mean, *([s.rival_mean] * (slopes - 1))])
        self._ridge = np.diag([s.prior_sd**-2, *([s.rival_sd**-2] * (slopes - 1))])
        self._start = float(np.log(s.conversion / (1 - s.conversion)))
        self._period = -1
        self._models: list[linear_model.LogisticRegression] = []
        self._a: Floats = np.zeros((0, slopes, slopes))
        self._mean: Floats = np.zeros((0, slopes))
        self._sums: Floats = np.zeros((0, 4))  # rows, periods, Σ m, Σ orders
        self._range: Floats = np.zeros((0, 2))
        self._last: Ints = np.zeros(0, np.int64)

    def grow(self, series: int) -> None:
        """Extend the state to this number of series; new series start at the prior."""
        more = series - len(self._last)
        if more <= 0:
            return
        self._models += [import_logit(self._start, np.ones(self._k)) for _ in range(more)]
        self._a = np.concatenate([self._a, np.zeros((more, self._k, self._k))])
        self._mean = np.concatenate([self._mean, np.zeros((more, self._k))])
        self._sums = np.concatenate([self._sums, np.zeros((more, 4))])
        self._range = np.concatenate([self._range, np.zeros((more, 2))])
        self._last = np.concatenate([self._last, np.full(more, -1, np.int64)])

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows, all with exposures above 0; return the forecast of each row."""
        forecast = Expectation.none(len(rows.series))
        if rows.period <= self._period:
            return forecast
        self._period = rows.period
        if rows.series.size == 0:
            return forecast
        if bool(np.any(np.diff(rows.series) < 0)):
            raise ValueError("rows: expected rows sorted by series, got unsorted rows")
        self.grow(int(rows.series[-1]) + 1)
        fresh = np.unique(rows.series)
        keep = self.settings.forgetting ** elapsed(rows.period, self._last[fresh])
        self._a[fresh] *= keep[:, None, None]
        self._sums[fresh] *= keep[:, None]
        self._last[fresh] = rows.period
        slope_variance = np.linalg.inv(self._a[fresh] + self._ridge)
        place = {i: at for at, i in enumerate(fresh.tolist())}
        counted: set[int] = set()
        for at, i in enumerate(rows.series.tolist()):
            x, q = rows.x[at], float(rows.quantity[at])
            exposures = float(np.exp(min(rows.log_exposure[at], _MAX_LOG)))
            model, features = self._models[i], dict(enumerate((self._scale * x).tolist()))
            chance = min(max(model.predict_proba_one(features)[True], 1e-6), 1 - 1e-6)
            mean = exposures * chance
            forecast.expected[at] = mean
            forecast.variance[at] = (
                1 / (self._sums[i, 2] + self.settings.conversion_sd**-2) + x @ slope_variance[place[i]] @ x
            )
            share = min(q / max(exposures, q, 1e-9), 1.0)
            gain = mean / (1 + mean) / (chance * (1 - chance))
            for bought, weight in ((True, share * gain), (False, (1 - share) * gain)):
                if weight > 0:
                    model.learn_one(features, bought, w=weight)
            self._inform(i, x, mean * (1 - chance), mean, q, first=i not in counted)
            counted.add(i)
        return forecast

    def _inform(self, i: int, x: Floats, information: float, mean: float, orders: float, *, first: bool) -> None:
        sums, seen = self._sums[i], self._sums[i, 2]
        d = x - self._mean[i]
        weight = seen / (seen + mean) if seen > 0 else 0.0
        self._a[i] += information * weight * np.outer(d, d)
        self._mean[i] = self._mean[i] + d * mean / (seen + mean)
        own = float(x[0])
        low, high = self._range[i]
        self._range[i] = (min(low, own), max(high, own)) if sums[0] > 0 else (own, own)
        sums += (1.0, float(first), mean, orders)

    def change(self, series: Ints, adjustment: Adjustment) -> None:
        """Shift the own slope of these series and fade their information."""
        for i in np.asarray(series).tolist():
            model = self._models[i]
            chance = model.predict_proba_one({})[True]
            weight = model._weights.get(0, 1.0) + adjustment.slope_shift / (self._scale[0] * (1 - chance))
            model._weights[0] = float(weight)
        before = 1 / (self._a[series, 0, 0] + self._ridge[0, 0])
        keep = before / (before + adjustment.slope_variance)
        self._a[series] *= keep[:, None, None]
        self._sums[series] *= keep[:, None]

    def statistics(self) -> SeriesStatistics:
        """Return the information of the slopes and its product with the elasticities (4)."""
        s = len(self._last)
        conversion = np.array([model.predict_proba_one({})[True] for model in self._models] or np.zeros(0))
        weights = np.array([[m._weights.get(j, 1.0) for j in range(self._k)] for m in self._models])
        slopes = weights.reshape(s, self._k) * self._scale * (1 - conversion)[:, None]
        rows, periods = self._sums[:, 0].copy(), self._sums[:, 1].copy()
        zero = np.zeros(s)
        return SeriesStatistics(
            self._a.copy(), np.einsum("sij,sj->si", self._a, slopes), zero, rows, periods, zero, zero,
            *self._range.T.copy(),
        )  # fmt: skip

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data."""
        weights = [[m.intercept, *(m._weights.get(j, 1.0) for j in range(self._k))] for m in self._models]
        return {
            "v": self.version,
            "period": self._period,
            "weights": np.array(weights, np.float64),
            "a": packed(self._a),
            "mean": self._mean.copy(),
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
        k = self._k
        self._period = int(snapshot["period"])
        self._last = read_array(snapshot["last"], np.int64)
        s = len(self._last)
        weights = read_array(snapshot["weights"], np.float64).reshape(s, k + 1)
        self._models = [import_logit(row[0], row[1:]) for row in weights]
        self._a = unpacked(snapshot["a"], s, k)
        self._mean = read_array(snapshot["mean"], np.float64).reshape(s, k)
        self._sums = read_array(snapshot["sums"], np.float64).reshape(s, 4)
        self._range = read_array(snapshot["range"], np.float64).reshape(s, 2)
