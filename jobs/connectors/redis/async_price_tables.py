"""Price tables, segments and kept quotes in an event loop: one round trip for many keys, and update hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from jobs.connectors.redis.price_tables import client_options
from jobs.connectors.redis.session_quotes import KEEP_LUA, READ_LUA, KeptWrite, keep_arguments, pairs
from schemas.listings import Listing
from schemas.redis_keys import READY_KEY, price_key, segment_key
from schemas.session_quotes import session_key

log = logging.getLogger(__name__)

VERSIONS_LUA = """
local versions = {}
for i, key in ipairs(KEYS) do
  local version = redis.pcall('HGET', key, 'version')
  versions[i] = type(version) ~= 'table' and version
end
return versions
"""
"""KEYS: price keys. A key that holds no hash has no version, instead of failing the whole batch."""
_CHANNEL = "price-updates:"


class Reading(NamedTuple):
    """Result of one round trip.

    ``epoch``: the ``ready`` epoch, None when Redis has lost its data. ``segments``, ``kept``: the segment and the
    kept quotes by scope, one per requested visitor. ``versions``: one per held listing. ``tables``: fields of
    every listing read, empty where there is no table.
    """

    epoch: str | None
    segments: list[str | None]
    versions: list[str | None]
    tables: dict[Listing, dict[str, str]]
    kept: list[Mapping[str, str]]


class Hint(NamedTuple):
    """A published message: a listing has a newer table. Hints may be lost."""

    listing: Listing
    version: int


class AsyncPriceTables:
    """Reads from one Redis; every call raises one of ``REDIS_UNREACHABLE`` when it does not answer.

    Parameters
    ----------
    url : Redis URL.
    timeout_s : seconds for a whole reading, including the connection and a second attempt.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # The client's timeouts are longer than a whole reading may take: asyncio.timeout limits it.
        options = client_options() | {"socket_timeout": 2 * timeout_s, "socket_connect_timeout": 2 * timeout_s}
        # One immediate retry, for a connection that the server closed; the cache covers longer outages.
        options["retry"] = Retry(NoBackoff(), 1)
        # Bytes that are no text make one table invalid, instead of breaking the connection within a reply.
        options["encoding_errors"] = "replace"
        self._redis = redis.asyncio.Redis.from_url(url, **options)

    async def read(
        self, visitors: Sequence[tuple[str, str, str]], held: Mapping[Listing, str], wanted: Sequence[Listing]
    ) -> Reading:
        """Read segments, kept quotes, the versions of held tables, and tables wanted or newer than the held ones.

        One command reads all segments, one all sessions and one all versions: a reply costs the client more than
        a key.

        Parameters
        ----------
        visitors : tenant, and pseudonyms of customer and session.
        held : version, as text, of each table that the caller holds.
        wanted : listings whose table the caller does not hold.
        """
        keys = [READY_KEY, *(segment_key(tenant, customer) for tenant, customer, _ in visitors)]
        sessions = [session_key(tenant, session) for tenant, _, session in visitors]
        async with asyncio.timeout(self._timeout_s):
            if not visitors and not held and not wanted:
                return Reading(await self._redis.get(READY_KEY), [], [], {}, [])
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.mget(keys)
                if sessions:
                    pipe.eval(READ_LUA, len(sessions), *sessions)
                if held:
                    pipe.eval(VERSIONS_LUA, len(held), *map(price_key, held))
                for listing in wanted:
                    pipe.hgetall(price_key(listing))
                of_keys, *found = await pipe.execute(raise_on_error=False)
            of_sessions = found.pop(0) if sessions else []
            versions = found.pop(0) if held else []
            for reply in (of_keys, of_sessions, versions):
                if isinstance(reply, Exception):
                    raise reply
            epoch, *segments = of_keys
            changed = [x for x, version in zip(held, versions, strict=True) if version != held[x]]
            if changed:
                async with self._redis.pipeline(transaction=False) as pipe:
                    for listing in changed:
                        pipe.hgetall(price_key(listing))
                    found += await pipe.execute(raise_on_error=False)
        tables = {
            listing: _fields(listing, reply) for listing, reply in zip([*wanted, *changed], found, strict=True)
        }
        return Reading(epoch, segments, versions, tables, [pairs(flat) for flat in of_sessions])

    async def keep(self, writes: Sequence[KeptWrite], now_ms: int, ttl_ms: int) -> list[str]:
        """Write quotes that sessions keep; return for each another edge's value that stays, or an empty text.

        Parameters
        ----------
        now_ms : the run's time, by which windows end.
        ttl_ms : wall time for which the sessions' keys stay at least.
        """
        keys, arguments = keep_arguments(writes, now_ms, ttl_ms)
        async with asyncio.timeout(self._timeout_s):
            return list(await self._redis.eval(KEEP_LUA, len(keys), *keys, *arguments))  # type: ignore[misc]

    async def hints(self) -> AsyncIterator[Hint | None]:
        """Yield hints as they are published, and None when the subscription begins.

        The client subscribes again by itself after it has lost its connection: None then means that hints were
        lost.
        """
        async with self._redis.pubsub() as published:
            await published.psubscribe(f"{_CHANNEL}*")
            while True:
                message = await published.get_message(timeout=30.0)
                if message is not None and message["type"] == "psubscribe":
                    yield None
                elif message is not None:
                    hint = _hint(message["channel"], message["data"])
                    if hint is not None:
                        yield hint

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()  # type: ignore[attr-defined]


def _fields(listing: Listing, reply: dict[str, str] | Exception) -> dict[str, str]:
    """Return the fields of a table; none, and a line in the log, where its key holds something else."""
    if isinstance(reply, Exception):
        log.error("%s: expected a hash with a price table: %s", price_key(listing), reply)
        return {}
    return reply


def _hint(channel: str, data: str) -> Hint | None:
    """Parse a hint; return None if it names no version.

    >>> _hint("price-updates:{acme:web}", "s 1 7")
    Hint(listing=Listing(tenant='acme', market='web', sku='s 1'), version=7)
    >>> _hint("price-updates:{acme:web}", "s") is None
    True
    """
    tenant, _, market = channel.removeprefix(_CHANNEL + "{").removesuffix("}").partition(":")
    sku, _, version = data.rpartition(" ")
    return Hint(Listing(tenant, market, sku), int(version)) if version.isdigit() else None
