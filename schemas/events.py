"""One frozen dataclass per record that travels between processes.

Money is integer minor units (``_minor``), times are epoch milliseconds UTC (``_ms``). Every input
carries the price group it is keyed by, so that all facts about one listing meet in one partition
and in one bucket. The field order is the wire's: JSON objects with exactly these names.

Long by design: it is the vocabulary, and a reader should find all of it in one place.

(Over 300 lines: every record of every stream in one place, so that a reader finds a field's meaning by scrolling.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

DEFAULT_SEGMENT = "all"
DEFAULT_ARM = "base"


class ClickKind(StrEnum):
    """What a shopper did on the way to an order."""

    SEARCH = "search"
    VIEW = "view"
    CART = "cart"
    CHECKOUT = "checkout"


class OrderKind(StrEnum):
    """A placed order counts as a sale; a cancellation or return takes it back in its own period."""

    PLACED = "placed"
    PAID = "paid"
    CANCELLED = "cancelled"
    RETURNED = "returned"


class Role(StrEnum):
    """A listing's part in the assortment; it picks the strategy and how closely rivals are followed."""

    KVI = "kvi"
    TRAFFIC = "traffic"
    MARGIN = "margin"
    LONG_TAIL = "long_tail"


class QuoteSource(StrEnum):
    """Where a quoted price came from: the good table, one past its end, or the list price."""

    TABLE = "table"
    STALE = "stale"
    LIST = "list"


class CommandKind(StrEnum):
    """What an operator can ask for."""

    APPROVE = "approve"
    REJECT = "reject"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    MANUAL_PRICE = "manual_price"
    SALE_TARGET = "sale_target"
    POLICY = "policy"
    SETTLE = "settle"
    ROLLBACK = "rollback"
    KILL_SWITCH = "kill_switch"
    RESUME = "resume"


class CalendarKind(StrEnum):
    """What an entry of the calendar announces."""

    HOLIDAY = "holiday"
    WEATHER = "weather"
    CAMPAIGN = "campaign"
    EMERGENCY = "emergency"
    EVENT = "event"


class _OfListing(Protocol):
    """A record about a listing."""

    @property
    def tenant(self) -> str: ...
    @property
    def market(self) -> str: ...
    @property
    def sku(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """The thing that has a price: tenant / market / SKU.

    Its key is built and read here alone. A tenant and a market hold no slash, a SKU may (decision 39).

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
        """The listing's public name, also its key in compacted topics."""
        return self.key_of(self)

    @staticmethod
    def key_of(record: _OfListing) -> str:
        """Return the key of the listing that a record is about.

        >>> Listing.key_of(Stock("e", 1, "acme", "web-us-usd", "sku-1", "sku-1", 5, 0, 1.0))
        'acme/web-us-usd/sku-1'
        """
        return f"{record.tenant}/{record.market}/{record.sku}"

    @staticmethod
    def key_in(value: Mapping[str, Any]) -> str:
        """Return the key of the listing that a decoded record is about.

        >>> Listing.key_in({"tenant": "acme", "market": "web-us-usd", "sku": "sku-1", "on_hand": 5})
        'acme/web-us-usd/sku-1'
        """
        return f"{value['tenant']}/{value['market']}/{value['sku']}"

    @classmethod
    def parse(cls, key: str) -> Listing:
        """Read a listing from its key; a SKU may itself contain slashes.

        Raises
        ------
        ValueError
            If the key does not have three parts.
        """
        parts = key.split("/", 2)
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"a listing is tenant/market/sku, got {key!r}")
        return cls(*parts)


def group_key(tenant: str, market: str, price_group: str) -> str:
    """Kafka key of every input: what is priced together travels together.

    >>> group_key("acme", "web-us-usd", "sku-1")
    'acme/web-us-usd/sku-1'
    """
    return f"{tenant}/{market}/{price_group}"


def category_key(tenant: str, market: str, category: str) -> str:
    """Name of a category in a market: what its listings share is kept under it.

    >>> category_key("acme", "web-us-usd", "shoes")
    'acme/web-us-usd/shoes'
    """
    return f"{tenant}/{market}/{category}"


def bucket_of(key: str, buckets: int) -> int:
    """Bucket of a group key: the first four hex digits of its MD5 as a number, mod ``buckets``.

    The same in Flink SQL (POSITION and SUBSTRING of MD5), DuckDB and Python, where hashing
    functions otherwise differ.

    >>> bucket_of("acme/web-us-usd/sku-1", 32)
    2
    """
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()[:4], 16) % buckets


