"""The edge's cache: what it serves while Redis works, fails, hangs or has lost its data, and what it evicts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.price_cache import PriceCache
from jobs.edge.price_entry import NoPriceError, UnknownListingError
from schemas.listings import Listing
from schemas.redis_keys import price_key
from tests.jobs.edge.edge_builders import UNREACHABLE, KeptQuotes, a_table, a_visitor, an_entry, ask


def test_cached_price_is_served_as_stale_while_redis_is_down(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many([a_table(), a_table("not requested")])

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0), KeptQuotes()
        before = await ask(cache, quotes)
        redis_server.kill()
        after = await ask(cache, quotes)
        assert (before["source"], after["source"]) == ("table", "stale")
        assert before["price_minor"] == after["price_minor"]
        with pytest.raises(NoPriceError):
            await ask(cache, quotes, "not requested")
        await cache.close()

    asyncio.run(scenario())
    redis_server.start()


def test_redis_that_lost_its_data_is_ignored_until_it_is_ready(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0), KeptQuotes()
        await ask(cache, quotes)
        redis_server.client.flushall()
        assert (await ask(cache, quotes))["source"] == "stale"
        tables.publish_many([a_table(version=2, price=1500)], must_be_ready=False)
        tables.mark_ready("epoch-2")
        rebuilt = await ask(cache, quotes)
        assert (rebuilt["source"], rebuilt["version"]) == ("table", 2)
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes, "not requested")
        await cache.close()

    asyncio.run(scenario())


def test_timeout_of_a_hanging_redis_is_paid_once() -> None:
    tries = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        while await reader.read(1024):
            pass
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            cache = PriceCache(f"redis://127.0.0.1:{port}/0", timeout_s=0.05, pause_s=60.0)
            cache.on_table(a_table())
            for customer in ("one", "another"):
                entry, known = await cache.lookup(a_table().listing, a_visitor(customer))
                assert (entry.table, entry.confirmed, known.segment) == (a_table(), False, None)
            with pytest.raises(NoPriceError):
                await cache.lookup(Listing("acme", "web-us-usd", "never-seen"), a_visitor("one"))
            assert (tries, cache.failures, cache.healthy) == (1, 1, False)
            await cache.close()

    asyncio.run(scenario())


def test_lower_version_than_a_served_one_is_never_served(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(version=9, price=1500))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        assert (await ask(cache, quotes))["version"] == 9
        redis_server.client.hset(price_key(a_table().listing), mapping=a_table(version=3).to_redis())
        reply = await ask(cache, quotes)
        assert (reply["version"], reply["source"]) == (9, "stale")
        redis_server.client.delete(price_key(a_table().listing))
        assert (await ask(cache, quotes))["version"] == 9
        assert cache.lower_versions == 2
        await cache.close()

    asyncio.run(scenario())


def test_next_quote_after_a_hint_reads_the_new_table(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(version=1))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=3600.0, segment_s=3600.0), KeptQuotes()
        await cache.start()
        assert (await ask(cache, quotes))["version"] == 1
        while redis_server.client.pubsub_numpat() == 0:
            await asyncio.sleep(0)
        tables.publish(a_table(version=2))
        while not cache.hints:
            await asyncio.sleep(0)
        assert (await ask(cache, quotes))["version"] == 2
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_entries_are_confirmed_again_after_the_connection_of_hints_was_lost(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table(version=1))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=3600.0, segment_s=3600.0), KeptQuotes()
        await cache.start()
        while redis_server.client.pubsub_numpat() == 0:
            await asyncio.sleep(0)
        assert (await ask(cache, quotes))["version"] == 1
        # A table whose hint is lost, because its connection ends before.
        redis_server.client.client_kill_filter(_type="pubsub")
        tables.publish(a_table(version=2))
        while not cache.hints_lost:
            await asyncio.sleep(0)
        assert cache.hints == 0 and (await ask(cache, quotes))["version"] == 2
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_concurrent_lookups_share_one_round_trip(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url), KeptQuotes()
        redis_server.client.config_resetstat()
        await asyncio.gather(*(ask(cache, quotes, customer=f"c{i}") for i in range(50)))
        assert redis_server.client.info("commandstats")["cmdstat_mget"]["calls"] == 1
        await cache.close()

    asyncio.run(scenario())


def test_segments_and_unknown_listings_are_bounded(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, max_segments=10, max_unknown=5), KeptQuotes()
        await asyncio.gather(*(ask(cache, quotes, customer=f"c{i}") for i in range(50)))
        for i in range(20):
            with pytest.raises(UnknownListingError):
                await ask(cache, quotes, f"none-{i}")
        assert cache.caches["segments"].size <= 10 and cache.caches["segments"].evicted >= 40
        assert len(cache._unknown) <= 5 and cache.size == 1
        await cache.close()

    asyncio.run(scenario())


def test_least_recently_used_table_is_evicted(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many(a_table(f"sku-{i}") for i in range(5))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, max_tables=3), KeptQuotes()
        for sku in ("sku-0", "sku-1", "sku-0", "sku-2", "sku-3"):
            assert (await ask(cache, quotes, sku))["version"] == 1
        assert [key.rpartition("/")[2] for key in cache._tables] == ["sku-0", "sku-2", "sku-3"]
        assert (cache.size, cache.evicted) == (3, 1)
        await cache.close()

    asyncio.run(scenario())


def test_evicted_table_is_read_again_on_request(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many(a_table(f"sku-{i}") for i in range(2))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, max_tables=1), KeptQuotes()
        for sku in ("sku-0", "sku-1"):
            await ask(cache, quotes, sku)
        tables.publish(a_table("sku-0", version=2))
        reply = await ask(cache, quotes, "sku-0")
        assert (reply["version"], reply["source"], cache.size, cache.evicted) == (2, "table", 1, 2)
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes, "none")
        await cache.close()

    asyncio.run(scenario())


def test_concurrent_lookups_beyond_max_tables_all_get_their_price(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish_many(a_table(f"sku-{i}", price=1000 + 10 * i) for i in range(21))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, max_tables=2), KeptQuotes()
        reply = await asyncio.gather(*(ask(cache, quotes, f"sku-{i}") for i in range(20)))
        assert [one["sku"] for one in reply] == [f"sku-{i}" for i in range(20)]
        assert {one["source"] for one in reply} == {"table"}
        await ask(cache, quotes, "sku-20")
        assert cache.size == 2
        await cache.close()

    asyncio.run(scenario())


def test_tables_from_kafka_do_not_evict_requested_ones(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many([a_table("requested"), a_table("kafka-9")])

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, max_tables=3), KeptQuotes()
        await ask(cache, quotes, "requested")
        for i in range(4):
            cache.on_table(a_table(f"kafka-{i}"))
            cache.on_catalog(an_entry(f"kafka-{i}"))
        assert (cache.size, cache.evicted, cache.list_prices_evicted) == (3, 2, 1)
        await ask(cache, quotes, "kafka-9")
        assert "acme/web-us-usd/requested" in cache._tables, "tables that were not requested are evicted first"
        await cache.close()

    asyncio.run(scenario())


def test_without_redis_an_evicted_table_is_not_replaced_by_the_list_price() -> None:
    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0, max_tables=1)
        cache.all_tables_read = lambda: True
        for sku in ("held", "no-room"):
            cache.on_table(a_table(sku))
            cache.on_catalog(an_entry(sku))
        cache.on_catalog(an_entry("no-room"))
        assert (await ask(cache, KeptQuotes(), "held"))["source"] == "stale"
        with pytest.raises(NoPriceError):
            await ask(cache, KeptQuotes(), "no-room")
        await cache.close()

    asyncio.run(scenario())


def test_tables_from_kafka_are_served_as_stale_without_redis() -> None:
    async def scenario() -> dict[str, Any]:
        cache = PriceCache(UNREACHABLE, pause_s=0.0)
        cache.on_table(a_table(version=4))
        cache.on_table(a_table(version=3))
        reply = await ask(cache, KeptQuotes())
        await cache.close()
        return reply

    reply = asyncio.run(scenario())
    assert (reply["source"], reply["version"]) == ("stale", 4)


def test_table_in_use_is_refreshed_in_the_background(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(version=1))
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=1.0, monotonic=lambda: now[0])
        visitor, key = a_visitor("c"), a_table().listing.key
        await cache.lookup(a_table().listing, visitor)
        tables.publish(a_table(version=2))
        now[0] = 0.9
        found = cache.cached(key, visitor)
        assert found is not None and found[0].table.version == 1
        while cache._tables[key].table.version == 1:
            await asyncio.sleep(0)
        now[0] = 1.8
        assert cache.cached(key, visitor) is not None
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_unconfirmed_table_is_not_read_again_within_reread_s(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=1.0, monotonic=lambda: now[0])
        await cache.lookup(a_table().listing, a_visitor("c"))
        redis_server.kill()
        now[0] = 1.1
        entry, _ = await cache.lookup(a_table().listing, a_visitor("c"))
        assert not entry.confirmed and cache.failures == 1
        assert cache.cached(a_table().listing.key, a_visitor("c")) is not None
        await cache.close()

    asyncio.run(scenario())
    redis_server.start()
