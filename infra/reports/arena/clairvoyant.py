"""The arena's benchmark: a method that knows demand, costs and rivals, and sets the best prices each hour.

In families whose demand depends on past prices (reference price, stockpiling) the best of three variants counts:
one maximises the profit of the next request, one the long-run profit, and one stays near the reference price. The
optimum over all price paths is not computed, so that another method may exceed the benchmark there.
"""

from __future__ import annotations

import numpy as np

from infra.reports.arena.pricing_methods import HourlyPricing, bands
from jobs.pricing.grid import price_grid
from jobs.pricing.policy import Policy
from jobs.simulation.count_market import LABELS, CountMarket, Shown
from jobs.simulation.demand import Logit, ReferencePrice

REFERENCE_BAND = (0.96, 1.03)
"""Range of a patient price as multiples of the remembered reference price."""


class Clairvoyant(HourlyPricing):
    """The best price of each segment within the bands, from the true demand, each hour.

    Parameters
    ----------
    long_run : maximise the long-run profit, with reference prices and stocks at home in equilibrium.
    patient : keep prices within ``REFERENCE_BAND`` of the reference price, so that shoppers do not stockpile.
    """

    def __init__(
        self, market: CountMarket, policy: Policy | None = None, long_run: bool = False, patient: bool = False
    ) -> None:
        super().__init__(market, policy)
        self.long_run, self.patient = long_run, patient

    def _reprice(self, market: CountMarket) -> Shown:
        low, high = bands(market, self.current, self.policy)
        if self.patient and isinstance(market.family, ReferencePrice):
            nearest = (
                np.ceil(market.family.reference_price * REFERENCE_BAND[0]),
                np.floor(market.family.reference_price * REFERENCE_BAND[1]),
            )
            low, high = (
                np.minimum(np.maximum(low, nearest[0]), high),
                np.maximum(np.minimum(high, nearest[1]), low),
            )
        points = [
            price_grid(int(lo), int(hi), int(lst), self.policy.grid) or [int(cur)]
            for lo, hi, lst, cur in zip(low, high, market.list_minor, self.current, strict=True)
        ]
        width = max(len(p) for p in points)
        grid = np.array([p + [p[-1]] * (width - len(p)) for p in points])
        price = np.repeat(grid[:, None, :], len(LABELS), axis=1)
        best = np.argmax(self._value(market, price), axis=2)
        chosen = np.take_along_axis(price, best[:, :, None], axis=2)
        if not np.array_equal(chosen, self._shown.price):
            self.changes += int((chosen[:, 0, 0] != self.current).sum())
            self.current = chosen[:, 0, 0].copy()
            self._shown = Shown(chosen, np.ones(chosen.shape))
        return self._shown

    def _value(self, market: CountMarket, price: np.ndarray) -> np.ndarray:
        if not self.long_run:
            return market.profit_per_request(price)
        family = market.family
        market.family = Logit(family.parameters)
        try:
            return market.profit_per_request(price)
        finally:
            market.family = family
