"""Price requests over HTTP: who asks for the price of what.

Values are bounded as in the quotes topic's contract. Arm and segment are chosen by the server: a caller who could
name them could choose its price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from schemas.listings import Listing
from schemas.topics import IDENTIFIER, NAME

ROOT = "/v1/quotes"
PREFIX, BATCH, CART = ROOT + "/", ROOT + ":batch", ROOT + ":cart"
MAX_PATH, MAX_QUERY, MAX_ID = 512, 1024, 128
"""Longest path, longest query, and longest id of a customer or session."""
SERVER_FIELDS = ("arm", "segment")
"""Fields that the server chooses."""


class BadRequestError(ValueError):
    """An invalid request; the message has what was expected and what was given.

    Attributes
    ----------
    status : HTTP status of the reply.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Shopper(NamedTuple):
    """The customer of a request, by pseudonym."""

    customer: str
    session: str
    bot: bool


@lru_cache(maxsize=65_536)
def read_listing(path: str) -> tuple[str, str]:
    """Return key and tenant of the listing in a request path.

    >>> read_listing("/v1/quotes/acme/web-us-usd/sku-1")
    ('acme/web-us-usd/sku-1', 'acme')

    Raises
    ------
    BadRequestError
        If the path is invalid.
    """
    if len(path) > MAX_PATH:
        raise BadRequestError(414, f"expected a path of at most {MAX_PATH} characters")
    if not path.startswith(PREFIX):
        if path in (BATCH, CART):
            raise BadRequestError(405, f"expected POST {path} with a JSON body")
        raise BadRequestError(
            404, f"expected {PREFIX}{{tenant}}/{{market}}/{{sku}}, {BATCH} or {CART}, got {path!r}"
        )
    key = path[len(PREFIX) :]
    expected = f"expected {PREFIX}{{tenant}}/{{market}}/{{sku}} of 1 to 64, 64 and 128 characters, got {path!r}"
    try:
        listing = Listing.parse(key)
    except ValueError:
        raise BadRequestError(400, expected) from None
    if len(listing.tenant) > 64 or len(listing.market) > 64 or len(listing.sku) > 128:
        raise BadRequestError(400, expected)
    for part, characters in (("tenant", NAME), ("market", NAME), ("sku", IDENTIFIER)):
        value = getattr(listing, part)
        if not characters.allows(value):
            raise BadRequestError(400, f"{part}: expected {characters.words}; got {value!r}")
    return key, listing.tenant


def read_shopper(query: bytes, name: Callable[[str], str]) -> Shopper:
    """Return the customer of a request.

    Parameters
    ----------
    query : the query string.
    name : returns the pseudonym of an id.

    >>> read_shopper(b"customer=c1&bot=1", str.upper)
    Shopper(customer='C1', session='C1', bot=True)

    Raises
    ------
    BadRequestError
        If a parameter is invalid.
    """
    if len(query) > MAX_QUERY:
        raise BadRequestError(414, f"expected a query of at most {MAX_QUERY} bytes")
    given = _fields(query)
    refuse_server_fields(given)
    return shopper_of(given.get("customer", ""), given.get("session", ""), given.get("bot") == "1", name)


def shopper_of(customer: str, session: str, bot: bool, name: Callable[[str], str]) -> Shopper:
    """Return a shopper by pseudonym; a guest has a session and no customer id.

    Raises
    ------
    BadRequestError
        If both ids are empty, or one is too long.
    """
    if not customer and not session:
        raise BadRequestError(400, "customer: expected customer=<id> (or session=<id> for a guest), got neither")
    if len(customer) > MAX_ID or len(session) > MAX_ID:
        raise BadRequestError(400, f"customer, session: expected at most {MAX_ID} characters each")
    return Shopper(name(customer or session), name(session or customer), bot)


def refuse_server_fields(given: Iterable[str]) -> None:
    """Raise BadRequestError if a request names a field that the server chooses.

    >>> refuse_server_fields(["customer", "arm"])
    Traceback (most recent call last):
    ...
    jobs.edge.quote_requests.BadRequestError: arm: expected no such field, the server chooses it; leave it out
    """
    for field in SERVER_FIELDS:
        if field in given:
            raise BadRequestError(400, f"{field}: expected no such field, the server chooses it; leave it out")


def _fields(query: bytes) -> dict[str, str]:
    try:
        text = query.decode()
        if "%" in text or "+" in text:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=8))
        # The common case without escapes is four times faster than parse_qsl.
        return dict([field.split("=", 1) for field in text.split("&")]) if text else {}
    except ValueError:
        raise BadRequestError(400, "query: expected at most 8 fields name=value in UTF-8") from None
