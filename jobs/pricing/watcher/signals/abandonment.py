"""abandonment: more or fewer searches end without an order than before.

Data: n sessions that matured in the minute, a of them abandoned, expected share p, its error ε.
Effects: odds o ∈ {1.5, 1.25, .8, .67}.
    ℓ = a·ln o − n·ln(1−p+p·o),  p+ε for o > 1, p−ε for o < 1                                (1)
E[exp ℓ | n] ≤ 1 for any true share within p ± ε: the sum is a binomial's moment function. Science § 6.
Given n, so the start mass may know n: a minute without sessions starts nothing.
"""

from __future__ import annotations

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats, Minute
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread

_LEAST = 1e-6


class Abandonment(Signal):
    """Searches that end without an order, counted when their session has timed out.

    Examples
    --------
    >>> one = np.ones(1)
    >>> observation = Observation(one, one, one, one, one, one, 10 * one, 10 * one, 0.7 * one, 0 * one)
    >>> signal, out = Abandonment(), np.empty((4, 1))
    >>> signal.increments(observation, signal.tilts(Spread(one, one, 0 * one)), out)
    >>> out[:, 0].round(3).tolist()     # all ten left where seven were expected
    [1.054, 0.619, -0.723, -1.378]
    """

    name = "abandonment"
    text = "odds that a search ends without an order"
    weight = 0.25
    effects = (1.5, 1.25, 0.8, 0.67)
    demand = (-1, -1, 1, 1)

    def tilts(self, spread: Spread) -> Floats:
        """Return nothing of use: the odds are the tilts."""
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
        """Return 0 without matured sessions."""
        return np.minimum(observation.searches, 1.0)

    def has_data(self, minute: Minute, has_sessions: Bools) -> Bools:
        """Return where the shop counts searches."""
        return has_sessions

    def fact_share(self, has_sessions: Bools) -> Floats:
        """Return half where there are sessions."""
        return np.where(has_sessions, 0.5, 0.0)
