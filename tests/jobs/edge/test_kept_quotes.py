"""Kept quotes on a real Redis, over HTTP and without Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.access import KeyRing
from jobs.connectors.redis.async_price_tables import AsyncPriceTables
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.session_quotes import MAX_QUOTES, KeptWrite
from jobs.edge.price_cache import PriceCache
from jobs.edge.quoting import Quoting
from jobs.edge.service import build
from jobs.edge.session_quotes import Visitor, VisitorId
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.price_table import PriceTable
from schemas.session_quotes import SessionQuote, session_key
from schemas.topics import TOPICS
from tests.jobs.access.access_builders import keys
from tests.jobs.edge.edge_builders import KEY, NOW, FixedClock, KeptQuotes, a_table
from tests.jobs.edge.session_stand_in import SharedStandIn
from tests.jobs.edge.test_edge_http import PUBLIC, Client

PATH = "/v1/quotes/acme/web-us-usd/sku-1"
KEPT = SessionQuote(NOW + 1_800_000, 1, "t-old", NOW - 500, "all", 1999, "USD", 0.7)


def a_window(version: int = 1, price: int = 1999, **changes: Any) -> PriceTable:
    """Return a table with a session window; earlier prices from 5.00 to 50.00 may be kept."""
    table = a_table(version=version, price=price, expires_ms=NOW + 86_400_000)
    limits = {"session_minutes": 30, "hard_low_minor": 500, "hard_high_minor": 5000}
    return replace(table, **(limits | changes))


class WindowEdge(Client):
    """An edge over HTTP, and the quotes that it logged."""

    def __init__(self, redis_url: str) -> None:
        settings = Settings(redis=redis_url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
        self.quotes = KeptQuotes()
        super().__init__(build(settings, follow=False, ring=KeyRing(keys.values()), quotes=self.quotes))

    def quote(self, sku: str = "sku-1", **who: str) -> dict[str, Any]:
        reply = self.get(f"/v1/quotes/acme/web-us-usd/{sku}", params={"customer": "c1", "session": "s1"} | who)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


@pytest.fixture
def edges(redis_server: Any, tables: RedisPriceTables) -> Iterator[tuple[WindowEdge, WindowEdge]]:
    tables.publish(a_window())
    with WindowEdge(redis_server.url) as one, WindowEdge(redis_server.url) as other:
        yield one, other


def until_kept(redis_server: Any, edge: WindowEdge, session: str = "s1") -> str:
    """Return the session's key once Redis has it."""
    key = session_key("acme", pseudonym(KEY, session))
    while not redis_server.client.exists(key):
        edge.get("/healthz")
    return key


def until_version(edge: WindowEdge, version: int) -> None:
    """Return once the edge has read a table; a robot keeps nothing."""
    while edge.quote(bot="1")["version"] != version:
        pass


def test_session_keeps_its_price_on_every_edge(
    edges: tuple[WindowEdge, WindowEdge], redis_server: Any, tables: RedisPriceTables
) -> None:
    one, other = edges
    first = one.quote()
    key = until_kept(redis_server, one)
    assert 0 < redis_server.client.pttl(key) <= 86_400_000
    tables.publish(a_window(2, price=2999))
    until_version(one, 2)
    for edge in edges:
        again = edge.quote()
        assert set(again) == PUBLIC and again["reason"] == "price of this visit"
        assert (again["price_minor"], again["version"], again["source"]) == (first["price_minor"], 1, "table")
        assert 0 <= again["valid_until_ms"] - NOW - 1_800_000 < 100 and again["age_ms"] == first["age_ms"]
        logged = edge.quotes.kept[-1]
        assert TOPICS["quotes"].validate(logged, NOW) is None
        assert (logged["kept"], logged["version"], logged["table_id"]) == (True, 1, "t-sku-1-1")
        assert logged["propensity"] == one.quotes.kept[0]["propensity"]
        assert logged["offer_minor"] == 1950
    assert other.quote(session="new")["version"] == 2
    assert "kept" not in other.quotes.kept[-1]


