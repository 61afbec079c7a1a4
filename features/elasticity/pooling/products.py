"""Raw estimates of products from the statistics of their series (science § 3).

Per product, over its series: A, c, yy, N, χ, χ_n added in sorted order; W = the largest of the series'
(a lower bound of their union, so that errors are not understated).

  (1) b = (A + R)⁻¹(c + R r)         R: 0 on the own price; on controls ε (log units) or the control's
                                      prior precision (counts), r its prior mean
  (2) log units  SE² = s̃²(A⁻¹)_pp · max(1, N/W);  ×1.5² with one series
                 s² = (yy − c′b)/d with d = N − K − 1, moderated over the category: s̃² = (d₀s₀² + d·s²)/(d₀ + d),
                 d₀ and s₀² fitted to the products' s² as scaled F (Smyth 2004, limma); with fewer than three
                 products d₀ and s₀² are the settings' prior
      counts     SE² = φ(A⁻¹)_pp,   φ = max(1, (Σχ + 20)/(Σχ_n + 20)) over the product, so raw estimates depend on
                 their own data only; shrinkage (shrinkage.py) uses the category's φ = max(1, Σχ/Σχ_n) instead
  (3) log units  the published error is SE·t_.95(ν)/z_.95, ν = d₀ + max(1, min(d, W − K − 1)): an interval of
                 ±1.645 errors has the width of Student's t
  (4) R² = a′B⁻a/A_pp               a, B: covariates with the own price, and among themselves, in A
      with R above ``max_covariate_correlation`` the effects of price and covariates are not separable: the price
      moved only with a promotion. The variance inflation is 1/(1 − R²), 10 at R = .95

References
----------
Smyth (2004): Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments. Marquardt (1970): Generalized inverses, ridge regression, biased linear estimation, and nonlinear
estimation, on variance inflation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from features.elasticity.base import Distribution, Floats, Ints, SeriesStatistics
from features.elasticity.settings import ElasticitySettings

_RIDGE = 1e-9
_MIN_PRICE_RANGE = 1e-9
_MIN_INFORMATION = 0.02
_PRIOR_SCATTER = 20.0
_MAX_PRIOR_DF = 1_000.0


class Products(NamedTuple):
    """Raw estimates per product; ``b`` and ``se`` are NaN where the elasticity is not identified.

    ``se`` is that of (3). Shrinkage uses ``category_se``, and ``sampling_se`` for the variance between
    products: the error without the factor of one series and Student's t. ``price_range``: largest range of the
    own log price within a series. ``df``: residual degrees of freedom d of log units, rows of counts.
    ``covariate_correlation``: R of (4), 0 without covariates.
    """

    b: Floats
    se: Floats
    category_se: Floats
    sampling_se: Floats
    slopes: Floats  # (P, K) all slopes, controls too
    slope_se: Floats  # (P, K)
    rows: Floats
    periods: Floats
    price_range: Floats
    df: Floats
    dispersion: float
    covariate_correlation: Floats

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Whether the price of a product moved within a series."""
        return self.price_range > _MIN_PRICE_RANGE


def pool_products(
    statistics: SeriesStatistics,
    product: Ints,
    products: int,
    settings: ElasticitySettings,
    distribution: Distribution | None = None,
) -> Products:
    """Return the raw own-price elasticity and its error for every product (1-3).

    Parameters
    ----------
    statistics : of S series, in an order that does not depend on arrival (sorted by listing).
    product : (S,) the product of each series, 0 .. products - 1.
    products : number of products.
    settings : kind of model, and priors of the controls.
    distribution : of the model that the statistics come from; None: the default one of the settings' kind.
    """
    if distribution is None:
        distribution = Distribution.COUNTS if settings.kind == "poisson" else Distribution.LOG_UNITS
    counts = distribution is Distribution.COUNTS
    k = statistics.c.shape[1]
    a, c = np.zeros((products, k, k)), np.zeros((products, k))
    np.add.at(a, product, statistics.a)
    np.add.at(c, product, statistics.c)
    sums = np.zeros((products, 4))
    np.add.at(sums, product, np.column_stack([statistics.yy, statistics.rows, statistics.chi, statistics.chi_n]))
    yy, rows, chi, chi_n = sums.T
    periods, series = np.zeros(products), np.zeros(products)
    np.maximum.at(periods, product, statistics.periods)
    np.add.at(series, product, (statistics.rows > 0).astype(np.float64))
    price_range = np.zeros(products)
    np.maximum.at(price_range, product, statistics.high - statistics.low)
    moved = price_range > _MIN_PRICE_RANGE
    covariates = len(settings.covariates)
    correlation = covariate_correlation(a, covariates)
    apart = correlation <= settings.max_covariate_correlation
    dispersion, scatter = np.ones(products), 1.0
    diagonal = np.einsum("pii->pi", a)
    # The ridge keeps the matrix of a product without data invertible.
    ridge = np.maximum(_RIDGE * diagonal, 1e-12)
    if counts:
        dispersion = np.maximum(1.0, (chi + _PRIOR_SCATTER) / (chi_n + _PRIOR_SCATTER))
        scatter = max(1.0, float(chi.sum() / chi_n.sum())) if chi_n.sum() > 0 else 1.0
        ridge[:, 1:] = settings.rival_sd**-2
        c = c.copy()
        c[:, 1:] += ridge[:, 1:] * settings.rival_mean
    a = a + np.einsum("pi,ij->pij", ridge, np.eye(k))
    inverse = np.linalg.inv(a)
    slopes = np.einsum("pij,pj->pi", inverse, c)
    unit = np.maximum(np.einsum("pii->pi", inverse), 0.0)
    if counts:
        variance = dispersion[:, None] * unit
        known = moved & (1 / np.maximum(unit[:, 0], 1e-300) > _MIN_INFORMATION)
    else:
        free = rows - k - 1
        rest = np.maximum(yy - np.einsum("pi,pi->p", c, slopes), 0.0)
        s2 = np.divide(rest, free, out=np.full(products, np.nan), where=free > 0)
        prior_df, prior_s2 = variance_prior(s2, free, settings)
        moderated = (prior_df * prior_s2 + np.maximum(free, 0) * np.nan_to_num(s2)) / (
            prior_df + np.maximum(free, 0)
        )
        inflate = np.maximum(1.0, np.divide(rows, periods, out=np.ones(products), where=periods > 0))
        nu = prior_df + np.maximum(1.0, np.minimum(free, periods - k - 1))
        student = stats.t.ppf(0.95, nu) / stats.norm.ppf(0.95)
        widening = student * np.where(series <= 1, settings.single_series_factor, 1.0)
        variance = unit * (moderated * inflate * widening**2)[:, None]
        known = moved & (free > 0)
    se = np.sqrt(np.where(known[:, None], variance, np.nan))
    # Slopes of the reference prices are identified also where own price and covariates are not separable.
    se[~apart, 0] = np.nan
    se[~apart, k - covariates :] = np.nan
    b = np.where(known & apart, slopes[:, 0], np.nan)
    category_se = se[:, 0] * np.sqrt(scatter / dispersion) if counts else se[:, 0]
    sampling_se = category_se if counts else se[:, 0] / widening
    df = rows if counts else np.maximum(rows - k - 1, 0.0)
    return Products(
        b, se[:, 0], category_se, sampling_se, slopes, se, rows, periods, price_range, df, scatter, correlation
    )


