"""Velocity: orders come faster or slower than forecast.

Data: orders X, forecast m, dispersion φ, band ε. Effects r ∈ {.67, .8, 1.25, 1.5}.
    θ = ln[rφ/(1+r(φ−1))],  c = −ln(φ−(φ−1)e^θ)/(φ−1)   (φ=1: e^θ−1)                          (1)
    ℓ = θX − c·m·b,  b = 1+ε where c > 0, else 1/(1+ε)                                       (2)
so E[exp ℓ] ≤ 1 for any true mean within [m/(1+ε), m(1+ε)], and = 1 at ε = 0. Science § 6.
"""

from __future__ import annotations

import numpy as np

from jobs.pricing.watcher.minute import Floats
from jobs.pricing.watcher.signal import Look, Spread, cumulant_slope, tilt


class Velocity:
    """Orders against the forecast, own price's effect included.

    Examples
    --------
    >>> from jobs.pricing.watcher.signal import Look
    >>> one = np.ones(1)
    >>> look = Look(3 * one, one, 0 * one, one, one, 0 * one, one, one, one, one)
    >>> signal, out = Velocity(), np.empty((4, 1))
    >>> signal.increments(look, signal.tilts(Spread(one, one, 0 * one)), out)
    >>> out[:, 0].round(3).tolist()     # three orders where one was expected: demand grew
    [-0.871, -0.469, 0.419, 0.716]
    """

    name = "velocity"
    effects: tuple[float, ...] = (0.67, 0.8, 1.25, 1.5)
    demand: tuple[int, ...] = (-1, -1, 1, 1)

    def tilts(self, spread: Spread) -> Floats:
        """θ and c of (1), per effect and listing."""
        theta = np.stack([tilt(r, spread.phi) for r in self.effects])
        return np.stack([theta, cumulant_slope(theta, spread.phi)])

    def increments(self, look: Look, tilts: Floats, out: Floats) -> None:
        """ℓ of (2)."""
        theta, slope = tilts
        wide = 1.0 + look.epsilon
        np.multiply(theta, look.orders, out=out)
        out[:2] -= slope[:2] * (look.expected_orders / wide)
        out[2:] -= slope[2:] * (look.expected_orders * wide)

    def mass(self, look: Look, full_mass_orders: float) -> Floats:
        """A minute in which hardly an order was expected tells hardly anything."""
        return np.minimum(look.expected_orders / full_mass_orders, 1.0)
