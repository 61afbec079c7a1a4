"""The simulated market of the arena."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.simulation.config import MARKETS, CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.world import events_per_visit
from schemas.time_units import MINUTES_PER_DAY

VISITS_PER_LISTING = 2.0
"""Visits per listing and minute."""


def market_config(family: str, seed: int, listings: int, days: float) -> MarketConfig:
    """Return a market of one country with shocks, rivals' moves and cost changes drawn from the seed."""
    rng = np.random.default_rng([seed, 77])
    name, minutes = MARKETS[0].name, int(days * MINUTES_PER_DAY)

    def moments(count: int) -> list[int]:
        return sorted(int(t) for t in rng.integers(minutes // 7, max(minutes * 6 // 7, minutes // 7 + 1), count))

    def ranks(count: int) -> list[int]:
        return [int(r) for r in rng.integers(0, listings, count)]

    def one_of(*values: float) -> float:
        return float(values[int(rng.integers(len(values)))])

    some = max(2, listings // 6)
    base = MarketConfig(
        markets=MARKETS[:1],
        skus=listings,
        grouped_share=0.0,
        family=family,
        shocks=tuple(
            Shock(t, name, r, one_of(0.5, 0.7, 1.4, 2.0), "readiness" if j % 2 else "arrivals")
            for j, (t, r) in enumerate(zip(moments(some), ranks(some), strict=True))
        ),
        rival_moves=tuple(
            RivalMove(t, name, r, one_of(0.86, 0.9, 1.12)) for t, r in zip(moments(some), ranks(some), strict=True)
        ),
        cost_changes=tuple(
            CostChange(t, name, r, one_of(0.92, 1.08, 1.12))
            for t, r in zip(moments(some), ranks(some), strict=True)
        ),
        calendar=(),
    )
    visits = VISITS_PER_LISTING * listings
    return MarketConfig(**{**_fields(base), "events_per_minute": visits * events_per_visit(base)})


def _fields(config: MarketConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
