"""Customers' segments written to Redis: decided by the counts of all periods, queued in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from features.bucket_logic import Fact
from features.segments.customers import SegmentLogic
from jobs.connectors.redis.output_sinks import RedisSegmentSink
from jobs.connectors.redis.price_tables import RedisPriceTables
from schemas.time_units import DAY_MS


@pytest.fixture
def tables(redis_server: Any) -> RedisPriceTables:
    return RedisPriceTables(redis_server.url)


def a_purchase(customer: str, purchases: int, above: int, at_ms: int = 1) -> Fact:
    value = {
        "tenant": "acme", "customer": customer, "purchases": purchases, "above_offer": above,
        "event_time_ms": at_ms,
    }  # fmt: skip
    return Fact("segments", value, at_ms, "segments-0-0", at_ms)


def test_returning_customer_keeps_the_counts_of_redis(redis_server: Any, tables: RedisPriceTables) -> None:
    first, later = SegmentLogic(), SegmentLogic()
    RedisSegmentSink(tables).write(list(first.on_fact(a_purchase("c1", 10, 6))))
    assert redis_server.client.get("segment:{acme:c1}:c1") == "myopic"
    # Ten periods later the stream has dropped c1's counts and starts from one again.
    RedisSegmentSink(tables).write(list(later.on_fact(a_purchase("c1", 1, 0, 300 * DAY_MS))))
    assert redis_server.client.get("segment:{acme:c1}:c1") == "myopic", "6 of 11, not 0 of 1"
    RedisSegmentSink(tables).write(list(later.on_fact(a_purchase("new", 1, 0, 300 * DAY_MS))))
    assert redis_server.client.get("segment:{acme:ne}:new") == "strategic"


def test_highest_count_of_a_period_is_kept(tables: RedisPriceTables) -> None:
    sink, logic = RedisSegmentSink(tables), SegmentLogic()
    for purchases in (1, 2, 2, 10, 3):
        sink.write(list(logic.on_fact(a_purchase("c1", purchases, 1))))
    assert tables.add_purchases("acme", {("c1", 4): (5, 2)}) == {"c1": {0: (10, 1), 4: (5, 2)}}


class LosableTables(RedisPriceTables):
    """Counts and segments in memory; calls fail while ``down`` is set."""

    def __init__(self) -> None:
        self.down = True
        self.purchases: dict[str, dict[int, tuple[int, int]]] = {}
        self.segments: dict[str, str | None] = {}

    def add_purchases(
        self, tenant: str, counts: Mapping[tuple[str, int], tuple[int, int]]
    ) -> dict[str, dict[int, tuple[int, int]]]:
        if self.down:
            raise ConnectionError("away")
        for (customer, period), count in counts.items():
            self.purchases.setdefault(customer, {})[period] = count
        return {customer: self.purchases[customer] for customer, _ in counts}

    def set_segments(self, tenant: str, segments: Mapping[str, str | None]) -> int:
        self.segments |= segments
        return len(segments)


def test_segments_are_queued_while_redis_is_down() -> None:
    tables, logic = LosableTables(), SegmentLogic()
    sink = RedisSegmentSink(tables)
    sink.write(list(logic.on_fact(a_purchase("c1", 4, 4))))
    assert sink.counts == {"segments_written": 0, "segments_waiting": 1, "segments_dropped": 0}
    tables.down, sink._paused_until = False, 0.0
    sink.write([])
    assert sink.counts == {"segments_written": 1, "segments_waiting": 0, "segments_dropped": 0}
    assert tables.segments == {"c1": "myopic"}


def test_queue_of_segments_is_bounded_and_drops_are_counted() -> None:
    sink, logic = RedisSegmentSink(LosableTables(), max_pending=3), SegmentLogic()
    for i in range(5):
        sink.write(list(logic.on_fact(a_purchase(f"c{i}", 4, 4))))
    assert (sink.counts["segments_waiting"], sink.counts["segments_dropped"]) == (3, 2)
    assert sorted(customer for _, customer, _ in sink._pending) == ["c2", "c3", "c4"]


def test_deleted_customer_has_no_counts(redis_server: Any, tables: RedisPriceTables) -> None:
    RedisSegmentSink(tables).write(list(SegmentLogic().on_fact(a_purchase("c1", 10, 6))))
    tables.set_segments("acme", {"c1": None})
    assert redis_server.client.keys("*c1*") == []
