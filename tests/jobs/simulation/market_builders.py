"""Small simulated markets, their records, and price tables for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from jobs.simulation.config import MarketConfig
from jobs.simulation.market import Events, Market
from jobs.simulation.prices import ListPrices, Prices, TablePrices
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS

START_MS = 1_767_571_200_000  # Monday 2026-01-05, 00:00 UTC
CALM: dict[str, Any] = {
    "shocks": (),
    "rival_moves": (),
    "cost_changes": (),
    "calendar": (),
    "season_amplitude": 0.0,
}
"""A configuration without scheduled events and seasons."""


def a_market(seed: int = 1, **changes: Any) -> Market:
    return Market(MarketConfig(**({"skus": 10, "events_per_minute": 2000.0} | CALM | changes)), seed, START_MS)


def a_run(market: Market, minutes: int, prices: Prices | None = None) -> Events:
    market.opening(START_MS)
    return market.step(START_MS, START_MS + minutes * MINUTE_MS, prices or ListPrices(market.list_minor))


def records(events: Events, topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(value) for _, _, name, _, value in events if name == topic]


def tables(market: Market, factors: Sequence[float] = (0.95, 1.0, 1.05), expires_ms: int = 2**60) -> TablePrices:
    prices = TablePrices(market.listings, market.list_minor)
    made = {}
    for listing, list_minor in zip(market.listings, market.list_minor.tolist(), strict=True):
        steps = sorted({round(list_minor * f) for f in factors})
        some = PriceList.from_propensities(steps, [1 / len(steps)] * len(steps))
        made[listing] = PriceTable(
            listing, listing.sku, 5, f"t-{listing.sku}", START_MS, expires_ms, "USD",
            {"base": {"all": some, "myopic": some}}, list_minor, None, "why", "d",
        )  # fmt: skip
    assert prices.take(made) == len(made)
    return prices
