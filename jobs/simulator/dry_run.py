"""Measures how many records a second one core simulates, without Kafka and Redis."""

from __future__ import annotations

import time

from jobs.simulation.config import MarketConfig
from jobs.simulation.market import Market
from jobs.simulation.prices import ListPrices, TablePrices
from schemas.events import QuoteSource
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS


def dry_run(config: MarketConfig, seed: int, budget_s: float = 4.0) -> dict[str, float]:
    """Return records a second on one core, in steps of a simulated minute: at list prices, and from price tables.

    Parameters
    ----------
    config : the market.
    seed : of everything random.
    budget_s : wall seconds of both measurements together.
    """
    results = {}
    for name in ("list_prices", "price_tables"):
        market = Market(config, seed, start_ms=0)
        prices = ListPrices(market.list_minor)
        if name == "price_tables":
            prices = TablePrices(market.listings, market.list_minor)
            prices.take({x: _table(x, int(p)) for x, p in zip(market.listings, market.list_minor, strict=True)})
        market.opening(0)
        market.step(0, MINUTE_MS, prices)
        events, at, began = 0, MINUTE_MS, time.perf_counter()
        while (spent := time.perf_counter() - began) < budget_s / 2:
            events += len(market.step(at, at + MINUTE_MS, prices))
            at += MINUTE_MS
        results[f"{name}_events_per_second"] = events / spent
    return results


def _table(listing: Listing, list_minor: int) -> PriceTable:
    prices = PriceList.from_propensities([list_minor - 40, list_minor, list_minor + 40], [0.1, 0.8, 0.1])
    return PriceTable(
        listing=listing,
        price_group=listing.sku,
        version=1,
        table_id=f"t{list_minor}",
        published_ms=0,
        expires_ms=10**15,
        currency="USD",
        table={"base": {"all": prices}},
        list_minor=list_minor,
        offer_minor=None,
        reason=QuoteSource.TABLE.value,
        decision_id="dry-run",
    )
