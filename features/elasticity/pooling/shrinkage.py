"""Shrinkage of products to the mean of their category (science § 3).

With b, SE and SE₀ of products.py (``b``, ``category_se``, ``sampling_se``):

  (1) w = 1/(SE₀² + τ²),  SE₀ the error without the factor 1.5 and without Student's t,
       h = min(1, c/|√w(b − μ)|),  μ = (Σwhb + m₀/s₀²)/(Σwh + 1/s₀²)       Huber's weights, c = 2
  (2) τ̂² = τ² + (ΣwΨ − (k − 1))/Σw·wΨ,  wΨ = min(w(b − μ)², c²)/κ, κ = E min(Z², c²)    one Paule-Mandel step, not
      below 0; bounded, so that one product far away does not switch off the shrinkage of all others
  (3) τ² ← (4τ₀² + k_eff τ̂²)/(4 + k_eff),  k_eff = Σ(τ₀²/(τ₀² + SE₀²))²    ten rounds of (1-3)
  (4) mean = (b/SE² + μ/τ²)/(1/SE² + 1/τ²),
      var  = 1/(1/SE² + 1/τ²) + (SE²/(SE² + τ²))²·Var(μ),  Var(μ) = 1/(Σwh + 1/s₀²)

A product without data has mean μ and variance τ² + Var(μ).

References
----------
Huber (1964): Robust estimation of a location parameter. Paule and Mandel (1982): Consensus values and weighting
factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from features.elasticity.base import Floats
from features.elasticity.settings import ElasticitySettings

_BOUND = 2.0
"""c of (1) and (2): products further away than this many of their sd count with a bounded weight."""
_BOUNDED_SQUARE = float(stats.chi2.cdf(_BOUND**2, 3) + _BOUND**2 * stats.chi2.sf(_BOUND**2, 1))
"""κ of (2)."""


class Shrunk(NamedTuple):
    """Estimates after shrinkage, and the category prior that was used."""

    mean: Floats
    sd: Floats
    mu: float
    tau: float


def shrink(
    b: Floats, se: Floats, settings: ElasticitySettings | None = None, sampling_se: Floats | None = None
) -> Shrunk:
    """Shrink raw estimates to their category's mean (1-4); NaN means no data.

    Parameters
    ----------
    b, se : raw estimates and their errors, shape (P,).
    sampling_se : the errors that (1-3) use; None: ``se``. With errors that are wider than the scatter of the
        estimates, the variance between products would seem to be 0, and intervals would be too narrow.

    Examples
    --------
    A precise estimate stays, an imprecise one moves to the category's mean, a missing one equals that mean.

    >>> got = shrink(np.array([-1.0, -1.2, 3.0, np.nan]), np.array([0.1, 0.1, 2.0, np.nan]))
    >>> got.mean.round(2).tolist(), bool(got.sd[0] < got.sd[2] < got.sd[3])
    ([-1.0, -1.2, -0.13, -1.15], True)
    """
    s = settings or ElasticitySettings()
    known = np.isfinite(b) & np.isfinite(se)
    x, v = b[known], np.maximum(se[known] ** 2, 1e-12)
    sampled = v if sampling_se is None else np.maximum(sampling_se[known] ** 2, 1e-12)
    tau2, k_eff = s.tau0**2, float(((s.tau0**2 / (s.tau0**2 + sampled)) ** 2).sum())
    mu, var_mu = s.m0, s.s0**2
    for _ in range(s.rounds if x.size else 0):
        w = 1 / (sampled + tau2)
        bounded = w * np.minimum(1.0, _BOUND / np.maximum(np.sqrt(w) * np.abs(x - mu), 1e-12))
        mu = float((bounded @ x + s.m0 / s.s0**2) / (bounded.sum() + s.s0**-2))
        var_mu = float(1 / (bounded.sum() + s.s0**-2))
        q = np.minimum(w * (x - mu) ** 2, _BOUND**2) / _BOUNDED_SQUARE
        step = (float(q.sum()) - (x.size - 1)) / max(float((w * q).sum()), 1e-9)
        tau2 = (s.prior_weight * s.tau0**2 + k_eff * max(0.0, tau2 + step)) / (s.prior_weight + k_eff)
    mean = np.full(b.shape, mu)
    variance = np.full(b.shape, tau2 + var_mu)
    own = 1 / (1 / v + 1 / tau2)
    mean[known] = own * (x / v + mu / tau2)
    variance[known] = own + (v / (v + tau2)) ** 2 * var_mu
    return Shrunk(mean, np.sqrt(variance), mu, float(np.sqrt(tau2)))
