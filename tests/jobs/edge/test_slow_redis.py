"""A Redis that does not answer within half a second: cached answers, flagged, for a bounded time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.price_cache import PriceCache
from tests.jobs.edge.edge_builders import NOW, UNREACHABLE, KeptQuotes, a_table, an_entry, ask
from tests.jobs.edge.test_kept_quotes import WindowEdge, a_window


@contextmanager
def hanging(redis_server: Any) -> Iterator[None]:
    """Stop the server's process: it accepts connections and answers nothing."""
    process = redis_server._process.pid
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_slow_redis_leads_to_cached_answers_with_source_and_age(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_window())
    with WindowEdge(redis_server.url) as edge:
        before = edge.quote()
        with hanging(redis_server):
            began = time.monotonic()
            while (reply := edge.quote())["source"] != "stale":
                assert time.monotonic() - began < 5.0
            asked = time.monotonic()
            known, stranger = edge.quote(), edge.quote(customer="c2", session="s2")
            # One reading may be tried again, and is given up after half a second.
            assert time.monotonic() - asked < 1.5
        for each in (reply, known):
            assert (each["price_minor"], each["version"]) == (before["price_minor"], before["version"])
            assert each["source"] == "stale" and each["age_ms"] == before["age_ms"] > 0
        assert stranger["source"] == "stale" and stranger["version"] == 1
        began = time.monotonic()
        while edge.quote()["source"] != "table":
            assert time.monotonic() - began < 5.0


def test_table_that_nothing_confirms_for_an_hour_gives_way_to_the_list_price() -> None:
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0, monotonic=lambda: now[0])
        cache.on_table(replace(a_table(expires_ms=NOW + 86_400_000), unconfirmed_minutes=60))
        for seconds, source in ((0.0, "stale"), (3_599.0, "stale"), (3_602.0, "list"), (90_000.0, "list")):
            now[0] = seconds
            reply = await ask(cache, KeptQuotes())
            assert (reply["source"], reply["price_minor"] == 2999) == (source, source == "list")
        await cache.close()

    asyncio.run(scenario())


def test_news_from_kafka_confirm_that_no_newer_table_exists() -> None:
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0, monotonic=lambda: now[0])
        table = replace(a_table(expires_ms=NOW + 86_400_000), unconfirmed_minutes=60)
        cache.on_table(table)
        now[0] = 3_000.0
        cache.on_catalog(an_entry("other"))
        now[0] = 4_000.0
        assert (await ask(cache, KeptQuotes()))["source"] == "list", "the topics have not been read yet"
        cache.all_tables_read = lambda: True
        cache.on_catalog(an_entry("other"))
        now[0] = 7_000.0
        assert (await ask(cache, KeptQuotes()))["source"] == "stale"
        now[0] = 7_700.0
        assert (await ask(cache, KeptQuotes()))["source"] == "list"
        await cache.close()

    asyncio.run(scenario())


def test_redis_that_is_back_confirms_a_table_that_had_lapsed(redis_server: Any, tables: RedisPriceTables) -> None:
    now = [0.0]
    table = replace(a_table(expires_ms=NOW + 86_400_000), unconfirmed_minutes=60)
    tables.publish(table)

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0, monotonic=lambda: now[0])
        assert (await ask(cache, KeptQuotes()))["source"] == "table"
        redis_server.kill()
        now[0] = 3_601.0
        assert (await ask(cache, KeptQuotes()))["source"] == "list"
        redis_server.start()
        tables.mark_ready("epoch-2")
        tables.publish(table)
        now[0] = 3_603.0
        # Redis is read again in the background, and no quote waits for it.
        while (await ask(cache, KeptQuotes()))["source"] == "list":
            await asyncio.sleep(0)
        assert (await ask(cache, KeptQuotes()))["source"] == "table"
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_table_without_a_bound_is_served_until_it_expires() -> None:
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(UNREACHABLE, pause_s=0.0, monotonic=lambda: now[0])
        cache.on_table(a_table())
        now[0] = 80_000.0
        assert (await ask(cache, KeptQuotes()))["source"] == "stale"
        await cache.close()

    asyncio.run(scenario())
