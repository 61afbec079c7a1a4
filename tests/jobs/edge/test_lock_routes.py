"""Price locks over HTTP on a real Redis and librdkafka's mock broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from jobs.access import KeyRing
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.redemption_rebuild import rebuild_redemptions
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.edge.lock_routes import MAX_BODY_BYTES
from jobs.edge.service import build
from jobs.locks.key_file import KeyFile
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS
from tests.jobs.access.access_builders import bearer, keys
from tests.jobs.edge.edge_builders import KEY, NOW, KeptQuotes, a_table
from tests.jobs.edge.test_edge_http import PUBLIC, Client

LISTING = {"tenant": "acme", "market": "web-us-usd", "sku": "sku-1"}


class LockClient(Client):
    """A client that sends JSON, and the edge's settings."""

    def __init__(self, settings: Settings, quotes: KeptQuotes) -> None:
        super().__init__(build(settings, follow=False, ring=KeyRing(keys.values()), quotes=quotes))
        self.settings, self.quotes = settings, quotes

    def send(self, path: str, content: Any) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self._loop.run_until_complete(self._http.post(path, content=body))

    def lock(self, **more: Any) -> httpx.Response:
        return self.send("/v1/quotes:lock", LISTING | {"customer": "c1"} | more)

    def redeem(self, token: str, order_id: str = "order-1") -> httpx.Response:
        return self.send("/v1/quotes:redeem", {"token": token, "order_id": order_id})


def edge_at(now_ms: int, redis_url: str, broker: str, home: Path) -> LockClient:
    # A simulated clock that hardly advances.
    settings = Settings(redis=redis_url, clock=f"sim:{now_ms}:0:1e-12", kafka=broker, edge_secret=KEY, home=home)
    return LockClient(settings, KeptQuotes())


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables, broker: str, tmp_path: Path) -> Iterator[LockClient]:
    """An edge with one price table and with redemptions that are ready."""
    tables.publish(a_table())
    with edge_at(NOW, redis_server.url, broker, tmp_path) as client:
        rebuild(client)
        yield client


def rebuild(client: LockClient) -> None:
    # The first rebuild reads the topic, which the mock broker creates with the start of the epoch.
    with closing(RedemptionStore(client.settings.redis.get_secret_value())) as store:
        rebuild_redemptions(store, client.settings.kafka, NOW)


