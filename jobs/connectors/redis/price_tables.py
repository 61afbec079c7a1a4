"""Price tables and segments in Redis: written by compare-and-set, read by two look-ups.

Why a script: a writer that was replaced an hour ago may still wake up and write. Redis alone decides
who is newer, in one atomic step, so that a stale writer cannot win:

* a table is taken if its ``version`` is higher than the one that lies there;
* the same ``decision_id`` again is a repeat: acknowledged, and it never lowers the version;
* without the ``ready`` epoch nothing is taken: a Redis that lost its data must first get back each
  listing's highest version from Kafka (:mod:`jobs.connectors.redis.rebuild`), or an old table could win.

The layout itself is :mod:`schemas.price_table`'s; a reader needs no library of ours (system, "Redis").
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from jobs.pricing.ports import PublishResult
from schemas.events import Listing
from schemas.price_table import (
    READY_KEY,
    PriceTable,
    price_key,
    purchases_key,
    segment_key,
    updates_channel,
)

log = logging.getLogger(__name__)

CONNECTION_ERRORS = (ConnectionError, TimeoutError)
"""What every call raises when Redis cannot be reached or does not answer."""
REDIS_UNREACHABLE: tuple[type[Exception], ...] = (RedisError, OSError)
"""What a call may raise when Redis cannot be reached, does not answer, or answers with an error."""
NOT_READY = -1
"""``version_now`` of a refusal because the ``ready`` epoch is missing."""

PUBLISH_LUA = """
local now = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if ARGV[1] == '1' and redis.call('EXISTS', KEYS[2]) == 0 then return {0, -1} end
local version = tonumber(ARGV[2])
if version <= now then
  if redis.call('HGET', KEYS[1], 'decision_id') == ARGV[3] then return {1, now} end
  return {0, now}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('PUBLISH', ARGV[4], ARGV[5])
return {1, version}
"""
"""KEYS: price key, ready key. ARGV: must be ready (1/0), version, decision id, channel, hint, field, value, …"""

PURCHASES_LUA = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or tonumber(ARGV[2]) >= tonumber(string.match(held, '^%d+')) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
end
"""
"""KEYS: purchases key. ARGV: period, purchases, those above the rivals' price. Counts of a period only rise."""


def client_options() -> dict[str, Any]:
    """Timeouts and the redis client's own retry, one for every client of the project.

    Eight tries from 20 ms up to 1 s apart: a restart of Redis is waited out, a lost one is reported within
    about four seconds. One that takes the connection and does not answer is reported after ``socket_timeout``:
    trying again would wait as long each time. No health check: the client (5.3) makes one while it connects,
    each with tries of its own, so that a Redis that hung was waited for for minutes.
    """
    return {
        "decode_responses": True,
        "socket_timeout": 2.0,
        "socket_connect_timeout": 1.0,
        "socket_keepalive": True,
        # A server that is just restarting refuses the connection; the client would not count that as its error.
        "retry": Retry(
            ExponentialBackoff(cap=1.0, base=0.02), 8, (ConnectionError, BusyLoadingError, ConnectionRefusedError)
        ),
    }


def update_hint(table: PriceTable) -> str:
    """Message of the update channel: SKU and version with a space between.

    A SKU may hold spaces; a version holds none, so it is read from the right.
    """
    return f"{table.listing.sku} {table.version}"


def _arguments(table: PriceTable, *, must_be_ready: bool) -> tuple[list[str], list[str]]:
    fields = [part for pair in table.to_redis().items() for part in pair]
    channel = updates_channel(table.listing.tenant, table.listing.market)
    head = ["1" if must_be_ready else "0", str(table.version), table.decision_id, channel, update_hint(table)]
    return [price_key(table.listing), READY_KEY], [*head, *fields]


def _purchases(text: str) -> tuple[int, int]:
    purchases, _, above = text.partition(":")
    return int(purchases), int(above)


