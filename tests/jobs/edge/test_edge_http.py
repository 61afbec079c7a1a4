"""The edge over HTTP on a real Redis: quotes, refusals, readiness, metrics and keys."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from jobs.access import KeyRing
from jobs.access.keys import MAX_KEY_LENGTH
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.admission.access import QuoteAccess
from jobs.edge.service import build
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import bearer, keys, texts
from tests.jobs.edge.edge_builders import KEY, NOW, a_table

PUBLIC = {
    "quote_id", "tenant", "market", "sku", "customer", "session", "segment", "arm", "price_minor", "price",
    "currency", "version", "valid_until_ms", "age_ms", "source", "reason",
}  # fmt: skip


class Client:
    """Calls an ASGI application without a socket; runs its lifespan as a server does."""

    def __init__(self, app: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._lifespan = self._loop.create_task(app({"type": "lifespan"}, self._to_app.get, self._from_app.put))
        transport = httpx.ASGITransport(app=app)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://edge", headers=bearer("shop"))

    def _send_lifespan(self, event: str) -> str:
        self._to_app.put_nowait({"type": f"lifespan.{event}"})
        return self._loop.run_until_complete(self._from_app.get())["type"]

    def __enter__(self) -> Client:
        assert self._send_lifespan("startup") == "lifespan.startup.complete"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._send_lifespan("shutdown") == "lifespan.shutdown.complete"
        self._loop.run_until_complete(asyncio.gather(self._lifespan, self._http.aclose()))
        self._loop.close()

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._http.get(url, **more))

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._http.post(url, **more))


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables) -> Iterator[Client]:
    # A simulated clock at NOW that hardly advances.
    settings = Settings(redis=redis_server.url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
    with Client(build(settings, follow=False, ring=KeyRing(keys.values()))) as client:
        yield client


def test_quote_equals_the_pick_of_the_public_layout(
    edge: Client, tables: RedisPriceTables, redis_server: Any
) -> None:
    skus = [f"sku-{i}" for i in range(25)]
    tables.publish_many(a_table(sku, price=1000 + 10 * i) for i, sku in enumerate(skus))
    names = [pseudonym(KEY, f"c{i}") for i in range(40)]
    tables.set_segments("acme", dict.fromkeys(names[::2], "myopic"))
    wrong = []
    for sku in skus:
        for i, name in enumerate(names):
            reply = edge.get(f"/v1/quotes/acme/web-us-usd/{sku}?customer=c{i}").json()
            # Read with the public layout alone, without the project's code.
            fields = redis_server.client.hgetall(f"price:{{acme:web-us-usd}}:{sku}")
            segment = redis_server.client.get(f"segment:{{acme:{name[:2]}}}:{name}") or "all"
            draw = int(hashlib.md5(f"{fields['table_id']}|{name}|price".encode()).hexdigest()[:8], 16)
            listed = json.loads(fields["table"])["base"][segment]
            price = next(p for p, c in zip(listed["p"], listed["c"], strict=True) if draw <= c)
            if (reply["price_minor"], reply["version"], reply["customer"]) != (price, 1, name):
                wrong.append((sku, name, reply, price))
    assert not wrong


def test_reply_has_exactly_the_public_fields(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    response = edge.get("/v1/quotes/acme/web-us-usd/sku-1", params={"customer": "C. Customer", "session": "s 1"})
    reply = response.json()
    assert set(reply) == PUBLIC
    assert reply["source"] == "table" and reply["reason"] == "demand has changed"
    assert reply["price"] == f"{reply['price_minor'] / 100:.2f}" and reply["currency"] == "USD"
    assert reply["valid_until_ms"] == NOW + 1000 and 500 <= reply["age_ms"] < 1000
    assert "Customer" not in response.text and "shadow" not in response.text
    assert response.headers["cache-control"] == "no-store"


def test_sku_may_contain_slashes_and_signs(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table("shoe 42/blue+red"))
    reply = edge.get("/v1/quotes/acme/web-us-usd/shoe%2042/blue%2Bred?customer=a%2Bb").json()
    assert reply["sku"] == "shoe 42/blue+red" and reply["customer"] == pseudonym(KEY, "a+b")


def test_guest_is_quoted_by_session(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    reply = edge.get("/v1/quotes/acme/web-us-usd/sku-1?session=s1").json()
    assert reply["customer"] == reply["session"] == pseudonym(KEY, "s1")


def test_unknown_query_field_is_ignored(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    assert edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=c1&utm=x").json()["arm"] == "base"


def test_unknown_listing_is_404_with_the_expected_key(edge: Client) -> None:
    reply = edge.get("/v1/quotes/acme/web-us-usd/none?customer=c1")
    assert reply.status_code == 404 and "tenant/market/sku" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("url", "status", "word"),
    [
        ("/v1/quotes/acme/web-us-usd/sku-1", 400, "customer"),
        ("/v1/quotes/acme/web-us-usd?customer=c", 400, "{sku}"),
        ("/v1/quotes/acme//sku-1?customer=c", 400, "{market}"),
        ("/v1/quotes/acme/web:us/sku-1?customer=c", 400, "market: expected letters"),
        ("/v1/quotes/acme/web-us-usd/a%7Cb?customer=c", 400, "sku: expected no control"),
        (f"/v1/quotes/acme/web-us-usd/{'s' * 129}?customer=c", 400, "128"),
        (f"/v1/quotes/acme/web-us-usd/sku-1?customer={'c' * 129}", 400, "128"),
        (f"/v1/quotes/acme/web-us-usd/sku-1?customer={'c' * 2000}", 414, "1024"),
        ("/v1/quotes/acme/web-us-usd/sku-1?customer=c&arm=base", 400, "arm: expected no such field"),
        ("/v1/quotes/acme/web-us-usd/sku-1?customer=c&segment=all", 400, "segment: expected no such field"),
        ("/v1/quotes/acme/web-us-usd/sku-1?customer", 400, "name=value"),
        ("/v1/quotes/acme/web-us-usd/sku-1?" + "&".join(f"a{i}=%20" for i in range(9)), 400, "8 fields"),
    ],
)
def test_invalid_request_is_refused_with_the_reason(edge: Client, url: str, status: int, word: str) -> None:
    reply = edge.get(url)
    assert reply.status_code == status and word in reply.json()["detail"]


def test_refusal_is_a_problem_with_the_requests_id(edge: Client) -> None:
    reply = edge.get("/v1/quotes/acme/web-us-usd/none?customer=c1", headers={"X-Request-Id": "order-7.a_B"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] == "order-7.a_B"
    problem = reply.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert (problem["type"], problem["title"]) == ("urn:walras:problem:unknown-listing", "Unknown listing")
    assert (problem["status"], problem["instance"]) == (404, "urn:walras:request:order-7.a_B")


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "é"])
def test_missing_or_invalid_request_id_is_replaced(
    edge: Client, tables: RedisPriceTables, given: str | None
) -> None:
    tables.publish(a_table())
    headers = {} if given is None else {"x-request-id": given.encode()}
    replies = [edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=c1", headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    ids = {reply.headers["x-request-id"] for reply in replies}
    assert len(ids) == 2 and all(one.startswith("r-") for one in ids)


def test_only_reading_methods_are_allowed(edge: Client) -> None:
    assert edge.post("/v1/quotes/acme/web-us-usd/sku-1?customer=c").status_code == 405


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"authorization": ""}, "acme/web-us-usd/sku-1", 401),
        ({"authorization": "Basic eDp5"}, "acme/web-us-usd/sku-1", 401),
        ({"authorization": "Bearer walras_x_guess"}, "acme/web-us-usd/sku-1", 401),
        (bearer("expired"), "acme/web-us-usd/sku-1", 401),
        (bearer("revoked"), "acme/web-us-usd/sku-1", 401),
        (bearer("analyst"), "acme/web-us-usd/sku-1", 403),
        (bearer("other shop"), "acme/web-us-usd/sku-1", 403),
        (bearer("other shop"), "acme2/web-us-usd/sku-1", 404),
        (bearer("shop"), "acme/web-us-usd/sku-1", 200),
        (bearer("admin"), "acme/web-us-usd/sku-1", 200),
    ],
)
def test_quotes_need_a_key_of_their_tenant(
    edge: Client, tables: RedisPriceTables, headers: dict[str, str], path: str, status: int
) -> None:
    tables.publish(a_table())
    reply = edge.get(f"/v1/quotes/{path}?customer=c1", headers=headers)
    assert reply.status_code == status
    if status in (401, 403):
        assert reply.headers["content-type"] == "application/problem+json" and reply.json()["status"] == status


def test_long_header_is_refused_without_being_kept() -> None:
    access = QuoteAccess(KeyRing(keys.values()), lambda: NOW)

    def present(spaces: int) -> object:
        header = b"Bearer " + b" " * spaces + texts["shop"].encode()
        return access.holder({"headers": [(b"authorization", header)]})

    # Of all keys that this process has checked.
    assert present(0) is not None and present(1) is not None
    assert present(MAX_KEY_LENGTH) is None and present(1_000_000) is None
    assert max(map(len, access._checked)) <= len("Bearer ") + MAX_KEY_LENGTH


@pytest.mark.parametrize("path", ["/v1/quotes:batch", "/v1/quotes:cart", "/v1/quotes:lock", "/v1/quotes:redeem"])
def test_body_without_its_length_is_refused(edge: Client, path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    reply = edge.post(path, content=chunks())
    assert reply.status_code == 411 and "Content-Length" in reply.json()["detail"]
    assert reply.headers["content-type"] == "application/problem+json" and "ratelimit" in reply.headers
    assert edge.post(path, content=b"{}").status_code == 400
    assert edge.post(path, content=chunks(), headers={"authorization": ""}).status_code == 401


@pytest.mark.parametrize("path", ["/", "/v1/listings", "/v1/console/summary", "/v1/listings/a/b/c/explain"])
def test_quote_port_serves_nothing_for_operators(edge: Client, path: str) -> None:
    assert edge.get(path, headers=bearer("admin")).status_code == 404


def test_revoked_key_is_refused_at_the_next_request(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    settings = Settings(redis=redis_server.url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
    ring = KeyRing(keys.values())
    with Client(build(settings, follow=False, ring=ring)) as client:
        url = "/v1/quotes/acme/web-us-usd/sku-1?customer=c1"
        assert client.get(url).status_code == 200
        ring.take(replace(keys["shop"], revoked_ms=1))
        assert client.get(url).status_code == 401
