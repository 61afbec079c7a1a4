"""Quotes: from a price request to the reply and the logged quote.

The customer id is replaced by a pseudonym before any lookup or logging. The price is the one that the session
keeps, or is picked from the table by the layout's rule. The reply has a reason for shoppers, and neither
propensities nor shadow prices. A caller that is probing (:mod:`jobs.edge.admission.probing`) is answered with the
default price.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable
from functools import partial

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.admission.probing import Inquiry
from jobs.edge.gauges import add_gauges
from jobs.edge.price_cache import PriceCache
from jobs.edge.price_entry import Entry, NoPriceError, UnknownListingError
from jobs.edge.problems import problem_of
from jobs.edge.quote_lists import Pricing, quote_list, read_body
from jobs.edge.quote_requests import (
    BATCH,
    CART,
    PREFIX,
    BadRequestError,
    Shopper,
    read_listing,
    read_shopper,
    shopper_of,
)
from jobs.edge.quote_text import LIST, RenderedQuotes
from jobs.edge.recently_used import RecentlyUsed
from jobs.edge.session_quotes import KeptQuote, Visitor, VisitorId
from jobs.runtime.clock import Clock
from jobs.runtime.metrics import Metrics
from jobs.runtime.problems import NO_STORE, PROBLEM_TYPE, REQUEST_ID, Receive, Scope, Send, request_id
from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, QuoteSource
from schemas.listings import Listing
from schemas.price_table import unit_draw
from schemas.session_quotes import SessionQuote

TABLE, STALE = QuoteSource.TABLE.value, QuoteSource.STALE.value
_JSON = (b"content-type", b"application/json")


class Quoting:
    """Answers price requests: looks up the table, picks the price, logs the quote.

    Parameters
    ----------
    cache : tables and segments.
    quotes : log of every quote.
    clock : the run's Clock; decides whether a table has expired.
    secret : key of the pseudonyms.
    metrics : the process' metrics; None: new ones.
    max_rendered, max_shoppers : most rendered quotes (one per table, source and segment) and most shoppers that
        are cached.
    """

    def __init__(
        self,
        cache: PriceCache,
        quotes: QuoteLog,
        clock: Clock,
        secret: str,
        metrics: Metrics | None = None,
        *,
        max_rendered: int = 10_000,
        max_shoppers: int = 50_000,
    ) -> None:
        self.cache, self.quotes, self.clock, self._name = cache, quotes, clock, pseudonyms(secret)
        self._shoppers: RecentlyUsed[bytes, Shopper] = RecentlyUsed(max_shoppers)
        self._rendered: RecentlyUsed[tuple[str, str, str | None], RenderedQuotes] = RecentlyUsed(max_rendered)
        self.metrics = metrics or Metrics("edge")
        answered = self.metrics.counter("quotes", "Quotes answered, by where the price came from", ["source"])
        self._answered = {source.value: answered.labels(source.value) for source in QuoteSource}
        self._new = dict.fromkeys(self._answered, 0)
        self._refused = self.metrics.counter("refusals", "Requests refused, by HTTP status", ["status"])
        waits = self.metrics.histogram("redis_wait", "Time a quote waited for Redis")
        self._wait = waits.time
        caches = {**cache.caches, "rendered": self._rendered, "shoppers": self._shoppers}
        add_gauges(self.metrics, cache, quotes, caches)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reply to a request for ``/v1/quotes/…``."""
        status, body, method, content = 200, b"", scope["method"], _JSON
        given_id = request_id(scope)
        try:
            if method != "GET" and method != "HEAD":
                body = await self._list(method, scope, receive)
            else:
                body = await self.answer(scope["path"], scope["query_string"], scope.get("inquiry"))
        except (BadRequestError, UnknownListingError, NoPriceError) as error:
            problem = problem_of(error)
            status, body, content = problem.status, problem.body(given_id), PROBLEM_TYPE
            self._refused.labels(str(status)).inc()
        length = (b"content-length", b"%d" % len(body))
        headers = [content, length, NO_STORE, (REQUEST_ID, given_id), *scope.get("reply_headers", ())]
        if status == 405:
            headers.append((b"allow", b"POST" if scope["path"] in (BATCH, CART) else b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if method != "HEAD" else b""})

    async def _list(self, method: str, scope: Scope, receive: Receive) -> bytes:
        path = scope["path"]
        if method != "POST" or path not in (BATCH, CART):
            expected = f"POST {path}" if path in (BATCH, CART) else f"GET {PREFIX}{{tenant}}/{{market}}/{{sku}}"
            raise BadRequestError(405, f"expected {expected}, got {method}")
        body = await read_body(scope["headers"], receive)
        inquiry = scope.get("inquiry")
        quote = self.quote if inquiry is None else partial(self.quote, inquiry=inquiry)
        return await quote_list(Pricing(self.cache, self._name, quote, scope.get("tenant", "")), path, body)

    async def answer(self, path: str, query: bytes, inquiry: Inquiry | None = None) -> bytes:
        """Return the public reply to a request as JSON, and log the quote.

        Parameters
        ----------
        inquiry : where the request is examined for probing; None: it is not.

        Raises
        ------
        BadRequestError
            If the request is invalid.
        UnknownListingError, NoPriceError
            If there is no price.
        """
        # The path is read first: its problems are reported before those of the query.
        read_listing(path)
        shopper = self._shoppers[query]
        if shopper is None:
            shopper = read_shopper(query, self._name)
            self._shoppers.put(query, shopper)
        return await self.answer_shopper(path, shopper, inquiry)

    async def answer_shopper(self, path: str, shopper: Shopper, inquiry: Inquiry | None = None) -> bytes:
        """Return the public reply to a shopper as JSON, and log the quote; as :meth:`answer`."""
        key, tenant = read_listing(path)
        visitor = (tenant, shopper.customer, shopper.session)
        found = self.cache.cached(key, visitor)
        if found is None:
            with self._wait():
                found = await self.cache.lookup(Listing.parse(key), VisitorId(*visitor))
        entry, known = found
        return self.quote(key, entry, known, shopper, inquiry)

    def shopper(self, customer: str, session: str) -> Shopper:
        """Return a shopper by pseudonym; raises as :func:`jobs.edge.quote_requests.shopper_of`."""
        return shopper_of(customer, session, False, self._name)

    def quote(
        self, key: str, entry: Entry, known: Visitor, shopper: Shopper, inquiry: Inquiry | None = None
    ) -> bytes:
        """Quote a shopper's price: the session's, or one picked from an entry; log it and return the public reply.

        A caller that is probing gets the list price, or without one the first price of the default segment, for
        every customer. Its quotes are logged as a robot's, so that they are no exposures.

        Parameters
        ----------
        key : the listing's key.
        known : the customer's segment and the session's kept quotes. A newcomer has the default segment, as for
            every reader of the public layout. A robot's session keeps nothing.
        inquiry : as in :meth:`answer`.
        """
        customer, session, bot = shopper
        now_ms = self.clock.now_ms()
        source, segment = quote_source(entry, now_ms), known.segment
        default = inquiry is not None and inquiry.asked(key, customer)
        if default:
            segment, bot, source = None, True, LIST if entry.table.list_minor > 0 else source
        quotes = self._rendered[key, source, segment]
        if quotes is None or quotes.table is not entry.table:
            quotes = RenderedQuotes(entry.table, source, DEFAULT_ARM, segment or DEFAULT_SEGMENT)
            self._rendered.put((key, source, segment), quotes)
        if entry.window_ms and now_ms < entry.expires_ms and not bot:
            kept = known.kept.get(entry.scope)
            if kept is None or kept.beside is not quotes or now_ms >= kept.quote.until_ms:
                kept = self._keep(entry, known, shopper, quotes, kept, now_ms)
            quotes, i = kept.shown, kept.index
        else:
            i = 0 if default else bisect_left(quotes.cumulative, unit_draw(quotes.salt, customer))
        if inquiry is not None and not default and inquiry.answered(key, quotes.picks[i][0]):
            return self.quote(key, entry, known, shopper, inquiry)
        quote_id = self.quotes.next_id()
        self.quotes.offer(quotes.group, quotes.record(i, quote_id, customer, session, now_ms, bot), now_ms)
        self._new[source] += 1
        return quotes.reply(i, quote_id, customer, session, max(0, now_ms - quotes.published_ms))

    def _keep(
        self,
        entry: Entry,
        known: Visitor,
        shopper: Shopper,
        quotes: RenderedQuotes,
        kept: KeptQuote | None,
        now_ms: int,
    ) -> KeptQuote:
        """Return the session's quote beside a table; a new one if the kept one has ended or is dropped."""
        table = entry.table
        i = bisect_left(quotes.cumulative, unit_draw(quotes.salt, shopper.customer))
        if kept is None or not kept.quote.is_allowed(table, now_ms):
            price, propensity = quotes.picks[i]
            new = SessionQuote(
                now_ms + entry.window_ms, table.version, table.table_id, table.published_ms, quotes.segment,
                price, table.currency, propensity,
            )  # fmt: skip
            who = VisitorId(table.listing.tenant, shopper.customer, shopper.session)
            kept = self.cache.session_quotes.add(known, who, entry.scope, new, now_ms)
        kept.show(quotes, i)
        return kept

    def age_shoppers(self) -> None:
        """Forget the customers and sessions that were not used since the last call but one.

        Called every half minute, so that none stays in memory for longer than a minute after its last use.
        """
        self._shoppers.age()
        self.cache.age_visitors()

    def count(self) -> None:
        """Update the counters before they are read; a quote itself only increments a dict entry."""
        for source, n in self._new.items():
            if n:
                self._answered[source].inc(n)
                self._new[source] = 0


def pseudonyms(secret: str) -> Callable[[str], str]:
    """Return :func:`jobs.runtime.pseudonym.pseudonym` for one key, hashed with the key in advance.

    >>> from jobs.runtime.pseudonym import pseudonym
    >>> pseudonyms("key")("customer-1") == pseudonym("key", "customer-1")
    True
    """
    key = secret.encode()
    keyed = hashlib.blake2b(key=key if len(key) <= 64 else hashlib.blake2b(key).digest(), digest_size=16)

    def name(customer: str) -> str:
        digest = keyed.copy()
        digest.update(customer.encode())
        return digest.hexdigest()

    return name


def quote_source(entry: Entry, now_ms: int) -> str:
    """Return the source of a price: a table that Redis confirms, an unconfirmed table, or after expiry the list
    price.

    A listing without a list price keeps its last table as stale, since a reply must have a price.
    """
    if now_ms >= entry.expires_ms:
        return LIST if entry.table.list_minor > 0 else STALE
    return TABLE if entry.confirmed else STALE
