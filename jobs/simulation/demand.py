"""Demand families: the probability that a shopper buys at a price.

Data, per listing i and segment k (myopic, strategic): conversion S⁰ at the reference price p_ref, own-price
elasticity ε there, coefficient c of the rivals' price, rivals' usual price o_ref. The shopper's utility
(science § 9), with the context (device, shocks) as ``lift``:

    u = a + b·log(p/p_ref) + c·log(o/p) + lift,   P(buy) = σ(u)                         (1)

The elasticity of σ(u) in p, with the rivals' price fixed, is (b − c)(1 − P). For it to equal ε at p_ref,

    B := b − c = ε / (1 − S⁰),     a = logit(S⁰) − c·log(o_ref/p_ref)                   (2)

and (1) becomes u = logit(S⁰) + B·log(p/p_ref) + c·log(o/o_ref) + lift. The other families keep S⁰ at p_ref and
break one assumption each, so that estimates of a model that assumes (1) are biased in a known way.

>>> parameters = DemandParameters.single(conversion=0.1, elasticity=-2.0, reference=1000.0)
>>> zero, usual = np.zeros(3, int), np.full(3, 1000.0)
>>> below, at, above = Logit(parameters).probability(zero, zero, zero, np.array([999.9, 1e3, 1000.1]), usual, 0.0)
>>> round(float(at), 6), round(float(np.log(above / below) / np.log(1000.1 / 999.9)), 3)
(0.1, -2.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class DemandParameters:
    """Demand parameters of every listing.

    ``conversion``, ``own`` and ``cross``: (listings, segments), S⁰, B and c of (2);
    ``reference`` and ``offer``: (listings,), p_ref and o_ref in minor units;
    ``daily_units``: (listings,), expected units a day at the reference price.
    """

    conversion: Array
    own: Array
    cross: Array
    reference: Array
    offer: Array
    daily_units: Array

    @classmethod
    def single(cls, *, conversion: float, elasticity: float, reference: float) -> DemandParameters:
        """Return one listing with one segment that does not respond to rivals: for examples."""
        one = np.ones((1, 1))
        return cls(
            one * conversion, one * elasticity / (1 - conversion), one * 0.0,
            np.array([reference]), np.array([reference]), np.array([100.0]),
        )  # fmt: skip


def sigmoid(u: Array) -> Array:
    """Return the logistic function, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(u, -60.0, 60.0)))


class Logit:
    """Equation (1): the demand that the project's own models assume."""

    name = "logit"
    classes: tuple[float, ...] = (1.0,)
    """Shares of the customers' latent classes; a customer's class does not change."""

    def __init__(self, parameters: DemandParameters) -> None:
        self.parameters = parameters
        self._intercept = np.log(parameters.conversion / (1 - parameters.conversion))

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return the probability that each visit buys.

        Arguments have one value per visit, prices in minor units.
        """
        return sigmoid(self._utility(listing, segment, price, offer) + lift)

    def extra_units(self, listing: Array, price: Array, draw: Array) -> Array:
        """Return units bought beyond the usual ones, per buying visit."""
        return np.zeros(len(listing), dtype=np.int64)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Update memory at a minute's end: mean price shown per listing (NaN: none) and extra units sold."""

    def _utility(self, listing: Array, segment: Array, price: Array, offer: Array) -> Array:
        t = self.parameters
        return (
            self._intercept[listing, segment]
            + t.own[listing, segment] * np.log(price / t.reference[listing])
            + t.cross[listing, segment] * np.log(offer / t.offer[listing])
        )


class Mixture(Logit):
    """Half of the customers respond weakly to the price and half strongly: no single elasticity fits both."""

    name = "mixture"
    classes = (0.5, 0.5)
    _scale = np.array([0.4, 1.6])

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return :meth:`Logit.probability` with the own-price response scaled by the customer's class."""
        t = self.parameters
        own = t.own[listing, segment] * (self._scale[latent_class] - 1) * np.log(price / t.reference[listing])
        return sigmoid(self._utility(listing, segment, price, offer) + own + lift)


class StepWillingness(Logit):
    """Every customer has a maximum price, at one of a few focal prices: demand falls in steps.

    A customer of class j buys with the same probability at any price up to w_j·p_ref·(o/o_ref)^¼ and never above
    it; strategic customers' steps are 3 % lower.
    """

    name = "step"
    classes = (0.12, 0.18, 0.3, 0.22, 0.18)
    _most = np.array([0.80, 0.90, 1.04, 1.12, 1.25])

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return a constant probability up to the customer's maximum price, 0 above."""
        t = self.parameters
        willing = sum(share for share, most in zip(self.classes, self._most, strict=True) if most > 1.03)
        most = self._most[latent_class] * np.where(segment == 1, 0.97, 1.0) * t.reference[listing]
        most = most * (offer / t.offer[listing]) ** 0.25
        chance = np.minimum(1.0, t.conversion[listing, segment] / willing * np.exp(lift))
        return np.where(price <= most, chance, 0.0)


