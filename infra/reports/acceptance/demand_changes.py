"""Acceptance of drift detection: changes found by chance in a quarter, a steeper response found in two days.

Listings of one market and eight categories sell 20 orders a day each, at the prices that exploration shows
(science § 7): a main price, its neighbours, and the farthest prices a tenth away. Their orders run hour by hour
through elasticity_job's first step, with the Poisson model alone, whose residuals are observed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.bucket_logic import Batch
from features.elasticity.elasticity_logic import DRIFT, ElasticityLogic
from infra.reports.acceptance.stages import START_MS, at_least, at_most
from infra.reports.report import Figure
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings
from schemas.events import CatalogEntry
from schemas.records.counts import Cell
from schemas.time_units import HOUR_MS

FACTORS = np.array([0.9, 0.96, 0.98, 1.0, 1.02, 1.04, 1.1])
SHARES = np.array([0.1, 0.02, 0.02, 0.72, 0.02, 0.02, 0.1])
"""Prices shown, as multiples of the main one, and the shares of the requests that see them."""
ORDERS_A_DAY, CONVERSION = 20.0, 0.04
STEEPER = 1.8


class ChangingMarket:
    """Hourly cells of some listings.

    Parameters
    ----------
    seed, listings : of the simulation.
    steeper_from : hour from which every elasticity is 1.8 times as large; the conversion at the main price stays.
    """

    def __init__(self, seed: int, listings: int, steeper_from: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._from = steeper_from
        self._names: list[tuple[str, str, str, str]] = [
            ("shop", "web-us-usd", f"p{i:03d}", f"p{i:03d}") for i in range(listings)
        ]
        self._elasticity = np.minimum(self._rng.normal(-2.0, 0.4, listings), -1.2)
        self._main = self._rng.integers(1_000, 9_000, listings)
        self.price = np.round(self._main[:, None] * FACTORS).astype(np.int64)
        self.catalog = tuple(
            CatalogEntry("e", 0, *name, f"c{i % 8}", "margin", "USD", 1, True)
            for i, name in enumerate(self._names)
        )

    def hour(self, at: int) -> tuple[Cell, ...]:
        """Return the cells of an hour."""
        requests = ORDERS_A_DAY / CONVERSION / 24
        exposures = self._rng.poisson(requests * SHARES, self.price.shape)
        slope = self._elasticity * (STEEPER if at >= self._from else 1.0)
        chance = CONVERSION * (self.price / self._main[:, None]) ** slope[:, None]
        orders = self._rng.binomial(exposures, np.minimum(chance, 1.0))
        return tuple(
            Cell(*self._names[i], "base", "all", int(self.price[i, j]), "USD", exposures=int(exposures[i, j]),
                 orders=int(orders[i, j]), units=int(orders[i, j]))
            for i, j in ((int(a), int(b)) for a, b in np.argwhere(exposures > 0))
        )  # fmt: skip


def found_changes(
    seed: int, listings: int, hours: int, steeper_from: int | None = None
) -> tuple[int, dict[str, int]]:
    """Return the number of events, and the first hour at which each listing is in the scope of one.

    With ``steeper_from``, events before that hour are not counted and the run ends two days after it.
    """
    settings = replace(elasticity_settings(Policy()), models=("poisson",), order_lag_periods=0)
    logic, market = ElasticityLogic(settings), ChangingMarket(seed, listings, steeper_from or hours)
    events, first = 0, dict[str, int]()
    for at in range(hours):
        end_ms = START_MS + (at + 1) * HOUR_MS
        catalog = market.catalog if at == 0 else ()
        outputs = logic.on_batch(Batch(0, end_ms, market.hour(at), catalog=catalog))
        if steeper_from is not None and at < steeper_from:
            continue
        for output in outputs:
            if output.stream == DRIFT:
                events += 1
                scope, name = output.value["scope"], output.value["name"]
                for entry in market.catalog:
                    own = {"market": entry.market, "category": entry.category}.get(
                        scope, f"{entry.market}/{entry.sku}"
                    )
                    if own == name:
                        first.setdefault(entry.sku, at)
    return events, first


def change_figures(quick: bool) -> list[Figure]:
    """Return the number of changes found by chance and the share of listings whose change is found in two days."""
    listings, hours = (40, 24 * 21) if quick else (200, 24 * 91)
    by_chance, _ = found_changes(1, listings, hours)
    most = listings * hours / (24 * 91)
    shares = []
    for seed in (2,) if quick else (2, 3, 4, 5):
        start = 24 * 14
        _, first = found_changes(seed, 200, start + 48, start)
        shares.append(len(first) / 200)
    return [
        at_most(f"changes of demand found by chance, {listings} listings, {hours // 24} days", by_chance, most),
        at_least("listings whose elasticity × 1.8 is found within two days", float(np.mean(shares)), 0.9),
    ]
