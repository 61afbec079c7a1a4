"""The market of the drill: listings with a price table, and listings that have a list price alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import DAY_MS

TENANT, MARKET = "edge-drill", "web-us-usd"
TABLES, LISTED = 500, 25
"""Listings with a price table, and listings with a list price alone."""


def listing(number: int) -> Listing:
    """Return the listing of a number; the first :data:`TABLES` have a price table.

    >>> listing(3).key
    'edge-drill/web-us-usd/sku-0003'
    """
    return Listing(TENANT, MARKET, f"sku-{number:04d}")


LISTINGS: tuple[Listing, ...] = tuple(listing(number) for number in range(TABLES + LISTED))


def price_table(number: int, version: int) -> PriceTable:
    """Return a version of a listing's table: three prices, valid for a day."""
    now_ms, base = round(time.time() * 1000), 1_000 + number
    one = listing(number)
    return PriceTable(
        one, one.sku, version, f"t-{number}-{version}", now_ms, now_ms + DAY_MS, "USD",
        {"base": {"all": PriceList.from_propensities([base, base + 50, base + 100], [0.1, 0.8, 0.1])}},
        base + 200, None, "EVIDENCE demand", f"d-{number}-{version}",
    )  # fmt: skip


def load_market(settings: Settings) -> None:
    """Publish the catalog and every table to Kafka, and the tables to Redis, as the shop and repricing_job do."""
    now_ms = round(time.time() * 1000)
    with Publisher(settings.kafka) as out:
        for number, one in enumerate(LISTINGS):
            entry = CatalogEntry(
                f"drill-{one.sku}", now_ms, TENANT, MARKET, one.sku, one.sku, "shoes", "margin", "USD", 1, True,
                700, 1_200 + number,
            )  # fmt: skip
            out.send("catalog", entry, timestamp_ms=now_ms)
    publish_tables(settings, [price_table(number, now_ms) for number in range(TABLES)])


def publish_tables(settings: Settings, tables: Sequence[PriceTable]) -> None:
    """Publish tables to the topic and to Redis with their hints, as repricing_job does."""
    with Publisher(settings.kafka) as out:
        for table in tables:
            out.send("tables", table.to_record(), timestamp_ms=table.published_ms, key=table.listing.key)
    redis = RedisPriceTables(settings.redis.get_secret_value())
    try:
        redis.publish_many(tables)
    finally:
        redis.close()
