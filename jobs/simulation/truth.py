"""True demand of a simulated market: what a learner should find, and the optimal price.

For tests, benchmarks and the arena only; nothing that decides a price may use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.simulation.config import MarketConfig
from jobs.simulation.demand import Logit
from jobs.simulation.rivals import Rivals
from jobs.simulation.seasons import Seasons
from jobs.simulation.world import UNITS_PER_ORDER, World

Array = NDArray[Any]
DEVICES = (("mobile", 0.6, -0.08), ("desktop", 0.4, 0.12))
"""Device, its share, and the context's log-odds (science § 9, d·context): mean 0."""


class Truth:
    """The true values of a market, per listing (index as in ``listings``) and segment (myopic, strategic).

    Attributes
    ----------
    listings : the listings in index order.
    elasticity : (listings,), own-price elasticity of conversion at the list price, over both segments.
    elasticity_of : (listings, 2), the same per segment.
    cross : (listings, 2), elasticity of the odds in the rivals' reference price.
    conversion : (listings, 2), orders per request at the list price and the rivals' usual price.
    shares : (listings, 2), segments' shares of the requests (C_k).
    cost_minor : (listings,), unit cost now.
    """

    def __init__(
        self,
        config: MarketConfig,
        world: World,
        family: Logit,
        seasons: Seasons,
        rivals: Rivals,
        now_ms: Callable[[], int],
    ) -> None:
        self.listings = world.listings
        self.elasticity, self.elasticity_of = world.elasticity, world.elasticity_of
        self.cross, self.conversion, self.shares = world.demand.cross, world.demand.conversion, world.shares
        self.cost_minor = world.cost_minor.copy()
        self._config, self._world, self._family = config, world, family
        self._seasons, self._rivals, self._now_ms = seasons, rivals, now_ms

    def requests_per_minute(self, at_ms: int | None = None) -> Array:
        """Return the expected price requests of people (no bots) per listing and minute."""
        return self._seasons.arrivals(self._now_ms() if at_ms is None else at_ms) * (1 - self._config.bot_share)

    def purchase_probability(
        self,
        listing: Array,
        segment: Array,
        price_minor: Array,
        offer_minor: Array | None = None,
        at_ms: int | None = None,
    ) -> Array:
        """Return the expected orders per request while in stock: the mean over devices and customers' classes.

        Parameters
        ----------
        listing, segment, price_minor : integer arrays that broadcast together; segment 0 myopic, 1 strategic.
        offer_minor : rivals' reference price; None: the current one.
        at_ms : time of the shocks, epoch ms; None: now.

        Returns
        -------
        Array of the broadcast shape, in [0, 1].
        """
        offer = self._rivals.reference()[listing] if offer_minor is None else offer_minor
        who, seg, price, offer = np.broadcast_arrays(listing, segment, price_minor, offer)
        shape = price.shape
        who, seg, price, offer = (a.ravel() for a in (who, seg, price.astype(float), offer.astype(float)))
        lift = self._seasons.readiness(self._now_ms() if at_ms is None else at_ms)[who]
        total = np.zeros(len(who))
        for latent_class, share in enumerate(self._family.classes):
            for _, device_share, context in DEVICES:
                chance = self._family.probability(
                    who, seg, np.full(len(who), latent_class), price, offer, lift + context
                )
                total += share * device_share * chance
        return total.reshape(shape)

    def expected_units(self, listing: Array, segment: Array, price_minor: Array) -> Array:
        """Return the expected units per request at a price, without a stockpiler's extra units."""
        return self.purchase_probability(listing, segment, price_minor) * UNITS_PER_ORDER

    def best_price_minor(self, listing: int, candidates: Array) -> int:
        """Return the candidate with the highest expected profit per request now."""
        prices = np.asarray(candidates)
        profit = np.zeros(len(prices))
        for segment in (0, 1):
            units = self.expected_units(np.full(len(prices), listing), np.full(len(prices), segment), prices)
            profit += self.shares[listing, segment] * units * (prices - self.cost_minor[listing])
        return int(prices[int(np.argmax(profit))])
