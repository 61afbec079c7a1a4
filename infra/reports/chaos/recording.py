"""A recorded input: the records of a simulated market over some hours, so that two runs get the same input.

The recording contains its own price tables and quotes, so that the prices shown do not depend on the run. One
record in a hundred is invalid, in each of the ways of :data:`jobs.simulation.incidents.DIRTY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from jobs.simulation.config import MarketConfig
from jobs.simulation.incidents import DIRTY
from jobs.simulation.market import Market
from jobs.simulation.prices import TablePrices
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.ticks import due_ticks
from schemas.time_units import MINUTE_MS
from schemas.topics import INPUTS

TENANT = "drill"
INVALID_KINDS = len(DIRTY)


class RecordToSend(NamedTuple):
    """A record to send: its Kafka timestamp, topic (short name), partition (-1: by key), key and value."""

    at_ms: int
    topic: str
    partition: int
    key: str
    value: bytes


def record(
    *,
    seed: int,
    start_ms: int,
    minutes: int,
    skus: int,
    events_per_minute: float,
    buckets: int,
    dirty: float = 0.01,
) -> list[RecordToSend]:
    """Return all records of ``minutes`` from ``start_ms``, including ticks, in order of time."""
    config = MarketConfig(
        tenant=TENANT, skus=skus, events_per_minute=events_per_minute, dirty_share=dirty, customers=2_000
    )
    market = Market(config, seed, start_ms)
    prices = TablePrices(market.listings, market.list_minor)
    events = list(market.opening(start_ms))
    for minute in range(minutes):
        if minute in (0, minutes // 2):
            # The prices of the second half differ, so that elasticities can be learned.
            prices.take(_tables(market, 1 if minute == 0 else 2))
        at = start_ms + minute * MINUTE_MS
        events += market.step(at, at + MINUTE_MS, prices)
    found = [RecordToSend(at, topic, -1, key, value) for at, _, topic, key, value in events]
    return sorted(found + ticks(start_ms, start_ms + minutes * MINUTE_MS, buckets), key=lambda sent: sent.at_ms)


def ticks(after_ms: int, upto_ms: int, buckets: int) -> list[RecordToSend]:
    """Return the ticks in (after, upto]."""
    partitions: Mapping[str, int] = {topic.name: topic.partitions for topic in INPUTS}
    return [
        RecordToSend(
            tick.at_ms, tick.topic, tick.partition if tick.bucket < 0 else -1, "tick", orjson.dumps(tick.record())
        )
        for tick in due_ticks(after_ms, upto_ms, buckets=buckets, partitions=partitions)
    ]


def _tables(market: Market, version: int) -> dict[Listing, PriceTable]:
    share = {1: (0.95, 1.0, 1.05), 2: (0.9, 1.0, 1.1)}[version]
    found = {}
    for listing, minor in zip(market.listings, market.list_minor.tolist(), strict=True):
        prices = PriceList.from_propensities([round(minor * s) for s in share], [0.3, 0.4, 0.3])
        found[listing] = PriceTable(
            listing, listing.sku, version, f"r{version}-{listing.sku}", 0, 10**15, "USD",
            {"base": {"all": prices}}, int(minor), None, "recorded", f"r{version}",
        )  # fmt: skip
    return found