def test_hard_limit_drops_the_kept_price_on_every_edge(
    edges: tuple[WindowEdge, WindowEdge], redis_server: Any, tables: RedisPriceTables
) -> None:
    one, other = edges
    one.quote()
    until_kept(redis_server, one)
    tables.publish(a_window(2, price=2999, hard_low_minor=2500))
    until_version(one, 2)
    dropped = one.quote()
    assert dropped["version"] == 2 and dropped["price_minor"] >= 2999
    assert other.quote()["price_minor"] == dropped["price_minor"]


def test_login_during_a_session_changes_no_price(edges: tuple[WindowEdge, WindowEdge], redis_server: Any) -> None:
    one, other = edges
    as_guest = {guest: one.get(f"{PATH}?session={guest}").json() for guest in map("g{}".format, range(12))}
    while one.get("/healthz") and len(redis_server.client.keys("session:*")) < 12:
        pass
    for guest, quote in as_guest.items():
        for edge in edges:
            assert edge.quote(customer=f"c-{guest}", session=guest)["price_minor"] == quote["price_minor"]
    assert {quote.get("kept", False) for quote in other.quotes.kept} == {True, False}


def test_batch_cart_and_single_quote_agree(
    edges: tuple[WindowEdge, WindowEdge], redis_server: Any, tables: RedisPriceTables
) -> None:
    one, other = edges
    body = {"customer": "c1", "session": "s1", "listings": ["acme/web-us-usd/sku-1"]}
    [line] = one.post("/v1/quotes:batch", json=body).json()["lines"]
    until_kept(redis_server, one)
    tables.publish(a_window(2, price=2999))
    until_version(other, 2)
    cart = {"customer": "c1", "session": "s1", "lines": [{"listing": "acme/web-us-usd/sku-1", "quantity": 3}]}
    [priced] = other.post("/v1/quotes:cart", json=cart).json()["lines"]
    assert priced["total_minor"] == 3 * line["quote"]["price_minor"]
    assert other.quote()["price_minor"] == line["quote"]["price_minor"]


def test_robot_keeps_nothing(edges: tuple[WindowEdge, WindowEdge], redis_server: Any, tables: Any) -> None:
    one, _ = edges
    one.quote(session="robot", bot="1")
    one.quote()
    until_kept(redis_server, one)
    tables.publish(a_window(2, price=2999))
    until_version(one, 2)
    assert one.quote(session="robot", bot="1")["version"] == 2
    assert not redis_server.client.exists(session_key("acme", pseudonym(KEY, "robot")))


TEXTS = st.builds(
    lambda until, price: KEPT._replace(until_ms=NOW + until, price_minor=price).to_text(),
    st.sampled_from([-5, 5, 50]), st.integers(1, 3),
)  # fmt: skip
WRITES = st.lists(
    st.tuples(
        st.builds(
            KeptWrite, st.sampled_from(["session:{acme:aa}:aa1", "session:{acme:bb}:bb1"]), st.sampled_from("xyz"),
            TEXTS, st.one_of(st.just(""), TEXTS),
        ),
        st.sampled_from([NOW, NOW + 20]),
    ),
    max_size=12,
)  # fmt: skip


