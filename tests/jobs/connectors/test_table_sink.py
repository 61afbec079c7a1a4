"""Price tables written to Redis: published once, queued while Redis is down, dropped if Redis has a newer one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from redis.exceptions import ConnectionError

from features.bucket_logic import Output
from jobs.connectors.redis import output_sinks
from jobs.connectors.redis.output_sinks import PAUSE_AFTER_FAILURE_S, RedisTableSink
from jobs.connectors.redis.price_tables import NOT_READY, RedisPriceTables
from jobs.pricing.ports import InMemoryPriceTables, PublishResult
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable


def a_table(version: int, sku: str = "s1") -> Output:
    table = PriceTable(
        listing=Listing("acme", "web", sku), price_group="g", version=version, table_id="t", published_ms=1,
        expires_ms=9, currency="USD", table={"base": {"all": PriceList.from_propensities([999], [1.0])}},
        list_minor=1099, offer_minor=None, reason="COLD_START", decision_id=f"d-{version}",
    )  # fmt: skip
    return Output("tables", sku, table.to_record(), 1)


class LosableTables(RedisPriceTables):
    """Price tables in memory; calls fail while ``down`` is set and are refused while ``ready_now`` is not."""

    def __init__(self, *, down: bool = False, ready: bool = True) -> None:
        self.down, self.ready_now, self.calls = down, ready, 0
        self.held = InMemoryPriceTables()

    def publish_many(
        self, tables: Iterable[PriceTable], *, must_be_ready: bool = True, chunk: int = 500
    ) -> list[PublishResult]:
        self.calls += 1
        if self.down:
            raise ConnectionError("away")
        if not self.ready_now:
            return [PublishResult(False, NOT_READY) for _ in tables]
        return [self.held.publish(table) for table in tables]


class Seconds:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    seconds = Seconds()
    monkeypatch.setattr(output_sinks, "time", seconds)
    return seconds


def test_tables_are_published_and_counted(wall: Seconds) -> None:
    sink = RedisTableSink(LosableTables())
    sink.write([a_table(1), a_table(1, "s2")])
    assert sink.counts == {"tables_published": 2, "tables_outrun": 0, "tables_waiting": 0}


def test_table_older_than_the_one_in_redis_is_dropped(wall: Seconds) -> None:
    tables = LosableTables()
    RedisTableSink(tables).write([a_table(7)])
    sink = RedisTableSink(tables)
    sink.write([a_table(6)])
    assert sink.counts == {"tables_published": 0, "tables_outrun": 1, "tables_waiting": 0}


def test_newest_table_of_a_listing_is_queued_until_redis_is_ready(wall: Seconds) -> None:
    tables = LosableTables(ready=False)
    sink = RedisTableSink(tables)
    sink.write([a_table(1), a_table(2)])
    assert sink.counts == {"tables_published": 0, "tables_outrun": 0, "tables_waiting": 1}
    tables.ready_now, wall.now = True, PAUSE_AFTER_FAILURE_S
    sink.write([])
    assert sink.counts == {"tables_published": 1, "tables_outrun": 0, "tables_waiting": 0}
    assert [table.version for table in tables.held.tables.values()] == [2]


def test_failed_redis_is_not_called_during_the_pause(wall: Seconds) -> None:
    tables = LosableTables(down=True)
    sink = RedisTableSink(tables)
    sink.write([a_table(1)])
    wall.now = PAUSE_AFTER_FAILURE_S - 0.1
    sink.write([])
    assert (tables.calls, sink.counts["tables_waiting"]) == (1, 1)
    wall.now = PAUSE_AFTER_FAILURE_S
    sink.write([])
    assert tables.calls == 2
