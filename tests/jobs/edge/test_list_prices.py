"""List prices at the edge: before a listing's first table, and after a table has expired."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.price_cache import PriceCache
from jobs.edge.price_entry import NoPriceError, UnknownListingError
from schemas.topics import TOPICS
from tests.jobs.edge.edge_builders import NOW, UNREACHABLE, KeptQuotes, a_table, an_entry, ask


def test_expired_table_is_replaced_by_the_list_price(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(expires_ms=NOW))

    async def scenario() -> dict[str, Any]:
        cache = PriceCache(redis_server.url)
        reply = await ask(cache, KeptQuotes())
        await cache.close()
        return reply

    reply = asyncio.run(scenario())
    assert (reply["source"], reply["price_minor"], reply["reason"], reply["valid_until_ms"]) == (
        "list", 2999, "list price", None,
    )  # fmt: skip


def test_listing_without_a_table_is_quoted_at_its_list_price(redis_server: Any, tables: RedisPriceTables) -> None:
    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes)
        cache.on_catalog(an_entry())
        reply = await ask(cache, quotes)
        public = ("source", "price_minor", "version", "reason", "valid_until_ms", "age_ms")
        assert [reply[name] for name in public] == ["list", 2999, 0, "list price", None, 700]
        assert TOPICS["quotes"].validate(quotes.kept[-1], NOW) is None
        assert (quotes.kept[-1]["table_id"], quotes.kept[-1]["price_group"]) == ("list-2999", "g-1")
        await cache.close()

    asyncio.run(scenario())


def test_first_table_replaces_the_list_price(redis_server: Any, tables: RedisPriceTables) -> None:
    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        cache.on_catalog(an_entry())
        await ask(cache, quotes)
        tables.publish(a_table(version=5))
        assert (await ask(cache, quotes))["version"] == 5
        await cache.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes",
    [{"active": False}, {"list_minor": None}, {"list_minor": -5}, {"list_minor": 2**63 - 1}],
    ids=["inactive", "missing", "negative", "too high"],
)
def test_entry_without_a_valid_list_price_is_not_quoted(
    redis_server: Any, tables: RedisPriceTables, changes: dict[str, Any]
) -> None:
    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=0.0)
        cache.on_catalog(an_entry())
        cache.on_catalog(an_entry(**changes))
        with pytest.raises(UnknownListingError):
            await ask(cache, KeptQuotes())
        await cache.close()

    asyncio.run(scenario())


def test_without_redis_list_prices_are_served_once_all_tables_are_read() -> None:
    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0)
        cache.on_catalog(an_entry())
        with pytest.raises(NoPriceError):
            await ask(cache, KeptQuotes())
        cache.all_tables_read = lambda: True
        assert (await ask(cache, KeptQuotes()))["price_minor"] == 2999
        cache.on_table(a_table(version=4))
        assert (await ask(cache, KeptQuotes()))["version"] == 4
        await cache.close()

    asyncio.run(scenario())
