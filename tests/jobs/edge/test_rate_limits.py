"""Limits of keys and addresses: counted here and together in Redis, open without Redis, told in headers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobs.access import KeyRing
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.rate_counts import RateCounts, Used
from jobs.edge.admission.rate_limits import WINDOW_S, RateLimits
from jobs.edge.service import build
from jobs.runtime.settings import Settings
from tests.jobs.access.access_builders import bearer, keys
from tests.jobs.edge.edge_builders import KEY, NOW, UNREACHABLE, a_table
from tests.jobs.edge.test_edge_http import Client


class SecondHand:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Gone:
    async def add(
        self, counts: Mapping[str, int], limits: Mapping[str, int], window_begins_s: int
    ) -> dict[str, Any]:
        raise OSError("gone")


def served(limits: RateLimits, tries: int, key: str = "k", address: str = "a") -> int:
    return sum(limits.over(key, address) is None for _ in range(tries))


def test_edge_alone_serves_its_limit_per_window_and_no_more() -> None:
    wall = SecondHand()
    limits = RateLimits(5, 100, wall_s=wall)
    for _ in range(3):
        total = 0
        for _ in range(WINDOW_S):
            total += served(limits, 20)
            asyncio.run(limits.synchronise())
            wall.now_s += 1
        assert total == 5 * WINDOW_S


def test_two_edges_share_a_limit_in_redis(redis_server: Any) -> None:
    async def scenario() -> int:
        edges = [RateLimits(50, 10_000, RateCounts(redis_server.url, WINDOW_S)) for _ in range(2)]
        total = 0
        for _ in range(60):
            for edge in edges:
                total += served(edge, 25, key="shared")
                await edge.synchronise()
        return total

    # A window may end within the test; each edge may be ahead by what it served since it last asked.
    assert 500 <= asyncio.run(scenario()) <= 2 * (500 + 2 * 25)


def test_counts_of_a_window_end_with_it_in_redis_too(redis_server: Any) -> None:
    async def scenario() -> list[int]:
        wall = SecondHand()
        edges = [RateLimits(2_000, 10**6, RateCounts(redis_server.url, WINDOW_S), wall) for _ in range(2)]
        totals = []
        # The first window is used at its end, where Redis keeps the counts for longest.
        wall.now_s += WINDOW_S - 1
        for tries in (18_000, 15_000):
            totals.append(0)
            for edge in edges:
                totals[-1] += served(edge, tries // 2)
                await edge.synchronise()
            wall.now_s += WINDOW_S
        return totals

    assert asyncio.run(scenario()) == [18_000, 15_000]


def test_window_that_ends_while_redis_is_asked_leaves_nothing_behind() -> None:
    wall = SecondHand()

    class Slow:
        async def add(self, counts: Mapping[str, int], limits: Mapping[str, int], window_begins_s: int) -> Any:
            assert window_begins_s == wall.now_s
            wall.now_s += WINDOW_S
            return {name: Used(0) for name in counts}

    limits = RateLimits(5, 100, Slow(), wall)
    assert served(limits, 50) == 50
    asyncio.run(limits.synchronise())
    assert served(limits, 60) == 50


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 60)), max_size=30))
def test_caller_below_the_limit_of_every_window_is_served(steps: list[tuple[int, int]]) -> None:
    wall, counts = SecondHand(), dict[int, int]()
    limits = RateLimits(5, 100, wall_s=wall)
    for tenths, tries in steps:
        before = counts.get(int(wall.now_s) // WINDOW_S, 0)
        allowed = min(tries, 5 * WINDOW_S - before)
        counts[int(wall.now_s) // WINDOW_S] = before + allowed
        assert served(limits, allowed) == allowed
        asyncio.run(limits.synchronise())
        assert served(limits, 1) == (before + allowed < 5 * WINDOW_S)
        counts[int(wall.now_s) // WINDOW_S] = min(5 * WINDOW_S, before + allowed + 1)
        wall.now_s += tenths / 10


def test_limit_of_an_address_covers_all_of_its_keys_and_requests_without_one() -> None:
    limits = RateLimits(100, 3, wall_s=SecondHand())
    assert sum(served(limits, 10, key=key) for key in ("k1", "k2", "")) == 3 * WINDOW_S
    assert served(limits, 1, key="k1", address="b") == 1


def test_without_redis_each_edge_counts_alone() -> None:
    wall = SecondHand()
    limits = RateLimits(5, 100, Gone(), wall)
    assert served(limits, 30) == 30
    asyncio.run(limits.synchronise())
    assert limits.failures == 1 and served(limits, 30) == 20
    wall.now_s += WINDOW_S
    asyncio.run(limits.synchronise())
    assert served(limits, 30) == 30


def test_excess_is_answered_with_429_and_the_rest_is_served(redis_server: Any, tables: RedisPriceTables) -> None:
    tables.publish(a_table())
    settings = Settings(
        redis=redis_server.url,
        clock=f"sim:{NOW}:0:1e-12",
        kafka="127.0.0.1:1",
        edge_secret=KEY,
        edge_key_per_second=1,
    )
    url = "/v1/quotes/acme/web-us-usd/sku-1?customer=c1"
    with Client(build(settings, follow=False, ring=KeyRing(keys.values()))) as client:
        replies = [client.get(url) for _ in range(WINDOW_S + 2)]
        statuses = [reply.status_code for reply in replies]
        # The rate limiter's own second may pass within the test; a new window serves again.
        assert statuses[:WINDOW_S] == [200] * WINDOW_S and statuses[WINDOW_S] in (200, 429)
        assert replies[0].headers["ratelimit"].startswith(f'"key";r={WINDOW_S};t=')
        over = [reply for reply in replies if reply.status_code == 429]
        assert all(1 <= int(reply.headers["retry-after"]) <= WINDOW_S for reply in over) and over
        assert over[0].headers["ratelimit-policy"] == f'"key";q={WINDOW_S};w={WINDOW_S}'
        assert over[0].json()["type"] == "urn:walras:problem:too-many-requests"
        assert client.get(url, headers=bearer("admin")).status_code == 200, "another key has its own limit"
        listings = ["acme/web-us-usd/sku-1"] * 20
        body = {"customer": "c1", "listings": listings}
        assert client.post("/v1/quotes:batch", json=body, headers=bearer("admin")).status_code == 429


def test_unreachable_redis_refuses_no_caller() -> None:
    limits = RateLimits(5, 100, RateCounts(UNREACHABLE, WINDOW_S))
    assert served(limits, 10) == 10
    asyncio.run(limits.synchronise())
    assert limits.failures == 1 and served(limits, 10) == 10
