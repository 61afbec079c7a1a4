"""The edge over HTTP on a real Redis: right prices, honest sources, quiet about what is not public.

Over 300 lines: every test asks one and the same service, started once with its Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.console.market_view import MarketView
from jobs.edge.price_cache import PriceCache
from jobs.edge.price_entry import NoPriceError, UnknownListingError
from jobs.edge.quoting import Quoting
from jobs.edge.service import build
from jobs.runtime.clock import Clock
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry, Listing
from schemas.price_table import PriceList, PriceTable, price_key
from schemas.topics import TOPICS

NOW = 1_795_000_000_000
KEY = "a key"
PUBLIC = {
    "quote_id", "tenant", "market", "sku", "customer", "session", "segment", "arm", "price_minor", "price",
    "currency", "version", "valid_until_ms", "age_ms", "source", "reason",
}  # fmt: skip


def a_table(
    sku: str = "sku-1", version: int = 1, *, expires_ms: int = NOW + 1000, price: int = 1999
) -> PriceTable:
    lists = {
        "all": PriceList.from_propensities([price, price + 100], [0.7, 0.3]),
        "myopic": PriceList.from_propensities([price + 200, price + 300], [0.5, 0.5]),
    }
    return PriceTable(
        Listing("acme", "web-us-usd", sku), sku, version, f"t-{sku}-{version}", NOW - 500, expires_ms, "USD",
        {"base": lists}, 2999, 1950, "EVIDENCE orders ×0.7: PUBLISHED shadow 3.2", f"d-{sku}-{version}",
    )  # fmt: skip


class KeptQuotes(QuoteLog):
    """A quote log that keeps what it is offered."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept: list[Mapping[str, Any]] = []

    def offer(self, group: str, quote: bytes, at_ms: int) -> bool:
        self.kept.append(json.loads(quote))
        assert at_ms == self.kept[-1]["event_time_ms"]
        return True


class Client:
    """An ASGI application, asked without a socket; its start and end are the server's."""

    def __init__(self, app: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._words: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._life = self._loop.create_task(app({"type": "lifespan"}, self._words.get, self._said.put))
        transport = httpx.ASGITransport(app=app)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://edge")

    def _tell(self, word: str) -> str:
        self._words.put_nowait({"type": f"lifespan.{word}"})
        return self._loop.run_until_complete(self._said.get())["type"]

    def __enter__(self) -> Client:
        assert self._tell("startup") == "lifespan.startup.complete"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._tell("shutdown") == "lifespan.shutdown.complete"
        self._loop.run_until_complete(asyncio.gather(self._life, self._http.aclose()))
        self._loop.close()

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._http.get(url, **more))

    def post(self, url: str) -> httpx.Response:
        return self._loop.run_until_complete(self._http.post(url))


class At(Clock):
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW


