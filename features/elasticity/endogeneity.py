"""Endogeneity of prices: warnings that a price followed demand, from two tests (science § 3, "Identification").

(A) Lagged response. Does a price change follow the demand residual of the period before? Per product, over the
pairs of consecutive rows (v, v + 1) of its series:

  (1) r = residual of row v given its price;  d = log price of row v + 1 less that of row v
  (2) both are made orthogonal to the log price of row v (as a deviation from its series' mean), so that the
      return of a promoted price to its usual level does not count as an answer to demand
  (3) ρ = Σdr / √(Σd²Σr²),   S_w = Σ dr over the pairs of period w,   z = ΣS_w / √ΣS_w²
  (4) category: the products' S_w, each divided by √(Σd²Σr²), are added per period, and z follows as in (3)

z treats the pairs of one period as one observation, because a chain changes prices in all its stores at once.

(B) Instrument. Does the two-stage estimate differ from the plain one? A model with the instruments as further
regressors has all moments that two-stage least squares needs, so that its cumulative statistics are enough:

  (5) x̂ = projection of the price on controls C and instruments Z;  b from the moments of (x̂, C) with y
  (6) F of the first stage: the instruments' joint F given C
  (7) z of the residual x − x̂ beside x and C in the regression of y (the control-function form of Hausman's test)

What the tests can see: (A) a price that reacts later than the demand which it answers: markdowns of slow sellers,
increases after strong weeks. It cannot see a price that is set in the same period as the demand it answers, as in
an auction, or from a forecast of it: there the residual before is no better informed than chance. (B) sees these
cases, but only with an instrument that moves the price and has no other way to demand, and only as far as its
precision reaches: a difference that is large but not beyond chance is ``suspected``.

References
----------
Hausman (1978), Specification tests in econometrics. Stock and Yogo (2005), on F ≥ 10. Wooldridge (2010),
Econometric analysis of cross section and panel data, § 6.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.elasticity.base import Floats, Ints
from schemas.codes import Endogeneity

MIN_Z = 3.0
"""Smallest |z| of a sign of endogeneity: at most .3 % of exogenous products reach it by chance."""
MIN_CORRELATION = 0.1
"""Smallest |ρ| of a sign of endogeneity; a weaker answer to demand hardly moves an estimate."""
MIN_PERIODS = 12
"""Fewest periods with a pair for a z by (3)."""
MIN_FIRST_STAGE_F = 10.0
"""Smallest F of instruments that are strong enough."""
MATERIAL_SHARE = 0.25
"""Difference of two-stage and plain estimate, as a share of the two-stage one, from which it is suspected."""


class LaggedResponse(NamedTuple):
    """Result of test (A) for P products, and its additive form per period for the category (4).

    ``correlation`` and ``z`` are NaN where there are too few periods, or where price or residual never moved.
    ``scores`` (T,) are the sums of (4) for the ``periods`` (T,).
    """

    pairs: Ints
    correlation: Floats
    z: Floats
    periods: Ints
    scores: Floats


class Instrumented(NamedTuple):
    """Result of test (B): plain and two-stage estimates with errors, first-stage F, z of (7)."""

    plain: float
    plain_se: float
    two_stage: float
    two_stage_se: float
    first_stage_f: float
    z: float


def lagged_response(
    product: Ints, products: int, series: Ints, period: Ints, log_price: Floats, residual: Floats
) -> LaggedResponse:
    """Return whether price changes follow the residuals of the period before (1-3).

    Parameters
    ----------
    product : (R,) product of each row, 0 .. products - 1.
    products : number of products.
    series, period : (R,) series and period of each row; sorted by series, then period, with one row each.
    log_price : (R,) log of the own price.
    residual : (R,) log demand that the price does not explain.

    Raises
    ------
    ValueError
        If the rows are not sorted.

    Examples
    --------
    A price that rises after strong weeks, and one that is drawn at random:

    >>> rng = np.random.default_rng(1)
    >>> residual = rng.normal(size=400)
    >>> follows = np.concatenate([[0.0], 0.1 * residual[:199]])
    >>> price = np.concatenate([follows, rng.normal(size=200)])
    >>> of = np.repeat([0, 1], 200)
    >>> got = lagged_response(of, 2, of, np.tile(np.arange(200), 2), price, residual)
    >>> bool(got.z[0] > 5), bool(abs(got.z[1]) < 3)
    (True, True)
    """
    step = np.diff(series)
    if bool(np.any((step < 0) | ((step == 0) & (np.diff(period) <= 0)))):
        raise ValueError("rows: expected rows sorted by series, then period, one row each; got another order")
    first = np.flatnonzero(step == 0)
    of, at = product[first], period[first + 1]
    level = _deviation(log_price, series)[first]
    d = _orthogonal(log_price[first + 1] - log_price[first], level, of, products)
    r = _orthogonal(residual[first], level, of, products)
    pairs = np.bincount(of, minlength=products)
    scale = np.sqrt(_sum(d * d, of, products) * _sum(r * r, of, products))
    # Rounding errors of a price that never moved must not become a correlation.
    moved = scale > 1e-9 * np.sqrt(np.maximum(pairs, 1))
    inverse = np.divide(1.0, scale, out=np.zeros(products), where=moved)
    periods, code = np.unique(at, return_inverse=True)
    share = d * r * inverse[of]
    key, cell = np.unique(of * max(len(periods), 1) + code, return_inverse=True)
    sums = _sum(share, cell, len(key))
    owner = key // max(len(periods), 1)
    active = np.bincount(owner, minlength=products)
    total, squares = _sum(sums, owner, products), _sum(sums * sums, owner, products)
    known = moved & (active >= MIN_PERIODS) & (squares > 0)
    z = np.divide(total, np.sqrt(squares), out=np.full(products, np.nan), where=known)
    scores = _sum(share, code, len(periods))
    return LaggedResponse(pairs, np.where(known, total, np.nan), z, periods, scores)


def pooled_response(parts: Iterable[LaggedResponse]) -> tuple[float, float]:
    """Return the mean correlation of a category's products and its z (4); NaN with too few periods.

    Parameters
    ----------
    parts : results for parts of the category's products; each product is in one part.
    """
    by_period: dict[int, float] = {}
    weighted, pairs = 0.0, 0
    for part in parts:
        for period, score in zip(part.periods.tolist(), part.scores.tolist(), strict=True):
            by_period[period] = by_period.get(period, 0.0) + score
        known = np.isfinite(part.correlation)
        weighted += float((part.correlation[known] * part.pairs[known]).sum())
        pairs += int(part.pairs[known].sum())
    sums = np.array([by_period[period] for period in sorted(by_period)])
    squares = float((sums * sums).sum())
    if not pairs or len(sums) < MIN_PERIODS or squares <= 0:
        return float("nan"), float("nan")
    return weighted / pairs, float(sums.sum()) / squares**0.5


def instrumented(a: Floats, c: Floats, yy: float, rows: float, instruments: Sequence[int]) -> Instrumented:
    """Return plain and two-stage estimates of the first regressor's slope from cumulative statistics (5-7).

    Parameters
    ----------
    a, c, yy, rows : sums A (K, K), c (K,), yy and N of a within model (base.SeriesStatistics), over any series.
    instruments : positions of the instruments among the regressors; 0 is the price, the others are controls.

    Raises
    ------
    ValueError
        If there is no instrument, position 0 is one, or there are too few rows.

    Examples
    --------
    A price that follows the demand shock s, and a cost that moves the price alone; the true slope is -2:

    >>> rng = np.random.default_rng(3)
    >>> s, cost, noise = rng.normal(size=(3, 4000))
    >>> price = cost + s
    >>> v = np.column_stack([price, cost, -2 * price + s + noise])
    >>> m = (v - v.mean(axis=0)).T @ (v - v.mean(axis=0))
    >>> got = instrumented(m[:2, :2], m[:2, 2], float(m[2, 2]), 3999, [1])
    >>> round(got.plain, 1), round(got.two_stage, 1), got.z > 10
    (-1.5, -2.0, True)
    """
    k, z = len(c), sorted(set(instruments))
    if not z or z[0] <= 0 or z[-1] >= k:
        raise ValueError(f"instruments: expected positions from 1 to {k - 1}, got {list(instruments)}")
    if rows - k - 1 <= 0:
        raise ValueError(f"rows: expected more than {k + 1} rows for {k} regressors, got {rows:g}")
    controls = [j for j in range(1, k) if j not in z]
    kept, outside = [0, *controls], [*controls, *z]
    plain, plain_variance = _least_squares(a[np.ix_(kept, kept)], c[kept], yy, rows)
    project = np.linalg.solve(a[np.ix_(outside, outside)], a[np.ix_(outside, kept)])
    moments, target = a[np.ix_(kept, outside)] @ project, project.T @ c[outside]
    b = np.linalg.solve(moments, target)
    rest = yy - 2 * float(b @ c[kept]) + float(b @ a[np.ix_(kept, kept)] @ b)
    s2 = max(rest, 0.0) / (rows - len(kept) - 1)
    se = float(np.sqrt(s2 * np.linalg.inv(moments)[0, 0]))
    # First stage: explained by the controls alone, and by the controls and instruments.
    full = float(a[0, 0] - a[0, outside] @ project[:, 0])
    alone = float(a[0, 0])
    if controls:
        alone -= float(a[0, controls] @ np.linalg.solve(a[np.ix_(controls, controls)], a[controls, 0]))
    f = (alone - full) / len(z) / max(full / (rows - len(outside) - 1), 1e-300)
    # Columns of ``turn``: the price, the controls, and the first stage's residual x - x̂.
    turn = np.zeros((k, len(kept) + 1))
    turn[kept, range(len(kept))] = 1.0
    turn[0, -1] = 1.0
    turn[outside, -1] = -project[:, 0]
    beside, variance = _least_squares(turn.T @ a @ turn, turn.T @ c, yy, rows)
    score = float(beside[-1] / np.sqrt(variance[-1])) if variance[-1] > 0 else float("nan")
    return Instrumented(float(plain[0]), float(np.sqrt(plain_variance[0])), float(b[0]), se, f, score)


def lagged_verdict(correlation: float, z: float) -> Endogeneity:
    """Return what test (A) shows: a sign needs |z| ≥ 3 and |ρ| ≥ .1.

    Examples
    --------
    >>> lagged_verdict(0.3, 4.0), lagged_verdict(0.02, 9.0), lagged_verdict(float("nan"), float("nan"))
    (<Endogeneity.SHOWN: 'shown'>, <Endogeneity.NO_SIGN: 'no_sign'>, <Endogeneity.NOT_TESTED: 'not_tested'>)
    """
    if not (np.isfinite(correlation) and np.isfinite(z)):
        return Endogeneity.NOT_TESTED
    shown = abs(z) >= MIN_Z and abs(correlation) >= MIN_CORRELATION
    return Endogeneity.SHOWN if shown else Endogeneity.NO_SIGN


def instrument_verdict(result: Instrumented) -> Endogeneity:
    """Return what test (B) shows.

    ``shown``: |z| ≥ 3. ``suspected``: the instruments are strong and the estimates differ by a quarter, which may
    still be chance. ``not_tested``: the instruments are weak.

    Examples
    --------
    >>> instrument_verdict(Instrumented(-0.52, 0.18, -0.82, 0.32, 21.0, 1.2))
    <Endogeneity.SUSPECTED: 'suspected'>
    >>> instrument_verdict(Instrumented(-1.21, 0.21, -1.08, 0.32, 41.0, -0.6))
    <Endogeneity.NO_SIGN: 'no_sign'>
    """
    if result.first_stage_f < MIN_FIRST_STAGE_F:
        return Endogeneity.NOT_TESTED
    if abs(result.z) >= MIN_Z:
        return Endogeneity.SHOWN
    material = abs(result.two_stage - result.plain) >= MATERIAL_SHARE * abs(result.two_stage)
    return Endogeneity.SUSPECTED if material else Endogeneity.NO_SIGN


def _sum(values: Floats, group: Ints, groups: int) -> Floats:
    return np.asarray(np.bincount(group, weights=values, minlength=groups), np.float64)


def _deviation(values: Floats, series: Ints) -> Floats:
    """Return the deviations from the mean of each series."""
    _, code = np.unique(series, return_inverse=True)
    mean = np.bincount(code, weights=values) / np.maximum(np.bincount(code), 1)
    return np.asarray(values - mean[code])


def _orthogonal(values: Floats, level: Floats, of: Ints, groups: int) -> NDArray[np.float64]:
    """Return the residuals of a regression of values on a constant and the level, per group (2)."""
    n = np.maximum(np.bincount(of, minlength=groups), 1)
    v = values - (_sum(values, of, groups) / n)[of]
    x = level - (_sum(level, of, groups) / n)[of]
    square = _sum(x * x, of, groups)
    slope = np.divide(_sum(x * v, of, groups), square, out=np.zeros(groups), where=square > 1e-12)
    return np.asarray(v - slope[of] * x)


def _least_squares(a: Floats, c: Floats, yy: float, rows: float) -> tuple[Floats, Floats]:
    """Return slopes and their variances; one degree of freedom is the series' intercept."""
    inverse = np.linalg.inv(a)
    slopes = inverse @ c
    s2 = max(yy - float(c @ slopes), 0.0) / (rows - len(c) - 1)
    return slopes, s2 * np.diag(inverse)
