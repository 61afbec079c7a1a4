"""Base class of signals: log-likelihood increments that are fair without a change.

Data of one listing and minute: counts y, their forecast m, a band ε around it.
A signal i has effects k (factors by which demand may have changed) and returns ℓ_ik with

    E[exp ℓ_ik] ≤ 1  for every true mean within [m/(1+ε), m(1+ε)]                            (1)

so that each M_ik ← (M_ik + start mass)·exp ℓ_ik minus its starts is a supermartingale, whatever the dependence
between signals. Every ℓ is linear in the sums of counts and forecasts, so several minutes can be merged into one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jobs.pricing.watcher.minute import Bools, Floats, Indices, Minute

LARGEST_STEP = 700.0
"""Bound on |ℓ|, so that exp ℓ is a finite double."""


@dataclass(slots=True, eq=False)
class Observation:
    """Counts and forecasts of one minute, or of several merged ones: arrays (listings,).

    ``searches`` and ``abandoned`` count sessions that timed out. ``abandon_share`` is the expected share of
    sessions without an order. Each ``*_epsilon`` is one standard error of the field above it, relative for orders
    and units, absolute for the share.
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
    """Dispersion of orders and moments of the quantity per order: arrays (listings,).

    It rarely changes, so the tilts that are computed from it are cached.

    Attributes
    ----------
    phi : variance over mean of orders, at least 1.
    unit_mean : mean quantity per order, at least 1.
    unit_variance : its variance.
    """

    phi: Floats
    unit_mean: Floats
    unit_variance: Floats

    def at(self, index: Indices) -> Spread:
        """Return the spread of some listings."""
        return Spread(self.phi[index], self.unit_mean[index], self.unit_variance[index])


class Signal(ABC):
    """One kind of evidence. The package's docstring describes how to add one.

    Attributes
    ----------
    name : its name in evidence and causes.
    text : the measured quantity, for pricing managers.
    weight : its default share of the false-alarm budget; the policy's ``watch.weights`` overrides it.
    effects : factors by which the measured quantity may have changed.
    demand : per effect, 1 if it means more demand, -1 if it means less.
    """

    name: ClassVar[str]
    text: ClassVar[str]
    weight: ClassVar[float]
    effects: ClassVar[tuple[float, ...]]
    demand: ClassVar[tuple[int, ...]]

    @abstractmethod
    def tilts(self, spread: Spread) -> Floats:
        """Return the coefficients (2, effects, listings) for :meth:`increments`, a pure function of the spread."""

    @abstractmethod
    def increments(self, observation: Observation, tilts: Floats, out: Floats) -> None:
        """Write ℓ into ``out`` (effects, listings)."""

    @abstractmethod
    def mass(self, observation: Observation, full_mass_orders: float) -> Floats:
        """Return this minute's share of the start mass, 0 to 1; 0 without data."""

    def has_data(self, minute: Minute, has_sessions: Bools) -> Bools:
        """Return where the signal can have data; elsewhere the other signals share its weight.

        The result must not depend on the minute's counts.
        """
        return np.ones(len(has_sessions), dtype=bool)

    def fact_share(self, has_sessions: Bools) -> Floats:
        """Return the share of a fact's start mass that goes to this signal."""
        return np.zeros(len(has_sessions))


def exponential_tilt(effect: float, phi: Floats) -> Floats:
    """Return θ of the exponential tilt that multiplies a count's mean by ``effect``: ln[rφ/(1+r(φ−1))] (2).

    Examples
    --------
    >>> exponential_tilt(0.8, np.array([1.0])).round(4).tolist()
    [-0.2231]
    """
    return np.log(effect * phi / (1.0 + effect * (phi - 1.0)))


def cumulant_slope(theta: Floats, phi: Floats) -> Floats:
    """Return c(θ) with E[exp θX] = exp(c·mean) for a negative binomial count of variance φ·mean (φ=1: Poisson).

    c = −ln(φ−(φ−1)e^θ)/(φ−1), and e^θ−1 at φ = 1 (3). With u = −(φ−1)(e^θ−1) it is
    −ln(1+u)/(φ−1), which log1p computes exactly down to φ → 1.

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
        raise ValueError("cumulant of an overdispersed count: theta must be below ln(phi/(phi-1))")
    poisson = extra < 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -np.log1p(-extra * grown) / np.where(poisson, 1.0, extra)
    return np.where(poisson, grown, slope)
