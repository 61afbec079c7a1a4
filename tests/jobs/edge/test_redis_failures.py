"""Redis that fails, and invalid tables in it: no request waits, and one table disturbs no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.reports.edge_drill.disturbances.poisoned_table import FIELDS, LINES
from jobs.connectors.kafka.reading import Record
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.rebuild import _take
from jobs.edge.price_cache import PriceCache
from jobs.edge.session_quotes import VisitorId
from schemas.price_table import PriceTable, PriceTableError
from schemas.redis_keys import price_key
from schemas.topics import TOPICS
from tests.jobs.edge.edge_builders import UNREACHABLE, KeptQuotes, a_table, an_entry, ask


def test_only_the_first_requests_wait_for_a_redis_that_fails() -> None:
    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0)
        cache.all_tables_read = lambda: True
        cache.on_table(a_table())
        cache.on_catalog(an_entry("list price alone"))
        await cache.lookup(a_table().listing, VisitorId("acme", "first", "visit"))
        assert cache.failures == 1
        for sku in ("sku-1", "list price alone"):
            # A coroutine that ends at its first step has waited for nothing.
            with pytest.raises(StopIteration):
                cache.lookup(a_table(sku).listing, VisitorId("acme", "new customer", "visit")).send(None)
        while cache.failures == 1:
            await asyncio.sleep(0)
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_redis_that_answers_again_is_used_after_a_read_in_the_background(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0), KeptQuotes()
        await ask(cache, quotes)
        redis_server.kill()
        assert (await ask(cache, quotes))["source"] == "stale"
        redis_server.start()
        tables.mark_ready("again")
        tables.publish(a_table(version=2))
        while (await ask(cache, quotes))["source"] == "stale":
            await asyncio.sleep(0)
        assert (await ask(cache, quotes))["version"] == 2
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("kind", FIELDS)
def test_invalid_table_is_refused(kind: str) -> None:
    fields = FIELDS[kind](a_table().to_redis())
    with pytest.raises(PriceTableError):
        PriceTable.from_redis(a_table().listing, fields)


@pytest.mark.parametrize("invalid", ["another type", "no text", *FIELDS])
def test_invalid_table_disturbs_no_other_of_its_batch(
    invalid: str, redis_server: Any, tables: RedisPriceTables
) -> None:
    skus = ("first", "invalid", "last")
    tables.publish_many(a_table(sku) for sku in skus)

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        for sku in skus:
            await ask(cache, quotes, sku)
        tables.publish_many(a_table(sku, version=2) for sku in skus)
        key = price_key(a_table("invalid").listing)
        redis_server.client.delete(key)
        if invalid == "another type":
            redis_server.client.set(key, "no hash")
        elif invalid == "no text":
            redis_server.client.hset(key, mapping={"version": 2, "table": b"\xff\xfe"})
        else:
            redis_server.client.hset(key, mapping=FIELDS[invalid](a_table("invalid", version=2).to_redis()))
        replies = await asyncio.gather(*(ask(cache, quotes, sku, f"c-{sku}") for sku in skus))
        assert [reply["version"] for reply in replies] == [2, 1, 2]
        assert [reply["source"] for reply in replies] == ["table", "stale", "table"]
        assert cache.failures == 0
        await cache.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_rebuild_counts_a_line_that_is_no_record(line: bytes) -> None:
    for topic in ("tables", "decisions"):
        assert not _take({}, Record(TOPICS[topic].topic, 0, 0, 0, None, line), {})
