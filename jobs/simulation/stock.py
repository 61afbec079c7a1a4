"""Simulated stock that runs out and is replenished.

A listing starts with days of cover, a few with hours only. It is re-ordered when stock on hand and inbound covers
no more than the lead time; the listings with little cover are re-ordered too late, so that they run out. Cancelled
and returned units are not put back into stock.
"""

from __future__ import annotations

import numpy as np

from jobs.simulation.config import MarketConfig
from jobs.simulation.world import World
from schemas.time_units import MINUTES_PER_DAY


class SimulatedStock:
    """Units on hand and inbound per listing.

    Parameters
    ----------
    config, world : the market.
    seed : of the initial cover and the lead times.
    """

    def __init__(self, config: MarketConfig, world: World, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        n = config.listings
        daily = np.maximum(world.demand.daily_units, 0.5)
        short = rng.random(n) < config.short_stock_share
        cover = np.where(short, rng.uniform(0.1, 0.25, n), rng.uniform(4, 15, n))
        self.lead_min = rng.integers(120, 720, n)
        point = daily * self.lead_min / MINUTES_PER_DAY * np.where(short, 0.2, 1.5)
        self.on_hand: list[int] = [int(x) for x in np.maximum(np.ceil(daily * cover), 2)]
        self.inbound: list[int] = [0] * n
        self._point: list[int] = [int(x) for x in np.ceil(point)]
        self._batch: list[int] = [int(x) for x in np.ceil(np.where(short, daily * 0.5, daily * 7))]
        self._arrives: dict[int, list[int]] = {}

    def take(self, listing: int, units: int) -> int:
        """Sell up to ``units``; return how many were sold."""
        sold = min(units, self.on_hand[listing])
        self.on_hand[listing] -= sold
        return sold

    def pass_minute(self, minute: int, touched: set[int]) -> set[int]:
        """Receive due deliveries and re-order low stock; return the listings whose stock level changed.

        Parameters
        ----------
        minute : epoch minute.
        touched : listings sold since the last call.
        """
        changed = set()
        for i in self._arrives.pop(minute, ()):
            self.on_hand[i] += self.inbound[i]
            self.inbound[i] = 0
            changed.add(i)
        for i in sorted(touched):
            if not self.inbound[i] and self.on_hand[i] <= self._point[i]:
                self.inbound[i] = self._batch[i]
                self._arrives.setdefault(minute + int(self.lead_min[i]), []).append(i)
                changed.add(i)
        return changed
