"""Poisson counts with zeros: an online Laplace approximation per series (science § 3, "Counts and zeros").

Data: orders q of a row, its exposure e until the stock-out, seasonal factor s, f = (1, x).
State per series: mean m and covariance V of (level, slopes), prior N(m₀, V₀).

  (1) μ = m′f + log e + log s,   v = f′Vf
  (2) η solves (q − e^η) − (η − μ)/v = 0            by Wright's omega function, exactly
  (3) m ← m + Vf(η − μ)/v,   V ← V − Vf f′V/(e^{−η} + v)
  (4) χ += (q − e^μ)² − e^{2μ}(e^v − 1),  χ_n += e^μ,  where v < .3;   φ = max(1, Σχ/Σχ_n), see pooling/
  (5) forgetting over g periods: V⁻¹ ← λ^g V⁻¹ + (1 − λ^g) V₀⁻¹, and the mean likewise: the prior replaces
      forgotten data, so V contains exactly one prior at any time
  (6) forecast of a row before it is learned: mean e^(μ + v/2), log variance v, dispersion (Σχ + 20)/(Σχ_n + 20)
  (7) a change shifts the own slope and adds variance to it and to the level; N, W, χ, χ_n fade as the precision
  (8) statistics: A = (V_slopes)⁻¹ − (V₀_slopes)⁻¹, c = (V_slopes)⁻¹ m − (V₀_slopes)⁻¹ m₀, without the prior

The dispersion φ of (4) is a property of the category, which spans buckets. It multiplies the variance when
products are pooled, which is equivalent to dividing every log-likelihood by it here. Regressions on log(q + .5)
have a bias of +.07 to +.16. Rows of a period with a stock-out count with the exposure until the stock-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.special import wrightomega

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

_MAX_LOG = 20.0
_MAX_LOG_VARIANCE = 0.3
_PRIOR_COUNTS = 20.0
"""Weight of dispersion 1 in a series' dispersion, in expected orders."""


