"""Running test whether prices follow the demand of the period before (science § 3, "Identification").

The test (A) of endogeneity.py with bounded state, for elasticity_job. Per listing and period v, x is the mean log
price, l its deviation from the listing's mean so far (River's ``stats.Mean``), r the standardised residual of the
first model's forecast. With the next row of the listing, d = x of that row less x:

  (1) u = (1, l, d, r);   M_w = Σ u u′ over the listings of a category whose d ends in period w
  (2) e_d = d − θ_d′(1, l),  e_r = r − θ_r′(1, l)      least squares from M = Σ M_w over the last periods
  (3) ρ = Σe_d e_r/√(Σe_d²Σe_r²),   S_w = Σ e_d e_r of period w,   z = ΣS_w/√ΣS_w²

By (2) the return of a promoted price to its usual level, and an error of the slope, are no answers to demand. A
period is one observation of z, because a shop changes many prices at once. Stage 1 adds M_w per bucket, stage 2
keeps the newest periods of a category. M_w are integers, so that the order of buckets changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from river import stats

from features.array_text import read_array
from features.elasticity.base import Distribution, Expectation, Floats, PeriodRows
from features.elasticity.count_scores import count_variance
from features.elasticity.endogeneity import MIN_PERIODS
from features.elasticity.settings import ElasticitySettings
from schemas.codes import Endogeneity

UNIT = 1e-9
"""Unit of the moments, which are integers."""
CLIP = 6.0
"""Bound of |r|: one bulk order is no sign."""
_MIN_VARIANCE = 1e-9
"""Smallest mean of e_d², below which the prices did not move."""
_TRIANGLE = np.triu_indices(4)

CategoryKey = tuple[str, str]  # tenant, category


def standardised_residuals(distribution: Distribution, quantity: Floats, forecast: Expectation) -> Floats:
    """Return r of each listing's quantity, clipped to ±``CLIP``; NaN without a forecast or a logarithm.

    Examples
    --------
    >>> forecast = Expectation(np.array([4.0, 0.0]), np.array([0.0, 0.1]), np.ones(2))
    >>> standardised_residuals(Distribution.COUNTS, np.array([8.0, 1.0]), forecast).tolist()
    [2.0, nan]
    """
    found = np.full(len(quantity), np.nan)
    if distribution is Distribution.COUNTS:
        known = forecast.expected > 0
        error, variance = quantity - forecast.expected, count_variance(forecast)
    else:
        known = (forecast.expected > 0) & (quantity > 0)
        error = np.log(np.where(known, quantity, 1.0)) - np.log(np.where(known, forecast.expected, 1.0))
        variance = forecast.variance
    found[known] = np.clip(error[known] / np.sqrt(np.maximum(variance[known], 1e-12)), -CLIP, CLIP)
    return found


class PriceResponses:
    """Stage 1: the last price and residual of each listing of a bucket, and the moments of the last period (1)."""

    def __init__(self) -> None:
        self._mean: dict[int, stats.Mean] = {}  # listing number → mean log price
        self._last: dict[int, tuple[float, float]] = {}  # listing number → x and r of its newest row
        self._moments: dict[CategoryKey, list[int]] = {}

    def observe(self, rows: PeriodRows, residual: Floats, categories: Sequence[CategoryKey]) -> None:
        """Add the pairs that a period's rows end; one row per listing."""
        sums: dict[CategoryKey, Floats] = {}
        columns = (rows.series.tolist(), rows.x[:, 0].tolist(), residual.tolist(), categories)
        for i, x, r, category in zip(*columns, strict=True):
            mean = self._mean.setdefault(i, stats.Mean())
            if i in self._last:
                before, lagged = self._last[i]
                u = np.array([1.0, before - mean.get(), x - before, lagged])
                sums[category] = sums.get(category, np.zeros((4, 4))) + np.outer(u, u)
            mean.update(x)
            if np.isfinite(r):
                self._last[i] = (x, r)
            else:
                self._last.pop(i, None)
        self._moments = {
            category: [round(value / UNIT) for value in total[_TRIANGLE].tolist()]
            for category, total in sums.items()
        }

    def clear(self) -> None:
        """Forget the moments of the last period."""
        self._moments = {}

    def moments(self, category: CategoryKey) -> list[int]:
        """Return M_w of the last period, the upper triangle by rows; empty without a pair."""
        return self._moments.get(category, [])

    def snapshot(self) -> Floats:
        """Return a row per listing: number, count and mean of its log prices, x and r of the newest row or NaN."""
        nothing = (float("nan"), float("nan"))
        rows = [(i, mean.n, mean.get(), *self._last.get(i, nothing)) for i, mean in sorted(self._mean.items())]
        return np.array(rows, np.float64).reshape(-1, 5)

    def restore(self, snapshot: Any) -> None:
        """Restore the state from :meth:`snapshot`."""
        rows = read_array(snapshot, np.float64).reshape(-1, 5).tolist()
        self._mean = {int(i): stats.Mean._from_state(n, mean) for i, n, mean, _, _ in rows}
        self._last = {int(i): (x, r) for i, _, _, x, r in rows if np.isfinite(r)}
        self._moments = {}


