"""The simulated market on its way to the topics, with prices from the edge for some visits."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.clock import Clock
from jobs.runtime.pseudonym import pseudonym
from jobs.simulation.config import MarketConfig
from jobs.simulation.market import Market
from jobs.simulator.edge_client import EdgeClient
from jobs.simulator.live_prices import LivePrices
from jobs.simulator.market_publisher import MAX_STEP_MS, MarketPublisher
from tests.jobs.simulator.edge_server import edge_server

START_MS = 1_767_571_200_000
UNREACHABLE = "redis://127.0.0.1:1/0"
EDGE_PRICE = 4242
Sent = list[tuple[str, dict[str, Any], int]]


@pytest.fixture
def published() -> tuple[MarketPublisher, Sent, list[str]]:
    """A publisher after two steps, the records it sent, and the paths requested from the edge."""
    config = MarketConfig(
        skus=3, events_per_minute=600.0, shocks=(), rival_moves=(), cost_changes=(), late_share=0.0
    )
    market = Market(config, 1, START_MS, lambda name: pseudonym("key", name))
    sent: Sent = []

    def send(topic: str, key: str, value: bytes, timestamp_ms: int) -> None:
        sent.append((topic, orjson.loads(value), timestamp_ms))

    with edge_server() as (url, paths):
        edge = EdgeClient(url, timeout_s=10.0)
        tables = RedisPriceTables(UNREACHABLE)
        prices = LivePrices(market.listings, market.list_minor.tolist(), tables, edge, 0.3, "key")
        # The clock is years ahead of the market: each step simulates a whole minute.
        publisher = MarketPublisher(market, prices, Clock(START_MS, 0, 1.0), send)
        publisher.at_ms = START_MS
        publisher.publish_opening()
        for _ in range(2):
            assert publisher.advance() > 0
            edge.drain()
        edge.close()
        prices.close()
    return publisher, sent, paths


def test_step_ends_after_at_most_a_minute(published: tuple[MarketPublisher, Sent, list[str]]) -> None:
    assert published[0].at_ms == START_MS + 2 * MAX_STEP_MS


def test_shoppers_quoted_by_the_edge_are_shown_its_price(
    published: tuple[MarketPublisher, Sent, list[str]],
) -> None:
    _, sent, paths = published
    clicks = [r for topic, r, _ in sent if topic == "clicks" and r["price_minor"] == EDGE_PRICE]
    assert paths and clicks
    assert {r["segment"] for r in clicks} == {"strategic"}
    assert all(len(r["customer"]) == 32 and len(r["session"]) == 32 for r in clicks)


def test_quotes_of_the_edge_are_not_logged_again(published: tuple[MarketPublisher, Sent, list[str]]) -> None:
    publisher, sent, _ = published
    quotes = [r for topic, r, _ in sent if topic == "quotes"]
    assert EDGE_PRICE not in {quote["price_minor"] for quote in quotes}
    assert publisher.sent["quotes"] == len(quotes)


def test_event_times_are_not_after_the_kafka_timestamp(
    published: tuple[MarketPublisher, Sent, list[str]],
) -> None:
    assert all(record["event_time_ms"] <= timestamp_ms for _, record, timestamp_ms in published[1])
