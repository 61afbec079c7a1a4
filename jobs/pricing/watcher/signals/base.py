"""Signal: log-likelihood increments that are fair while nothing changed.

Data of one listing and minute: counts y, a forecast of them, a band ε around it.
A signal i has effects k (by how much demand may have changed) and returns ℓ_ik with

    E[exp ℓ_ik] ≤ 1  for every true mean within [m/(1+ε), m(1+ε)]                            (1)

so that each M_ik ← (M_ik + start mass)·exp ℓ_ik less its starts is a supermartingale, whatever the
dependence between signals. All ℓ are linear in sums, so several minutes can be taken at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats, Minute

LARGEST_STEP = 700.0
"""|ℓ| is clipped here: exp stays within a double."""


@dataclass(slots=True, eq=False)
class Observation:
    """One minute (or several merged) of all listings: counts and what was expected.

    ``searches`` and ``abandoned`` count matured sessions; ``abandon_share`` is the share expected
    to end without an order; each ``*_epsilon`` is one standard error of the field before it
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
    """What is known of the noise, per listing; it rarely changes, so the tilts computed from it are cached.

    ``phi`` = variance over mean of orders; ``unit_mean`` and ``unit_variance`` of the quantity per order.
    """

    phi: Floats
    unit_mean: Floats
    unit_variance: Floats

    def at(self, index: np.ndarray) -> Spread:
        """Return the spread of some listings."""
        return Spread(self.phi[index], self.unit_mean[index], self.unit_variance[index])


class Signal(ABC):
    """One kind of evidence. See the package for how to add one.

    Attributes
    ----------
    name : its name in evidence and causes.
    text : what it measures, for pricing managers.
    weight : its share of the false-alarm budget, unless the policy's ``watch.weights`` names another.
    effects : by how much its quantity may have changed.
    demand : per effect, whether it means more (+1) or less (-1) demand.
    """

    name: ClassVar[str]
    text: ClassVar[str]
    weight: ClassVar[float]
    effects: ClassVar[tuple[float, ...]]
    demand: ClassVar[tuple[int, ...]]

    @abstractmethod
    def tilts(self, spread: Spread) -> Floats:
        """Return the coefficients (2, effects, listings) that :meth:`increments` takes; pure in the spread."""

    @abstractmethod
    def increments(self, observation: Observation, tilts: Floats, out: Floats) -> None:
        """Write ℓ (effects, listings) into ``out``."""

    @abstractmethod
    def mass(self, observation: Observation, full_mass_orders: float) -> Floats:
        """Return the share of the start mass that this minute earns, 0 to 1: none without data."""

    def has_data(self, minute: Minute, has_sessions: Bools) -> Bools:
        """Return where the signal can start; elsewhere the others share its weight. Known before the minute is."""
        return np.ones(len(has_sessions), dtype=bool)

    def fact_share(self, has_sessions: Bools) -> Floats:
        """Return the share of a fact's start mass that goes to this signal."""
        return np.zeros(len(has_sessions))


def exponential_tilt(effect: float, phi: Floats) -> Floats:
    """Return θ of the exponential tilt that multiplies a count's mean by ``effect``: ln[rφ/(1+r(φ−1))] (2).

    >>> exponential_tilt(0.8, np.array([1.0])).round(4).tolist()
    [-0.2231]
    """
    return np.log(effect * phi / (1.0 + effect * (phi - 1.0)))


def cumulant_slope(theta: Floats, phi: Floats) -> Floats:
    """Return c(θ) with E[exp θX] = exp(c·mean) for a negative binomial count of variance φ·mean (φ=1: Poisson).

    c = −ln(φ−(φ−1)e^θ)/(φ−1), and e^θ−1 at φ = 1 (3). With u = −(φ−1)(e^θ−1) it is
    −ln(1+u)/(φ−1), which log1p keeps exact down to φ → 1.

    Raises
    ------
    ValueError
        If θ is not below ln(φ/(φ−1)), where the expectation is infinite.

    Examples
    --------
    >>> theta = exponential_tilt(1.25, np.array([1.0, 2.0]))
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
