"""Keys and channels of the serving layout in Redis (:mod:`schemas.price_table`)."""

from __future__ import annotations

from schemas.listings import Listing

READY_KEY = "ready"


def price_key(listing: Listing) -> str:
    """Return the Redis key of a listing's table, hash-tagged by tenant and market.

    >>> price_key(Listing("acme", "web-us-usd", "sku-1"))
    'price:{acme:web-us-usd}:sku-1'
    """
    return f"price:{{{listing.tenant}:{listing.market}}}:{listing.sku}"


def segment_key(tenant: str, customer: str) -> str:
    """Return the Redis key of a customer's segment.

    The first two hex digits of the pseudonym are part of the hash tag and distribute the keys over 256 tags.

    >>> segment_key("demo", "9f86d081")
    'segment:{demo:9f}:9f86d081'
    """
    return f"segment:{{{tenant}:{customer[:2]}}}:{customer}"


def purchases_key(tenant: str, customer: str) -> str:
    """Return the Redis key of a customer's purchases.

    The value is a hash from a period (its first day) to ``<purchases>:<purchases above the rivals' price>``. The
    segment is computed from it. Readers of prices do not need it.

    >>> purchases_key("demo", "9f86d081")
    'purchases:{demo:9f}:9f86d081'
    """
    return f"purchases:{{{tenant}:{customer[:2]}}}:{customer}"


def updates_channel(tenant: str, market: str) -> str:
    """Return the pub/sub channel of a market's price changes. Redis may lose messages."""
    return f"price-updates:{{{tenant}:{market}}}"
