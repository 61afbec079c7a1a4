"""Scores of forecasts: the log probability that a model gave to the count that came.

All models are scored on the same thing, a listing's order count q of the next period, before they learn it:

  (1) counts      negative binomial with mean m and variance φm + m²(e^v − 1); Poisson where the variance is m
  (2) log units   log P(q − ½ < e^Z ≤ q + ½) with Z ~ N(log m, v); for q = 0, log P(e^Z ≤ ½)

A score is in nats; larger is better. It is bounded below (:data:`FLOOR`), so that one impossible count, such as a
bulk order, does not decide between models.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from features.elasticity.base import Distribution, Expectation, Floats, Ints

FLOOR = -12.0
"""Lowest score of one count, in nats."""


def count_variance(forecast: Expectation) -> Floats:
    """Return the variance φm + m²(e^v − 1) of forecast counts.

    Examples
    --------
    >>> count_variance(Expectation(np.array([4.0]), np.array([0.0]), np.array([1.5]))).tolist()
    [6.0]
    """
    mean = forecast.expected
    return np.asarray(forecast.dispersion * mean + mean**2 * np.expm1(np.minimum(forecast.variance, 3.0)))


def log_probability(distribution: Distribution, quantity: Floats, forecast: Expectation) -> Floats:
    """Return the log probability of each count, in nats, at least :data:`FLOOR`.

    Parameters
    ----------
    quantity : (S,) counts, integers of at least 0.
    forecast : of each count, all means above 0.

    Examples
    --------
    A Poisson forecast of 2 gives P(0) = e⁻².

    >>> one = Expectation(np.array([2.0]), np.array([0.0]), np.array([1.0]))
    >>> log_probability(Distribution.COUNTS, np.array([0.0]), one).round(6).tolist()
    [-2.0]
    """
    q = np.round(quantity)
    mean = np.maximum(forecast.expected, 1e-12)
    if distribution is Distribution.COUNTS:
        variance = np.maximum(count_variance(forecast), mean * (1 + 1e-9))
        size = mean**2 / (variance - mean)
        found = np.where(
            size > 1e6,
            stats.poisson.logpmf(q, mean),
            stats.nbinom.logpmf(q, np.minimum(size, 1e6), mean / variance),
        )
    else:
        sd = np.sqrt(np.maximum(forecast.variance, 1e-6))
        above = (np.log(q + 0.5) - np.log(mean)) / sd
        below = np.where(q > 0, (np.log(np.maximum(q - 0.5, 1e-9)) - np.log(mean)) / sd, -np.inf)
        # Mirrored into the lower tail, where the difference of two distribution functions keeps its digits.
        mirrored = below > 0
        high, low = np.where(mirrored, -below, above), np.where(mirrored, -above, below)
        upper, lower = special.log_ndtr(high), special.log_ndtr(low)
        found = upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-12)))
    return np.asarray(np.maximum(np.nan_to_num(found, nan=FLOOR, neginf=FLOOR), FLOOR))


def listing_totals(series: Ints, quantity: Floats, forecast: Expectation) -> tuple[Ints, Floats, Expectation]:
    """Return counts and forecasts per series from rows per price, sorted by series.

    The rows of a series share its level, so that the log variance of their sum is the mean of theirs, weighted by
    the expected counts.

    Examples
    --------
    >>> forecast = Expectation(np.array([1.0, 3.0]), np.array([0.2, 0.4]), np.ones(2))
    >>> series, quantity, total = listing_totals(np.array([7, 7]), np.array([1.0, 2.0]), forecast)
    >>> series.tolist(), quantity.tolist(), total.expected.tolist(), total.variance.round(2).tolist()
    ([7], [3.0], [4.0], [0.35])
    """
    names, at = np.unique(series, return_inverse=True)
    expected = _sum_by(at, forecast.expected, len(names))
    weighted = _sum_by(at, forecast.expected * forecast.variance, len(names))
    spread = _sum_by(at, forecast.expected * forecast.dispersion, len(names))
    known = expected > 0
    total = Expectation(
        expected,
        np.divide(weighted, expected, out=np.zeros(len(names)), where=known),
        np.divide(spread, expected, out=np.ones(len(names)), where=known),
    )
    return names, _sum_by(at, quantity, len(names)), total


def _sum_by(at: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(at, weights=values, minlength=size), np.float64)
