"""Catalog entries of listings in price groups of chosen buckets, and their lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from jobs.hosting.cell_query import Line
from schemas.listings import bucket_of, group_key
from schemas.topics import TOPICS

START_MS = 1_767_571_200_000
BUCKETS = 3


def bucket_of_group(group: str) -> int:
    return bucket_of(group_key("demo", "web", group), BUCKETS)


def group_in(bucket: int, but: str = "") -> str:
    """Return the name of a price group in a bucket, another one than ``but``."""
    return next(name for i in range(99) if bucket_of_group(name := f"g{i}") == bucket and name != but)


class Arrival(NamedTuple):
    """A record with its Kafka timestamp."""

    kafka_ts_ms: int
    stream: str
    value: dict[str, Any]


def an_entry(
    at_ms: int, group: str, *, sku: str = "s1", kafka_ts_ms: int | None = None, **changes: Any
) -> Arrival:
    entry = {
        "event_id": f"{sku}-{at_ms}", "event_time_ms": at_ms, "tenant": "demo", "market": "web", "sku": sku,
        "price_group": group, "category": "shoes", "role": "margin", "currency": "USD", "pack_size": 1,
        "active": True, "cost_minor": 600, "list_minor": 1000,
    }  # fmt: skip
    return Arrival(at_ms if kafka_ts_ms is None else kafka_ts_ms, "catalog", entry | changes)


def lines(arrivals: Iterable[Arrival]) -> dict[str, list[Line]]:
    kept: dict[str, list[Line]] = {}
    for at, name, value in sorted(arrivals, key=lambda each: each.kafka_ts_ms):
        of_topic = kept.setdefault(TOPICS[name].topic, [])
        of_topic.append((0, len(of_topic), at, orjson.dumps(value)))
    return kept