@dataclass(frozen=True, slots=True)
class Quote:
    """A price answered to a shopper: the only source of exposures."""

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    customer: str
    session: str
    segment: str
    arm: str
    price_minor: int
    currency: str
    propensity: float
    table_id: str
    version: int
    source: str
    offer_minor: int | None = None
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Click:
    """A search, view, cart or checkout at the price that was quoted."""

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    kind: str
    customer: str
    session: str
    segment: str
    arm: str
    price_minor: int
    currency: str
    device: str | None = None
    geo: str | None = None
    day_part: str | None = None
    bot: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order line; it counts at the price quoted, not at the price paid."""

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    kind: str
    order_id: str
    line: int
    customer: str
    session: str
    segment: str
    arm: str
    quoted_price_minor: int
    price_paid_minor: int
    discount_minor: int
    quantity: int
    currency: str
    quote_id: str | None = None
    offer_minor: int | None = None


class OfferKind(StrEnum):
    """What an offer is to the listing."""

    RIVAL = "rival"
    """The same item at another shop: its price moves demand and bounds our prices."""
    REFERENCE = "reference"
    """Another item that shoppers compare with, such as the rest of the shelf: its price moves demand only."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A competitor's price, at the time it was observed.

    ``validity_ms`` absent: the policy's 24 h. ``offer_kind`` absent: a rival's (:class:`OfferKind`).
    """

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    competitor: str
    price_minor: int
    shipping_minor: int
    in_stock: bool
    currency: str
    pack_size: int
    source: str
    match_confidence: float
    validity_ms: int | None = None
    offer_kind: str | None = None

    @property
    def bounds_prices(self) -> bool:
        """Whether the offer is a rival's, which bounds our prices."""
        return self.offer_kind != OfferKind.REFERENCE


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What the shop knows of a listing. A missing cost is allowed on the wire and holds the price."""

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    category: str
    role: str
    currency: str
    pack_size: int
    active: bool
    cost_minor: int | None = None
    list_minor: int | None = None
    floor_minor: int | None = None
    ceiling_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """Units on hand and on the way."""

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    on_hand: int
    inbound: int
    lead_time_days: float


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An external event, weather or campaign. Empty ``zone`` or ``categories`` mean all of them."""

    event_id: str
    event_time_ms: int
    tenant: str
    kind: str
    name: str
    zone: str
    categories: str
    start_ms: int
    end_ms: int
    expected_factor: float
    spend_minor: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's word. ``market`` and ``sku`` absent: all of them.

    ``price_minor`` goes with manual_price, ``units`` and ``until_ms`` with sale_target, ``until_ms``
    with freeze, ``decision_id`` with approve and reject, ``version`` with rollback.
    """

    event_id: str
    event_time_ms: int
    tenant: str
    kind: str
    operator: str
    market: str | None = None
    sku: str | None = None
    price_minor: int | None = None
    units: int | None = None
    until_ms: int | None = None
    decision_id: str | None = None
    version: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A minute's heartbeat: one per bucket on ``ticks`` and one (``bucket`` -1) in every partition of the rest."""

    event_time_ms: int
    bucket: int = -1
    tick: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """One minute's counts of one listing, arm, segment and quoted price (science § 1). Cells add up."""

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
        """The listing the counts belong to."""
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
    """A customer's purchases so far in one period, and how many were made above the rival's price (science § 2).

    The key ends with the period's first day since 1970-01-01; a period has ``segments.memory_days`` of the policy.
    A record whose key has no period is of an earlier version and counts all purchases so far.
    """

    tenant: str
    customer: str
    purchases: int
    above_offer: int
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A learned quantity with its mean, sd and n; ``raw_*`` is before shrinkage."""

    scope: str
    tenant: str
    market: str
    sku: str
    price_group: str
    name: str
    segment: str
    mean: float
    sd: float
    n: int
    raw_mean: float | None
    raw_se: float | None
    active_periods: int
    sufficient: str
    window_end_ms: int
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A listing's score, its leading detector and its parts, when worth showing."""

    tenant: str
    market: str
    sku: str
    window_end_ms: int
    score: float
    evidence: float
    signal: str
    effect: float
    triggered: bool
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done, with all it was based on.

    ``inputs`` (with the policy it ran under) is enough to recompute ``result`` bit for bit.
    """

    decision_id: str
    tenant: str
    market: str
    sku: str
    price_group: str
    event_time_ms: int
    decided_at_ms: int
    cause: str
    cause_detail: dict[str, Any]
    inputs: dict[str, Any]
    result: dict[str, Any]
    published: bool
    version: int
    table_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refused record, by its address; the raw bytes are fetched from there and kept in the archive."""

    topic: str
    partition: int
    offset: int
    kafka_ts_ms: int
    field: str
    code: str
    detail: str
    line: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A fact or a batch on which a logic raised, set aside so that its job goes on.

    ``kind`` is the fact's stream, ``batch`` for a bucket's minute, or ``recovered`` for the first good minute of
    a bucket that was failing. ``address`` is stream-partition-offset where the record has one; a batch is read
    from there, a fact's record is ``payload``. ``version`` names the logic and its snapshot version.
    ``failing_minutes`` counts the bucket's failed minutes in a row, this one included.
    """

    logic: str
    bucket: str
    kind: str
    address: str
    event_time_ms: int
    error: str
    trace: str
    version: str
    failing_minutes: int
    payload: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Per input partition and minute: offsets read = on time + late + rejected + ticks."""

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
    """One bucket's minute: a row per cell, and the offers, stock and catalog entries that came in it.

    A row's ``kind`` says what it is (cell, offers, stock, catalog); a fact's row carries its Kafka
    partition ``p`` and offset ``o``. ``rows`` is empty when nothing happened.
    """

    bucket: int
    window_end_ms: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RejectedCell:
    """A cell refused by the catalog (unknown listing, wrong currency), with the events it counted."""

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


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One listing's features at the end of a minute; the features' own columns stand beside these."""

    listing: str
    event_timestamp: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class PriceTableRecord:
    """A `tables` value: the Redis hash (every value a string) with the listing beside it."""

    tenant: str
    market: str
    sku: str
    price_group: str
    version: str
    table_id: str
    published_ms: str
    expires_ms: str
    currency: str
    table: str
    default_minor: str
    list_minor: str
    offer_minor: str
    reason: str
    decision_id: str