@given(WRITES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_script_keeps_what_the_stand_in_keeps(redis_server: Any, writes: list[tuple[KeptWrite, int]]) -> None:
    redis_server.client.flushall()

    async def scenario() -> None:
        shared, store = SharedStandIn(), AsyncPriceTables(redis_server.url, 5.0)
        for write, now_ms in writes:
            assert await store.keep([write], now_ms, 60_000) == await shared.keep([write], now_ms, 60_000)
        found = (await store.read([("acme", "c", "aa1"), ("acme", "c", "bb1")], {}, [])).kept
        expected = [shared.kept.get(session_key("acme", session), {}) for session in ("aa1", "bb1")]
        assert [dict(each) for each in found] == expected
        await store.close()

    asyncio.run(scenario())


def test_full_session_makes_room_by_ended_windows_alone(redis_server: Any) -> None:
    async def scenario() -> None:
        store, key = AsyncPriceTables(redis_server.url, 5.0), session_key("acme", "aa1")
        live = KEPT.to_text()
        ended = KEPT._replace(until_ms=NOW).to_text()
        full = [KeptWrite(key, f"x{i}", live, "") for i in range(MAX_QUOTES - 1)]
        await store.keep([*full, KeptWrite(key, "ended", ended, "")], NOW - 1, 60_000)
        await store.keep([KeptWrite(key, "no room", live, "")], NOW - 1, 60_000)
        await store.keep([KeptWrite(key, "room", live, "")], NOW, 60_000)
        found = redis_server.client.hkeys(key)
        assert len(found) == MAX_QUOTES and "room" in found and not {"no room", "ended"} & set(found)
        await store.close()

    asyncio.run(scenario())


async def price_of(quoting: Quoting, session: str = "s1") -> tuple[int, int]:
    reply = json.loads(await quoting.answer(PATH, f"customer=c-{session}&session={session}".encode()))
    return reply["price_minor"], reply["version"]


def an_edge(shared: SharedStandIn, **more: Any) -> Quoting:
    cache = PriceCache("redis://127.0.0.1:1/0", **more)
    cache._redis = cache.session_quotes._store = shared  # type: ignore[assignment]
    return Quoting(cache, KeptQuotes(), FixedClock(), KEY)


def test_known_session_waits_for_no_reading_of_redis() -> None:
    now = [0.0]

    async def scenario() -> None:
        shared = SharedStandIn()
        shared.tables[a_window().listing] = a_window()
        quoting = an_edge(shared, reread_s=100.0, segment_s=100.0, monotonic=lambda: now[0])
        await price_of(quoting)
        now[0] = 101.0
        await price_of(quoting)
        before = shared.reads
        for _ in range(5):
            await price_of(quoting)
        assert shared.reads == before

    asyncio.run(scenario())


def test_window_lasts_without_redis_on_the_edge_that_quoted(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_window())

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0)
        quoting = Quoting(cache, KeptQuotes(), FixedClock(), KEY)
        first = await price_of(quoting)
        redis_server.kill()
        cache.on_table(a_window(2, price=2999))
        assert await price_of(quoting) == first
        new, version = await price_of(quoting, "s2")
        assert new >= 2999 and version == 2
        cache.on_table(a_window(3, price=3999))
        assert await price_of(quoting, "s2") == (new, 2)
        await asyncio.gather(*cache.session_quotes.tasks)
        assert cache.session_quotes.lost >= 1
        await cache.close()

    asyncio.run(scenario())
    redis_server.start()


def test_sessions_are_forgotten_after_two_ages_and_read_again() -> None:
    async def scenario() -> None:
        shared = SharedStandIn()
        shared.tables[a_window().listing] = a_window()
        quoting = an_edge(shared, reread_s=0.0)
        first = await price_of(quoting)
        await asyncio.gather(*quoting.cache.session_quotes.tasks)
        for _ in range(2):
            quoting.age_shoppers()
        assert quoting.cache.caches["visitors"].size == 0
        shared.tables[a_window().listing] = a_window(2, price=2999)
        assert await price_of(quoting) == first

    asyncio.run(scenario())


def test_text_of_another_program_is_left_out_and_replaced() -> None:
    async def scenario() -> None:
        shared = SharedStandIn()
        shared.tables[a_window().listing] = a_window()
        key, scope = session_key("acme", pseudonym(KEY, "s1")), a_window().price_scope
        shared.kept[key] = {scope: '{"until_ms":1,"other":2}'}
        quoting = an_edge(shared)
        price, _ = await price_of(quoting)
        await asyncio.gather(*quoting.cache.session_quotes.tasks)
        assert SessionQuote.of_text(shared.kept[key][scope]).price_minor == price

    asyncio.run(scenario())


def test_session_keeps_a_bounded_number_of_quotes() -> None:
    async def scenario() -> None:
        quoting, known = an_edge(SharedStandIn()), Visitor()
        who = VisitorId("acme", "c", "s")
        for i in range(MAX_QUOTES + 20):
            quoting.cache.session_quotes.add(known, who, f"x{i}", KEPT, NOW)
        assert len(known.kept) == MAX_QUOTES
        await asyncio.gather(*quoting.cache.session_quotes.tasks)
        assert quoting.cache.session_quotes.written == MAX_QUOTES

    asyncio.run(scenario())
