"""Batches and carts over HTTP on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from jobs.access import KeyRing
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.api.models import MAX_LINES, MAX_QUANTITY
from jobs.edge.quote_lists import MAX_BODY
from jobs.edge.service import build
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS
from tests.jobs.access.access_builders import keys
from tests.jobs.edge.edge_builders import KEY, NOW, KeptQuotes, a_table
from tests.jobs.edge.test_edge_http import PUBLIC, Client

BATCH, CART = "/v1/quotes:batch", "/v1/quotes:cart"
LISTINGS = [f"acme/web-us-usd/sku-{i}" for i in range(5)]


class LoggedEdge(Client):
    """A client of an edge whose quotes are kept."""

    def __init__(self, redis_url: str) -> None:
        settings = Settings(redis=redis_url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
        self.quotes = KeptQuotes()
        super().__init__(build(settings, follow=False, ring=KeyRing(keys.values()), quotes=self.quotes))


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables) -> Iterator[LoggedEdge]:
    tables.publish_many(a_table(f"sku-{i}", price=1000 + 10 * i) for i in range(5))
    with LoggedEdge(redis_server.url) as client:
        yield client


def test_batch_has_the_quotes_of_single_requests_and_logs_each(edge: LoggedEdge) -> None:
    reply = edge.post(BATCH, json={"customer": "c1", "session": "s1", "listings": LISTINGS})
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    batch = reply.json()
    assert (batch["customer"], batch["session"]) == (pseudonym(KEY, "c1"), pseudonym(KEY, "s1"))
    assert [line["listing"] for line in batch["lines"]] == LISTINGS
    assert all(set(line["quote"]) == PUBLIC for line in batch["lines"])
    logged = list(edge.quotes.kept)
    assert [quote["event_id"] for quote in logged] == [line["quote"]["quote_id"] for line in batch["lines"]]
    assert [TOPICS["quotes"].validate(quote, NOW) for quote in logged] == [None] * 5
    single = [edge.get(f"/v1/quotes/{listing}?customer=c1&session=s1").json() for listing in LISTINGS]
    assert [line["quote"] | {"quote_id": 0} for line in batch["lines"]] == [
        one | {"quote_id": 0} for one in single
    ]


def test_line_without_a_price_has_a_problem_and_the_others_are_answered(edge: LoggedEdge) -> None:
    listings = ["acme/web-us-usd/none", LISTINGS[0], "no listing", "acme/web-us-usd/a|b"]
    lines = edge.post(BATCH, json={"session": "s1", "listings": listings}).json()["lines"]
    assert [line.get("problem", {}).get("status") for line in lines] == [404, None, 400, 400]
    assert lines[0]["problem"]["type"] == "urn:walras:problem:unknown-listing"
    assert "sku: expected no control characters" in lines[3]["problem"]["detail"]
    assert "quote" in lines[1] and len(edge.quotes.kept) == 1


def test_cart_sums_its_lines_by_currency(edge: LoggedEdge, tables: RedisPriceTables) -> None:
    tables.publish(replace(a_table("yen"), currency="JPY"))
    asked = [(LISTINGS[0], 2), ("acme/web-us-usd/yen", 3), (LISTINGS[0], 1), ("acme/web-us-usd/none", 4)]
    lines = [{"listing": listing, "quantity": quantity} for listing, quantity in asked]
    cart = edge.post(CART, json={"customer": "c1", "lines": lines}).json()
    assert [line["quantity"] for line in cart["lines"]] == [2, 3, 1, 4]
    usd, jpy = (cart["lines"][i]["quote"]["price_minor"] for i in (0, 1))
    assert [line.get("total_minor") for line in cart["lines"]] == [2 * usd, 3 * jpy, usd, None]
    assert cart["lines"][0]["total"] == f"{2 * usd / 100:.2f}"
    assert cart["totals"] == [
        {"currency": "JPY", "total_minor": 3 * jpy, "total": str(3 * jpy)},
        {"currency": "USD", "total_minor": 3 * usd, "total": f"{3 * usd / 100:.2f}"},
    ]
    assert cart["complete"] is False and len(edge.quotes.kept) == 3
    assert edge.post(CART, json={"customer": "c1", "lines": lines[:2]}).json()["complete"] is True


def test_batch_of_200_reads_redis_once(edge: LoggedEdge, tables: RedisPriceTables, redis_server: Any) -> None:
    tables.publish_many(a_table(f"many-{i}") for i in range(MAX_LINES))
    listings = [f"acme/web-us-usd/many-{i}" for i in range(MAX_LINES)]
    before = redis_server.client.info("commandstats")["cmdstat_eval"]["calls"]
    reply = edge.post(BATCH, json={"customer": "c1", "listings": listings})
    assert all("quote" in line for line in reply.json()["lines"])
    assert redis_server.client.info("commandstats")["cmdstat_eval"]["calls"] - before <= 1


def test_robots_quotes_are_logged_as_such(edge: LoggedEdge) -> None:
    edge.post(BATCH, json={"customer": "c1", "bot": True, "listings": LISTINGS[:1]})
    assert edge.quotes.kept[0]["bot"] is True


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        (BATCH, b"{", 400, "body: expected JSON"),
        (BATCH, b"[]", 400, "body: expected a JSON object, got []"),
        (BATCH, {"listings": LISTINGS}, 400, "customer: expected"),
        (BATCH, {"customer": "c"}, 400, "listings: expected"),
        (BATCH, {"customer": "c", "listings": []}, 400, "listings: expected"),
        (BATCH, {"customer": "c", "listings": LISTINGS * 41}, 400, "at most 200 items"),
        (BATCH, {"customer": "c", "listings": [7]}, 400, "listings.0: expected a valid string; got 7"),
        (BATCH, {"customer": "c" * 129, "listings": LISTINGS}, 400, "at most 128 characters"),
        (BATCH, {"customer": "c", "arm": "base", "listings": LISTINGS}, 400, "arm: expected no such field"),
        (CART, {"customer": "c", "lines": [{"listing": "a/b/c", "quantity": 0}]}, 400, "lines.0.quantity"),
        (
            CART,
            {"customer": "c", "lines": [{"listing": "a/b/c", "quantity": MAX_QUANTITY + 1}]},
            400,
            "than or equal to 10000",
        ),
        (CART, {"customer": "c", "lines": [{"listing": "a/b/c", "quantity": True}]}, 400, "lines.0.quantity"),
        (
            CART,
            {"customer": "c", "lines": [{"listing": "a/b/c", "quantity": 1, "segment": "all"}]},
            400,
            "segment: expected no such field",
        ),
        (BATCH, b" " * (MAX_BODY + 1), 413, str(MAX_BODY)),
        ("/v1/quotes:other", {"customer": "c"}, 405, "GET"),
        ("/v1/quotes/acme/web-us-usd/sku-1", {"customer": "c"}, 405, "GET"),
    ],
)
def test_invalid_list_is_refused_with_the_field(
    edge: LoggedEdge, path: str, body: Any, status: int, word: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = edge.post(path, content=content)
    assert reply.status_code == status and word in reply.json()["detail"]
    assert reply.headers["content-type"] == "application/problem+json" and not edge.quotes.kept
    assert ("allow" in reply.headers) == (status == 405)


def test_body_beyond_the_limit_is_refused_whatever_length_it_states(edge: LoggedEdge) -> None:
    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * 8192

    assert edge.post(BATCH, content=chunks()).status_code == 411
    assert edge.post(BATCH, content=b" " * 9 * 8192).status_code == 413
    assert edge.post(BATCH, content=chunks(), headers={"content-length": "1"}).status_code == 413


def test_list_is_read_by_post_alone(edge: LoggedEdge) -> None:
    reply = edge.get(BATCH)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


def test_unknown_path_below_quotes_is_404(edge: LoggedEdge) -> None:
    assert edge.get("/v1/quotesx").status_code == 404


def test_listing_of_another_tenant_has_a_problem(edge: LoggedEdge) -> None:
    reply = edge.post(BATCH, json={"customer": "c1", "listings": ["acme2/web/s1", LISTINGS[0]]})
    assert [line.get("problem", {}).get("status") for line in reply.json()["lines"]] == [403, None]
    assert (
        edge.post(BATCH, json={"customer": "c1", "listings": LISTINGS}, headers={"authorization": ""}).status_code
        == 401
    )
