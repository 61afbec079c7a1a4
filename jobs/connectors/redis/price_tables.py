"""Price tables and segments in Redis: written by compare-and-set, read by two lookups.

Writes are Lua scripts, so that Redis decides in one atomic step which table is newer, and a stale writer (a
replaced process that resumes an hour later) cannot win:

* a table is accepted if its ``version`` is higher than the stored one;
* a repeated ``decision_id`` is acknowledged and never lowers the version;
* without the ``ready`` epoch no table is accepted: a Redis that lost its data must first get each listing's
  highest version from Kafka (:mod:`jobs.connectors.redis.rebuild`), or an old table could win.

:mod:`schemas.price_table` defines the layout; a reader needs no library of this project (architecture, "Serving
contract in Redis").
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
from schemas.listings import Listing
from schemas.price_table import PriceTable
from schemas.redis_keys import READY_KEY, price_key, purchases_key, segment_key, updates_channel

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
    """Return timeouts and retries of every Redis client of the project.

    Eight retries, 20 ms to 1 s apart, cover a restart of Redis; a lost Redis is reported within about four
    seconds. A Redis that accepts the connection and does not answer is reported after ``socket_timeout``; a retry
    would wait as long again. There is no health check: the client (5.3) runs one while it connects, each with
    retries of its own, so that a hanging Redis would block for minutes.
    """
    return {
        "decode_responses": True,
        "socket_timeout": 2.0,
        "socket_connect_timeout": 1.0,
        "socket_keepalive": True,
        # A restarting server refuses connections, which the client's default retry does not cover.
        "retry": Retry(
            ExponentialBackoff(cap=1.0, base=0.02), 8, (ConnectionError, BusyLoadingError, ConnectionRefusedError)
        ),
    }


def update_hint(table: PriceTable) -> str:
    """Return the message of the update channel: SKU and version, separated by a space.

    A SKU may contain spaces and a version contains none, so readers split at the last space.
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
    """The price table port on Redis; also stores customers' counts and segments.

    Parameters
    ----------
    url : Redis URL, e.g. ``redis://127.0.0.1:6379/0``.

    Notes
    -----
    Safe to share between threads; connects at the first call. Every method raises one of :data:`CONNECTION_ERRORS`
    when
    Redis cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(url, **client_options())
        self._publish = self._redis.register_script(PUBLISH_LUA)
        self._purchases = self._redis.register_script(PURCHASES_LUA)

    def publish(self, table: PriceTable) -> PublishResult:
        """Write a table if it is newer than the stored one, and send a hint on the update channel."""
        keys, args = _arguments(table, must_be_ready=True)
        accepted, version_now = cast(list[int], self._publish(keys=keys, args=args))
        return PublishResult(bool(accepted), int(version_now))

    def publish_many(
        self, tables: Iterable[PriceTable], *, must_be_ready: bool = True, chunk: int = 500
    ) -> list[PublishResult]:
        """Publish tables in pipelines of ``chunk``; return the results in the order of the tables."""
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
        """Return the stored table of a listing, or None.

        Raises
        ------
        PriceTableError
            If the stored value is not a price table.
        """
        fields = cast(dict[str, str], self._redis.hgetall(price_key(listing)))
        return PriceTable.from_redis(listing, fields) if fields else None

    def get_many(self, listings: Sequence[Listing]) -> dict[Listing, PriceTable]:
        """Return the tables of those listings that have one, read in one pipeline."""
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
        """Return a pseudonym's segment; None for a newcomer."""
        return cast("str | None", self._redis.get(segment_key(tenant, customer)))

    def set_segments(self, tenant: str, segments: Mapping[str, str | None]) -> int:
        """Write segments by pseudonym in one pipeline; return the number of changed keys.

        A segment of None deletes the customer.
        """
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

        Of two counts of the same period the higher one is kept, so that an older record that is read again changes
        nothing.

        Parameters
        ----------
        counts : purchases, and those above the rivals' price, by pseudonym and period.

        Returns
        -------
        dict
            The same by period, for each of these pseudonyms.
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
        """Return the ``ready`` epoch; None when Redis has lost its data."""
        return cast("str | None", self._redis.get(READY_KEY))

    def mark_ready(self, epoch: str) -> None:
        """Set the ``ready`` epoch: Redis now holds each listing's highest version and accepts writers."""
        self._redis.set(READY_KEY, epoch)

    def mark_unready(self) -> None:
        """Refuse writers until the next :meth:`mark_ready`; readers keep serving what they have cached."""
        self._redis.delete(READY_KEY)

    def listings(self) -> Iterator[Listing]:
        """Yield every listing with a table, in no order."""
        for key in self._redis.scan_iter(match="price:*", count=1000):
            tag, _, sku = key.removeprefix("price:{").partition("}:")
            tenant, _, market = tag.partition(":")
            yield Listing(tenant, market, sku)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
