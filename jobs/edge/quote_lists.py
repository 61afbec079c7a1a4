"""Quotes of several listings in one request: a batch, and a cart with quantities and totals.

Every line with a price is a logged quote of its own. A line without a price has a problem instead, and the others
are answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson

from jobs.edge.api.models import BatchRequest, CartRequest, Record, record_of, shown
from jobs.edge.price_cache import PriceCache
from jobs.edge.price_entry import Entry, NoPriceError, UnknownListingError
from jobs.edge.problems import problem_of
from jobs.edge.quote_requests import (
    BATCH,
    PREFIX,
    BadRequestError,
    Shopper,
    read_listing,
    refuse_server_fields,
    shopper_of,
)
from jobs.edge.quote_text import amount
from jobs.edge.session_quotes import Visitor, VisitorId
from schemas.listings import Listing

MAX_BODY = 64 * 1024
"""Most bytes of a request's body."""

R = TypeVar("R", bound=Record)
Receive = Callable[[], Any]


class Pricing(NamedTuple):
    """What the lists need of the quotes' owner: tables and visitors, pseudonyms, and the quote of one listing.

    ``tenant``: the one whose listings the caller's key may ask for; "" for every tenant.
    """

    cache: PriceCache
    name: Callable[[str], str]
    quote: Callable[[str, Entry, Visitor, Shopper], bytes]
    tenant: str = ""


async def read_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
    """Return a request's body.

    Raises
    ------
    BadRequestError
        If it has more than ``MAX_BODY`` bytes, or the caller went away.
    """
    too_large = BadRequestError(413, f"expected a body of at most {MAX_BODY} bytes; send fewer lines per request")
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > MAX_BODY:
            raise too_large
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequestError(400, "expected a complete body, got a closed connection")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise too_large
        if not message.get("more_body", False):
            return body


def read_request(kind: type[R], body: bytes) -> R:
    """Return the request of a body.

    >>> read_request(BatchRequest, b'{"customer": "c", "listings": ["a/b/c"]}').listings
    ['a/b/c']

    Raises
    ------
    BadRequestError
        Naming the first field that is invalid, what was expected and what was given.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(400, f"body: expected JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadRequestError(400, f"body: expected a JSON object, got {shown(given)}")
    lines: Any = given.get("lines")
    for fields in (given, *(lines if isinstance(lines, list) else ())):
        refuse_server_fields(fields if isinstance(fields, Mapping) else ())
    return record_of(kind, given)


async def quote_list(pricing: Pricing, path: str, body: bytes) -> bytes:
    """Return the reply to a request for a batch or a cart as JSON, and log the quote of each line.

    Parameters
    ----------
    path : ``BATCH`` or ``CART``.

    Raises
    ------
    BadRequestError
        If the request as a whole is invalid. A line alone never fails the whole.
    """
    if path == BATCH:
        batch = read_request(BatchRequest, body)
        shopper = shopper_of(batch.customer, batch.session, batch.bot, pricing.name)
        lines = [
            b'{"listing":%b,%b}' % (orjson.dumps(listing), _outcome(quote))
            for listing, quote in zip(batch.listings, await _quotes(pricing, batch.listings, shopper), strict=True)
        ]
        return _reply(shopper, lines, b"")
    cart = read_request(CartRequest, body)
    shopper = shopper_of(cart.customer, cart.session, cart.bot, pricing.name)
    return _cart(cart, shopper, await _quotes(pricing, [line.listing for line in cart.lines], shopper))


def _cart(cart: CartRequest, shopper: Shopper, quotes: Sequence[bytes | Exception]) -> bytes:
    totals: Counter[str] = Counter()
    lines, complete = [], True
    for line, quote in zip(cart.lines, quotes, strict=True):
        head = b'"listing":%b,"quantity":%d' % (orjson.dumps(line.listing), line.quantity)
        if isinstance(quote, Exception):
            complete = False
        else:
            priced = orjson.loads(quote)
            currency, total = priced["currency"], priced["price_minor"] * line.quantity
            totals[currency] += total
            head += b',"total_minor":%d,"total":"%b"' % (total, amount(total, currency).encode())
        lines.append(b"{%b,%b}" % (head, _outcome(quote)))
    sums = [
        {"currency": currency, "total_minor": total, "total": amount(total, currency)}
        for currency, total in sorted(totals.items())
    ]
    return _reply(shopper, lines, b',"totals":%b,"complete":%b' % (orjson.dumps(sums), orjson.dumps(complete)))


async def _quotes(pricing: Pricing, keys: Sequence[str], shopper: Shopper) -> list[bytes | Exception]:
    """Return each listing's quote, or the exception that says why it has none."""
    cached = pricing.cache.cached
    found: list[Any] = []
    missing: list[int] = []
    for i, key in enumerate(keys):
        try:
            tenant = read_listing(PREFIX + key)[1]
            if pricing.tenant not in ("", tenant):
                raise BadRequestError(403, f"expected a listing of the key's tenant {pricing.tenant}")
        except BadRequestError as error:
            found.append(error)
            continue
        found.append(cached(key, (tenant, shopper.customer, shopper.session)))
        if found[i] is None:
            missing.append(i)
    # All missing tables are read in one round trip.
    read = await asyncio.gather(*(_lookup(pricing.cache, keys[i], shopper) for i in missing))
    for i, entry in zip(missing, read, strict=True):
        found[i] = entry
    quote = pricing.quote
    return [
        one if isinstance(one, Exception) else quote(key, one[0], one[1], shopper)
        for key, one in zip(keys, found, strict=True)
    ]


async def _lookup(cache: PriceCache, key: str, shopper: Shopper) -> tuple[Entry, Visitor] | Exception:
    listing = Listing.parse(key)
    try:
        return await cache.lookup(listing, VisitorId(listing.tenant, shopper.customer, shopper.session))
    except (UnknownListingError, NoPriceError) as error:
        return error


def _outcome(quote: bytes | Exception) -> bytes:
    if isinstance(quote, bytes):
        return b'"quote":' + quote
    return b'"problem":' + orjson.dumps(problem_of(quote)._asdict())


def _reply(shopper: Shopper, lines: Sequence[bytes], more: bytes) -> bytes:
    head = f'{{"customer":"{shopper.customer}","session":"{shopper.session}","lines":['.encode()
    return b"%b%b]%b}" % (head, b",".join(lines), more)
