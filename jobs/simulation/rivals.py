"""Rivals who follow the shop's prices.

Each rival of a listing has one pricing rule, with target price p̂ and our price x:

    follow      p̂ = position · x        (keeps its position relative to our price)
    undercut    p̂ = .985 · x
    cost_plus   p̂ = own cost · markup   (ignores our price)

never below its own cost · 1.05. It checks our price once in ``rival_check_min`` minutes on average and moves if p̂
is more than 1.5 % away. Besides, it jumps by ±5 to 15 % at random times and holds a jump for half a day.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.simulation.config import MarketConfig
from jobs.simulation.world import World

Array = NDArray[Any]
_FOLLOW, _UNDERCUT, _COST_PLUS = range(3)
_HOLD_MIN = 720
_NOTICE = 0.015


class Rivals:
    """The rivals' prices, ``(listings, rivals)`` in minor units, and how they move.

    Parameters
    ----------
    config, world : the market.
    seed : of its draws; each minute has a random stream of its own, so draws do not depend on earlier minutes.
    """

    def __init__(self, config: MarketConfig, world: World, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        shape = (config.listings, max(1, config.rivals))
        self._config, self._seed = config, seed
        self.names = tuple(f"rival-{chr(ord('a') + r)}" for r in range(shape[1]))
        self.style = rng.choice([_FOLLOW, _UNDERCUT, _COST_PLUS], shape, p=[0.45, 0.1, 0.45])
        self._position = world.rival_position[:, None] * np.exp(rng.normal(0, 0.015, shape))
        self._home = world.list_minor[:, None] * self._position
        self._floor = np.minimum(world.cost_minor[:, None] * 1.05, self._home)
        self._top = world.list_minor[:, None] * 1.8
        self.price = np.round(self._home).astype(np.int64)
        self.shipping = np.zeros(shape, dtype=np.int64)
        self.in_stock = np.ones(shape, dtype=bool)
        self._hold_until = np.full(shape, -1)
        by_name = {place.name: m for m, place in enumerate(config.markets)}
        self._moves = [
            (move, world.ranked[by_name[move.market]][move.rank])
            for move in config.rival_moves
            if move.market in by_name and move.rank < config.skus
        ]

    def reference(self) -> Array:
        """Return the mean price of the rivals in stock per listing, of all rivals when none is in stock.

        Rounded to a minor unit.
        """
        stocked = self.in_stock | ~self.in_stock.any(axis=1, keepdims=True)
        total = ((self.price + self.shipping) * stocked).sum(axis=1)
        return np.round(total / stocked.sum(axis=1)).astype(np.int64)

    def react(self, minute: int, since_start: int, ours: Array) -> Array:
        """Advance by a minute; return which (listing, rival) pairs changed.

        Parameters
        ----------
        minute : epoch minute, names the random stream.
        since_start : minutes of the run, for the schedule.
        ours : our price per listing, minor units.
        """
        rng = np.random.default_rng([self._seed, 3, minute])
        look, jump, size, up, stock = rng.random((5, *self.price.shape))
        free = self._hold_until < since_start
        mine = ours[:, None]
        aim = np.select(
            [self.style == _FOLLOW, self.style == _UNDERCUT],
            [mine * self._position, mine * 0.985],
            default=self._home,
        )
        aim = np.clip(aim, self._floor, self._top)
        moves = free & (look < 1 / self._config.rival_check_min) & (np.abs(aim / self.price - 1) > _NOTICE)
        new = np.where(moves, aim, self.price)

        jumps = free & ~moves & (jump < 1 / self._config.rival_jump_min)
        factor = np.where(up < 0.5, 1 - 0.05 - 0.1 * size, 1 + 0.05 + 0.1 * size)
        new = np.where(jumps, np.clip(self.price * factor, self._floor, self._top), new)
        self._hold_until[jumps] = since_start + _HOLD_MIN
        for move, i in self._moves:
            if move.at_min == since_start:
                new[i] = np.clip(self.price[i] * move.factor, self._floor[i], self._top[i])
                self._hold_until[i] = since_start + move.hold_min

        new = np.round(new).astype(np.int64)
        # A rival sells out about every ten days and has stock again within about half a day.
        flips = np.where(self.in_stock, stock < 1 / 14_400, stock < 1 / 720)
        changed = (new != self.price) | flips
        self.price, self.in_stock = new, self.in_stock ^ flips
        return changed
