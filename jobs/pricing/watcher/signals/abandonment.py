"""Signal ``abandonment``: the share of searches that end without an order has changed.

Data: n sessions that timed out in the minute, a of them abandoned, expected share p, its standard error ε.
Effects: odds o ∈ {1.5, 1.25, .8, .67}.
    ℓ = a·ln o − n·ln(1−p+p·o),  p+ε for o > 1, p−ε for o < 1                                (1)
E[exp ℓ | n] ≤ 1 for any true share within p ± ε, by the moment generating function of a binomial count. The bound
is conditional on n, so the start mass may depend on n: a minute without sessions adds none. Science § 6.
"""

from __future__ import annotations

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats, Minute
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread

_LEAST = 1e-6


class Abandonment(Signal):
    """Searches that end without an order, counted when their session times out.

    Examples
    --------
    >>> one = np.ones(1)
    >>> observation = Observation(one, one, one, one, one, one, 10 * one, 10 * one, 0.7 * one, 0 * one)
    >>> signal, out = Abandonment(), np.empty((4, 1))
    >>> signal.increments(observation, signal.tilts(Spread(one, one, 0 * one)), out)
    >>> out[:, 0].round(3).tolist()     # ten of ten abandoned, seven expected
    [1.054, 0.619, -0.723, -1.378]
    """

    name = "abandonment"
    text = "odds that a search ends without an order"
    weight = 0.25
    effects = (1.5, 1.25, 0.8, 0.67)
    demand = (-1, -1, 1, 1)

    def tilts(self, spread: Spread) -> Floats:
        """Return an empty array that :meth:`increments` ignores: the tilts are the odds."""
        return np.empty((2, len(self.effects), len(spread.phi)))

    def increments(self, observation: Observation, tilts: Floats, out: Floats) -> None:
        """Write ℓ of (1)."""
        high = np.clip(observation.abandon_share + observation.abandon_epsilon, _LEAST, 1.0 - _LEAST)
        low = np.clip(observation.abandon_share - observation.abandon_epsilon, _LEAST, 1.0 - _LEAST)
        for k, odds in enumerate(self.effects):
            share = high if odds > 1.0 else low
            np.log1p(share * (odds - 1.0), out=out[k])
            out[k] *= -observation.searches
            out[k] += np.log(odds) * observation.abandoned

    def mass(self, observation: Observation, full_mass_orders: float) -> Floats:
        """Return 1 with at least one session that timed out, else 0."""
        return np.minimum(observation.searches, 1.0)

    def has_data(self, minute: Minute, has_sessions: Bools) -> Bools:
        """Return where sessions have been observed."""
        return has_sessions

    def fact_share(self, has_sessions: Bools) -> Floats:
        """Return 0.5 where sessions have been observed, else 0."""
        return np.where(has_sessions, 0.5, 0.0)
