"""The edge's cache of price tables and visitors: served from memory, read from Redis in batches.

Three guarantees, whatever happens to Redis:

1. outside session windows, a quote is never based on a lower version than one that is cached here;
2. a served entry was confirmed by Redis at most ``reread_s`` ago, or it is marked as unconfirmed (``confirmed``);
3. when Redis fails, hangs, or lacks its ``ready`` epoch, the cached entry stays in use, until neither Redis nor
   Kafka has confirmed it for the table's ``unconfirmed_minutes``.

A request waits for Redis at most ``timeout_s``, and only until the first read has failed. From then on reads are
attempted in the background, every ``pause_s``, and a request waits only where no price is known without Redis.

Pub/sub hints make an entry be read again earlier. The guarantees do not rely on them, since messages may be lost.
When the connection that brings them is lost, every entry is confirmed again before it is served.
Lookups that arrive while a batch is read share the next batch, so that one round trip serves all of them. An entry
in use is refreshed in the background before ``reread_s`` has passed, so that no request waits for it.

A visitor is a customer's segment and a session's kept quotes (:mod:`jobs.edge.session_quotes`). They are read
together. While a new table spreads over the edges, a session that has no quote of it here is read again, since
another edge may have quoted it from the table before.

A listing of the catalog that has no table yet is served at its list price (:meth:`PriceCache.on_catalog`). At most
``max_tables`` tables and as many list prices are kept. The least recently used table is evicted first and read
again when it is requested; guarantee 1 holds for cached tables only. Every duration here is wall time (retries,
refreshes); whether a table has expired is the caller's decision, by the run's Clock.

The module has over 300 lines because lookups, batched reads and hints change the same entries. The three
guarantees depend on all three together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from jobs.connectors.redis.async_price_tables import AsyncPriceTables, Hint
from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE
from jobs.edge.price_entry import Entry, NoPriceError, UnknownListingError, list_price_table
from jobs.edge.recently_used import RecentlyUsed
from jobs.edge.session_quotes import WRITE_AFTER_S, SessionQuotes, Visitor, VisitorId
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.price_table import PriceTable, PriceTableError
from schemas.topics import MAX_PRICE_MINOR

log = logging.getLogger(__name__)

_NEVER = float("-inf")
REFRESH_AHEAD_SHARE = 0.8
"""Share of ``reread_s`` after which an entry in use is refreshed in the background."""
BATCH_YIELDS = 3
"""Iterations of the event loop in which a read waits for more lookups."""
MAX_BACKGROUND_READS = 32
"""Most entries refreshed in one round trip, beside those that requests wait for."""

CANCEL_ATTEMPTS, CANCEL_WAIT_S = 20, 0.05
"""How often :meth:`PriceCache.close` cancels a running task, and wall seconds between two attempts.

