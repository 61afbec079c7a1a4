"""Listing, and the keys by which records are grouped: price group, category and bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class _ListingRecord(Protocol):
    """Record about one listing."""

    @property
    def tenant(self) -> str: ...
    @property
    def market(self) -> str: ...
    @property
    def sku(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """Unit that has a price: a SKU in one market of one tenant.

    Only this class builds and parses listing keys. A tenant and a market contain no slash; a SKU may (decision
    39).

    Examples
    --------
    >>> Listing("acme", "web-us-usd", "sku-1").key
    'acme/web-us-usd/sku-1'
    >>> Listing.parse("acme/web-us-usd/sku-1").market
    'web-us-usd'
    """

    tenant: str
    market: str
    sku: str

    @property
    def key(self) -> str:
        """Return the listing's public name, which is also its key in compacted topics."""
        return self.key_of(self)

    @staticmethod
    def key_of(record: _ListingRecord) -> str:
        """Return the listing key of a record.

        Examples
        --------
        >>> from schemas.events import Stock
        >>> Listing.key_of(Stock("e", 1, "acme", "web-us-usd", "sku-1", "sku-1", 5, 0, 1.0))
        'acme/web-us-usd/sku-1'
        """
        return f"{record.tenant}/{record.market}/{record.sku}"

    @staticmethod
    def key_in(value: Mapping[str, Any]) -> str:
        """Return the listing key of a decoded record.

        Examples
        --------
        >>> Listing.key_in({"tenant": "acme", "market": "web-us-usd", "sku": "sku-1", "on_hand": 5})
        'acme/web-us-usd/sku-1'
        """
        return f"{value['tenant']}/{value['market']}/{value['sku']}"

    @classmethod
    def parse(cls, key: str) -> Listing:
        """Parse a listing key; the SKU may contain slashes.

        Raises
        ------
        ValueError
            If the key does not have three non-empty parts.
        """
        parts = key.split("/", 2)
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"listing key: expected tenant/market/sku, got {key!r}")
        return cls(*parts)


def group_key(tenant: str, market: str, price_group: str) -> str:
    """Return the Kafka key of an input record: all listings of a price group share a partition.

    Examples
    --------
    >>> group_key("acme", "web-us-usd", "sku-1")
    'acme/web-us-usd/sku-1'
    """
    return f"{tenant}/{market}/{price_group}"


def category_key(tenant: str, market: str, category: str) -> str:
    """Return the key of a category in a market.

    Examples
    --------
    >>> category_key("acme", "web-us-usd", "shoes")
    'acme/web-us-usd/shoes'
    """
    return f"{tenant}/{market}/{category}"


def bucket_of(key: str, buckets: int) -> int:
    """Return the bucket of a group key: the first four hex digits of its MD5 as a number, modulo ``buckets``.

    Flink SQL (POSITION and SUBSTRING of MD5), DuckDB and Python compute the same value; their built-in hash
    functions differ.

    Examples
    --------
    >>> bucket_of("acme/web-us-usd/sku-1", 32)
    2
    """
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()[:4], 16) % buckets
