"""Fairness of the watcher's evidence: expected factors of each signal under the null, by summed probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from infra.reports.acceptance.simulated_streams import UNIT_MEAN, UNIT_VARIANCE
from jobs.pricing.watcher import SIGNALS
from jobs.pricing.watcher.signals.base import Observation, Spread


def fairness() -> tuple[float, float]:
    """Return the largest |E exp ℓ − 1| at ε = 0 and the largest E exp ℓ within the band.

    Expectations are sums over the probabilities of the counts.
    """
    exact, within = 0.0, 0.0
    for signal in (cls() for cls in SIGNALS):
        for mean in (0.2, 1.0, 5.0):
            for phi in (1.0, 1.2, 2.0, 5.0):
                for epsilon in (0.0, 0.05, 0.3):
                    edges = (1.0,) if epsilon == 0 else (1 / (1 + epsilon), 1.0, 1 + epsilon)
                    for edge in edges:
                        value = expected_factors(signal, mean, edge, epsilon, phi)
                        if epsilon == 0:
                            exact = max(exact, float(np.abs(value - 1.0).max()))
                        else:
                            within = max(within, float(value.max()))
    return exact, within


def expected_factors(signal: Any, mean: float, edge: float, epsilon: float, phi: float) -> np.ndarray:
    """Return E exp ℓ of each effect when the true mean is ``edge`` times the forecast (for shares: p ± ε)."""
    orders = np.arange(900)
    true_mean = mean * edge
    if phi > 1.0:
        weights = stats.nbinom.pmf(orders, true_mean / (phi - 1.0), 1.0 / phi)
    else:
        weights = stats.poisson.pmf(orders, true_mean)
    counts = orders.astype(float)
    units = counts
    searches = abandoned = np.zeros_like(counts)
    share, share_epsilon = 0.7, 0.0
    if signal.name == "stock_pressure":
        keep = orders[weights > 1e-18]
        weights = (
            weights[keep][:, None] * stats.poisson.pmf(np.arange(300)[None, :], (UNIT_MEAN - 1) * keep[:, None])
        ).ravel()
        units = (keep[:, None] + np.arange(300)[None, :]).ravel().astype(float)
        counts = np.zeros_like(units)
        searches = abandoned = np.zeros_like(units)
    elif signal.name == "abandonment":
        n = 12
        share_epsilon = 0.1 * epsilon
        truth = share + share_epsilon * np.sign(edge - 1.0)
        abandoned = np.arange(n + 1.0)
        weights = stats.binom.pmf(abandoned, n, truth)
        searches = np.full(n + 1, float(n))
        counts = units = np.zeros(n + 1)
    one = np.ones_like(counts)
    look = Observation(
        counts,
        mean * one,
        epsilon * one,
        units,
        mean * one,
        epsilon * one,
        searches,
        abandoned,
        share * one,
        share_epsilon * one,
    )
    out = np.empty((len(signal.effects), len(counts)))
    signal.increments(look, signal.tilts(Spread(phi * one, UNIT_MEAN * one, UNIT_VARIANCE * one)), out)
    return np.asarray(np.exp(out) @ weights)