One cancellation may be lost: ``asyncio.wait_for`` of Python 3.11, in which the Redis client sends a command,
ignores it when the command has just been sent, and a timeout of the client may replace it by a TimeoutError.
"""


class PriceCache:
    """Tables and visitors by key, read through to Redis.

    Parameters
    ----------
    url : Redis URL.
    reread_s : seconds after which an entry is read again before it is served.
    segment_s : seconds after which a visitor's segment and kept quotes are read again.
    timeout_s : seconds that a read of Redis may take, including the connection and a retry; then the cache serves.
    pause_s : seconds without reads after a failure.
    linger_s : seconds that a background refresh waits for others to share its round trip.
    max_tables : most tables, and most list prices, that are kept.
    max_segments, max_unknown : bounds of the maps whose keys come from requests: segments and visitors, and
        listings that do not exist.
    speed : seconds of the run's clock per second of wall time.
    monotonic : clock of all durations.

    Attributes
    ----------
    all_tables_read : whether :meth:`on_table` has received every table of Kafka. Without Redis, a missing table is
        known not to exist only then.
    epoch : the ``ready`` epoch of Redis; None while Redis does not answer or has lost its data.
    failures : reads of Redis that failed.
    evicted, list_prices_evicted : tables and list prices dropped, or not accepted, for lack of room.
    lower_versions : tables of Redis that were refused because the cached version was higher.
    hints, hints_lost : hints received, and how often the connection that brings them was lost.
    session_quotes : the quotes that sessions keep.
    caches : the caches without an eviction rule of their own, by name.
    """

    def __init__(
        self,
        url: str,
        *,
        reread_s: float = 1.0,
        segment_s: float = 30.0,
        timeout_s: float = 0.5,
        pause_s: float = 0.5,
        linger_s: float = 0.001,
        max_tables: int = 100_000,
        max_segments: int = 50_000,
        max_unknown: int = 10_000,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = AsyncPriceTables(url, timeout_s)
        self._reread_s, self._segment_s, self._pause_s, self._linger_s = reread_s, segment_s, pause_s, linger_s
        self._max_tables, self._max_unknown = max_tables, max_unknown
        self._monotonic = monotonic
        # Least recently used first.
        self._tables: OrderedDict[str, Entry] = OrderedDict()
        self._visitors: RecentlyUsed[tuple[str, str, str], Visitor] = RecentlyUsed(max_segments)
        # By tenant and customer, for visitors that return while Redis does not answer; an empty text: newcomer.
        self._segments: RecentlyUsed[tuple[str, str], str] = RecentlyUsed(max_segments)
        self._listed: OrderedDict[str, CatalogEntry] = OrderedDict()
        self._unknown: dict[Listing, float] = {}
        self._wanted_tables: dict[Listing, asyncio.Future[None]] = {}
        self._wanted_visitors: dict[VisitorId, asyncio.Future[None]] = {}
        self._ahead: dict[Listing, None] = {}
        self._reading: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._down_until = self._heard_at = _NEVER
        self._closing = False
        self.session_quotes = SessionQuotes(self._redis, speed)
        self.all_tables_read: Callable[[], bool] = lambda: False
        self.epoch: str | None = None
        self.failures = 0
        self.evicted = 0
        self.list_prices_evicted = 0
        self.lower_versions = 0
        self.hints = 0
        self.hints_lost = 0
        self._has_hints = self._was_subscribed = False
        self.caches: dict[str, RecentlyUsed[Any, Any]] = {"segments": self._segments, "visitors": self._visitors}

    @property
    def healthy(self) -> bool:
        """Whether the last read of Redis succeeded and found its ``ready`` epoch."""
        return self.epoch is not None and self._monotonic() >= self._down_until

    @property
    def size(self) -> int:
        """Number of cached tables."""
        return len(self._tables)

    async def start(self) -> None:
        """Start listening to hints and read Redis once; an unreachable Redis is not an error."""
        self._listening = asyncio.create_task(self._listen())
        await self.check()

    async def check(self) -> bool:
        """Read Redis once; return whether it answers and is ready."""
        await self._read_batch([], [])
        return self.healthy

    async def close(self) -> None:
        """Stop listening and close the connections."""
        self._closing = True
        own = (self._listening, self._reading, *self.session_quotes.tasks)
        tasks = {task for task in own if task is not None}
        for _ in range(CANCEL_ATTEMPTS):
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_WAIT_S)
        if tasks:
            log.warning("edge cache: %d tasks did not end when the cache was closed", len(tasks))
        await self._redis.close()

    def cached(self, listing: str, visitor: tuple[str, str, str]) -> tuple[Entry, Visitor] | None:
        """Return entry and visitor if both are fresh; otherwise None, and :meth:`lookup` must be awaited.

        Parameters
        ----------
        listing : the listing's key.
        visitor : as :class:`jobs.edge.session_quotes.VisitorId`.
        """
        now = self._monotonic()
        entry = self._tables.get(listing)
        if entry is None:
            return None
        age = now - entry.checked_at
        if age > self._reread_s:
            return None
        known = self._visitors[visitor]
        if (
            known is None
            or known.fresh_until < now
            or (known.read_at < entry.settled_at and _may_be_quoted(known, entry))
        ):
            return None
        if age > self._reread_s * REFRESH_AHEAD_SHARE:
            self._ahead[entry.table.listing] = None
            self._begin_reading()
        return entry, known

    async def lookup(self, listing: Listing, visitor: VisitorId) -> tuple[Entry, Visitor]:
        """Return entry and visitor, confirmed by Redis if it answers.

        Raises
        ------
        UnknownListingError
            If Redis answers, is ready, and has no table, and the catalog has no list price.
        NoPriceError
            If Redis does not answer and no price is cached.
        """
        now = self._monotonic()
        entry = self._tables.get(listing.key)
        known = self._visitors[visitor]
        due = entry is None or entry.checked_at + self._reread_s < now
        if self._down_until > _NEVER and (entry is not None or self._has_list_price(listing)):
            # Redis failed last time: the next attempt is made in the background, and no request waits for it.
            if now >= self._down_until:
                self._ahead[listing] = None
                self._begin_reading()
            if entry is not None and due:
                self._unconfirm([listing])
        else:
            waits: list[asyncio.Future[None]] = []
            if due and self._unknown.get(listing, _NEVER) < now:
                waits.append(self._want(self._wanted_tables, listing))
            if known is None or known.fresh_until < now or _may_be_quoted(known, entry, reading=bool(waits)):
                waits.append(self._want(self._wanted_visitors, visitor))
            for wait in waits:
                await wait
            entry = self._tables.get(listing.key)
            known = self._visitors[visitor]
        if known is None:
            # Redis does not answer: what is known of the customer stays in use.
            known = Visitor(self._segments[visitor[:2]] or None)
            self._visitors.put(visitor, known)
        if entry is not None:
            return entry, known
        if self._has_list_price(listing):
            return Entry(list_price_table(self._listed[listing.key]), now), known
        if self.healthy:
            raise UnknownListingError(listing.key)
        raise NoPriceError(listing.key)

    def age_visitors(self) -> None:
        """Forget the visitors that were not used since the last call but one."""
        self._visitors.age()

    def _has_list_price(self, listing: Listing) -> bool:
        """Return whether a listing without a cached table is known to have a list price alone."""
        # Without Redis, or after evictions, a table that is not cached may still exist.
        return listing.key in self._listed and (self.healthy or (self.all_tables_read() and not self.evicted))

    def on_table(self, table: PriceTable) -> None:
        """Accept a table read from Kafka (for a start without Redis) as unconfirmed; ignore a lower version.

        It is evicted before tables that were requested, and is not accepted when the cache is full.
        """
        key = table.listing.key
        entry = self._tables.get(key)
        self._hear()
        if entry is None and len(self._tables) >= self._max_tables:
            self.evicted += 1
        elif entry is None or entry.table.version < table.version:
            now = self._monotonic()
            new = Entry(table, _NEVER, False, known_at=now, settled_at=self._settled_at(table, entry, now))
            self._tables[key] = new
            if entry is None:
                self._tables.move_to_end(key, last=False)

    def on_catalog(self, entry: CatalogEntry) -> None:
        """Accept a catalog entry: its list price is served until the listing has a table. An inactive listing has
        none.
        """
        listing = Listing.key_of(entry)
        self._hear()
        if not entry.active or not 0 < (entry.list_minor or 0) <= MAX_PRICE_MINOR:
            self._listed.pop(listing, None)
            return
        self._listed[listing] = entry
        self._listed.move_to_end(listing)
        if len(self._listed) > self._max_tables:
            self._listed.popitem(last=False)
            self.list_prices_evicted += 1

    def _hear(self) -> None:
        """Note that Kafka brings what is published, once everything before has been read."""
        if self.all_tables_read():
            self._heard_at = self._monotonic()

    def _settled_at(self, table: PriceTable, before: Entry | None, now: float) -> float:
        """Return when every edge quotes a table's prices and has written its quotes of the prices before."""
        if before is not None and before.table.table_id == table.table_id:
            return before.settled_at
        return now + self._reread_s + WRITE_AFTER_S

    def _want(self, wanted: dict[Any, asyncio.Future[None]], key: Any) -> asyncio.Future[None]:
        future = wanted.get(key)
        if future is None:
            future = wanted[key] = asyncio.get_running_loop().create_future()
            self._begin_reading()
        return future

    def _begin_reading(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while self._wanted_tables or self._wanted_visitors or self._ahead:
            if self._wanted_tables or self._wanted_visitors:
                # Waits for more requests only under load, and then reads them in one batch.
                for _ in range(BATCH_YIELDS):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(self._linger_s)
            tables, self._wanted_tables = self._wanted_tables, {}
            visitors, self._wanted_visitors = self._wanted_visitors, {}
            try:
                # A few at a time: while a thousand tables are decoded, every quote would wait.
                ahead = [self._ahead.popitem()[0] for _ in range(min(len(self._ahead), MAX_BACKGROUND_READS))]
                await self._read_batch([*tables, *ahead], list(visitors))
            finally:
                # Waiting lookups continue with the cached entries, also after a failure.
                for future in (*tables.values(), *visitors.values()):
                    if not future.done():
                        future.set_result(None)

    async def _read_batch(self, listings: list[Listing], visitors: list[VisitorId]) -> None:
        began = self._monotonic()
        if began < self._down_until:
            return self._unconfirm(listings)
        # A table is read if it is not cached, if a hint announced a newer one, or if its version has changed.
        held: dict[Listing, str] = {}
        wanted: list[Listing] = []
        for listing in listings:
            entry = self._tables.get(listing.key)
            if entry is None or entry.checked_at == _NEVER:
                wanted.append(listing)
            else:
                held[listing] = entry.version_text
        try:
            epoch, segments, versions, found, kept = await self._redis.read(visitors, held, wanted)
        except REDIS_UNREACHABLE as error:
            if self.epoch is not None or not self.failures:
                log.warning("edge cache: Redis does not answer, cached prices stay in use: %r", error)
            self.failures += 1
            self.epoch = None
            self._down_until = self._monotonic() + self._pause_s
            return self._unconfirm(listings)
        self._down_until = _NEVER
        if self.epoch is None and epoch is not None:
            log.info("edge cache: Redis is ready, epoch %s", epoch)
        self.epoch = epoch
        if epoch is None:
            return self._unconfirm(listings)
        now = self._monotonic()
        for listing, version in zip(held, versions, strict=True):
            entry = self._tables[listing.key]
            if version == entry.version_text:
                entry.confirm(now)
        for listing, fields in found.items():
            self._take(listing, fields, now)
        self._keep_used(listings)
        for visitor, segment, quotes in zip(visitors, segments, kept, strict=True):
            known = self._visitors[visitor] or Visitor()
            known.segment, known.read_at, known.fresh_until = segment, began, now + self._segment_s
            known.take(quotes)
            self._visitors.put(visitor, known)
            self._segments.put(visitor[:2], segment or "")

    def _keep_used(self, listings: list[Listing]) -> None:
        """Mark the tables of a read as used; evict the least recently used ones, but none of this read."""
        used = [listing.key for listing in listings if listing.key in self._tables]
        for key in used:
            self._tables.move_to_end(key)
        while len(self._tables) > max(self._max_tables, len(used)):
            self._tables.popitem(last=False)
            self.evicted += 1

    def _unconfirm(self, listings: list[Listing]) -> None:
        now = self._monotonic()
        for listing in listings:
            entry = self._tables.get(listing.key)
            if entry is not None:
                # Served as unconfirmed until the next attempt, so that few quotes wait for Redis.
                entry.unconfirm(now, self._heard_at)
                self._tables.move_to_end(listing.key)

    def _take(self, listing: Listing, fields: dict[str, str], now: float) -> None:
        entry = self._tables.get(listing.key)
        if entry is not None and fields.get("version") == entry.version_text:
            return entry.confirm(now)
        try:
            table = PriceTable.from_redis(listing, fields) if fields else None
        except PriceTableError as error:
            log.error("edge cache: %s", error)
            return self._unconfirm([listing])
        if table is None and entry is None:
            if len(self._unknown) >= self._max_unknown:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[listing] = now + self._reread_s
        elif entry is None or (table is not None and table.version > entry.table.version):
            assert table is not None
            self._tables[listing.key] = Entry(table, now, settled_at=self._settled_at(table, entry, now))
            self._unknown.pop(listing, None)
        else:
            # Redis has a lower version than one that was served: keep the higher one, as unconfirmed.
            self.lower_versions += 1
            entry.unconfirm(now, self._heard_at)

    async def _listen(self) -> None:
        while not self._closing:
            try:
                async for hint in self._redis.hints():
                    if hint is None:
                        self._subscribed()
                    else:
                        self._hinted(hint)
            except REDIS_UNREACHABLE as error:
                log.debug("edge cache: no hints until Redis answers: %s", error)
                if self._has_hints:
                    self._has_hints = False
                    self._check_again()
                await asyncio.sleep(self._pause_s)

    def _subscribed(self) -> None:
        self.hints_lost += self._was_subscribed
        self._has_hints = self._was_subscribed = True
        self._check_again()

    def _check_again(self) -> None:
        """Have every entry confirmed before it is served again: hints may have been lost."""
        due = self._monotonic() - 2 * self._reread_s
        for entry in self._tables.values():
            entry.checked_at = min(entry.checked_at, due)
        self._unknown.clear()

    def _hinted(self, hint: Hint) -> None:
        entry = self._tables.get(hint.listing.key)
        self.hints += 1
        self._unknown.pop(hint.listing, None)
        if entry is not None and hint.version > entry.table.version:
            entry.checked_at = _NEVER


def _may_be_quoted(known: Visitor, entry: Entry | None, *, reading: bool = False) -> bool:
    """Return whether another edge may have quoted a session earlier, from a table before this one.

    Parameters
    ----------
    reading : whether the table is about to be read, so that a newer one may take the place of the entry.
    """
    if entry is None:
        return reading
    if not entry.window_ms or entry.scope in known.kept:
        return False
    return reading or known.read_at < entry.settled_at
