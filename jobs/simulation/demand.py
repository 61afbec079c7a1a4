"""Families of demand: how likely a shopper is to buy at a price.

Data, per listing i and segment k (myopic, strategic): conversion S⁰ at the reference price p_ref,
own-price elasticity ε there, coefficient c of the rivals' price, rivals' usual price o_ref.
The shopper's utility (science § 9), with the context (device, shocks) as ``lift``:

    u = a + b·log(p/p_ref) + c·log(o/p) + lift,   P(buy) = σ(u)                         (1)

The elasticity of σ(u) in p, the rivals' price held, is (b − c)(1 − P). So that it equals ε at p_ref,

    B := b − c = ε / (1 − S⁰),     a = logit(S⁰) − c·log(o_ref/p_ref)                   (2)

and (1) reads u = logit(S⁰) + B·log(p/p_ref) + c·log(o/o_ref) + lift. The other families keep S⁰ at
p_ref and break one assumption each: what is learned by a model that believes in (1) is then wrong in
a known way.

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
    """What drives the shoppers of every listing.

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
        """One listing, one segment, no answer to rivals: for examples."""
        one = np.ones((1, 1))
        return cls(
            one * conversion, one * elasticity / (1 - conversion), one * 0.0,
            np.array([reference]), np.array([reference]), np.array([100.0]),
        )  # fmt: skip


def sigmoid(u: Array) -> Array:
    """Logistic function, safe for any size of ``u``."""
    return 1.0 / (1.0 + np.exp(-np.clip(u, -60.0, 60.0)))


class Logit:
    """Equation (1): the shopper the project's own models assume."""

    name = "logit"
    classes: tuple[float, ...] = (1.0,)
    """Shares of the customers' latent classes; a customer keeps theirs."""

    def __init__(self, parameters: DemandParameters) -> None:
        self.parameters = parameters
        self._intercept = np.log(parameters.conversion / (1 - parameters.conversion))

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Chance that each visit buys; all arguments one value per visit, prices in minor units."""
        return sigmoid(self._utility(listing, segment, price, offer) + lift)

    def extra_units(self, listing: Array, price: Array, draw: Array) -> Array:
        """Units bought beyond the usual ones, per buying visit."""
        return np.zeros(len(listing), dtype=np.int64)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """A minute passed: mean price shown per listing (NaN: none) and extra units sold."""

    def _utility(self, listing: Array, segment: Array, price: Array, offer: Array) -> Array:
        t = self.parameters
        return (
            self._intercept[listing, segment]
            + t.own[listing, segment] * np.log(price / t.reference[listing])
            + t.cross[listing, segment] * np.log(offer / t.offer[listing])
        )


class Mixture(Logit):
    """Half of the customers hardly look at the price, half look twice: no single elasticity fits both."""

    name = "mixture"
    classes = (0.5, 0.5)
    _scale = np.array([0.4, 1.6])

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """As :meth:`Logit.probability`, with the own-price answer scaled by the customer's class."""
        t = self.parameters
        own = t.own[listing, segment] * (self._scale[latent_class] - 1) * np.log(price / t.reference[listing])
        return sigmoid(self._utility(listing, segment, price, offer) + own + lift)


class StepWillingness(Logit):
    """Every customer has a most they pay, at one of a few focal prices: demand falls in steps.

    A customer of class j buys with the same chance at any price up to w_j·p_ref·(o/o_ref)^¼ and never
    above it; strategic customers' steps lie 3 % lower.
    """

    name = "step"
    classes = (0.12, 0.18, 0.3, 0.22, 0.18)
    _most = np.array([0.80, 0.90, 1.04, 1.12, 1.25])

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """Chance to buy: a constant up to the customer's step, 0 above."""
        t = self.parameters
        willing = sum(share for share, most in zip(self.classes, self._most, strict=True) if most > 1.03)
        most = self._most[latent_class] * np.where(segment == 1, 0.97, 1.0) * t.reference[listing]
        most = most * (offer / t.offer[listing]) ** 0.25
        chance = np.minimum(1.0, t.conversion[listing, segment] / willing * np.exp(lift))
        return np.where(price <= most, chance, 0.0)


class ReferencePrice(Logit):
    """Shoppers remember what they were shown; a price above the memory hurts twice as much as one below pleases.

    u gains g·max(0, log(r/p)) − l·max(0, log(p/r)), where r follows the price shown with a time
    constant of two days (g = 1, l = 2).
    """

    name = "reference"
    _gain, _loss, _minutes = 1.0, 2.0, 2880.0

    def __init__(self, parameters: DemandParameters) -> None:
        super().__init__(parameters)
        self.reference_price = parameters.reference.astype(float).copy()

    def probability(
        self, listing: Array, segment: Array, latent_class: Array, price: Array, offer: Array, lift: Array | float
    ) -> Array:
        """As :meth:`Logit.probability`, with gain and loss against the reference_price price."""
        gap = np.log(self.reference_price[listing] / price)
        felt = self._gain * np.maximum(gap, 0) + self._loss * np.minimum(gap, 0)
        return sigmoid(self._utility(listing, segment, price, offer) + felt + lift)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Let the memory follow what was shown."""
        step = (shown - self.reference_price) / self._minutes
        self.reference_price += np.where(np.isfinite(shown), step, 0.0)


class Stockpiling(ReferencePrice):
    """A low price sells more units now and fewer later: what a promotion wins is partly borrowed.

    Below 95 % of the reference_price price a buyer takes one to three units more; the household_stock π (extra units
    over a usual day's) lowers u by δπ (δ = 1) and empties with a time constant of three days.
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
        """As :meth:`Logit.probability`, less the household_stock's weight."""
        return super().probability(
            listing, segment, latent_class, price, offer, lift - self._dislike * self.household_stock[listing]
        )

    def extra_units(self, listing: Array, price: Array, draw: Array) -> Array:
        """One to three units more at a deal."""
        deal = price < self._deal * self.reference_price[listing]
        return np.where(deal, 1 + (draw * 3).astype(np.int64), 0)

    def end_minute(self, shown: Array, extra: Array) -> None:
        """Fill and empty the household_stock."""
        super().end_minute(shown, extra)
        self.household_stock += extra / np.maximum(self.parameters.daily_units, 1.0)
        self.household_stock *= np.exp(-1 / self._empties_min)


FAMILIES: tuple[type[Logit], ...] = (Logit, Mixture, StepWillingness, ReferencePrice, Stockpiling)
"""Every family of demand; a configuration names one."""


def family_named(name: str, parameters: DemandParameters) -> Logit:
    """The family of that name over these parameters.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.
    """
    for family in FAMILIES:
        if family.name == name:
            return family(parameters)
    raise ValueError(f"family: expected one of {', '.join(f.name for f in FAMILIES)}; got {name!r}")
