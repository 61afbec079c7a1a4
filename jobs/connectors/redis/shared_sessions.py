"""SharedSessions: sessions that several operator ports see, in Redis, and in memory while Redis does not answer.

A key's name holds the hash of a session's cookie. The value is authenticated by a key of the deployment: who can
write to Redis can end sessions, but can neither make one nor change whom it stands for.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from jobs.access.claims import ProviderUser
from jobs.access.sessions import ABSOLUTE_MS, IDLE_MS, MOST_SESSIONS, Session, SessionMemory
from jobs.connectors.redis.price_tables import client_options

log = logging.getLogger(__name__)

TIMEOUT_S = 0.5
"""Longest wait for Redis, wall seconds."""
PAUSE_S = 2.0
"""Wall seconds after a failure in which Redis is not asked."""
PUT_LUA = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return true
"""
"""Keeps a session unless it was ended, so that a request under way when it ends does not open it again."""
PREFIX = "console-session:"
ENDED = "ended"
"""Value of a session that was ended, kept for as long as a copy in memory could still be used."""


class SharedSessions:
    """A :class:`jobs.access.sessions.SessionStore` in one Redis.

    Parameters
    ----------
    url : Redis URL.
    key : secret of the deployment, which authenticates values.
    monotonic_s : seconds of a clock that only rises.
    """

    def __init__(self, url: str, key: bytes, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        options = client_options() | {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        self._redis = redis.asyncio.Redis.from_url(url, **options | {"retry": Retry(NoBackoff(), 1)})
        self._key, self._monotonic_s = key, monotonic_s
        self._memory = SessionMemory()
        # Ended while Redis did not answer; the values say nothing.
        self._to_end: OrderedDict[str, None] = OrderedDict()
        self._asked_from_s = float("-inf")

    async def get(self, name: str) -> Session | None:
        """Return a session; None if it is not known or has ended."""
        if name in self._to_end:
            await self.end(name)
            return None
        value = await self._ask(lambda: self._redis.get(PREFIX + name))
        if value == ENDED:
            await self._memory.end(name)
            return None
        known = self._read(name, value) if isinstance(value, str) else None
        # Without a value Redis did not answer, or has lost its data: the copy in memory is put back with its use.
        return known or await self._memory.get(name)

    async def put(self, name: str, session: Session) -> None:
        """Keep a session until it is idle for too long."""
        await self._memory.put(name, session)
        text = self._text(name, session)
        await self._ask(lambda: self._redis.eval(PUT_LUA, 1, PREFIX + name, ENDED, text, str(IDLE_MS)))

    async def end(self, name: str) -> None:
        """End a session in every operator port."""
        await self._memory.end(name)
        self._to_end[name] = None
        if len(self._to_end) > MOST_SESSIONS:
            self._to_end.popitem(last=False)
        await self._ask(lambda: self._redis.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()  # type: ignore[attr-defined]

    async def _ask(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """Return Redis' reply, after it knows all ended sessions; None if it does not answer."""
        if self._monotonic_s() < self._asked_from_s:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                for name in list(self._to_end):
                    await self._redis.set(PREFIX + name, ENDED, px=ABSOLUTE_MS)
                    self._to_end.pop(name, None)
                return await request()
        except (RedisError, OSError, TimeoutError) as error:
            self._asked_from_s = self._monotonic_s() + PAUSE_S
            log.warning("sessions: Redis does not answer (%s); this port keeps them alone", type(error).__name__)
            return None

    def _text(self, name: str, session: Session) -> str:
        by = session.by if isinstance(session.by, str) else list(session.by)
        content = orjson.dumps([by, *session[1:]]).decode()
        return f"{self._mac(name, content)} {content}"

    def _read(self, name: str, text: str) -> Session | None:
        mac, _, content = text.partition(" ")
        if not hmac.compare_digest(mac.encode(), self._mac(name, content).encode()):
            return None
        by, *rest = orjson.loads(content)
        return Session(by if isinstance(by, str) else ProviderUser(*by), *rest)

    def _mac(self, name: str, content: str) -> str:
        return hmac.digest(self._key, f"{name} {content}".encode(), hashlib.sha256).hex()