def assert_problem(response: httpx.Response, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"] and words in problem["detail"]
    assert problem["instance"] == f"urn:walras:request:{response.headers['x-request-id']}"
    if status != 401:
        assert response.headers["ratelimit"].startswith('"key";r=')


def test_lock_repeats_a_logged_quote(edge: LockClient) -> None:
    response = edge.lock(customer="C. Customer", session="s 1")
    given = response.json()
    quote = given["quote"]
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    assert set(quote) == PUBLIC and quote["customer"] == pseudonym(KEY, "C. Customer")
    [logged] = edge.quotes.kept
    assert (logged["event_id"], logged["price_minor"]) == (quote["quote_id"], quote["price_minor"])
    assert given["expires_ms"] == NOW // 1000 * 1000 + 30 * 60_000
    assert "Customer" not in json.dumps(jwt.decode(given["token"], options={"verify_signature": False}))


def test_checkout_verifies_a_lock_with_the_published_keys_alone(edge: LockClient) -> None:
    given = edge.lock().json()
    response = edge.get("/v1/locks/keys")
    assert response.headers["content-type"] == "application/jwk-set+json"
    assert response.headers["cache-control"] == "public, max-age=60"
    assert all(set(jwk) == {"kty", "crv", "use", "alg", "kid", "x"} for jwk in response.json()["keys"])
    key = jwt.PyJWKSet.from_dict(response.json())[jwt.get_unverified_header(given["token"])["kid"]]
    claims = jwt.decode(
        given["token"], key, ["EdDSA"], audience="checkout", issuer="walras", options={"verify_exp": False}
    )
    assert claims["price_minor"] == given["quote"]["price_minor"] and claims["jti"] == given["lock_id"]


def test_lock_outlives_a_change_of_the_price(edge: LockClient, tables: RedisPriceTables) -> None:
    given = edge.lock().json()
    tables.publish(a_table(version=2, price=9_000))
    answer = edge.redeem(given["token"]).json()
    assert answer["price_minor"] == given["quote"]["price_minor"] < 9_000


def test_redemption_is_in_kafka_and_is_answered_again(edge: LockClient) -> None:
    given = edge.lock().json()
    first, again = edge.redeem(given["token"]), edge.redeem(given["token"])
    assert first.status_code == again.status_code == 200 and first.json() == again.json()
    records = [record.json() for record in read_topic(edge.settings.kafka, TOPICS["redemptions"].topic)]
    [redeemed] = [record for record in records if record["kind"] == "redeemed"]
    assert {name: redeemed[name] for name in first.json()} == first.json()
    assert redeemed["lock_id"] == given["lock_id"] and redeemed["customer"] == pseudonym(KEY, "c1")


def test_other_order_is_refused(edge: LockClient) -> None:
    token = edge.lock().json()["token"]
    assert edge.redeem(token).status_code == 200
    assert_problem(edge.redeem(token, "order-2"), 409, "another order")


def test_redemption_survives_a_lost_redis(edge: LockClient, redis_server: Any) -> None:
    token = edge.lock().json()["token"]
    first = edge.redeem(token)
    redis_server.kill()
    response = edge.redeem(token)
    assert_problem(response, 503, "repeat the request with the same order_id")
    redis_server.start()
    response = edge.redeem(token, "order-2")
    assert_problem(response, 503, "being rebuilt")
    assert int(response.headers["retry-after"]) >= 1
    rebuild(edge)
    assert edge.redeem(token).json() == first.json()
    assert_problem(edge.redeem(token, "order-2"), 409, "another order")


def test_unacknowledged_redemption_is_refused_and_may_be_repeated(
    redis_server: Any, tables: RedisPriceTables, broker: str, tmp_path: Path
) -> None:
    tables.publish(a_table())
    with edge_at(NOW, redis_server.url, broker, tmp_path) as client:
        rebuild(client)
        token = client.lock().json()["token"]
    with edge_at(NOW, redis_server.url, "127.0.0.1:1", tmp_path) as without_kafka:
        response = without_kafka.redeem(token)
        assert_problem(response, 503, "Kafka")
        assert response.headers["retry-after"]
    with edge_at(NOW, redis_server.url, broker, tmp_path) as client:
        assert_problem(client.redeem(token, "order-2"), 409, "another order")
        assert client.redeem(token).status_code == 200


def test_expired_lock_is_refused(edge: LockClient, redis_server: Any) -> None:
    used, unused = (edge.lock().json() for _ in range(2))
    first = edge.redeem(used["token"])
    settings = edge.settings
    with edge_at(used["expires_ms"], redis_server.url, settings.kafka, settings.home) as later:
        assert_problem(later.redeem(unused["token"]), 410, "ask for a new quote")
        assert later.redeem(used["token"]).json() == first.json()


def test_forged_token_is_refused(edge: LockClient) -> None:
    token = edge.lock().json()["token"]
    assert_problem(edge.redeem(token[:-1] + ("A" if token[-1] != "A" else "Q")), 400, "bad_signature")
    assert_problem(edge.redeem("a.b.c"), 400, "malformed")


def test_lock_signed_before_a_rotation_is_redeemed(edge: LockClient) -> None:
    KeyFile(edge.settings.home).keys(NOW - 60_000)
    token = edge.lock().json()["token"]
    KeyFile(edge.settings.home).rotate(NOW, lead_ms=0)
    assert len(edge.get("/v1/locks/keys").json()["keys"]) == 2
    assert edge.lock().json()["key_id"] != jwt.get_unverified_header(token)["kid"]
    assert edge.redeem(token).status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "JSON object"),
        (b"[]", 400, "JSON object"),
        ({"tenant": "acme"}, 400, "market, sku"),
        (LISTING, 400, "customer"),
        (LISTING | {"customer": 7}, 400, "texts"),
        (LISTING | {"customer": "c", "price": "1"}, 400, "price"),
        (LISTING | {"customer": "c" * 129}, 400, "at most 128"),
        (LISTING | {"customer": "c", "market": "a/b"}, 404, "catalog"),
        (LISTING | {"customer": "c", "market": "a b"}, 400, "market"),
        (LISTING | {"customer": "c", "sku": "none"}, 404, "acme/web-us-usd/none"),
        (b'{"sku":"' + b"x" * MAX_BODY_BYTES + b'"}', 413, "bytes"),
    ],
)
def test_bad_lock_request_is_refused(edge: LockClient, content: Any, status: int, words: str) -> None:
    assert_problem(edge.send("/v1/quotes:lock", content), status, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [({}, "order_id"), ({"token": "t"}, "order_id"), ({"token": "t", "order_id": "a|b"}, "no vertical bar"),
     ({"token": "", "order_id": "o"}, "token")],
)  # fmt: skip
def test_bad_redemption_request_is_refused(edge: LockClient, content: Any, words: str) -> None:
    assert_problem(edge.send("/v1/quotes:redeem", content), 400, words)


