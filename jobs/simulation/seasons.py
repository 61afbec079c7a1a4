"""Expected visits by time: hour of the day, weekday, calendar and shocks, per listing and minute.

    visits_i(t) = V · popularity_i · h(local hour) · d(local weekday) · Π calendar · Π shocks          (1)

with V visits a minute averaged over a week, and h, d of mean 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.simulation.config import MarketConfig
from jobs.simulation.world import World
from schemas.time_units import DAY_MS, HOUR_MS, MINUTE_MS

Array = NDArray[Any]
WEEKDAY = np.array([0.98, 0.95, 0.96, 0.98, 1.02, 1.08, 1.03])
"""Monday to Sunday, mean 1."""
DAY_PARTS = ("night",) * 6 + ("morning",) * 6 + ("afternoon",) * 6 + ("evening",) * 6


def hour_factor(local_hour: float, amplitude: float) -> float:
    """Return the factor of the hour: maximum at 20:00, a second one at 13:00, mean 1 over a day.

    >>> round(sum(hour_factor(h / 4, .25) for h in range(96)) / 96, 12)
    1.0
    """
    turn = 2 * np.pi / 24
    return float(
        1 + amplitude * np.cos(turn * (local_hour - 20)) + 0.35 * amplitude * np.cos(2 * turn * (local_hour - 13))
    )


class Seasons:
    """Visits per minute and readiness to buy, by time.

    Parameters
    ----------
    config, world : the market.
    start_ms : the run's start, epoch ms; schedules count from it.
    """

    def __init__(self, config: MarketConfig, world: World, start_ms: int) -> None:
        self._config, self._world, self._start_ms = config, world, start_ms
        by_name = {place.name: m for m, place in enumerate(config.markets)}
        self._shocks = [
            (s, world.ranked[by_name[s.market]][s.rank])
            for s in config.shocks
            if s.market in by_name and s.rank < config.skus
        ]
        zones = np.array([place.zone for place in config.markets])[world.market]
        categories = np.array(world.category)
        self._plans = [
            (
                plan,
                ((plan.zone == "") | (zones == plan.zone))
                & ((plan.category == "") | (categories == plan.category)),
            )
            for plan in config.calendar
        ]

    def local_hour(self, market: int, at_ms: int) -> float:
        """Return the hour of the day in a market, 0 to 24."""
        return (at_ms / HOUR_MS + self._config.markets[market].utc_offset_h) % 24

    def day_part(self, market: int, at_ms: int) -> str:
        """Return night, morning, afternoon or evening, local time."""
        return DAY_PARTS[int(self.local_hour(market, at_ms))]

    def arrivals(self, at_ms: int) -> Array:
        """Return the expected visits per minute of each listing (1)."""
        minute = (at_ms - self._start_ms) // MINUTE_MS
        by_market = np.empty(len(self._config.markets))
        for m, place in enumerate(self._config.markets):
            local_ms = at_ms + place.utc_offset_h * HOUR_MS
            weekday = (local_ms // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
            hour = hour_factor(self.local_hour(m, at_ms), self._config.season_amplitude)
            by_market[m] = hour * WEEKDAY[weekday]
        visits = self._world.visits_per_minute * self._world.popularity * by_market[self._world.market]
        for plan, touched in self._plans:
            if plan.at_min <= minute < plan.until_min:
                visits = np.where(touched, visits * plan.true_factor, visits)
        for shock, i in self._shocks:
            if shock.kind == "arrivals" and shock.at_min <= minute < shock.until_min:
                visits[i] *= shock.factor
        return visits

    def readiness(self, at_ms: int) -> Array:
        """Return the log-odds that shocks add to every shopper's utility, per listing."""
        minute = (at_ms - self._start_ms) // MINUTE_MS
        lift = np.zeros(len(self._world.listings))
        for shock, i in self._shocks:
            if shock.kind == "readiness" and shock.at_min <= minute < shock.until_min:
                lift[i] += np.log(shock.factor)
        return lift
