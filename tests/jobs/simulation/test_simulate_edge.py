"""The simulator's live side: shoppers who ask the edge over HTTP, and a publishing that keeps up with the Clock."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import orjson
import pytest

from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.clock import Clock
from jobs.runtime.pseudonym import pseudonym
from jobs.simulate import MAX_PENDING_REQUESTS, EdgeClient, LivePrices, MarketPublisher, dry_run, main
from jobs.simulation.config import MarketConfig
from jobs.simulation.market import Market
from schemas.events import Listing

START_MS = 1_767_571_200_000
NOWHERE = "redis://127.0.0.1:1/0"


@contextmanager
def an_edge(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A small HTTP server that answers as the edge does; yields its address and the paths asked."""
    asked: list[str] = []

    class Edge(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """One quote of 4,242 minor units."""
            asked.append(self.path)
            query = parse_qs(urlparse(self.path).query)
            body = orjson.dumps({
                "quote_id": f"q-{len(asked)}", "price_minor": 4242, "source": "table", "segment": "strategic",
                "arm": query["arm"][0], "customer": pseudonym("key", query["customer"][0]),
            })  # fmt: skip
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Edge)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def a_question(session: str = "s1") -> tuple[str, Listing, dict[str, str]]:
    return session, Listing("demo", "web", "sku-1"), {"customer": "c1", "session": session, "arm": "base"}


def a_market() -> Market:
    config = MarketConfig(
        skus=3, events_per_minute=600.0, shocks=(), rival_moves=(), cost_changes=(), late_share=0.0
    )
    return Market(config, 1, START_MS, lambda name: pseudonym("key", name))


def test_each_visit_takes_the_reply_to_its_own_question_once() -> None:
    with an_edge() as (url, asked):
        edge = EdgeClient(url, timeout_s=10.0)
        edge.ask([a_question("s1"), a_question("s2")])
        edge.drain()
        replies = [edge.take(session) for session in ("s1", "s2", "s2", "s3")]
        edge.close()
    assert [r is not None and r["price_minor"] for r in replies] == [4242, 4242, False, False]
    assert sorted(asked) == [f"/v1/quotes/demo/web/sku-1?customer=c1&session=s{k}&arm=base" for k in (1, 2)]
    assert (edge.answered, edge.failed, edge.late) == (2, 0, 0)


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusal_is_counted_and_the_edge_then_left_alone_for_a_while(status: int) -> None:
    with an_edge(status) as (url, asked):
        edge = EdgeClient(url, timeout_s=10.0, pause_s=60.0)
        for session in ("s1", "s2"):
            edge.ask([a_question(session)])
            edge.drain()
            assert edge.take(session) is None
        edge.close()
    assert len(asked) == 1
    assert (edge.answered, edge.failed) == (0, 1)


def test_an_edge_that_is_not_there_is_no_reason_to_stop() -> None:
    edge = EdgeClient("http://127.0.0.1:1", timeout_s=5.0)
    edge.ask([a_question()])
    edge.drain()
    assert edge.take("s1") is None
    edge.close()
    assert edge.failed == 1


def test_a_visit_does_not_wait_for_its_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = EdgeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        edge.ask([a_question()])
        assert edge.take("s1") is None
        edge.drain()
        edge.close()
    assert edge.late == 1


def test_shoppers_who_ask_are_shown_the_edges_price_and_their_quotes_are_not_logged_again() -> None:
    market = a_market()
    sent: list[tuple[str, dict[str, Any], int]] = []

    def send(topic: str, key: str, value: bytes, timestamp_ms: int) -> None:
        sent.append((topic, orjson.loads(value), timestamp_ms))

    with an_edge() as (url, asked):
        edge = EdgeClient(url, timeout_s=10.0)
        tables = RedisPriceTables(NOWHERE)
        prices = LivePrices(market.listings, market.list_minor.tolist(), tables, edge, 0.3, "key")
        # Minutes of the run lie behind the clock: each step catches up with one, and asks for the next.
        publishing = MarketPublisher(market, prices, Clock(START_MS, 0, 1.0), send)
        publishing.at_ms = START_MS
        publishing.open()
        for _ in range(2):
            assert publishing.play() > 0
            edge.drain()
        edge.close()
        prices.close()
    assert publishing.at_ms == START_MS + 120_000
    from_edge = [r for topic, r, _ in sent if topic == "clicks" and r["price_minor"] == 4242]
    assert asked and from_edge
    assert {r["segment"] for r in from_edge} == {"strategic"}
    assert all(len(r["customer"]) == 32 and len(r["session"]) == 32 for r in from_edge)
    quotes = [r for topic, r, _ in sent if topic == "quotes"]
    assert 4242 not in {q["price_minor"] for q in quotes}
    assert all(r["event_time_ms"] <= stamp for _, r, stamp in sent)
    assert publishing.sent["quotes"] == len(quotes)


def test_no_more_questions_are_put_than_may_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = EdgeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5)
        edge.ask([a_question(f"s{k}") for k in range(MAX_PENDING_REQUESTS + 10)])
        waiting = edge.waiting
        edge.drain()
        edge.close()
    assert waiting == MAX_PENDING_REQUESTS


def test_the_dry_run_measures_both_ways_of_pricing() -> None:
    speeds = dry_run(MarketConfig(skus=5, events_per_minute=2000.0), seed=1, budget_s=0.05)
    assert set(speeds) == {"list_prices_events_per_second", "price_tables_events_per_second"}
    assert min(speeds.values()) > 1000


def test_help_says_what_the_command_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "--http-share" in capsys.readouterr().out
