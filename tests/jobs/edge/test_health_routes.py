"""Health, readiness and metrics of the edge: who sees what, how often Redis is asked, and unexpected failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.access import KeyRing
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.edge.health_routes import SharedCheck
from jobs.edge.service import build
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import bearer, keys
from tests.jobs.edge.edge_builders import KEY, NOW, a_table
from tests.jobs.edge.test_edge_http import Client


@pytest.fixture
def edge(redis_server: Any, tables: RedisPriceTables) -> Iterator[Client]:
    settings = Settings(redis=redis_server.url, clock=f"sim:{NOW}:0:1e-12", kafka="127.0.0.1:1", edge_secret=KEY)
    with Client(build(settings, follow=False, ring=KeyRing(keys.values()))) as client:
        yield client


def test_readiness_follows_redis(edge: Client, tables: RedisPriceTables) -> None:
    assert edge.get("/readyz").status_code == 200
    tables.mark_unready()
    # A result is kept for a second.
    while (reply := edge.get("/readyz")).status_code == 200:
        pass
    assert reply.status_code == 503 and "rebuild-redis" in reply.json()["status"]
    assert edge.get("/healthz").status_code == 200


def test_metrics_count_quotes_by_source(edge: Client, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    edge.get("/v1/quotes/acme/web-us-usd/sku-1?customer=c1")
    edge.get("/v1/quotes/acme/web-us-usd/none?customer=c1")
    text = edge.get("/metrics", headers=bearer("every reader")).text
    assert 'walras_edge_quotes_total{source="table"} 1.0' in text
    assert 'walras_edge_refusals_total{status="404"} 1.0' in text
    assert 'walras_edge_cache_entries_count{cache="rendered"} 1.0' in text
    assert 'walras_edge_cache_evicted_count{cache="segments"} 0.0' in text
    assert 'walras_edge_cache_misses_count{cache="shoppers"} 1.0' in text
    assert "walras_edge_quotes_stored_count 0.0" in text


def test_health_needs_no_key_and_metrics_one_that_may_read(edge: Client) -> None:
    for path in ("/healthz", "/readyz"):
        reply = edge.get(path, headers={"authorization": ""})
        assert (reply.status_code, reply.json()) == (200, {"status": "ok"})
    for name, key in keys.items():
        status = 401 if name in ("expired", "revoked") else 200 if name in ("admin", "every reader") else 403
        reply = edge.get("/metrics", headers=bearer(name))
        assert reply.status_code == status, name
        if status != 200:
            assert reply.headers["content-type"] == "application/problem+json", name
            assert reply.json()["instance"].endswith(reply.headers["x-request-id"]), name
        details = edge.get("/healthz", headers=bearer(name)).json()
        assert ("kafka_error" in details) == (status == 200), name
        assert key.tenant == "" or "quotes_logged" not in details


@pytest.mark.parametrize("path", ["/v1/quotes/acme/web-us-usd/sku-1?customer=c1", "/v1/locks/keys", "/healthz"])
def test_unexpected_failure_is_a_problem_without_details(
    redis_server: Any, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the server")

    for place in ("quoting.Quoting.answer", "lock_routes.KeyFile.keys", "health_routes.json_reply"):
        monkeypatch.setattr(f"jobs.edge.{place}", fail)
    settings = Settings(redis=redis_server.url, kafka="127.0.0.1:1", edge_secret=KEY)
    with Client(build(settings, follow=False, ring=KeyRing(keys.values()))) as client:
        reply = client.get(path, headers={"x-request-id": "order-7"})
    assert reply.status_code == 500 and reply.headers["content-type"] == "application/problem+json"
    assert reply.headers.get_list("x-request-id") == ["order-7"]
    assert reply.json()["instance"] == "urn:walras:request:order-7" and "secret" not in reply.text
    [record] = [record for record in caplog.records if "order-7" in record.getMessage()]
    assert record.exc_info is not None and "a secret of the server" in str(record.exc_info[1])


def test_callers_of_a_second_share_one_check() -> None:
    now, checks = [0.0], list[float]()

    async def check() -> bool:
        checks.append(now[0])
        await asyncio.sleep(0)
        return now[0] < 1

    async def scenario() -> None:
        shared = SharedCheck(check, monotonic=lambda: now[0])
        gone = asyncio.create_task(shared())
        await asyncio.sleep(0)
        gone.cancel()
        assert set(await asyncio.gather(*(shared() for _ in range(1_000)))) == {True}
        now[0] = 0.9
        assert await shared() and checks == [0.0]
        now[0] = 1.0
        assert not await shared() and checks == [0.0, 1.0]

    asyncio.run(scenario())
