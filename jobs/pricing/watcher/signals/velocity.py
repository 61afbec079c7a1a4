"""Signal ``velocity``: more or fewer orders than forecast.

Data: orders X, forecast m, dispersion φ, band ε. Effects r ∈ {.67, .8, 1.25, 1.5}.
    θ = ln[rφ/(1+r(φ−1))],  c = −ln(φ−(φ−1)e^θ)/(φ−1)   (φ=1: e^θ−1)                          (1)
    ℓ = θX − c·m·b,  b = 1+ε where c > 0, else 1/(1+ε)                                       (2)
so E[exp ℓ] ≤ 1 for any true mean within [m/(1+ε), m(1+ε)], and = 1 at ε = 0. Science § 6.
"""

from __future__ import annotations

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread, cumulant_slope, exponential_tilt


class Velocity(Signal):
    """Orders compared with the forecast, which includes the own price's effect.

    Examples
    --------
    >>> from jobs.pricing.watcher.signals.base import Observation
    >>> one = np.ones(1)
    >>> observation = Observation(3 * one, one, 0 * one, one, one, 0 * one, one, one, one, one)
    >>> signal, out = Velocity(), np.empty((4, 1))
    >>> signal.increments(observation, signal.tilts(Spread(one, one, 0 * one)), out)
    >>> out[:, 0].round(3).tolist()     # three orders, one expected: demand has grown
    [-0.871, -0.469, 0.419, 0.716]
    """

    name = "velocity"
    text = "orders"
    weight = 0.30
    effects = (0.67, 0.8, 1.25, 1.5)
    demand = (-1, -1, 1, 1)

    def tilts(self, spread: Spread) -> Floats:
        """Return θ and c of (1), per effect and listing."""
        theta = np.stack([exponential_tilt(r, spread.phi) for r in self.effects])
        return np.stack([theta, cumulant_slope(theta, spread.phi)])

    def increments(self, observation: Observation, tilts: Floats, out: Floats) -> None:
        """Write ℓ of (2)."""
        theta, slope = tilts
        wide = 1.0 + observation.epsilon
        np.multiply(theta, observation.orders, out=out)
        out[:2] -= slope[:2] * (observation.expected_orders / wide)
        out[2:] -= slope[2:] * (observation.expected_orders * wide)

    def mass(self, observation: Observation, full_mass_orders: float) -> Floats:
        """Return a share proportional to the expected orders, at most 1."""
        return np.minimum(observation.expected_orders / full_mass_orders, 1.0)

    def fact_share(self, has_sessions: Bools) -> Floats:
        """Return 1, or 0.5 where abandonment has data too."""
        return np.where(has_sessions, 0.5, 1.0)