class ResponseTest(NamedTuple):
    """Result of (3): verdict, ρ and z (NaN where not tested), and numbers of pairs and periods."""

    verdict: Endogeneity
    correlation: float
    z: float
    pairs: int
    periods: int


class CategoryResponse:
    """Stage 2: the moments of a category's last periods, and the test.

    Parameters
    ----------
    settings : ``endogeneity_periods``, the number of periods; ``endogeneity_z`` and ``endogeneity_correlation``,
        the smallest |z| and |ρ| of a sign.

    Examples
    --------
    Prices that follow the demand of the period before, of five listings:

    >>> rng, responses = np.random.default_rng(1), PriceResponses()
    >>> test, price = CategoryResponse(ElasticitySettings()), np.zeros(5)
    >>> for period in range(60):
    ...     rows = PeriodRows(period, np.arange(5), price[:, None], np.zeros(5), np.zeros(5))
    ...     residual = rng.normal(size=5)
    ...     responses.observe(rows, residual, [("acme", "toys")] * 5)
    ...     test.add(0, period, responses.moments(("acme", "toys")))
    ...     price = 0.1 * residual + rng.normal(0, 0.1, 5)
    >>> got = test.result()
    >>> got.verdict.value, got.correlation > 0.4, got.pairs
    ('shown', True, 290)
    """

    def __init__(self, settings: ElasticitySettings) -> None:
        self._settings = settings
        self._kept: dict[int, list[int]] = {}
        self._last: dict[int, int] = {}  # bucket → its newest period
        self._result: ResponseTest | None = None

    def add(self, bucket: int, period: int, moments: Sequence[int]) -> None:
        """Add a bucket's M_w; a repeat, or a period older than the window, changes nothing."""
        if not moments or period <= self._last.get(bucket, -1):
            return
        self._last[bucket] = period
        before = self._kept.get(period, [0] * len(moments))
        self._kept[period] = [one + int(two) for one, two in zip(before, moments, strict=True)]
        oldest = max(self._kept) - self._settings.endogeneity_periods
        self._kept = {kept: total for kept, total in self._kept.items() if kept > oldest}
        self._result = None

    def result(self) -> ResponseTest:
        """Return the test over all kept periods but the newest, of which buckets may be missing."""
        if self._result is None:
            self._result = self._test(sorted(self._kept)[:-1])
        return self._result

    def _test(self, periods: Sequence[int]) -> ResponseTest:
        s = self._settings
        each = np.zeros((len(periods), 4, 4))
        for at, period in enumerate(periods):
            each[at][_TRIANGLE] = np.array(self._kept[period], np.float64) * UNIT
            each[at] = np.triu(each[at]) + np.triu(each[at], 1).T
        total = each.sum(axis=0)
        pairs = round(total[0, 0])
        untested = ResponseTest(Endogeneity.NOT_TESTED, float("nan"), float("nan"), pairs, len(periods))
        if len(periods) < MIN_PERIODS:
            return untested
        theta = np.linalg.lstsq(total[:2, :2], total[:2, 2:], rcond=1e-12)[0]
        # Columns of ``turn``: e_d and e_r as combinations of u.
        turn = np.vstack([-theta, np.eye(2)])
        turned = np.einsum("ia,wij,jb->wab", turn, each, turn)
        squares = turned.sum(axis=0)
        scores = turned[:, 0, 1]
        scale, spread = float(squares[0, 0] * squares[1, 1]), float((scores * scores).sum())
        if squares[0, 0] <= _MIN_VARIANCE * pairs or scale <= 0 or spread <= 0:
            return untested
        correlation, z = float(scores.sum() / scale**0.5), float(scores.sum() / spread**0.5)
        shown = abs(z) >= s.endogeneity_z and abs(correlation) >= s.endogeneity_correlation
        verdict = Endogeneity.SHOWN if shown else Endogeneity.NO_SIGN
        return ResponseTest(verdict, correlation, z, pairs, len(periods))

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, sorted."""
        return {
            "kept": {str(period): self._kept[period] for period in sorted(self._kept)},
            "last": {str(bucket): self._last[bucket] for bucket in sorted(self._last)},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`."""
        self._kept = {int(period): [int(v) for v in total] for period, total in snapshot["kept"].items()}
        self._last = {int(bucket): int(period) for bucket, period in snapshot["last"].items()}
        self._result = None
