"""The bounded dictionary of the edge's caches."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.price_cache import PriceCache
from jobs.edge.quoting import Quoting
from jobs.edge.recently_used import RecentlyUsed
from tests.jobs.edge.edge_builders import FixedClock, KeptQuotes, a_table


@given(st.integers(2, 9), st.lists(st.integers(0, 12), max_size=200))
def test_cache_is_bounded_and_keeps_what_was_used_recently(limit: int, keys: list[int]) -> None:
    cache: RecentlyUsed[int, str] = RecentlyUsed(limit)
    for number, key in enumerate(keys):
        found = cache[key]
        assert found in (None, str(key))
        if found is None:
            cache.put(key, str(key))
        assert cache.size <= limit
        recent = list(dict.fromkeys(reversed(keys[: number + 1])))[: limit // 2]
        assert all(used in cache or used in cache._older for used in recent)


def test_replaced_value_is_found_and_counted_once() -> None:
    cache: RecentlyUsed[str, int] = RecentlyUsed(4)
    cache.put("a", 1)
    cache.age()
    cache.put("a", 2)
    assert (cache["a"], cache.size) == (2, 1)


def test_unused_customer_ids_are_forgotten_after_two_ages(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache = PriceCache(redis_server.url)
        quoting = Quoting(cache, KeptQuotes(), FixedClock(), "secret")
        path = "/v1/quotes/acme/web-us-usd/sku-1"
        await quoting.answer(path, b"customer=leaves")
        for _ in range(2):
            await quoting.answer(path, b"customer=stays")
            quoting.age_shoppers()
        assert quoting._shoppers[b"customer=stays"] is not None
        assert quoting._shoppers[b"customer=leaves"] is None
        await cache.close()

    asyncio.run(scenario())


def test_rendered_quotes_are_bounded_and_follow_the_table(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many(a_table(f"sku-{i}") for i in range(9))

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=0.0)
        quoting = Quoting(cache, KeptQuotes(), FixedClock(), "secret", max_rendered=4)
        for i in range(9):
            await quoting.answer(f"/v1/quotes/acme/web-us-usd/sku-{i}", b"customer=c")
        assert quoting._rendered.size <= 4 and quoting._rendered.evicted >= 5
        tables.publish(a_table("sku-8", version=2))
        assert b'"version":2' in await quoting.answer("/v1/quotes/acme/web-us-usd/sku-8", b"customer=c")
        await cache.close()

    asyncio.run(scenario())
