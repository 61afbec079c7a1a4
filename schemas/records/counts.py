"""Records of counts and of what was not counted: cells, customers' purchases, rejections, the ledger.

The conventions are those of :mod:`schemas.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.listings import Listing


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of one minute for one listing, arm, segment and quoted price (science § 1). Cells are additive."""

    tenant: str
    market: str
    sku: str
    price_group: str
    arm: str
    segment: str
    price_minor: int
    currency: str
    exposures: int = 0
    views: int = 0
    searches: int = 0
    searches_matured: int = 0
    searches_abandoned: int = 0
    carts: int = 0
    carts_matured: int = 0
    carts_abandoned: int = 0
    orders: int = 0
    units: int = 0
    revenue_minor: int = 0
    returns: int = 0

    @property
    def listing(self) -> Listing:
        """Return the listing of the counts."""
        return Listing(self.tenant, self.market, self.sku)


CELL_COUNTS: tuple[str, ...] = (
    "exposures",
    "views",
    "searches",
    "searches_matured",
    "searches_abandoned",
    "carts",
    "carts_matured",
    "carts_abandoned",
    "orders",
    "units",
    "revenue_minor",
    "returns",
)


@dataclass(frozen=True, slots=True)
class SegmentShare:
    """A customer's purchases in one period, and how many of them were above the rival's price (science § 2).

    The key ends with the first day of the period, counted from 1970-01-01. A period has ``segments.memory_days``
    days (policy). A record of an earlier version has no period in its key and counts all purchases so far.
    """

    tenant: str
    customer: str
    purchases: int
    above_offer: int
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected record, identified by its Kafka address.

    The raw bytes stay in the source topic and in the archive.
    """

    topic: str
    partition: int
    offset: int
    kafka_ts_ms: int
    field: str
    code: str
    detail: str
    line: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Offsets read per input partition and minute: offsets_read = on_time + late + rejected + ticks."""

    topic: str
    partition: int
    window_end_ms: int
    offsets_read: int
    on_time: int
    late: int
    rejected: int
    ticks: int


@dataclass(frozen=True, slots=True)
class CellBatch:
    """Cells and facts (offers, stock levels, catalog entries, covariates) of one minute of one bucket.

    ``kind`` of a row is cell, offers, stock, catalog or covariates. The row of a fact also contains its Kafka
    partition ``p`` and offset ``o``. ``rows`` is empty for a minute without events.
    """

    bucket: int
    window_end_ms: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RejectedCell:
    """A cell rejected by the catalog check (unknown listing or wrong currency), with its counts."""

    listing: str
    tenant: str
    market: str
    sku: str
    price_group: str
    arm: str
    segment: str
    price_minor: int
    window_end_ms: int
    code: str
    currency: str
    expected_currency: str | None
    exposures: int
    views: int
    searches: int
    searches_matured: int
    searches_abandoned: int
    carts: int
    carts_matured: int
    carts_abandoned: int
    orders: int
    units: int
    revenue_minor: int
    returns: int