@pytest.fixture
def tables(redis_server: Any) -> RedisPriceTables:
    tables = RedisPriceTables(redis_server.url)
    tables.mark_ready("epoch-1")
    return tables


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables) -> Iterator[Client]:
    # The market's own clock, set to NOW and standing nearly still.
    settings = Settings(redis=redis_server.url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
    with Client(build(settings, follow=False, view=MarketView("127.0.0.1:1"))) as client:
        yield client


def test_the_edge_quotes_what_two_look_ups_and_an_md5_give(
    edge: Client, tables: RedisPriceTables, redis_server: Any
) -> None:
    skus = [f"sku-{i}" for i in range(25)]
    tables.publish_many(a_table(sku, price=1000 + 10 * i) for i, sku in enumerate(skus))
    names = [pseudonym(KEY, f"c{i}") for i in range(40)]
    tables.set_segments("acme", dict.fromkeys(names[::2], "myopic"))
    wrong = []
    for sku in skus:
        for i, name in enumerate(names):
            said = edge.get(f"/v1/quotes/acme/web-us-usd/{sku}?customer=c{i}").json()
            # A reader of the public layout, with no library of ours.
            fields = redis_server.client.hgetall(f"price:{{acme:web-us-usd}}:{sku}")
            segment = redis_server.client.get(f"segment:{{acme:{name[:2]}}}:{name}") or "all"
            draw = int(hashlib.md5(f"{fields['table_id']}|{name}|price".encode()).hexdigest()[:8], 16)
            listed = json.loads(fields["table"])["base"][segment]
            price = next(p for p, c in zip(listed["p"], listed["c"], strict=True) if draw <= c)
            if (said["price_minor"], said["version"], said["customer"]) != (price, 1, name):
                wrong.append((sku, name, said, price))
    assert not wrong


def test_a_reply_says_what_is_public_and_nothing_else(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    reply = edge.get("/v1/quotes/acme/web-us-usd/sku-1", params={"customer": "C. Customer", "session": "s 1"})
    said = reply.json()
    assert set(said) == PUBLIC
    assert said["source"] == "table" and said["reason"] == "demand has changed"
    assert said["price"] == f"{said['price_minor'] / 100:.2f}" and said["currency"] == "USD"
    assert said["valid_until_ms"] == NOW + 1000 and 500 <= said["age_ms"] < 1000
    assert "Customer" not in reply.text and "shadow" not in reply.text
    assert reply.headers["cache-control"] == "no-store"


def test_a_sku_may_hold_slashes_and_signs(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table("shoe 42/blue+red"))
    said = edge.get("/v1/quotes/acme/web-us-usd/shoe%2042/blue%2Bred?customer=a%2Bb").json()
    assert said["sku"] == "shoe 42/blue+red" and said["customer"] == pseudonym(KEY, "a+b")


def test_a_guest_is_quoted_by_session(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    said = edge.get("/v1/quotes/acme/web-us-usd/sku-1?session=s1").json()
    assert said["customer"] == said["session"] == pseudonym(KEY, "s1")


def test_an_unknown_listing_is_a_404_that_teaches_and_is_found_once_it_is_there(
    edge: Client, tables: RedisPriceTables
) -> None:
    reply = edge.get("/v1/quotes/acme/web-us-usd/none?customer=c1")
    assert reply.status_code == 404 and "tenant/market/sku" in reply.json()["error"]


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
        ("/v1/quotes/acme/web-us-usd/sku-1?customer", 400, "name=value"),
        ("/v1/quotes/acme/web-us-usd/sku-1?" + "&".join(f"a{i}=%20" for i in range(9)), 400, "8 fields"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_word_on_why(
    edge: Client, url: str, status: int, word: str
) -> None:
    reply = edge.get(url)
    assert reply.status_code == status and word in reply.json()["error"]


def test_only_reading_is_allowed(edge: Client) -> None:
    assert edge.post("/v1/quotes/acme/web-us-usd/sku-1?customer=c").status_code == 405


def test_readiness_follows_redis(edge: Client, tables: RedisPriceTables) -> None:
    assert edge.get("/readyz").status_code == 200
    tables.mark_unready()
    reply = edge.get("/readyz")
    assert reply.status_code == 503 and "rebuild-redis" in reply.json()["status"]
    assert edge.get("/healthz").status_code == 200


def test_metrics_count_quotes_by_source(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=c1")
    edge.get("/v1/quotes/acme/web-us-usd/none?customer=c1")
    text = edge.get("/metrics").text
    assert 'walras_edge_quotes_total{source="table"} 1.0' in text
    assert 'walras_edge_refusals_total{status="404"} 1.0' in text


def test_the_page_and_its_data_come_from_the_same_application(edge: Client) -> None:
    page = edge.get("/")
    assert page.status_code == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text.replace("http://www.w3.org", "") and "https://" not in page.text
    assert edge.get("/v1/listings").json() == []
    assert edge.get("/v1/listings/a/b/c/explain").status_code == 404


# ---- what happens when Redis does not: the cache and the quoting, without HTTP ----


async def ask(cache: PriceCache, quotes: QuoteLog, sku: str = "sku-1", customer: str = "c1") -> Any:
    quoting = Quoting(cache, quotes, At(), "secret")
    return json.loads(await quoting.answer(f"/v1/quotes/acme/web-us-usd/{sku}", f"customer={customer}".encode()))


def test_every_quote_is_logged_as_the_contract_wants_it(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many([a_table(), a_table("old", expires_ms=NOW)])

    async def scenario() -> list[Mapping[str, Any]]:
        cache, quotes = PriceCache(redis_server.url), KeptQuotes()
        await cache.start()
        said = [await ask(cache, quotes, sku, f"c{i}") for sku in ("sku-1", "old") for i in range(20)]
        await cache.close()
        assert [q["price_minor"] for q in quotes.kept] == [s["price_minor"] for s in said]
        assert [q["event_id"] for q in quotes.kept] == [s["quote_id"] for s in said]
        return quotes.kept

    kept = asyncio.run(scenario())
    assert [TOPICS["quotes"].judge(quote, NOW) for quote in kept] == [None] * 40
    assert len({quote["event_id"] for quote in kept}) == 40
    assert {quote["offer_minor"] for quote in kept} == {1950}
    assert {round(quote["propensity"], 6) for quote in kept} == {0.7, 0.3, 1.0}


def test_past_its_end_a_table_gives_way_to_the_list_price(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(expires_ms=NOW))

    async def scenario() -> dict[str, Any]:
        cache = PriceCache(redis_server.url)
        said = await ask(cache, KeptQuotes())
        await cache.close()
        return said

    said = asyncio.run(scenario())
    assert (said["source"], said["price_minor"], said["reason"], said["valid_until_ms"]) == (
        "list", 2999, "list price", None,
    )  # fmt: skip


def test_when_redis_dies_the_cached_price_goes_on_and_says_that_it_is_stale(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish_many([a_table(), a_table("never asked")])

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, pause_s=0.0), KeptQuotes()
        before = await ask(cache, quotes)
        redis_server.kill()
        after = await ask(cache, quotes)
        assert (before["source"], after["source"]) == ("table", "stale")
        assert before["price_minor"] == after["price_minor"]
        with pytest.raises(NoPriceError):
            await ask(cache, quotes, "never asked")
        redis_server.start()
        # Redis is back but has lost its data: not whole, so nothing is believed of it.
        assert (await ask(cache, quotes))["source"] == "stale"
        tables.publish_many([a_table(version=2, price=1500)], must_be_ready=False)
        tables.mark_ready("epoch-2")
        again = await ask(cache, quotes)
        assert (again["source"], again["version"]) == ("table", 2)
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes, "never asked")
        await cache.close()

    asyncio.run(scenario())


def test_a_redis_that_hangs_is_waited_for_once_and_no_longer_than_said() -> None:
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
                entry, segment = await cache.lookup(a_table().listing, ("acme", customer))
                assert (entry.table, entry.confirmed, segment) == (a_table(), False, None)
            with pytest.raises(NoPriceError):
                await cache.lookup(Listing("acme", "web-us-usd", "never-seen"), ("acme", "one"))
            assert (tries, cache.failures, cache.healthy) == (1, 1, False)
            await cache.close()

    asyncio.run(scenario())


def test_a_version_lower_than_one_served_is_never_served(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table(version=9, price=1500))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        assert (await ask(cache, quotes))["version"] == 9
        redis_server.client.hset(price_key(a_table().listing), mapping=a_table(version=3).to_redis())
        said = await ask(cache, quotes)
        assert (said["version"], said["source"]) == (9, "stale")
        redis_server.client.delete(price_key(a_table().listing))
        assert (await ask(cache, quotes))["version"] == 9
        assert cache.lower_versions == 2
        await cache.close()

    asyncio.run(scenario())


def test_a_hint_makes_the_next_quote_read_again(redis_server: Any, tables: RedisPriceTables) -> None:
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


def test_many_askers_share_one_round_trip_and_the_maps_stay_bounded(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table())

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, max_segments=10, max_unknown=5)
        quotes = KeptQuotes()
        before = redis_server.client.info("commandstats")["cmdstat_hgetall"]["calls"]
        await asyncio.gather(*(ask(cache, quotes, customer=f"c{i}") for i in range(50)))
        assert redis_server.client.info("commandstats")["cmdstat_hgetall"]["calls"] - before == 1
        for i in range(20):
            with pytest.raises(UnknownListingError):
                await ask(cache, quotes, f"none-{i}")
        assert len(cache._segments) <= 10 and len(cache._unknown) <= 5 and cache.size == 1
        await cache.close()

    tables.get(a_table().listing)
    asyncio.run(scenario())


def test_the_table_unused_for_longest_is_evicted_and_read_again_when_asked_for(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish_many(a_table(f"sku-{i}") for i in range(5))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0, max_tables=3), KeptQuotes()
        for sku in ("sku-0", "sku-1", "sku-0", "sku-2", "sku-3"):
            assert (await ask(cache, quotes, sku))["version"] == 1
        assert [key.rpartition("/")[2] for key in cache._tables] == ["sku-0", "sku-2", "sku-3"]
        assert (cache.size, cache.evicted) == (3, 1)
        tables.publish(a_table("sku-1", version=2))
        said = await ask(cache, quotes, "sku-1")
        assert (said["version"], said["source"], cache.size, cache.evicted) == (2, "table", 3, 2)
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes, "none")
        await cache.close()

    asyncio.run(scenario())


def test_askers_of_more_tables_than_are_kept_all_get_their_price(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish_many(a_table(f"sku-{i}", price=1000 + 10 * i) for i in range(21))

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, max_tables=2), KeptQuotes()
        said = await asyncio.gather(*(ask(cache, quotes, f"sku-{i}") for i in range(20)))
        assert [one["sku"] for one in said] == [f"sku-{i}" for i in range(20)]
        assert {one["source"] for one in said} == {"table"}
        await ask(cache, quotes, "sku-20")
        assert cache.size == 2
        await cache.close()

    asyncio.run(scenario())


def test_tables_that_kafka_tells_do_not_evict_those_in_use(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish_many([a_table("asked"), a_table("told-9")])

    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, max_tables=3), KeptQuotes()
        await ask(cache, quotes, "asked")
        for i in range(4):
            cache.on_table(a_table(f"told-{i}"))
            cache.on_catalog(an_entry(f"told-{i}"))
        assert (cache.size, cache.evicted, cache.list_prices_evicted) == (3, 2, 1)
        await ask(cache, quotes, "told-9")
        assert "acme/web-us-usd/asked" in cache._tables, "told tables that nobody asked for go first"
        await cache.close()

    asyncio.run(scenario())


def test_without_redis_an_evicted_table_is_not_replaced_by_the_list_price() -> None:
    async def scenario() -> None:
        cache = PriceCache("redis://127.0.0.1:1/0", pause_s=0.0, max_tables=1)
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


def test_a_start_without_redis_serves_what_kafka_gave_as_stale() -> None:
    async def scenario() -> dict[str, Any]:
        cache = PriceCache("redis://127.0.0.1:1/0", pause_s=0.0)
        cache.on_table(a_table(version=4))
        cache.on_table(a_table(version=3))
        said = await ask(cache, KeptQuotes())
        await cache.close()
        return said

    said = asyncio.run(scenario())
    assert (said["source"], said["version"]) == ("stale", 4)


# ---- before the first table: the catalog's list price ----


def an_entry(sku: str = "sku-1", **more: Any) -> CatalogEntry:
    return CatalogEntry(
        "e", NOW - 700, "acme", "web-us-usd", sku, "g-1", "shoes", "margin", "USD", 1,
        **{"active": True, "cost_minor": 700, "list_minor": 2999} | more,
    )  # fmt: skip


def test_before_its_first_table_a_listing_is_told_at_its_list_price(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    async def scenario() -> None:
        cache, quotes = PriceCache(redis_server.url, reread_s=0.0), KeptQuotes()
        with pytest.raises(UnknownListingError):
            await ask(cache, quotes)
        cache.on_catalog(an_entry())
        said = await ask(cache, quotes)
        assert (said["source"], said["price_minor"], said["version"], said["reason"]) == (
            "list",
            2999,
            0,
            "list price",
        )
        assert (said["valid_until_ms"], said["age_ms"]) == (None, 700)
        assert TOPICS["quotes"].judge(quotes.kept[-1], NOW) is None
        assert (quotes.kept[-1]["table_id"], quotes.kept[-1]["price_group"]) == ("list-2999", "g-1")
        tables.publish(a_table(version=5))
        assert (await ask(cache, quotes))["version"] == 5
        cache.on_catalog(an_entry("gone"))
        cache.on_catalog(an_entry("gone", active=False))
        cache.on_catalog(an_entry("no price", list_minor=None))
        cache.on_catalog(an_entry("a negative price", list_minor=-5))
        cache.on_catalog(an_entry("too high a price", list_minor=2**63 - 1))
        for sku in ("gone", "no price", "a negative price", "too high a price"):
            with pytest.raises(UnknownListingError):
                await ask(cache, quotes, sku)
        await cache.close()

    asyncio.run(scenario())


def test_without_redis_the_list_price_waits_until_kafka_has_told_every_table() -> None:
    async def scenario() -> None:
        cache = PriceCache("redis://127.0.0.1:1/0", pause_s=0.0)
        cache.on_catalog(an_entry())
        with pytest.raises(NoPriceError):
            await ask(cache, KeptQuotes())
        cache.all_tables_read = lambda: True
        assert (await ask(cache, KeptQuotes()))["price_minor"] == 2999
        cache.on_table(a_table(version=4))
        assert (await ask(cache, KeptQuotes()))["version"] == 4
        await cache.close()

    asyncio.run(scenario())


# ---- the hot path's short cuts ----


def test_a_table_in_use_is_read_again_before_its_time_and_nobody_waits_for_it(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table(version=1))
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=1.0, monotonic=lambda: now[0])
        customer, key = ("acme", "c"), a_table().listing.key
        await cache.lookup(a_table().listing, customer)
        tables.publish(a_table(version=2))
        now[0] = 0.9
        found = cache.cached(key, customer)
        assert found is not None and found[0].table.version == 1
        while cache._tables[key].table.version == 1:
            await asyncio.sleep(0)
        now[0] = 1.8
        assert cache.cached(key, customer) is not None
        await cache.close()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_with_redis_away_a_cached_price_waits_for_one_try_a_second_at_most(
    redis_server: Any, tables: RedisPriceTables
) -> None:
    tables.publish(a_table())
    now = [0.0]

    async def scenario() -> None:
        cache = PriceCache(redis_server.url, reread_s=1.0, monotonic=lambda: now[0])
        await cache.lookup(a_table().listing, ("acme", "c"))
        redis_server.kill()
        now[0] = 1.1
        entry, _ = await cache.lookup(a_table().listing, ("acme", "c"))
        assert not entry.confirmed and cache.failures == 1
        assert cache.cached(a_table().listing.key, ("acme", "c")) is not None
        await cache.close()

    asyncio.run(scenario())
    redis_server.start()


def test_quotes_are_handed_over_in_batches_and_reach_the_partition_of_their_key() -> None:
    """On librdkafka's own test broker."""
    where: dict[str, set[int]] = {}

    class Told(QuoteLog):
        def _failed(self, error: Any, message: Any) -> None:
            assert error is None
            where.setdefault(message.key().decode(), set()).add(message.partition())

    quotes = Told("", **{"test.mock.num.brokers": 1, "delivery.report.only.error": False})
    for i in range(60):
        assert quotes.offer(f"acme/web/{i % 6}", b"{}", NOW)
        if i % 10 == 9:
            quotes.poll()
    assert quotes.logged == 60 and quotes.close() == 0
    assert len(where) == 6 and all(len(partitions) == 1 for partitions in where.values())
    assert len(set.union(*where.values())) > 1


def test_a_full_log_drops_and_counts() -> None:
    quotes = QuoteLog("127.0.0.1:1", capacity=3)
    assert [quotes.offer("g", b"{}", NOW) for _ in range(4)] == [True, True, True, False]
    assert quotes.dropped == 1 and quotes.waiting >= 3
    quotes.poll()
    quotes.offer("g", b"{}", NOW)
    quotes.poll()
    assert (quotes.logged, quotes.dropped) == (3, 2)
    assert quotes.close(0.0) >= 3