class PoissonLaplace:
    """Level and slopes of all series, updated row by row and vectorised over series.

    Parameters
    ----------
    settings : prior and forgetting.
    slopes : K, own price first.

    Examples
    --------
    >>> model = PoissonLaplace(slopes=1)
    >>> for period, (price, sold) in enumerate([(0.0, 50), (0.2, 33), (-0.2, 75), (0.0, 50)] * 5):
    ...     row = PeriodRows(period, np.array([0]), np.array([[price]]), np.array([sold]), np.log([1000.0]))
    ...     _ = model.learn(row)
    >>> got = model.statistics()
    >>> round(float(got.c[0, 0] / got.a[0, 0, 0]), 1)
    -2.0
    """

    name: ClassVar[str] = "poisson"
    version: ClassVar[int] = 1
    distribution: ClassVar[Distribution] = Distribution.COUNTS
    forecasts: ClassVar[bool] = True
    row_per_price: ClassVar[bool] = True

    def __init__(self, settings: ElasticitySettings | None = None, slopes: int = 2) -> None:
        self.settings = s = settings or ElasticitySettings()
        self._k = slopes
        self._m0 = np.array([np.log(s.conversion), s.prior_mean, *([s.rival_mean] * (slopes - 1))])
        self._p0 = np.diag([s.conversion_sd**-2, s.prior_sd**-2, *([s.rival_sd**-2] * (slopes - 1))])
        self._v0 = np.diag(1 / np.diag(self._p0))
        self._period = -1
        self._m: Floats = np.zeros((0, slopes + 1))
        self._v: Floats = np.zeros((0, slopes + 1, slopes + 1))
        self._sums: Floats = np.zeros((0, 4))  # rows, periods, chi, chi_n
        self._range: Floats = np.zeros((0, 2))
        self._last: Ints = np.zeros(0, np.int64)

    def grow(self, series: int) -> None:
        """Extend the state to this number of series; new series start at the prior."""
        more = series - len(self._last)
        if more <= 0:
            return
        self._m = np.concatenate([self._m, np.tile(self._m0, (more, 1))])
        self._v = np.concatenate([self._v, np.tile(self._v0, (more, 1, 1))])
        self._sums = np.concatenate([self._sums, np.zeros((more, 4))])
        self._range = np.concatenate([self._range, np.zeros((more, 2))])
        self._last = np.concatenate([self._last, np.full(more, -1, np.int64)])

    def learn(self, rows: PeriodRows) -> Expectation:
        """Learn one period's rows, all with exposures above 0; return the expectation of each row."""
        expected, variance, dispersion = forecast = Expectation.none(len(rows.series))
        if rows.period <= self._period:
            return forecast
        self._period = rows.period
        if rows.series.size == 0:
            return forecast
        self.grow(int(rows.series[-1]) + 1)
        rank = ranks(rows.series)
        self._forget(rows.series[rank == 0], rows.period)
        chi, chi_n = self._sums[rows.series, 2:].T
        dispersion[:] = np.maximum(1.0, (chi + _PRIOR_COUNTS) / (chi_n + _PRIOR_COUNTS))
        for r in range(int(rank.max()) + 1):
            at = np.flatnonzero(rank == r)
            i = rows.series[at]
            expected[at], variance[at] = self._step(i, rows.x[at], rows.quantity[at], rows.log_exposure[at])
            if r == 0:
                self._sums[i, 1] += 1
        return forecast

    def change(self, series: Ints, adjustment: Adjustment) -> None:
        """Shift the own slope of these series and add variance to it and to the level (7)."""
        before = self._v[series, 1, 1]
        self._m[series, 1] += adjustment.slope_shift
        self._v[series, 0, 0] += adjustment.level_variance
        self._v[series, 1, 1] += adjustment.slope_variance
        self._sums[series] *= (before / self._v[series, 1, 1])[:, None]

    def _forget(self, i: Ints, period: int) -> None:
        keep = self.settings.forgetting ** elapsed(period, self._last[i])
        if bool(np.any(keep < 1)):
            precision = np.linalg.inv(self._v[i])
            weighted = np.einsum("sij,sj->si", precision, self._m[i])
            precision = keep[:, None, None] * precision + (1 - keep)[:, None, None] * self._p0
            weighted = keep[:, None] * weighted + (1 - keep)[:, None] * (self._p0 @ self._m0)
            v = np.linalg.inv(precision)
            self._v[i] = (v + v.transpose(0, 2, 1)) / 2
            self._m[i] = np.einsum("sij,sj->si", self._v[i], weighted)
            self._sums[i] *= keep[:, None]
        self._last[i] = period

    def _step(self, i: Ints, x: Floats, q: Floats, offset: Floats) -> tuple[Floats, Floats]:
        f = np.concatenate([np.ones((len(i), 1)), x], axis=1)
        vf = np.einsum("sij,sj->si", self._v[i], f)
        v = np.maximum(np.einsum("si,si->s", f, vf), 1e-12)
        mu = np.minimum(np.einsum("si,si->s", self._m[i], f) + offset, _MAX_LOG)
        eta = _mode(q, mu, v)
        self._m[i] += vf * ((eta - mu) / v)[:, None]
        gain = 1 / (np.exp(-eta) + v)
        self._v[i] -= gain[:, None, None] * np.einsum("si,sj->sij", vf, vf)
        mean = np.exp(mu)
        precise = v < _MAX_LOG_VARIANCE
        scatter = (q - mean) ** 2 - mean**2 * np.expm1(np.minimum(v, 1.0))
        self._sums[i, 0] += 1
        self._sums[i, 2] += np.where(precise, scatter, 0.0)
        self._sums[i, 3] += np.where(precise, mean, 0.0)
        fresh = self._sums[i, 1] == 0
        self._range[i, 0] = np.where(fresh, x[:, 0], np.minimum(self._range[i, 0], x[:, 0]))
        self._range[i, 1] = np.where(fresh, x[:, 0], np.maximum(self._range[i, 1], x[:, 0]))
        return np.exp(np.minimum(mu + v / 2, _MAX_LOG)), v

    def statistics(self) -> SeriesStatistics:
        """Return the slopes' precision and its product with the slopes, both without the prior (8)."""
        s = len(self._last)
        precision = np.linalg.inv(self._v[:, 1:, 1:]) if s else np.zeros((0, self._k, self._k))
        p0 = self._p0[1:, 1:]
        a = precision - p0
        c = np.einsum("sij,sj->si", precision, self._m[:, 1:]) - p0 @ self._m0[1:]
        rows, periods, chi, chi_n = self._sums.T
        blank = rows == 0
        a[blank], c[blank] = 0.0, 0.0
        return SeriesStatistics(
            a, c, np.zeros(s), rows.copy(), periods.copy(), chi.copy(), chi_n.copy(), *self._range.T.copy()
        )

    def snapshot(self) -> dict[str, Any]:
        """Return versioned plain data; V as its lower triangle."""
        return {
            "v": self.version,
            "period": self._period,
            "m": self._m.copy(),
            "cov": packed(self._v),
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
        self._last = read_array(snapshot["last"], np.int64)
        s = len(self._last)
        self._m = read_array(snapshot["m"], np.float64).reshape(s, k1)
        self._v = unpacked(snapshot["cov"], s, k1)
        self._sums = read_array(snapshot["sums"], np.float64).reshape(s, 4)
        self._range = read_array(snapshot["range"], np.float64).reshape(s, 2)


def _mode(q: Floats, mu: Floats, v: Floats) -> Floats:
    """Return η of (2): with t = v·e^η the equation is t + log t = log v + μ + v·q, so t is Wright's ω."""
    t = wrightomega(np.clip(np.log(v) + mu + v * q, -700.0, None))
    return np.asarray(np.log(t) - np.log(v))
