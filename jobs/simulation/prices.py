"""Prices shown to simulated shoppers: the port, and its in-process implementations.

The pick is the serving contract's (``schemas.price_table``): a customer is shown the same price here, by the edge
service, and by any reader of Redis. An unknown customer has the default segment, as at the edge.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.events import DEFAULT_SEGMENT, QuoteSource
from schemas.listings import Listing
from schemas.price_table import FULL, PriceList, PriceTable

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ExternalQuote:
    """A quote that the edge service gave and logged."""

    quote_id: str
    customer: str
    session: str
    segment: str
    arm: str


@dataclass(slots=True)
class Quoted:
    """One entry per visit: price, its propensity, table, version and source; ``external`` by position."""

    price_minor: list[int]
    propensity: list[float]
    table_id: list[str]
    version: list[int]
    source: list[str]
    external: dict[int, ExternalQuote] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits in order of time, one entry each.

    Attributes
    ----------
    customer : pseudonym.
    customer_id : the id before pseudonymisation.
    """

    time_ms: list[int]
    listing: list[int]
    customer: list[str]
    segment: list[str]
    arm: list[str]
    customer_id: list[str]
    session: list[str]
    bot: list[bool]


class Prices(Protocol):
    """Port to the shop's prices."""

    def segments(self, customers: Sequence[str]) -> list[str]:
        """Return the segment that the shop assigns to each customer."""

    def quote(self, visits: Visits) -> Quoted:
        """Return the price that each visit is shown."""

    def current(self, now_ms: int) -> Array:
        """Return the price that a rival sees, per listing, minor units."""

    def prefetch(self, visits: Visits) -> None:
        """Prepare prices for the visits of the minute after this one."""


class ListPrices:
    """A shop without tables: every visit is shown the list price.

    Parameters
    ----------
    list_minor : list price per listing, minor units.

    Attributes
    ----------
    known : segment by pseudonym.
    """

    def __init__(self, list_minor: Sequence[int] | Array) -> None:
        self._list = [int(p) for p in list_minor]
        self._ids = [f"list-{p}" for p in self._list]
        self.known: dict[str, str] = {}

    def segments(self, customers: Sequence[str]) -> list[str]:
        """Return the segments of ``known``; a newcomer has the default segment."""
        return [self.known.get(c, DEFAULT_SEGMENT) for c in customers]

    def quote(self, visits: Visits) -> Quoted:
        """Return list prices with propensity 1."""
        n = len(visits.listing)
        return Quoted(
            [self._list[i] for i in visits.listing], [1.0] * n, [self._ids[i] for i in visits.listing],
            [0] * n, [QuoteSource.LIST.value] * n,
        )  # fmt: skip

    def prefetch(self, visits: Visits) -> None:
        """Do nothing: prices in process need no preparation."""

    def current(self, now_ms: int) -> Array:
        """Return the list prices."""
        return np.array(self._list, dtype=np.int64)


class TablePrices(ListPrices):
    """A shop with price tables; an expired table is replaced by the list price.

    Parameters
    ----------
    listings : the market's listings in its order.
    list_minor : list price per listing, for those without a table.

    Examples
    --------
    >>> listing = Listing("t", "m", "s")
    >>> prices = TablePrices([listing], [1000])
    >>> table = PriceTable(listing, "s", 7, "t1", 0, 500, "USD",
    ...     {"base": {"all": PriceList((900, 990), (2**31, FULL))}}, 1000, None, "why", "d1")
    >>> prices.take({listing: table})
    1
    >>> ask = lambda t: prices.quote(Visits([t], [0], ["c1"], ["all"], ["base"], ["c1"], ["s1"], [False]))
    >>> ask(499).price_minor == [table.pick("c1")[0]], ask(500).price_minor
    (True, [1000])
    """

    def __init__(self, listings: Sequence[Listing], list_minor: Sequence[int] | Array) -> None:
        super().__init__(list_minor)
        self._index = {listing: i for i, listing in enumerate(listings)}
        self.tables: list[PriceTable | None] = [None] * len(listings)

    def take(self, tables: Mapping[Listing, PriceTable]) -> int:
        """Replace tables by newer versions; return how many were replaced."""
        taken = 0
        for listing, table in tables.items():
            i = self._index.get(listing)
            if i is None:
                continue
            held = self.tables[i]
            if held is None or table.version > held.version:
                self.tables[i] = table
                taken += 1
        return taken

    def quote(self, visits: Visits) -> Quoted:
        """Return the contract's pick for each visit."""
        out = Quoted([], [], [], [], [])
        price, propensity = out.price_minor.append, out.propensity.append
        table_id, version, source = out.table_id.append, out.version.append, out.source.append
        good, listed, md5 = QuoteSource.TABLE.value, QuoteSource.LIST.value, hashlib.md5
        tables = self.tables
        lists: dict[tuple[int, str, str], PriceList] = {}
        for t, i, customer, segment, arm in zip(
            visits.time_ms, visits.listing, visits.customer, visits.segment, visits.arm, strict=True
        ):
            table = tables[i]
            if table is None or t >= table.expires_ms:
                minor = self._list[i] if table is None else table.list_minor
                price(minor)
                propensity(1.0)
                table_id(f"list-{minor}")
                version(0 if table is None else table.version)
                source(listed)
                continue
            found: PriceList | None = lists.get((i, arm, segment))
            if found is None:
                found = lists[i, arm, segment] = table.price_list(arm, segment)
            digest = md5(f"{table.table_id}|{customer}|price".encode(), usedforsecurity=False).digest()
            k = bisect_left(found.cumulative, int.from_bytes(digest[:4], "big"))
            price(found.prices[k])
            propensity((found.cumulative[k] - (found.cumulative[k - 1] if k else -1)) / (FULL + 1))
            table_id(table.table_id)
            version(table.version)
            source(good)
        return out

    def current(self, now_ms: int) -> Array:
        """Return each table's default price until it expires, else the list price."""
        return np.array(
            [
                p if t is None else (t.default_minor if now_ms < t.expires_ms else t.list_minor)
                for p, t in zip(self._list, self.tables, strict=True)
            ],
            dtype=np.int64,
        )
