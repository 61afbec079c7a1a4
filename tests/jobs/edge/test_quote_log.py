"""The quote log: what is logged, to which partition, and what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.price_cache import PriceCache
from schemas.topics import TOPICS
from tests.jobs.edge.edge_builders import NOW, KeptQuotes, a_table, ask


def test_every_quote_is_logged_and_satisfies_the_contract(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many([a_table(), a_table("old", expires_ms=NOW)])

    async def scenario() -> list[Mapping[str, Any]]:
        cache, quotes = PriceCache(redis_server.url), KeptQuotes()
        await cache.start()
        reply = [await ask(cache, quotes, sku, f"c{i}") for sku in ("sku-1", "old") for i in range(20)]
        await cache.close()
        assert [q["price_minor"] for q in quotes.kept] == [s["price_minor"] for s in reply]
        assert [q["event_id"] for q in quotes.kept] == [s["quote_id"] for s in reply]
        return quotes.kept

    kept = asyncio.run(scenario())
    assert [TOPICS["quotes"].validate(quote, NOW) for quote in kept] == [None] * 40
    assert len({quote["event_id"] for quote in kept}) == 40
    assert {quote["offer_minor"] for quote in kept} == {1950}
    assert {round(quote["propensity"], 6) for quote in kept} == {0.7, 0.3, 1.0}


def test_quotes_of_one_group_go_to_one_partition() -> None:
    """Uses librdkafka's mock broker."""
    where: dict[str, set[int]] = {}

    class RecordingLog(QuoteLog):
        def _failed(self, error: Any, message: Any) -> None:
            assert error is None
            where.setdefault(message.key().decode(), set()).add(message.partition())

    quotes = RecordingLog("", **{"test.mock.num.brokers": 1, "delivery.report.only.error": False})
    for i in range(60):
        assert quotes.offer(f"acme/web/{i % 6}", b"{}", NOW)
        if i % 10 == 9:
            quotes.poll()
    assert quotes.logged == 60 and quotes.close() == 0
    assert len(where) == 6 and all(len(partitions) == 1 for partitions in where.values())
    assert len(set.union(*where.values())) > 1


def test_full_log_drops_and_counts() -> None:
    quotes = QuoteLog("127.0.0.1:1", capacity=3)
    assert [quotes.offer("g", b"{}", NOW) for _ in range(4)] == [True, True, True, False]
    assert quotes.dropped == 1 and quotes.waiting >= 3
    quotes.poll()
    quotes.offer("g", b"{}", NOW)
    quotes.poll()
    assert (quotes.logged, quotes.dropped) == (3, 2)
    assert quotes.close(0.0) >= 3
