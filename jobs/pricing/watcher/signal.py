"""What a signal is: log-likelihood increments that are fair while nothing changed.

Data of one listing and minute: counts y, a forecast of them, a band ε around it.
A signal i has effects k (by how much the world may have changed) and answers ℓ_ik with

    E[exp ℓ_ik] ≤ 1  for every true mean within [m/(1+ε), m(1+ε)]                            (1)

so that each M_ik ← (M_ik + start mass)·exp ℓ_ik less its starts is a supermartingale, whatever the
dependence between signals. All ℓ are linear in sums, so several minutes can be taken at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jobs.pricing.watcher.minute import Floats

LARGEST_STEP = 700.0
"""|ℓ| is clipped here: exp stays within a double."""


@dataclass(slots=True, eq=False)
class Look:
    """One minute (or several merged) of all listings, as the signals see it: counts and what was expected.

    ``searches`` and ``abandoned`` count matured sessions; ``abandon_share`` is the share expected
    to end without an order; the two ``*_epsilon`` are one standard error of what stands before them
    (relative for orders and units, absolute for the share).
    """

    orders: Floats
    expected_orders: Floats
    epsilon: Floats
    units: Floats
    plan_orders: Floats
    units_epsilon: Floats
    searches: Floats
    abandoned: Floats
    abandon_share: Floats
    abandon_epsilon: Floats


@dataclass(slots=True, eq=False)
class Spread:
    """What is known of the noise, per listing; it changes seldom, so tilts are made from it and kept.

    ``phi`` = variance over mean of orders; ``unit_mean`` and ``unit_variance`` of the quantity per order.
    """

    phi: Floats
    unit_mean: Floats
    unit_variance: Floats

    def at(self, index: np.ndarray) -> Spread:
        """The spread of some listings."""
        return Spread(self.phi[index], self.unit_mean[index], self.unit_variance[index])


class Signal(Protocol):
    """One kind of evidence. ``demand`` says per effect whether it means more (+1) or less (-1) demand."""

    name: str
    effects: tuple[float, ...]
    demand: tuple[int, ...]

    def tilts(self, spread: Spread) -> Floats:
        """Coefficients (2, effects, listings) that ``increments`` wants back; pure in the spread."""
        ...

    def increments(self, look: Look, tilts: Floats, out: Floats) -> None:
        """Write ℓ (effects, listings) into ``out``."""
        ...

    def mass(self, look: Look, full_mass_orders: float) -> Floats:
        """Share of the start mass that this minute earns, 0 to 1: none without anything to see."""
        ...


def tilt(effect: float, phi: Floats) -> Floats:
    """θ of an exponential tilt that multiplies a count's mean by ``effect``: ln[rφ/(1+r(φ−1))] (2).

    >>> tilt(0.8, np.array([1.0])).round(4).tolist()
    [-0.2231]
    """
    return np.log(effect * phi / (1.0 + effect * (phi - 1.0)))


def cumulant_slope(theta: Floats, phi: Floats) -> Floats:
    """c(θ) with E[exp θX] = exp(c·mean) for a negative binomial count of variance φ·mean (φ=1: Poisson).

    c = −ln(φ−(φ−1)e^θ)/(φ−1), and e^θ−1 at φ = 1 (3). With u = −(φ−1)(e^θ−1) it is
    −ln(1+u)/(φ−1), which log1p keeps exact down to φ → 1.

    Raises
    ------
    ValueError
        If θ is not below ln(φ/(φ−1)), where the expectation is infinite.

    Examples
    --------
    >>> theta = tilt(1.25, np.array([1.0, 2.0]))
    >>> cumulant_slope(theta, np.array([1.0, 2.0])).round(4).tolist()
    [0.25, 0.1178]
    """
    grown = np.expm1(theta)
    extra = phi - 1.0
    if (extra * grown >= 1.0).any():
        raise ValueError("cumulant of an overdispersed count: theta must stay below ln(phi/(phi-1))")
    poisson = extra < 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -np.log1p(-extra * grown) / np.where(poisson, 1.0, extra)
    return np.where(poisson, grown, slope)
