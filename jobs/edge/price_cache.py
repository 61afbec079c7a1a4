"""The edge's cache of price tables and segments: answers from memory, asks Redis in batches.

Three promises, whatever happens to Redis:

1. a quote is never based on a version lower than one already held here;
2. an entry is confirmed by Redis at most ``reread_s`` ago, or it says that it is not (``confirmed``);
3. when Redis fails, hangs, or lacks its ``ready`` epoch, the entry held here goes on.

Pub/sub hints shorten the wait of promise 2 and are never relied on: messages may be lost.
Look-ups that come while one batch is under way share the next: one round trip serves them all. An entry in
use is read again before its time is up, in the background, so that nobody waits for it.

A listing that the catalog knows and that has no table yet is told at its list price (:meth:`on_catalog`).
Of both at most ``max_tables`` are kept. The table that nobody has asked for the longest is evicted first, to the
second; it is read again when it is asked for. Promise 1 holds for what is held.
Every duration here is wall time (retries, re-reads); whether a table has expired is the caller's
business, by the run's Clock.
Over 300 lines: reading, re-reading and hearing of the same entries, which is where the promises are kept.
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
from schemas.events import CatalogEntry, Listing
from schemas.price_table import PriceTable, PriceTableError
from schemas.topics import MAX_PRICE_MINOR

log = logging.getLogger(__name__)

_NEVER = float("-inf")
REFRESH_AHEAD_SHARE = 0.8
"""Share of its time after which an entry in use is read again in the background."""
BATCH_YIELDS = 3
MAX_BACKGROUND_READS = 32
"""Entries read again in one round trip beside those that somebody waits for."""


class PriceCache:
    """Tables and segments by key, read through to Redis.

    Parameters
    ----------
    url : Redis URL.
    reread_s : an entry older than this is read again before it is served.
    segment_s : a segment older than this is read again.
    timeout_s : how long a reading of Redis may take, connection, second try and all; then what is cached serves.
    pause_s : after a failure Redis is left alone for this long.
    linger_s : how long a reading in the background waits for others to share its round trip.
    max_tables : tables kept, and list prices kept.
    max_segments, max_unknown : bounds of the two maps whose keys come from outside.
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
        max_segments: int = 200_000,
        max_unknown: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = AsyncPriceTables(url, timeout_s)
        self._reread_s, self._segment_s, self._pause_s, self._linger_s = reread_s, segment_s, pause_s, linger_s
        self._max_tables, self._max_segments, self._max_unknown = max_tables, max_segments, max_unknown
        self._monotonic = monotonic
        # The one unused for longest first.
        self._tables: OrderedDict[str, Entry] = OrderedDict()
        self._segments: dict[tuple[str, str], tuple[str | None, float]] = {}
        self._listed: OrderedDict[str, CatalogEntry] = OrderedDict()
        self._unknown: dict[Listing, float] = {}
        self._wanted_tables: dict[Listing, asyncio.Future[None]] = {}
        self._wanted_segments: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._ahead: dict[Listing, None] = {}
        self._reading: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._down_until = _NEVER
        self._closing = False
        self.all_tables_read: Callable[[], bool] = lambda: False
        """Whether :meth:`on_table` has heard of every table: without Redis, a lack of one is a fact only then."""
        self.epoch: str | None = None
        self.failures = 0
        self.evicted = 0
        """Tables that were dropped, or not taken from Kafka, since there was no room."""
        self.list_prices_evicted = 0
        self.lower_versions = 0
        self.hints = 0

    @property
    def healthy(self) -> bool:
        """Whether Redis answered the last time and held its ``ready`` epoch."""
        return self.epoch is not None and self._monotonic() >= self._down_until

    @property
    def size(self) -> int:
        """Tables held."""
        return len(self._tables)

    async def start(self) -> None:
        """Begin to listen to hints and look at Redis once; a Redis that is away is no error."""
        self._listening = asyncio.create_task(self._listen())
        await self.check()

    async def check(self) -> bool:
        """Look whether Redis answers and is whole."""
        await self._read_batch([], [])
        return self.healthy

    async def close(self) -> None:
        """Stop listening and give the connections back."""
        self._closing = True
        tasks = {task for task in (self._listening, self._reading) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            # Bounded: the client's own timeouts may turn a cancellation into a TimeoutError.
            await asyncio.wait(tasks, timeout=1.0)
        await self._redis.close()

    def cached(self, listing: str, customer: tuple[str, str]) -> tuple[Entry, str | None] | None:
        """Entry and segment if both are fresh; else None, and :meth:`lookup` must be awaited.

        Parameters
        ----------
        listing : the listing's key; customer : tenant and pseudonym.
        """
        now = self._monotonic()
        entry = self._tables.get(listing)
        if entry is None:
            return None
        age = now - entry.checked_at
        if age > self._reread_s:
            return None
        known = self._segments.get(customer)
        if known is None or known[1] < now:
            return None
        if age > self._reread_s * REFRESH_AHEAD_SHARE:
            self._ahead[entry.table.listing] = None
            self._begin_reading()
        return entry, known[0]

    async def lookup(self, listing: Listing, customer: tuple[str, str]) -> tuple[Entry, str | None]:
        """Entry and segment (None: newcomer), confirmed by Redis if it answers.

        Parameters
        ----------
        customer : tenant and pseudonym.

        Raises
        ------
        UnknownListingError
            If Redis is whole and has no such table.
        NoPriceError
            If Redis does not answer and nothing is cached. Neither, where the catalog has a list price.
        """
        now = self._monotonic()
        waits: list[asyncio.Future[None]] = []
        entry = self._tables.get(listing.key)
        if (entry is None or entry.checked_at + self._reread_s < now) and self._unknown.get(listing, _NEVER) < now:
            waits.append(self._want(self._wanted_tables, listing))
        known = self._segments.get(customer)
        if known is None or known[1] < now:
            waits.append(self._want(self._wanted_segments, customer))
        for wait in waits:
            await wait
        entry = self._tables.get(listing.key)
        segment, _ = self._segments.get(customer, (None, 0.0))
        if entry is not None:
            return entry, segment
        listed = self._listed.get(listing.key)
        # Without Redis, and with tables evicted, the lack of one here does not say that there is none.
        if listed is not None and (self.healthy or (self.all_tables_read() and not self.evicted)):
            return Entry(list_price_table(listed), now), segment
        if self.healthy:
            raise UnknownListingError(listing.key)
        raise NoPriceError(listing.key)

    def on_table(self, table: PriceTable) -> None:
        """Take a table from elsewhere (a start without Redis), unconfirmed; a lower version is ignored.

        One that nobody has asked for is the first to go, and is not taken where there is no room.
        """
        key = table.listing.key
        entry = self._tables.get(key)
        if entry is None and len(self._tables) >= self._max_tables:
            self.evicted += 1
        elif entry is None or entry.table.version < table.version:
            self._tables[key] = Entry(table, _NEVER, confirmed=False)
            if entry is None:
                self._tables.move_to_end(key, last=False)

    def on_catalog(self, entry: CatalogEntry) -> None:
        """Take a catalog entry: its list price is told until the listing has a table; an inactive one has none."""
        listing = Listing.key_of(entry)
        if not entry.active or not 0 < (entry.list_minor or 0) <= MAX_PRICE_MINOR:
            self._listed.pop(listing, None)
            return
        self._listed[listing] = entry
        self._listed.move_to_end(listing)
        if len(self._listed) > self._max_tables:
            self._listed.popitem(last=False)
            self.list_prices_evicted += 1

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
        while self._wanted_tables or self._wanted_segments or self._ahead:
            if self._wanted_tables or self._wanted_segments:
                # A few turns of the loop: at rest they take no time, under load they bring company.
                for _ in range(BATCH_YIELDS):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(self._linger_s)
            tables, self._wanted_tables = self._wanted_tables, {}
            segments, self._wanted_segments = self._wanted_segments, {}
            try:
                # A few at a time: a thousand tables in one reply would hold up every quote for its decoding.
                ahead = [self._ahead.popitem()[0] for _ in range(min(len(self._ahead), MAX_BACKGROUND_READS))]
                await self._read_batch([*tables, *ahead], list(segments))
            finally:
                # Whatever came, those who wait go on, with what is cached.
                for future in (*tables.values(), *segments.values()):
                    if not future.done():
                        future.set_result(None)

    async def _read_batch(self, listings: list[Listing], customers: list[tuple[str, str]]) -> None:
        now = self._monotonic()
        if now < self._down_until:
            return self._unconfirm(listings)
        # A table is read when it is not held, was hinted to be newer, or turns out to be.
        held: dict[Listing, str] = {}
        wanted: list[Listing] = []
        for listing in listings:
            entry = self._tables.get(listing.key)
            if entry is None or entry.checked_at == _NEVER:
                wanted.append(listing)
            else:
                held[listing] = entry.version_text
        try:
            epoch, segments, versions, found = await self._redis.read(customers, held, wanted)
        except REDIS_UNREACHABLE as error:
            if self.epoch is not None or not self.failures:
                log.warning("edge cache: Redis does not answer, cached prices go on: %r", error)
            self.failures += 1
            self.epoch = None
            self._down_until = self._monotonic() + self._pause_s
            return self._unconfirm(listings)
        if self.epoch is None and epoch is not None:
            log.info("edge cache: Redis is whole, epoch %s", epoch)
        self.epoch = epoch
        if epoch is None:
            return self._unconfirm(listings)
        now = self._monotonic()
        for listing, version in zip(held, versions, strict=True):
            entry = self._tables[listing.key]
            if version == entry.version_text:
                entry.checked_at, entry.confirmed = now, True
        for listing, fields in found.items():
            self._take(listing, fields, now)
        self._keep_used(listings)
        for key, segment in zip(customers, segments, strict=True):
            if len(self._segments) >= self._max_segments:
                del self._segments[next(iter(self._segments))]
            self._segments[key] = (segment, now + self._segment_s)

    def _keep_used(self, listings: list[Listing]) -> None:
        """Mark the tables of a reading as used; evict those unused for longest, never one of the reading."""
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
                # Served as unconfirmed until the next try, so that only one quote in a while waits for Redis.
                entry.checked_at, entry.confirmed = now, False
                self._tables.move_to_end(listing.key)

    def _take(self, listing: Listing, fields: dict[str, str], now: float) -> None:
        entry = self._tables.get(listing.key)
        if entry is not None and fields.get("version") == entry.version_text:
            entry.checked_at, entry.confirmed = now, True
            return
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
            self._tables[listing.key] = Entry(table, now)
            self._unknown.pop(listing, None)
        else:
            # Redis lost or took back what was served: hold on to the higher version, and say so.
            self.lower_versions += 1
            entry.checked_at, entry.confirmed = now, False

    async def _listen(self) -> None:
        while not self._closing:
            try:
                async for hint in self._redis.hints():
                    self._hinted(hint)
            except REDIS_UNREACHABLE as error:
                log.debug("edge cache: no hints for now: %s", error)
                await asyncio.sleep(self._pause_s)

    def _hinted(self, hint: Hint) -> None:
        entry = self._tables.get(hint.listing.key)
        self.hints += 1
        self._unknown.pop(hint.listing, None)
        if entry is not None and hint.version > entry.table.version:
            entry.checked_at = _NEVER
