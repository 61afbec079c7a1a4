"""From a catalog entry in Kafka to a table in Redis, an estimate, features in Feast and a recomputed decision."""

from __future__ import annotations

from typing import Any

import pytest

from infra.reports.waiting import until
from jobs.connectors.feast.features import VIEW, open_store
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.pricing.decision.reprice import recompute
from jobs.runtime.settings import Settings
from schemas.listings import Listing
from schemas.ticks import closing_ticks, due_ticks
from schemas.time_units import HOUR_MS, MINUTE_MS
from schemas.topics import INPUTS, TOPICS

pytestmark = pytest.mark.platform


def test_catalog_entry_leads_to_a_price_an_estimate_and_features(running_jobs: Settings) -> None:
    settings = running_jobs
    newest = max((r.kafka_ts_ms for t in INPUTS for r in read_topic(settings.kafka, t.topic)), default=0)
    # Across the end of an hour, when its statistics are pooled.
    start = (max(newest, 1_790_000_000_000) // HOUR_MS + 2) * HOUR_MS - 3 * MINUTE_MS
    end = start + 5 * MINUTE_MS
    listing = Listing(f"pipeline-{start}", "web-us-usd", "lamp")
    common = {"tenant": listing.tenant, "market": listing.market, "sku": listing.sku, "price_group": "lamp"}
    entry = common | {
        "event_id": "c1", "event_time_ms": start + 1000, "category": "lamps", "role": "kvi", "currency": "USD",
        "pack_size": 1, "active": True, "cost_minor": 1200, "list_minor": 2000,
    }  # fmt: skip
    offer = common | {
        "event_id": "o1", "event_time_ms": start + 2000, "competitor": "rival", "price_minor": 1900,
        "shipping_minor": 0, "in_stock": True, "currency": "USD", "pack_size": 1, "source": "feed",
        "match_confidence": 1.0,
    }  # fmt: skip
    partitions = {t.name: t.partitions for t in INPUTS}
    ticks = due_ticks(start, end, buckets=settings.buckets, partitions=partitions)
    ticks += closing_ticks(end, buckets=settings.buckets, partitions=partitions)
    with Publisher(settings.kafka) as out:
        out.send("catalog", entry, timestamp_ms=start + 1000)
        out.send("offers", offer, timestamp_ms=start + 2000)
        for tick in sorted(ticks):
            out.send(tick.topic, tick.record(), timestamp_ms=tick.at_ms, partition=tick.partition, key="tick")

    tables = RedisPriceTables(settings.redis.get_secret_value())
    table = until("a price table in Redis", lambda: tables.get(listing))
    assert min(p for s in table.table["base"].values() for p in s.prices) >= 1334  # MIN_MARGIN: 10 % over cost
    assert table.default_minor <= 2000

    def decision() -> dict[str, Any] | None:
        found = [r.json() for r in read_topic(settings.kafka, TOPICS["decisions"].topic)]
        return next((d for d in found if d["decision_id"] == table.decision_id), None)

    record = until("the decision behind the table", decision)
    assert recompute(record, PolicyTopic(settings.kafka)) == record["result"]

    def estimates() -> list[dict[str, Any]]:
        found = (r.json() for r in read_topic(settings.kafka, TOPICS["estimates"].topic) if r.value)
        return [e for e in found if e["tenant"] == listing.tenant]

    estimate = until("the first estimate of the listing, which is the category's", estimates)[0]
    assert (estimate["sku"], estimate["n"], estimate["raw_mean"]) == (listing.sku, 0, None)

    store = open_store(settings)
    names = [f"{VIEW}:margin_percent", f"{VIEW}:competitor_price_avg_7d"]
    rows = [{"listing": listing.key}]
    until(
        "the listing's features in Feast",
        lambda: store.get_online_features(names, rows).to_dict()["margin_percent"][0] is not None,
    )
