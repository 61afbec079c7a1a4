"""What the edge holds of one listing, and what it says when it holds nothing."""

from __future__ import annotations

from typing import Any

from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, CatalogEntry, Listing, QuoteSource
from schemas.price_table import FULL, PriceList, PriceTable


class UnknownListingError(LookupError):
    """Redis is whole and holds no table for the listing."""


class NoPriceError(LookupError):
    """Redis does not answer (or is not whole) and nothing is cached: there is no price to tell."""


class Entry:
    """A listing's newest table seen, when Redis last confirmed it, and whether it still does."""

    __slots__ = ("checked_at", "confirmed", "expires_ms", "rendered", "table", "version_text")

    def __init__(self, table: PriceTable, checked_at: float, confirmed: bool = True) -> None:
        self.table = table
        self.expires_ms = table.expires_ms
        self.version_text = str(table.version)
        self.checked_at = checked_at
        self.confirmed = confirmed
        self.rendered: dict[tuple[str, str, str | None], Any] = {}
        """What a reader has worked out of the table; it goes when the table goes."""


def list_price_table(entry: CatalogEntry) -> PriceTable:
    """The table of a listing that has none yet: version 0 and always over, so that the list price is told.

    >>> entry = CatalogEntry("e", 5, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
    >>> table = list_price_table(entry)
    >>> table.version, table.expires_ms, table.list_minor
    (0, 0, 1000)
    """
    assert entry.list_minor is not None
    return PriceTable(
        Listing(entry.tenant, entry.market, entry.sku), entry.price_group, 0, f"list-{entry.list_minor}",
        entry.event_time_ms, 0, entry.currency,
        {DEFAULT_ARM: {DEFAULT_SEGMENT: PriceList((entry.list_minor,), (FULL,))}}, entry.list_minor, None,
        QuoteSource.LIST.value, "",
    )  # fmt: skip