class ReferencePrice(Logit):
    """Shoppers compare with the prices they were shown before; a rise weighs twice as much as a cut.

    u gains g·max(0, log(r/p)) − l·max(0, log(p/r)), where the reference price r follows the price shown with a
    time constant of two days (g = 1, l = 2).
    """

    name = "reference"
    _gain, _loss, _minutes = 1.0, 2.0, 2880.0

    def __init__(self, parameters: DemandParameters) -> None:
        super().__init__(parameters)
        self.reference_price = parameters.reference.astype(float).copy()

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return :meth:`Logit.probability` with gain and loss against the reference price."""
        gap = np.log(self.reference_price[listing] / price)
        felt = self._gain * np.maximum(gap, 0) + self._loss * np.minimum(gap, 0)
        return sigmoid(self._utility(listing, segment, price, offer) + felt + lift)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Move the reference price towards the price shown."""
        step = (shown - self.reference_price) / self._minutes
        self.reference_price += np.where(np.isfinite(shown), step, 0.0)


class Stockpiling(ReferencePrice):
    """A low price sells more units now and fewer later: part of a promotion's sales are moved forward.

    Below 95 % of the reference price a buyer takes one to three extra units. The household stock π (extra units
    over a usual day's units) lowers u by δπ (δ = 1) and decays with a time constant of three days.
    """

    name = "stockpiling"
    _gain, _loss = 0.0, 0.0
    _deal, _dislike, _empties_min = 0.95, 1.0, 4320.0

    def __init__(self, parameters: DemandParameters) -> None:
        super().__init__(parameters)
        self.household_stock = np.zeros(len(parameters.reference))

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return :meth:`Logit.probability` less the effect of the household stock."""
        return super().probability(
            listing, segment, latent_class, price, offer, lift - self._dislike * self.household_stock[listing]
        )

    def extra_units(self, listing: Array, price: Array, draw: Array) -> Array:
        """Return one to three extra units at a low price."""
        deal = price < self._deal * self.reference_price[listing]
        return np.where(deal, 1 + (draw * 3).astype(np.int64), 0)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Update reference price and household stock."""
        super().end_minute(shown, extra)
        self.household_stock += extra / np.maximum(self.parameters.daily_units, 1.0)
        self.household_stock *= np.exp(-1 / self._empties_min)


class ElasticityBreak(Logit):
    """After three and a half days every customer becomes 1.8 times as price-sensitive; S⁰ at p_ref stays."""

    name = "break"
    _at_min, _factor = 5_040, 1.8

    def __init__(self, parameters: DemandParameters) -> None:
        super().__init__(parameters)
        self.minutes = 0

    def sensitivity(self) -> float:
        """Return the factor of the own-price response, now."""
        return self._factor if self.minutes >= self._at_min else 1.0

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Return :meth:`Logit.probability` with the present own-price response."""
        t = self.parameters
        own = t.own[listing, segment] * (self.sensitivity() - 1) * np.log(price / t.reference[listing])
        return sigmoid(self._utility(listing, segment, price, offer) + own + lift)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Count the minutes."""
        self.minutes += 1


class ElasticityDrift(ElasticityBreak):
    """Price sensitivity rises linearly to 1.5 times its first value within a week, and then stays."""

    name = "drift"
    _over_min, _factor = 10_080, 1.5

    def sensitivity(self) -> float:
        """Return the factor of the own-price response, now."""
        return 1.0 + (self._factor - 1.0) * min(1.0, self.minutes / self._over_min)


FAMILIES: tuple[type[Logit], ...] = (
    Logit,
    Mixture,
    StepWillingness,
    ReferencePrice,
    Stockpiling,
    ElasticityBreak,
    ElasticityDrift,
)
"""Every demand family; a configuration names one."""


def family_named(name: str, parameters: DemandParameters) -> Logit:
    """Return the family of that name with these parameters.

    Raises
    ------
    ValueError
        If there is none; the message lists the families.
    """
    for family in FAMILIES:
        if family.name == name:
            return family(parameters)
    raise ValueError(f"family: expected one of {', '.join(f.name for f in FAMILIES)}; got {name!r}")
