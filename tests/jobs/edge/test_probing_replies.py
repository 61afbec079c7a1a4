"""Probing through the ASGI application: counted, slowed, answered with the default price, reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.access import KeyRing
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge import service
from jobs.edge.admission.slowing import Delays
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS
from tests.jobs.access.access_builders import bearer, keys, texts
from tests.jobs.edge.edge_builders import KEY, NOW, KeptQuotes, a_table
from tests.jobs.edge.test_edge_http import Client

ROOT = "/v1/quotes/acme/web-us-usd"
LIST_MINOR = 2999
NONE_LIMITS = {"edge_probing_listings": 10**6, "edge_probing_customers": 10**6, "edge_probing_prices": 10**6}


class ExaminedEdge(Client):
    """A client whose quotes and delays are kept, and whose address and key a test chooses."""

    def __init__(self, settings: Settings) -> None:
        self.quotes, self.delays_s = KeptQuotes(), list[float]()
        self.now_ms = NOW

        async def sleep(seconds: float) -> None:
            self.delays_s.append(seconds)

        self.app = service.build(
            settings, follow=False, ring=KeyRing(keys.values()), quotes=self.quotes, sleep=sleep
        )
        super().__init__(self.app)
        self._http.headers.update(bearer("browser"))

    def from_address(self, address: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, client=(address, 1))
        other = httpx.AsyncClient(transport=transport, base_url="http://edge", headers=bearer("browser"))
        return self._loop.run_until_complete(other.get(path))

    def prices(self, skus: list[str], customer: str = "c1") -> list[int]:
        listings = [f"acme/web-us-usd/{sku}" for sku in skus]
        lines = self.post("/v1/quotes:batch", json={"customer": customer, "listings": listings}).json()["lines"]
        return [line["quote"]["price_minor"] for line in lines]

    def price(self, customer: str, sku: str = "sku-1") -> int:
        return int(self.get(f"{ROOT}/{sku}", params={"customer": customer}).json()["price_minor"])

    def metric(self, name: str) -> float:
        text = self.get("/metrics", headers=bearer("every reader")).text
        [value] = [line.split()[1] for line in text.splitlines() if line.startswith(f"walras_edge_{name} ")]
        return float(value)


@pytest.fixture
def edge_with(
    redis_server: Any, tables: RedisPriceTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    tables.publish_many(a_table(f"sku-{i}", price=1000 + 10 * i) for i in range(1, 7))
    tables.set_segments("acme", {pseudonym(KEY, f"m{i}"): "myopic" for i in range(9)})

    @contextmanager
    def start(**limits: Any) -> Iterator[ExaminedEdge]:
        settings = Settings(
            redis=redis_server.url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY,
            home=tmp_path, **NONE_LIMITS | limits,
        )  # fmt: skip
        wall = [NOW]
        monkeypatch.setattr(service, "wall_ms", lambda: wall[0])
        with ExaminedEdge(settings) as client:
            client.wall = wall  # type: ignore[attr-defined]
            yield client

    return start


def test_caller_of_many_listings_gets_list_prices_slowly(
    edge_with: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), edge_with(edge_probing_listings=3) as edge:
        prices = edge.prices([f"sku-{i}" for i in range(1, 6)])
        assert prices[3:] == [LIST_MINOR] * 2 and all(price < LIST_MINOR for price in prices[:3])
        assert edge.delays_s == [], "the request that began the episode"
        assert edge.prices(["sku-1", "sku-2"]) == [LIST_MINOR] * 2
        assert edge.price("c1") == LIST_MINOR
        assert edge.delays_s == [2.0, 2.0]
        assert edge.metric('probing_episodes_count{pattern="listings"}') == 1
        assert edge.metric('probing_episodes_count{pattern="prices"}') == 0
        assert edge.metric("probing_default_answers_count") == 5
        assert edge.metric("probing_delayed_count") == 2
        health = edge.get("/healthz", headers=bearer("every reader")).json()
        assert (health["probing_callers"], health["probing_episodes"]) == (1, 1)
        edge.wall[0] += 600_000
        assert edge.get("/healthz", headers=bearer("every reader")).json()["probing_callers"] == 0
        assert edge.price("c1") < LIST_MINOR and len(edge.delays_s) == 2, "the episode has ended"
    [warning] = [record.getMessage() for record in caplog.records if "probing" in record.getMessage()]
    assert f"key {keys['browser'].key_id} at 127.0.0.1 asked for more than 3 listings" in warning
    assert "set-kind" in warning
    secrets = (texts["browser"].split("_", 2)[2], keys["browser"].digest, pseudonym(KEY, "c1"))
    assert not any(secret in warning for secret in secrets)


def test_caller_for_many_customers_of_a_listing_learns_no_segments_price(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_customers=2) as edge:
        assert [edge.price(f"m{i}") > 1200 for i in range(2)] == [True, True]
        edge.quotes.kept.clear()
        replies = [edge.get(f"{ROOT}/sku-1", params={"customer": name}).json() for name in ("m2", "c3", "m4")]
        same = ("price_minor", "price", "segment", "source", "reason", "valid_until_ms", "version", "age_ms")
        assert all(replies[0][name] == reply[name] for reply in replies for name in same)
        assert replies[0]["price_minor"] == LIST_MINOR and replies[0]["segment"] == "all"
        assert edge.metric('probing_episodes_count{pattern="customers"}') == 1
        for logged in edge.quotes.kept:
            assert (logged["bot"], logged["source"], logged["price_minor"]) == (True, "list", LIST_MINOR)
            assert (logged["segment"], logged["propensity"]) == ("all", 1.0)
            assert TOPICS["quotes"].validate(logged, NOW) is None


def test_caller_never_sees_more_prices_of_a_listing_than_the_threshold(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_prices=2) as edge:
        seen = {edge.price(customer) for i in range(30) for customer in (f"c{i}", f"m{i % 9}")}
        assert LIST_MINOR in seen and len(seen) == 3, "the table has four prices"
        assert edge.metric('probing_episodes_count{pattern="prices"}') == 1


def test_quote_is_logged_once_where_the_price_is_replaced(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_prices=1) as edge:
        asked = [edge.price(f"c{i}") for i in range(20)]
        assert [logged["price_minor"] for logged in edge.quotes.kept] == asked
        first_default = asked.index(LIST_MINOR)
        assert [logged["bot"] for logged in edge.quotes.kept] == [i >= first_default for i in range(20)]


def test_listing_without_a_list_price_has_one_price_for_all(
    edge_with: Callable[..., Any], tables: RedisPriceTables
) -> None:
    tables.publish(replace(a_table("bare", price=500), list_minor=0))
    with edge_with(edge_probing_listings=1) as edge:
        edge.prices(["sku-1", "sku-2"])
        assert {edge.price(name, "bare") for i in range(9) for name in (f"c{i}", f"m{i}")} == {500}
        assert all(logged["bot"] for logged in edge.quotes.kept[-18:])


def test_backends_key_is_not_examined(edge_with: Callable[..., Any]) -> None:
    ones = dict.fromkeys(NONE_LIMITS, 1)
    with edge_with(**ones) as edge:
        edge._http.headers.update(bearer("shop"))
        prices = [edge.price(f"c{i}", f"sku-{i % 6 + 1}") for i in range(30)]
        assert LIST_MINOR not in prices and edge.delays_s == []
        assert edge.metric("probing_remembered_count") == 0
        assert not any(logged["bot"] for logged in edge.quotes.kept)


def test_each_network_and_each_key_is_counted_by_itself(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_customers=1) as edge:
        url = f"{ROOT}/sku-1?customer="
        assert edge.price("c1") < LIST_MINOR and edge.price("c2") == LIST_MINOR
        first, second = (edge.from_address("198.51.100.7", url + name).json() for name in ("c3", "c4"))
        assert first["price_minor"] < LIST_MINOR == second["price_minor"]
        in_one_network = ["2001:db8::1", "2001:db8::2"]
        first, second = (edge.from_address(address, url + address).json() for address in in_one_network)
        assert first["price_minor"] < LIST_MINOR == second["price_minor"]
        edge._http.headers.update(bearer("admin"))
        assert edge.price("c5") < LIST_MINOR


def test_requests_beyond_those_delayed_at_once_are_refused(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_listings=1, edge_probing_delayed=0, edge_probing_delay_s=1.2) as edge:
        edge.prices(["sku-1", "sku-2"])
        reply = edge.get(f"{ROOT}/sku-1?customer=c1", headers={"X-Request-Id": "r7"})
        assert reply.status_code == 429 and reply.headers["retry-after"] == "2"
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["instance"] == "urn:walras:request:r7" and "2 s" in reply.json()["detail"]
        assert edge.metric("probing_refused_count") == 1 and edge.delays_s == []


def test_delays_are_bounded_at_once_and_free_their_place() -> None:
    async def scenario() -> tuple[list[int | None], int | None]:
        going_on = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await going_on.wait()

        delays = Delays(1.5, 2, sleep)
        waiting = [asyncio.create_task(delays.delay()) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await delays.delay()
        waiting[0].cancel()
        going_on.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError) and found[1] is None
        assert (delays.delayed, delays.refused) == (2, 1)
        return [await delays.delay() for _ in range(3)], refused

    after, refused = asyncio.run(scenario())
    assert after == [None, None, None] and refused == 2


def test_lock_of_a_probing_caller_holds_the_default_price(edge_with: Callable[..., Any]) -> None:
    with edge_with(edge_probing_listings=1) as edge:
        edge.prices(["sku-1", "sku-2"])
        body = {"tenant": "acme", "market": "web-us-usd", "sku": "sku-1", "customer": "c1"}
        given = edge.post("/v1/quotes:lock", json=body).json()
        assert given["quote"]["price_minor"] == LIST_MINOR and edge.delays_s == [2.0]
        edge.post("/v1/quotes:redeem", json={"token": given["token"], "order_id": "o1"})
        assert edge.delays_s == [2.0], "a redemption is not delayed"


@pytest.mark.parametrize("path", ["/v1/quotes:lock", "/v1/quotes:redeem"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_of_locks_are_problems_with_the_methods_allowed(
    edge_with: Callable[..., Any], path: str, method: str
) -> None:
    with edge_with() as edge:
        headers = {"X-Request-Id": "r7"}
        reply = edge._loop.run_until_complete(edge._http.request(method, path, headers=headers))
        assert reply.status_code == 405 and reply.headers["allow"] == "POST"
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["x-request-id"] == "r7"
        assert reply.json() == {
            "type": "urn:walras:problem:method-not-allowed", "title": "Method Not Allowed", "status": 405,
            "detail": f"expected POST {path}, got {method}", "instance": "urn:walras:request:r7",
        }  # fmt: skip


def test_unknown_path_is_a_problem(edge_with: Callable[..., Any]) -> None:
    with edge_with() as edge:
        reply = edge.get("/v2/quotes")
        assert reply.status_code == 404 and reply.headers["content-type"] == "application/problem+json"
        assert "allow" not in reply.headers and "'/v2/quotes'" in reply.json()["detail"]
