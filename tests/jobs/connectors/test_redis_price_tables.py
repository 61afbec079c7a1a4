"""Compare-and-set on a real Redis: a stale writer never wins, a lost Redis refuses tables until it is ready."""

from __future__ import annotations

import dataclasses
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import TimeoutError

from jobs.connectors.redis.price_tables import NOT_READY, RedisPriceTables, client_options
from jobs.connectors.redis.rebuild import table_of_decision
from jobs.pricing.ports import InMemoryPriceTables, PublishResult
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.redis_keys import price_key, updates_channel

LISTING = Listing("acme", "web-us-usd", "sku 1/blue")


def a_table(version: int = 5, decision_id: str | None = None, **more: Any) -> PriceTable:
    table = PriceTable(
        listing=LISTING, price_group="g", version=version, table_id=f"t-{version}", published_ms=version,
        expires_ms=version + 1000, currency="USD",
        table={"base": {"all": PriceList.from_propensities([999], [1.0])}},
        list_minor=1099, offer_minor=980, reason="COLD_START", decision_id=decision_id or f"d-{version}",
    )  # fmt: skip
    return dataclasses.replace(table, **more)


def test_published_table_is_read_back(tables: RedisPriceTables) -> None:
    assert tables.publish(a_table()) == PublishResult(True, 5)
    assert tables.get(LISTING) == a_table()
    assert tables.get_many([LISTING, Listing("acme", "web-us-usd", "none")]) == {LISTING: a_table()}
    assert list(tables.listings()) == [LISTING]


def test_hash_in_redis_has_exactly_the_layouts_fields(tables: RedisPriceTables, redis_server: Any) -> None:
    tables.publish(a_table(5))
    redis_server.client.hset(price_key(LISTING), "left_by_a_former_layout", "x")
    tables.publish(a_table(6))
    assert redis_server.client.hgetall(price_key(LISTING)) == a_table(6).to_redis()


def test_lower_or_equal_version_of_another_decision_is_refused(tables: RedisPriceTables) -> None:
    tables.publish(a_table(7))
    assert tables.publish(a_table(6)) == PublishResult(False, 7)
    assert tables.publish(a_table(7, "someone else's")) == PublishResult(False, 7)
    assert tables.get(LISTING) == a_table(7)


def test_repeated_decision_is_acknowledged_and_never_lowers_the_version(tables: RedisPriceTables) -> None:
    tables.publish(a_table(7, "d"))
    assert tables.publish(a_table(7, "d")) == PublishResult(True, 7)
    assert tables.publish(a_table(6, "d")) == PublishResult(True, 7)
    assert tables.get(LISTING) == a_table(7, "d")


def test_tables_are_refused_without_the_ready_epoch(tables: RedisPriceTables) -> None:
    tables.mark_unready()
    assert tables.publish(a_table()) == PublishResult(False, NOT_READY)
    assert tables.get(LISTING) is None


def test_redis_that_lost_its_data_refuses_tables_until_it_is_ready(
    tables: RedisPriceTables, redis_server: Any
) -> None:
    tables.publish(a_table(9))
    redis_server.kill()
    redis_server.start()
    assert tables.publish(a_table(8)) == PublishResult(False, NOT_READY)
    assert tables.publish_many([a_table(9)], must_be_ready=False) == [PublishResult(True, 9)]
    tables.mark_ready("epoch-2")
    assert tables.publish(a_table(8)) == PublishResult(False, 9)


def test_highest_version_of_concurrent_writers_is_kept(tables: RedisPriceTables) -> None:
    versions = [(i * 37) % 101 + 1 for i in range(100)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda version: tables.publish(a_table(version)), versions))
    assert tables.get(LISTING) == a_table(max(versions))
    assert all(result.version_now >= v for result, v in zip(results, versions, strict=True) if result.accepted)


def test_accepted_table_sends_one_hint_and_a_refused_one_none(tables: RedisPriceTables, redis_server: Any) -> None:
    hints = redis_server.client.pubsub(ignore_subscribe_messages=True)
    hints.subscribe(updates_channel("acme", "web-us-usd"))
    assert hints.get_message(timeout=1.0) is None
    tables.publish(a_table(5))
    tables.publish(a_table(4))
    tables.publish(a_table(6))
    assert [hints.get_message(timeout=1.0)["data"] for _ in range(2)] == ["sku 1/blue 5", "sku 1/blue 6"]
    hints.close()


def test_segments_are_written_read_and_deleted(tables: RedisPriceTables) -> None:
    assert tables.segment("acme", "c1") is None
    assert tables.set_segments("acme", {"c1": "myopic", "c2": "strategic"}) == 2
    assert tables.segment("acme", "c1") == "myopic"
    assert tables.segment("other", "c1") is None
    tables.set_segments("acme", {"c1": None})
    assert tables.segment("acme", "c1") is None


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_behaves_as_the_in_memory_tables(
    tables: RedisPriceTables, redis_server: Any, writes: list[tuple[int, str]]
) -> None:
    redis_server.client.delete(price_key(LISTING))
    in_memory = InMemoryPriceTables()
    for version, decision in writes:
        assert tables.publish(a_table(version, decision)) == in_memory.publish(a_table(version, decision))
    assert tables.get(LISTING) == in_memory.tables.get(price_key(LISTING))


def test_table_of_a_decision_and_none_of_an_unpublished_one() -> None:
    decision: dict[str, Any] = {
        "decision_id": "d-5", "tenant": "acme", "market": "web-us-usd", "sku": "sku 1/blue", "price_group": "g",
        "decided_at_ms": 5, "published": True, "version": 5, "table_id": "t-5",
        "inputs": {
            "currency": "USD", "catalog": {"list_minor": 1099},
            "policy": {"tables": {"life_minutes": 1440, "arm": "base"}},
        },
        "result": {
            "table": {"all": {"p": [999], "c": [4294967295]}},
            "default_minor": 999, "rivals_mean_minor": 980.2, "rivals_fresh": True,
            "reason": "COLD_START",
        },
    }  # fmt: skip
    assert table_of_decision(decision, {}) == a_table(5, expires_ms=5 + 86_400_000)
    assert table_of_decision(decision | {"published": False}, {}) is None


def test_hanging_redis_is_reported_after_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = client_options() | {"socket_timeout": 0.05}
    monkeypatch.setattr("jobs.connectors.redis.price_tables.client_options", lambda: quick)
    # The system accepts the connection and nothing reads it; a second connection would be queued behind it.
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        silent.setblocking(False)
        tables = RedisPriceTables(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(TimeoutError):
            tables.publish(a_table(1))
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
        tables.close()
