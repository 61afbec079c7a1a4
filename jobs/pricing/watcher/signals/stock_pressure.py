"""Signal ``stock_pressure``: more or fewer units are sold than planned.

Data: units U of the minute, planned orders m (plan in units over the mean quantity q̄), dispersion φ of
orders, mean q̄ and variance s² of the quantity per order, band ε. Effects {.8, .9, 1.11, 1.25}.
U is a compound count: its cumulant is that of orders at κ(θ), the cumulant of one order's quantity,
modelled as 1 + a negative binomial with mean q̄−1 and variance s²:
    φ_U = φq̄ + s²/q̄,  θ = ln[rφ_U/(1+r(φ_U−1))]                                            (1)
    κ(θ) = θ + (q̄−1)·c(θ; φ_q),  φ_q = max(1, s²/(q̄−1))                                      (2)
    ℓ = θU − c(κ(θ); φ)·m·b,  b = 1+ε where c > 0, else 1/(1+ε)                               (3)
with c of base.py (3). E[exp ℓ] = 1 at ε = 0 for every θ; θ only affects the delay of detection. Science § 6.
"""

from __future__ import annotations

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats, Minute
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread, cumulant_slope, exponential_tilt


class StockPressure(Signal):
    """Units sold compared with the plan; without a plan the other signals share its weight.

    Examples
    --------
    >>> one = np.ones(1)
    >>> observation = Observation(one, one, 0 * one, 6 * one, 2 * one, 0 * one, one, one, one, one)
    >>> signal, out = StockPressure(), np.empty((4, 1))
    >>> signal.increments(observation, signal.tilts(Spread(one, 1.2 * one, 0.2 * one)), out)
    >>> out[:, 0].round(3).tolist()     # six units, 2.4 planned
    [-0.647, -0.291, 0.261, 0.525]
    """

    name = "stock_pressure"
    text = "units sold against plan"
    weight = 0.20
    effects = (0.8, 0.9, 1.11, 1.25)
    demand = (-1, -1, 1, 1)

    def tilts(self, spread: Spread) -> Floats:
        """Return θ of (1) and c(κ(θ)) of (3), per effect and listing."""
        more = np.maximum(spread.unit_mean - 1.0, 0.0)
        phi_units = np.maximum(spread.phi * spread.unit_mean + spread.unit_variance / spread.unit_mean, 1.0)
        # At a mean of one, which holds too where returns exceed the further units, every order is of one unit.
        varies = more > 0.0
        phi_quantity = np.where(varies, np.maximum(spread.unit_variance / np.where(varies, more, 1.0), 1.0), 1.0)
        with np.errstate(divide="ignore"):
            edge = 0.5 * np.minimum(
                np.log(phi_quantity / (phi_quantity - 1.0)),
                np.log(spread.phi / (spread.phi - 1.0)) / spread.unit_mean,
            )
        theta = np.stack([np.minimum(exponential_tilt(r, phi_units), edge) for r in self.effects])
        quantity = theta + more * cumulant_slope(theta, phi_quantity)
        return np.stack([theta, cumulant_slope(quantity, spread.phi)])

    def increments(self, observation: Observation, tilts: Floats, out: Floats) -> None:
        """Write ℓ of (3)."""
        theta, slope = tilts
        wide = 1.0 + observation.units_epsilon
        np.multiply(theta, observation.units, out=out)
        out[:2] -= slope[:2] * (observation.plan_orders / wide)
        out[2:] -= slope[2:] * (observation.plan_orders * wide)

    def mass(self, observation: Observation, full_mass_orders: float) -> Floats:
        """Return a share proportional to the planned orders, at most 1."""
        return np.minimum(observation.plan_orders / full_mass_orders, 1.0)

    def has_data(self, minute: Minute, has_sessions: Bools) -> Bools:
        """Return where a plan exists; without one, the signal would duplicate velocity."""
        return ~np.isnan(minute.plan_units)