def test_customer_in_any_script_is_locked(edge: LockClient) -> None:
    name = "客" * 120
    response = edge.lock(customer=name)
    assert response.status_code == 200, response.text
    assert response.json()["quote"]["customer"] == pseudonym(KEY, name)


def test_replies_of_locks_have_the_requests_id_and_what_is_left_of_the_limit(edge: LockClient) -> None:
    edge._http.headers.update({"x-request-id": "order-7"})
    lock = edge.lock()
    keys_reply = edge.get("/v1/locks/keys")
    for reply in (lock, edge.redeem(lock.json()["token"]), keys_reply):
        assert reply.status_code == 200 and reply.headers.get_list("x-request-id") == ["order-7"]
        assert (reply is keys_reply) != ("ratelimit" in reply.headers)


def test_expiry_is_told_as_a_time_of_the_run(edge: LockClient, redis_server: Any) -> None:
    unused = edge.lock().json()
    settings = edge.settings
    with edge_at(unused["expires_ms"], redis_server.url, settings.kafka, settings.home) as later:
        assert_problem(later.redeem(unused["token"]), 410, "expired at 2026-11-18T11:36:40Z by the run's clock")


def test_keys_that_cannot_be_read_are_a_problem_and_one_line_of_the_log(
    redis_server: Any, tables: RedisPriceTables, broker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables.publish(a_table())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "locks").write_text("no folder")
    with edge_at(NOW, redis_server.url, broker, tmp_path) as client:
        response = client.lock()
    assert_problem(response, 500, "its log has the reason")
    assert str(tmp_path) not in response.text
    [line] = [record for record in caplog.records if "price locks" in record.getMessage()]
    assert "run/locks" in line.getMessage() and line.exc_info is None


def test_unusable_keys_are_named_in_the_log_alone(edge: LockClient, caplog: pytest.LogCaptureFixture) -> None:
    edge.lock()
    KeyFile(edge.settings.home).path.write_text("SECRET")
    response = edge.lock()
    assert_problem(response, 500, "its log has the reason")
    assert "keys.json" in caplog.text and "SECRET" not in response.text + caplog.text


def test_key_of_another_tenant_neither_locks_nor_redeems(edge: LockClient) -> None:
    token = edge.lock().json()["token"]
    edge._http.headers.update(bearer("other shop"))
    assert_problem(edge.lock(), 403, "tenant")
    assert_problem(edge.redeem(token), 400, "key's tenant")
    edge._http.headers.update({"authorization": ""})
    assert edge.lock().status_code == edge.redeem(token).status_code == 401
    assert edge.get("/v1/locks/keys").status_code == 200


def test_lock_has_the_price_that_the_session_keeps(edge: LockClient, tables: RedisPriceTables) -> None:
    window = {"expires_ms": NOW + 86_400_000, "session_minutes": 30}
    tables.publish(replace(a_table(version=2), **window))
    who = {"customer": "c1", "session": "s1"}
    while (seen := edge.get("/v1/quotes/acme/web-us-usd/sku-1", params=who).json())["version"] != 2:
        pass
    tables.publish(replace(a_table(version=3, price=9_000), **window))
    while (
        edge.get("/v1/quotes/acme/web-us-usd/sku-1", params={"customer": "c2", "bot": "1"}).json()["version"] != 3
    ):
        pass
    quote = edge.lock(**who).json()["quote"]
    assert (quote["price_minor"], quote["version"]) == (seen["price_minor"], 2)
    assert edge.quotes.kept[-1]["kept"] is True
    assert edge.lock(customer="c1").json()["quote"]["version"] == 3, "a lock without the session is another visit"
