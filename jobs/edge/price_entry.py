"""What the edge caches of a listing, and the table it uses for a listing without one."""

from __future__ import annotations

from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, CatalogEntry, QuoteSource
from schemas.listings import Listing
from schemas.price_table import FULL, PriceList, PriceTable


class UnknownListingError(LookupError):
    """Redis answers, is ready, and has no table for the listing."""


class NoPriceError(LookupError):
    """Redis does not answer or is not ready, and no price of the listing is cached."""


class Entry:
    """A listing's newest known table, when Redis last confirmed it, and whether it still does."""

    __slots__ = ("checked_at", "confirmed", "expires_ms", "table", "version_text")

    def __init__(self, table: PriceTable, checked_at: float, confirmed: bool = True) -> None:
        self.table = table
        self.expires_ms = table.expires_ms
        self.version_text = str(table.version)
        self.checked_at = checked_at
        self.confirmed = confirmed


def list_price_table(entry: CatalogEntry) -> PriceTable:
    """Return a table that yields the list price, for a listing without a table: version 0 and already expired.

    >>> entry = CatalogEntry("e", 5, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
    >>> table = list_price_table(entry)
    >>> table.version, table.expires_ms, table.list_minor
    (0, 0, 1000)
    """
    assert entry.list_minor is not None
    return PriceTable(
        listing=Listing(entry.tenant, entry.market, entry.sku),
        price_group=entry.price_group,
        version=0,
        table_id=f"list-{entry.list_minor}",
        published_ms=entry.event_time_ms,
        expires_ms=0,
        currency=entry.currency,
        table={DEFAULT_ARM: {DEFAULT_SEGMENT: PriceList((entry.list_minor,), (FULL,))}},
        list_minor=entry.list_minor,
        offer_minor=None,
        reason=QuoteSource.LIST.value,
        decision_id="",
    )
