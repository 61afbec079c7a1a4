"""What the edge caches of a listing, and the table it uses for a listing without one."""

from __future__ import annotations

from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, CatalogEntry, QuoteSource
from schemas.listings import Listing
from schemas.price_table import FULL, PriceList, PriceTable
from schemas.time_units import MINUTE_MS


class UnknownListingError(LookupError):
    """Redis answers, is ready, and has no table for the listing."""


class NoPriceError(LookupError):
    """Redis does not answer or is not ready, and no price of the listing is cached."""


class Entry:
    """A listing's newest known table, when Redis last confirmed it, and whether it still does.

    Parameters
    ----------
    checked_at : monotonic time of the last attempt to have the table confirmed.
    known_at : monotonic time at which the table was confirmed or received.
    settled_at : monotonic time from which on no other edge quotes the prices before these.

    Attributes
    ----------
    expires_ms : when the table expires, epoch ms of the run's clock; 0 once it was unconfirmed for too long.
    scope, window_ms : what keeps a quote of the table in a session, and for how long; 0: nothing does.
    """

    __slots__ = (
        "checked_at", "confirmed", "expires_ms", "known_at", "scope", "settled_at", "table", "version_text",
        "window_ms",
    )  # fmt: skip

    def __init__(
        self,
        table: PriceTable,
        checked_at: float,
        confirmed: bool = True,
        *,
        known_at: float | None = None,
        settled_at: float = 0.0,
    ) -> None:
        self.table = table
        self.expires_ms = table.expires_ms
        self.version_text = str(table.version)
        self.scope = table.price_scope
        self.window_ms = table.session_minutes * MINUTE_MS
        self.checked_at = checked_at
        self.known_at = checked_at if known_at is None else known_at
        self.settled_at = settled_at
        self.confirmed = confirmed

    def confirm(self, now: float) -> None:
        """Note that Redis has this version."""
        self.checked_at = self.known_at = now
        self.expires_ms, self.confirmed = self.table.expires_ms, True

    def unconfirm(self, now: float, heard_at: float) -> None:
        """Note that Redis did not confirm the table, which is served until the next attempt.

        Parameters
        ----------
        heard_at : monotonic time at which Kafka last showed that it would have brought a newer table.
        """
        self.checked_at, self.confirmed = now, False
        most = self.table.unconfirmed_minutes
        known_at = max(self.known_at, heard_at)
        lapsed = most is not None and now - known_at > most * MINUTE_MS / 1000
        self.expires_ms = 0 if lapsed else self.table.expires_ms


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
