"""Sessions that two operator ports share in Redis: begun, used, ended, and while Redis is away or empty."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from jobs.access import KeyRing
from jobs.access.sessions import ABSOLUTE_MS, IDLE_MS, Session, Sessions
from jobs.connectors.redis.shared_sessions import ENDED, PAUSE_S, PREFIX, SharedSessions
from tests.jobs.access.access_builders import keys

SECRET = b"k" * 32
KEY_ID = keys["manager"].key_id


class Ports:
    """Two operator ports with one Redis and a monotonic clock that the test sets."""

    def __init__(self, url: str) -> None:
        self.now_s = 0.0
        self.stores = [SharedSessions(url, SECRET, lambda: self.now_s) for _ in range(2)]
        ring = KeyRing(keys.values())
        self.one, self.other = (Sessions(ring, store=store) for store in self.stores)

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            await test
            for store in self.stores:
                await store.close()

        asyncio.run(whole())


@pytest.fixture
def ports(redis_server: Any) -> Ports:
    return Ports(redis_server.url)


def test_session_of_one_port_is_open_and_ended_at_the_other(ports: Ports, redis_server: Any) -> None:
    async def check() -> None:
        cookie = await ports.one.begin(KEY_ID, 0)
        found = await ports.other.find(cookie, IDLE_MS - 1)
        assert found is not None and found.author == "manager"
        assert await ports.one.find(cookie, IDLE_MS + 1) is not None, "the use at the other port counts"
        [name] = redis_server.client.keys("*")
        assert name.startswith(PREFIX) and cookie not in name
        assert cookie not in redis_server.client.get(name)
        assert 0 < redis_server.client.pttl(name) <= IDLE_MS
        await ports.other.end(cookie)
        assert await ports.one.find(cookie, IDLE_MS + 2) is None
        assert await ports.other.find(cookie, IDLE_MS + 2) is None
        assert redis_server.client.get(name) == ENDED and redis_server.client.pttl(name) <= ABSOLUTE_MS

    ports.run(check())


def test_session_without_the_hash_of_its_keys_text_is_not_open(ports: Ports) -> None:
    async def check() -> None:
        cookie = await ports.one.begin(KEY_ID, 0)
        [name] = [name async for name in ports.stores[0]._redis.scan_iter()]
        await ports.stores[0].put(name.removeprefix(PREFIX), Session(KEY_ID, 0, 0))
        assert await ports.one.find(cookie, 1) is None and await ports.other.find(cookie, 1) is None

    ports.run(check())


def test_request_under_way_at_sign_out_does_not_open_the_session_again(ports: Ports) -> None:
    async def check() -> None:
        one, other = ports.stores
        await one.put("n", Session(KEY_ID, 0, 0))
        await other.end("n")
        await one.put("n", Session(KEY_ID, 0, 1))
        assert await one.get("n") is None and await other.get("n") is None

    ports.run(check())


def test_sessions_last_while_redis_is_away_and_after_it_lost_its_data(ports: Ports, redis_server: Any) -> None:
    async def check() -> None:
        kept, ended = [await ports.one.begin(KEY_ID, 0) for _ in range(2)]
        redis_server.kill()
        assert await ports.one.find(kept, 1) is not None
        assert await ports.other.find(kept, 1) is None, "the other port has never seen it"
        begun = await ports.one.begin(KEY_ID, 1)
        await ports.one.end(ended)
        assert await ports.one.find(ended, 2) is None
        redis_server.start()
        ports.now_s += PAUSE_S
        assert await ports.one.find(kept, 3) is not None and await ports.one.find(begun, 3) is not None
        assert await ports.other.find(kept, 4) is not None and await ports.other.find(begun, 4) is not None
        assert await ports.other.find(ended, 4) is None

    ports.run(check())


def test_session_ended_while_redis_is_away_ends_at_the_other_port_when_it_is_back(
    ports: Ports, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        cookie = await ports.one.begin(KEY_ID, 0)
        assert await ports.other.find(cookie, 1) is not None
        redis = ports.stores[0]._redis

        async def away(*_: Any, **__: Any) -> None:
            raise ConnectionError

        with monkeypatch.context() as patch:
            patch.setattr(redis, "set", away)
            patch.setattr(redis, "get", away)
            await ports.one.end(cookie)
        assert await ports.one.find(cookie, 2) is None
        ports.now_s += PAUSE_S
        assert await ports.one.find(cookie, 3) is None
        assert await ports.other.find(cookie, 4) is None

    ports.run(check())


def test_redis_that_does_not_answer_is_asked_again_after_a_pause(
    ports: Ports, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        asked: list[str] = []

        async def away(name: str, *_: Any, **__: Any) -> None:
            asked.append(name)
            raise TimeoutError

        monkeypatch.setattr(ports.stores[0]._redis, "get", away)
        for _ in range(3):
            await ports.stores[0].get("n")
        assert len(asked) == 1
        ports.now_s += PAUSE_S
        await ports.stores[0].get("n")
        assert len(asked) == 2

    ports.run(check())


def test_value_that_another_wrote_opens_nothing(ports: Ports, redis_server: Any) -> None:
    async def check() -> None:
        forger = SharedSessions(redis_server.url, b"another key", lambda: 0.0)
        await forger.put("forged", Session(keys["admin"].key_id, 0, 0))
        await forger.close()
        assert await ports.stores[0].get("forged") is None
        await ports.stores[0].put("own", Session(KEY_ID, 0, 0))
        text = redis_server.client.get(PREFIX + "own")
        for name, value in (
            ("moved", text), ("own", text.replace(KEY_ID, keys["admin"].key_id)), ("own", ""), ("own", "a b c"),
        ):  # fmt: skip
            redis_server.client.set(PREFIX + name, value)
            assert await ports.stores[1].get(name) is None

    ports.run(check())
