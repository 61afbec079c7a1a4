"""What the edge knows of a visitor: the segment, and the quotes that the session keeps.

A session keeps the price of its first quote of a listing until the window of the policy ends, so that one visit
sees one price although new tables are published (decision 71). The first quote is written to Redis in the
background; a later edge finds it there and quotes the same price. The first of two edges that write at the same
time wins, and the other one takes over its price. Without Redis each edge knows its own quotes alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE
from jobs.connectors.redis.session_quotes import MAX_QUOTES, KeptWrite, ttl_of
from jobs.edge.quote_text import RenderedQuotes
from schemas.session_quotes import SessionQuote, SessionQuoteError, session_key

log = logging.getLogger(__name__)

WRITE_AFTER_S = 0.1
"""Wall seconds that a first quote waits for others to share its round trip. Until then other edges do not know it,
which matters only if a new table arrives meanwhile."""
MAX_BATCH = 256
"""Most quotes written in one round trip: Redis answers nothing else while it runs a script."""
MAX_WAITING = 8_192
"""Most quotes that wait to be written; without room, a quote is kept by this edge alone."""


class VisitorId(NamedTuple):
    """The tenant, and the pseudonyms of customer and session."""

    tenant: str
    customer: str
    session: str


class KeptQuote:
    """A kept quote and its rendered text beside the listing's present table.

    ``text``: the value in Redis, empty before it is written. ``beside``: the rendered quotes of the table for
    which ``shown`` and ``index`` hold; None before :meth:`show`. ``shown`` is ``beside`` itself while the
    customer's pick from the table is the kept price.
    """

    __slots__ = ("beside", "index", "quote", "shown", "text")

    shown: RenderedQuotes
    index: int

    def __init__(self, quote: SessionQuote, text: str = "") -> None:
        self.quote, self.text = quote, text
        self.beside: RenderedQuotes | None = None

    def show(self, beside: RenderedQuotes, picked: int) -> None:
        """Render the quote.

        Parameters
        ----------
        picked : index of the customer's pick from ``beside``.
        """
        self.beside = beside
        if beside.is_pick(picked, self.quote):
            self.shown, self.index = beside, picked
        else:
            self.shown, self.index = beside.kept(self.quote), 0


class Visitor:
    """A customer's segment and a session's kept quotes by scope, as one reading of Redis found them.

    ``segment``: None for a newcomer. ``fresh_until``, ``read_at``: monotonic times until which the reading may be
    used, and at which it began.
    """

    __slots__ = ("fresh_until", "kept", "read_at", "segment")

    def __init__(self, segment: str | None = None) -> None:
        self.segment = segment
        self.fresh_until = self.read_at = float("-inf")
        self.kept: dict[str, KeptQuote] = {}

    def take(self, found: Mapping[str, str]) -> None:
        """Take over the kept quotes of a reading; those that Redis does not have stay."""
        for scope, text in found.items():
            held = self.kept.get(scope)
            if held is None or held.text != text:
                try:
                    self.kept[scope] = KeptQuote(SessionQuote.of_text(text), text)
                except SessionQuoteError as error:
                    log.error("kept quotes: %s: %s", scope, error)


class KeptQuoteStore(Protocol):
    """Where kept quotes are shared between edges."""

    async def keep(self, writes: Sequence[KeptWrite], now_ms: int, ttl_ms: int) -> list[str]:
        """Write quotes; return for each the value of another edge that stays, or an empty text."""


class SessionQuotes:
    """Writes first quotes to Redis in the background, and takes over those of which another edge was first.

    Parameters
    ----------
    store : where they are written.
    speed : seconds of the run's clock per second of wall time.

    Attributes
    ----------
    written, adopted, lost : quotes written to Redis, quotes of other edges that were taken over, and quotes that
        this edge keeps alone, since Redis did not take them.
    """

    def __init__(self, store: KeptQuoteStore, speed: float = 1.0) -> None:
        self._store, self._speed = store, speed
        self._waiting: dict[tuple[str, str], tuple[Visitor, KeptQuote, str, int]] = {}
        self._writing: asyncio.Task[None] | None = None
        self.written = self.adopted = self.lost = 0

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The running task, if there is one."""
        return [] if self._writing is None else [self._writing]

    def add(self, visitor: Visitor, who: VisitorId, scope: str, quote: SessionQuote, now_ms: int) -> KeptQuote:
        """Keep a quote for a session in place of what it kept, and write it soon."""
        before, kept = visitor.kept.get(scope), KeptQuote(quote)
        if before is None and len(visitor.kept) >= MAX_QUOTES:
            visitor.kept = {at: each for at, each in visitor.kept.items() if now_ms < each.quote.until_ms}
            if len(visitor.kept) >= MAX_QUOTES:
                return kept
        visitor.kept[scope] = kept
        place = (session_key(who.tenant, who.session), scope)
        if len(self._waiting) >= MAX_WAITING and place not in self._waiting:
            self.lost += 1
            return kept
        self._waiting[place] = (visitor, kept, "" if before is None else before.text, now_ms)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return kept

    async def _write(self) -> None:
        while self._waiting:
            if len(self._waiting) < MAX_BATCH:
                await asyncio.sleep(WRITE_AFTER_S)
            places = list(self._waiting)[:MAX_BATCH]
            batch = [(place, self._waiting.pop(place)) for place in places]
            writes = []
            for (key, scope), (_, kept, replaced, _) in batch:
                kept.text = kept.quote.to_text()
                writes.append(KeptWrite(key, scope, kept.text, replaced))
            now_ms = max(at_ms for _, (_, _, _, at_ms) in batch)
            ttl_ms = ttl_of(max(kept.quote.until_ms for _, (_, kept, _, _) in batch) - now_ms, self._speed)
            try:
                answers = await self._store.keep(writes, now_ms, ttl_ms)
            except REDIS_UNREACHABLE as error:
                log.debug("kept quotes: %d are known to this edge alone: %r", len(batch), error)
                self.lost += len(batch)
                continue
            for ((_, scope), (visitor, kept, _, _)), other in zip(batch, answers, strict=True):
                self.written += not other
                if other and visitor.kept.get(scope) is kept:
                    self.adopted += 1
                    visitor.take({scope: other})