def covariate_correlation(a: Floats, covariates: int) -> Floats:
    """Return the multiple correlation R of own price and covariates per product (4), 0 to 1.

    Parameters
    ----------
    a : (P, K, K) information matrices of the slopes, own price first, covariates last.
    covariates : number of covariates; 0 gives a correlation of 0.

    Examples
    --------
    Price cuts of 20 % with every promotion and none without, and cuts that half of the promotions accompany:

    >>> always = np.array([[0.04, 0.0, -0.2], [0.0, 0.01, 0.0], [-0.2, 0.0, 1.0]])
    >>> half = np.array([[0.04, 0.0, -0.1], [0.0, 0.01, 0.0], [-0.1, 0.0, 0.5]])
    >>> covariate_correlation(np.array([always, half]), 1).round(3).tolist()
    [1.0, 0.707]
    """
    found = np.zeros(len(a))
    if not covariates or not len(a):
        return found
    scale = np.sqrt(np.maximum(np.einsum("pii->pi", a), 0.0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    unit = a * inverse[:, :, None] * inverse[:, None, :]
    first = a.shape[1] - covariates
    own, among = unit[:, 0, first:], unit[:, first:, first:]
    explained = np.einsum("pi,pij,pj->p", own, np.linalg.pinv(among, rcond=1e-9, hermitian=True), own)
    found[:] = np.sqrt(np.clip(explained, 0.0, 1.0))
    return found


def variance_prior(s2: Floats, df: Floats, settings: ElasticitySettings) -> tuple[float, float]:
    """Return d₀ and s₀² of (2), fitted to the products' residual variances by the moments of their logs.

    Parameters
    ----------
    s2, df : residual variance and degrees of freedom per product; products with df ≤ 0 are left out.
    settings : ``variance_prior_df`` and ``noise_variance``, used with fewer than three products.

    Examples
    --------
    Equal variances give a strong prior, which two tiny samples cannot override:

    >>> rng = np.random.default_rng(0)
    >>> s2 = 0.2 * rng.chisquare(10, 200) / 10
    >>> d0, s0 = variance_prior(s2, np.full(200, 10.0), ElasticitySettings())
    >>> d0 > 20, round(s0, 1)
    (True, 0.2)
    """
    usable = (df > 0) & np.isfinite(s2)
    if usable.sum() < 3:
        return settings.variance_prior_df, settings.noise_variance
    half = df[usable] / 2
    # A perfect fit has no logarithm; limma bounds it the same way.
    values = np.maximum(s2[usable], 1e-5 * max(float(np.median(s2[usable])), 1e-12))
    e = np.log(values) - special.digamma(half) + np.log(half)
    excess = float(np.var(e, ddof=1) - np.mean(special.polygamma(1, half)))
    if excess <= 0:
        return _MAX_PRIOR_DF, float(np.exp(np.mean(e)))
    d0 = min(2 * _inverse_trigamma(excess), _MAX_PRIOR_DF)
    return d0, float(np.exp(np.mean(e) + special.digamma(d0 / 2) - np.log(d0 / 2)))


def _inverse_trigamma(value: float) -> float:
    """Return y with ψ′(y) = value, by Newton's method on 1/ψ′ (Smyth 2004, appendix)."""
    if value > 1e7:
        return float(value**-0.5)
    y = 0.5 + 1 / value
    for _ in range(50):
        tri = float(special.polygamma(1, y))
        step = tri * (1 - tri / value) / float(special.polygamma(2, y))
        y += step
        if abs(step) < 1e-8 * y:
            break
    return y
