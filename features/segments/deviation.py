"""Deviation of a segment's own-price elasticity from its listing's (science § 3, "Per segment").

Data: price points u of listing i and segment k with exposures n_u, orders y_u, x_u = log price; the
listing's own-price elasticity ε_i (over all segments). Model: ε_ik = ε_i + γ_ik, γ_ik ~ N(δ_k, s²),
δ_k ~ N(0, t²), δ_k common to all listings of a bucket. Given the number of orders Y, the distribution of the
orders over the price points is

    y_u | Y ~ Multinomial(Y, π),  π_u ∝ n_u·exp(ε x_u)                                   (1)

which does not depend on the level of demand. Score and information of ε:

    g(ε) = Σ y_u x_u − Y x̄(ε),   I(ε) = Y·Var_π(x),   x̄ the mean of x under π                   (2)
    δ_k: Newton on Σ_i g_ik(ε_i + δ_k) − δ_k/t² = 0,   sd² = 1/(Σ_i I_ik + 1/t²)                 (3)
    γ_ik: one Newton step from δ_k on g_ik(ε_i + γ) − (γ − δ_k)/s²,  Var = 1/(I_ik + 1/s²)          (4)

The prior of δ_k is the same for all segments, so a segment's deviation is estimated from its orders only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROUNDS = 4
_LONGEST_STEP = 0.5


class Points(NamedTuple):
    """Price points of many (listing, segment) groups: arrays of one length; ``group`` numbers start at 0."""

    group: NDArray[np.intp]
    log_price: Floats
    exposures: Floats
    orders: Floats


class SegmentDeviation(NamedTuple):
    """Deviation of a segment's elasticity from its listing's: mean and sd."""

    mean: float
    sd: float


def score(points: Points, elasticity: Floats) -> tuple[Floats, Floats]:
    """Return score and information (2) per group, at the groups' elasticities.

    Examples
    --------
    Twice the orders at a 30 % lower price with equal exposures: the elasticity is below −1, so the score at −1 is
    negative.

    >>> points = Points(np.zeros(2, int), np.log([700.0, 1000.0]), np.full(2, 500.0), np.array([40.0, 20.0]))
    >>> g, information = score(points, np.array([-1.0]))
    >>> bool(g[0] < 0), round(float(information[0]), 2)
    (True, 1.85)
    """
    size, at = len(elasticity), points.group
    most = np.full(size, -np.inf)
    exponent = elasticity[at] * points.log_price
    np.maximum.at(most, at, exponent)
    weight = points.exposures * np.exp(exponent - most[at])
    total = np.maximum(np.bincount(at, weight, size), 1e-12)
    mean = np.bincount(at, weight * points.log_price, size) / total
    spread = np.bincount(at, weight * (points.log_price - mean[at]) ** 2, size) / total
    sold = np.bincount(at, points.orders, size)
    return np.asarray(
        np.bincount(at, points.orders * (points.log_price - mean[at]), size), np.float64
    ), sold * spread


def common_segment_deviation(
    points: Points, elasticity: Floats, *, sd: float, start: float = 0.0
) -> SegmentDeviation:
    """Return δ_k of (3) for one segment.

    Parameters
    ----------
    points : the segment's price points; one group per listing.
    elasticity : ε_i per group.
    sd : t, prior standard deviation of δ_k, > 0.
    start : initial value of δ_k.

    Examples
    --------
    >>> points = Points(np.zeros(2, int), np.log([700.0, 1000.0]), np.full(2, 5e4), np.array([4000.0, 2000.0]))
    >>> deviation = common_segment_deviation(points, np.array([-1.0]), sd=0.7)
    >>> round(deviation.mean, 2), round(deviation.sd, 2)
    (-0.93, 0.08)
    """
    delta, information = start, 1 / sd**2
    for _ in range(_ROUNDS):
        g, i = score(points, elasticity + delta)
        information = float(i.sum()) + 1 / sd**2
        step = (float(g.sum()) - delta / sd**2) / information
        delta += min(max(step, -_LONGEST_STEP), _LONGEST_STEP)
    return SegmentDeviation(delta, information**-0.5)


def listing_segment_deviation(
    log_price: Floats,
    exposures: Floats,
    orders: Floats,
    elasticity: float,
    common: SegmentDeviation,
    *,
    sd: float,
) -> SegmentDeviation:
    """Return γ_ik of (4) for one listing and segment.

    Parameters
    ----------
    log_price, exposures, orders : the price points; arrays of one length.
    elasticity : ε_i.
    common : δ_k.
    sd : s, standard deviation of γ_ik around δ_k, > 0.

    Examples
    --------
    Without orders the result is the common deviation.

    >>> none = np.zeros(0)
    >>> own = listing_segment_deviation(none, none, none, -2.0, SegmentDeviation(-0.3, 0.1), sd=0.25)
    >>> own.mean, round(own.sd, 3)
    (-0.3, 0.269)
    """
    prior = 1 / sd**2
    if not orders.sum() > 0:
        return SegmentDeviation(common.mean, (common.sd**2 + sd**2) ** 0.5)
    points = Points(np.zeros(len(orders), np.intp), log_price, exposures, orders)
    g, i = score(points, np.array([elasticity + common.mean]))
    step = float(g[0]) / (float(i[0]) + prior)
    keep = prior / (prior + float(i[0]))
    mean = common.mean + min(max(step, -_LONGEST_STEP), _LONGEST_STEP)
    return SegmentDeviation(mean, (1 / (float(i[0]) + prior) + (keep * common.sd) ** 2) ** 0.5)