class RedisPriceTables:
    """The price table port on Redis; also where segments are kept.

    Parameters
    ----------
    url : Redis URL, e.g. ``redis://127.0.0.1:6379/0``.

    Notes
    -----
    Safe to share between threads; connects at the first call. Every method raises one of :data:`CONNECTION_ERRORS`
    when Redis cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(url, **client_options())
        self._publish = self._redis.register_script(PUBLISH_LUA)
        self._purchases = self._redis.register_script(PURCHASES_LUA)

    def publish(self, table: PriceTable) -> PublishResult:
        """Write a table if it is newer than what lies there, and hint readers on the update channel."""
        keys, args = _arguments(table, must_be_ready=True)
        accepted, version_now = cast(list[int], self._publish(keys=keys, args=args))
        return PublishResult(bool(accepted), int(version_now))

    def publish_many(
        self, tables: Iterable[PriceTable], *, must_be_ready: bool = True, chunk: int = 500
    ) -> list[PublishResult]:
        """Publish many tables in pipelines of ``chunk``; the answers in the order of the tables."""
        results: list[PublishResult] = []
        waiting: list[tuple[list[str], list[str]]] = []

        def drain() -> None:
            with self._redis.pipeline(transaction=False) as pipe:
                for keys, args in waiting:
                    self._publish(keys=keys, args=args, client=pipe)
                results.extend(PublishResult(bool(a), int(v)) for a, v in pipe.execute())
            waiting.clear()

        for table in tables:
            waiting.append(_arguments(table, must_be_ready=must_be_ready))
            if len(waiting) == chunk:
                drain()
        if waiting:
            drain()
        return results

    def get(self, listing: Listing) -> PriceTable | None:
        """The table that lies there, or None.

        Raises
        ------
        PriceTableError
            If what lies there is not a price table.
        """
        fields = cast(dict[str, str], self._redis.hgetall(price_key(listing)))
        return PriceTable.from_redis(listing, fields) if fields else None

    def get_many(self, listings: Sequence[Listing]) -> dict[Listing, PriceTable]:
        """The tables of those listings that have one, in one pipeline."""
        with self._redis.pipeline(transaction=False) as pipe:
            for listing in listings:
                pipe.hgetall(price_key(listing))
            found = pipe.execute()
        return {
            listing: PriceTable.from_redis(listing, fields)
            for listing, fields in zip(listings, found, strict=True)
            if fields
        }

    def segment(self, tenant: str, customer: str) -> str | None:
        """A pseudonym's segment; None for a newcomer."""
        return cast("str | None", self._redis.get(segment_key(tenant, customer)))

    def set_segments(self, tenant: str, segments: Mapping[str, str | None]) -> int:
        """Write segments by pseudonym in one pipeline; None forgets the customer. Answers how many it touched."""
        if not segments:
            return 0
        with self._redis.pipeline(transaction=False) as pipe:
            for customer, segment in sorted(segments.items()):
                if segment is None:
                    pipe.delete(segment_key(tenant, customer), purchases_key(tenant, customer))
                else:
                    pipe.set(segment_key(tenant, customer), segment)
            return sum(bool(answer) for answer in pipe.execute())

    def add_purchases(
        self, tenant: str, counts: Mapping[tuple[str, int], tuple[int, int]]
    ) -> dict[str, dict[int, tuple[int, int]]]:
        """Write customers' counts of a period and read those of every period, in one pipeline.

        Of two counts of a period the higher stays, so that an older record that is read again changes nothing.

        Parameters
        ----------
        counts : purchases, and those above the rivals' price, by pseudonym and period.

        Returns
        -------
        dict
            The same by period, of each of these pseudonyms.
        """
        customers = sorted({customer for customer, _ in counts})
        with self._redis.pipeline(transaction=False) as pipe:
            for (customer, period), (purchases, above) in sorted(counts.items()):
                key = purchases_key(tenant, customer)
                self._purchases(keys=[key], args=[period, purchases, above], client=pipe)
            for customer in customers:
                pipe.hgetall(purchases_key(tenant, customer))
            found = pipe.execute()[len(counts) :]
        return {
            customer: {int(period): _purchases(text) for period, text in periods.items()}
            for customer, periods in zip(customers, found, strict=True)
        }

    def ready(self) -> str | None:
        """The epoch, or None when Redis holds no complete picture."""
        return cast("str | None", self._redis.get(READY_KEY))

    def mark_ready(self, epoch: str) -> None:
        """Admit writers: Redis now holds each listing's highest version."""
        self._redis.set(READY_KEY, epoch)

    def mark_unready(self) -> None:
        """Refuse writers until the next :meth:`mark_ready`; readers keep what they have cached."""
        self._redis.delete(READY_KEY)

    def listings(self) -> Iterator[Listing]:
        """Every listing with a table, in no order."""
        for key in self._redis.scan_iter(match="price:*", count=1000):
            tag, _, sku = key.removeprefix("price:{").partition("}:")
            tenant, _, market = tag.partition(":")
            yield Listing(tenant, market, sku)

    def forget(self, listings: Iterable[Listing]) -> None:
        """Remove listings that are no longer sold; an edge serves what it has cached until it expires."""
        with self._redis.pipeline(transaction=False) as pipe:
            for listing in listings:
                pipe.delete(price_key(listing))
            pipe.execute()

    def ping(self) -> bool:
        """Whether Redis answers."""
        return bool(self._redis.ping())

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()
