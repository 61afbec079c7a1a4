"""One frozen dataclass per record that processes exchange through Kafka.

Amounts are integer minor units (``_minor``), times are epoch milliseconds UTC (``_ms``). Every input contains its
price group, from which its Kafka key is made, so that all facts about a listing are in the same partition and in
the same bucket. A record is a JSON object with exactly these field names, in this order.

The file exceeds 300 lines because it is the reference of all record types, which readers and schema generation
look up in one place. The records share field names and conventions, and a split would separate definitions that
change together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

DEFAULT_SEGMENT = "all"
DEFAULT_ARM = "base"
OWN_PRICE_ELASTICITY = "own_price_elasticity"
"""Name of the estimate of a listing's own-price elasticity."""


class ClickKind(StrEnum):
    """Shopper action before an order."""

    SEARCH = "search"
    VIEW = "view"
    CART = "cart"
    CHECKOUT = "checkout"


class OrderKind(StrEnum):
    """Kind of an order event.

    A placed order counts as a sale. A cancellation or return is subtracted in the period in which it happens.
    """

    PLACED = "placed"
    PAID = "paid"
    CANCELLED = "cancelled"
    RETURNED = "returned"


class Role(StrEnum):
    """Role of a listing in the assortment; it selects the strategy and how closely competitors are followed."""

    KVI = "kvi"
    TRAFFIC = "traffic"
    MARGIN = "margin"
    LONG_TAIL = "long_tail"


class QuoteSource(StrEnum):
    """Origin of a quoted price: a valid price table, an expired price table or the list price."""

    TABLE = "table"
    STALE = "stale"
    LIST = "list"


class CommandKind(StrEnum):
    """Command of an operator."""

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


class RedemptionKind(StrEnum):
    """Kind of a record of `redemptions`: a lock used up, or the start of an epoch."""

    REDEEMED = "redeemed"
    EPOCH = "epoch"


class CalendarKind(StrEnum):
    """Kind of a calendar entry."""

    HOLIDAY = "holiday"
    WEATHER = "weather"
    CAMPAIGN = "campaign"
    EMERGENCY = "emergency"
    EVENT = "event"


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


@dataclass(frozen=True, slots=True)
class Quote:
    """A price returned to a shopper. Exposures are counted from quotes only."""

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
    """A search, view, cart or checkout, with the price quoted to the shopper."""

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
    """An order line. It is counted at the quoted price, not at the price paid."""

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
    """Relation of an offer to the listing."""

    RIVAL = "rival"
    """The same item at another shop. Its price affects demand and bounds our prices."""
    REFERENCE = "reference"
    """A different item that shoppers compare with, for example a substitute. Its price affects demand only."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A competitor's price at the time of its observation.

    Without ``validity_ms`` the policy's validity applies (24 h by default). Without ``offer_kind`` the offer is a
    rival's (:class:`OfferKind`).
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
        """Return whether the offer is a rival's and therefore bounds our prices."""
        return self.offer_kind != OfferKind.REFERENCE


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Master data of a listing.

    The contract accepts an entry without a cost; the guardrail COST_MISSING then keeps the current price.
    ``tags``: names separated by commas, by which pricing rules may select.

    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "", "kvi", "USD", 1, True, tags="sale, new")
    >>> entry.tag_names
    ('new', 'sale')
    """

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
    tags: str | None = None

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Return the tags, sorted, each once."""
        return tuple(sorted({name for each in (self.tags or "").split(",") if (name := each.strip())}))


@dataclass(frozen=True, slots=True)
class Stock:
    """Units on hand and inbound."""

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
class Covariate:
    """A named number about a listing from a time on, for example ``display`` 1 while it is on display.

    The value applies until the next record of the same listing and name. The policy lists the names that enter
    learning (``elasticity.covariates``).
    """

    event_id: str
    event_time_ms: int
    tenant: str
    market: str
    sku: str
    price_group: str
    name: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A holiday, weather event, campaign, emergency or other event.

    An empty ``zone`` or ``categories`` means all of them.
    """

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
    """A command of an operator. Without ``market`` or ``sku`` it applies to all of them.

    ``price_minor`` belongs to manual_price, ``units`` and ``until_ms`` to sale_target, ``until_ms`` to freeze,
    ``decision_id`` to approve and reject, ``version`` to rollback. ``selection``, ``changes``, ``from_ms`` and
    ``replaces`` belong to policy (:mod:`jobs.pricing.policies`): listings within the market as ``category=shoes``
    (role, price_group, sku), section → key → value as a JSON object, the minute from which they hold, and whether
    they replace the scope's former changes. ``role`` is that of the operator's key, and ``signature`` the operator
    port's over all other fields (:mod:`jobs.access.signatures`).
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
    selection: str | None = None
    changes: str | None = None
    from_ms: int | None = None
    replaces: bool | None = None
    role: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A record that advances the watermark.

    Each minute has one tick per bucket on ``ticks``. Every partition of all other inputs has its own ticks, with
    ``bucket`` -1.
    """

    event_time_ms: int
    bucket: int = -1
    tick: bool = True


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
class Estimate:
    """An estimated quantity with its mean, sd and n.

    ``raw_mean`` and ``raw_se`` are the values before shrinkage. ``reason`` states why an estimate is not
    sufficient, empty where it is; ``model`` names the model that estimated it. ``warning`` states what may bias
    the estimate, empty without a sign of it; a sufficient estimate may have one.
    """

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
    reason: str = ""
    model: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The models of a category: the one whose estimates are used, and the rolling score of each.

    A score is the mean log probability, in nats, that a model gave to a listing's next order count.
    ``switched_from`` names the model in use before, empty without a switch in this period; ``reason`` states
    why the model is in use. ``states`` counts the category's products by sufficiency. ``endogeneity`` is
    not_tested, no_sign or shown: whether price changes followed the residuals of the period before, with the
    correlation and z of that test.
    """

    tenant: str
    category: str
    window_end_ms: int
    model: str
    switched_from: str
    reason: str
    scores: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    endogeneity: str = "not_tested"
    lagged_correlation: float | None = None
    lagged_z: float | None = None


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """A confirmed change of demand, found by ADWIN on standardised residuals of orders given the forecast.

    ``scope`` is listing, category or market, ``name`` its name, ``statistic`` level (sales at unchanged prices)
    or price (the dependence of sales on the price). ``residual_before`` and ``residual_after`` are means of the
    residual in standard deviations, over the whole window and its part after the change, of ``periods``
    periods.
    """

    tenant: str
    scope: str
    name: str
    bucket: int
    statistic: str
    residual_before: float
    residual_after: float
    periods: int
    slope_shift: float
    slope_shift_sd: float
    listings: int
    window_end_ms: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence score of a listing, with the strongest detector and the score's components."""

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
    """A pricing decision with all its inputs.

    ``inputs`` and the policy whose hash they record (``policies``) are sufficient to recompute ``result`` bit for
    bit.
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
class PolicyContent:
    """A policy that decisions refer to by its hash. Each bucket writes it before the first decision that uses it.

    ``content`` holds all keys, section by section.
    """

    hash: str
    content: dict[str, Any]
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """A policy patch as accepted or refused; each bucket writes the same record.

    ``selection``, ``changes``, ``from_ms`` and ``replaces`` are those of :class:`Command`; ``problem`` says why a
    refused patch cannot be applied.
    """

    command_id: str
    event_time_ms: int
    tenant: str
    market: str
    selection: str
    changes: str
    from_ms: int
    replaces: bool
    operator: str
    reason: str
    accepted: bool
    problem: str


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """A command that was not carried out, and why; each bucket writes the same record."""

    command_id: str
    event_time_ms: int
    tenant: str
    kind: str
    operator: str
    problem: str


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key: issued, rotated or revoked.

    ``issued_ms``, ``expires_ms`` and ``revoked_ms`` are wall times. ``tenant``: the one that its holder ``author``
    may see; empty for every tenant. ``role``: one of :class:`jobs.access.roles.Role`. ``digest``: SHA-256 of the
    key's text, hexadecimal; the text itself is kept nowhere. ``signature``: over all other fields. ``kind``: where
    a key that may ask for prices is used, one of :class:`jobs.access.roles.KeyKind`; None, as in a record without
    the field: on the shop's servers.
    """

    key_id: str
    issued_ms: int
    tenant: str
    role: str
    author: str
    digest: str
    expires_ms: int
    revoked_ms: int | None
    signature: str | None = None
    kind: str | None = None


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
class Quarantined:
    """A fact or batch for which a logic raised an exception. The job skips it and continues.

    ``kind`` is the fact's stream, ``batch`` for a bucket's minute, or ``recovered`` for the first successful
    minute of a bucket after failures. ``address`` is stream-partition-offset where the record has one. A batch is
    read from that address; the record of a fact is in ``payload``. ``version`` contains the logic's name and its
    snapshot version. ``failing_minutes`` is the number of consecutive failed minutes of the bucket, including this
    one.
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
class Redemption:
    """A price lock that an order has used up, or the start of an epoch of redemptions (decision 67).

    ``epoch`` is the epoch in which the order reserved the lock. The record counts if that epoch is the last one
    that was started before it in its partition. The fields after ``epoch`` are absent from a start.
    """

    kind: str
    epoch: str
    lock_id: str = ""
    order_id: str = ""
    redeemed_at_ms: int = 0
    expires_ms: int = 0
    tenant: str = ""
    market: str = ""
    sku: str = ""
    customer: str = ""
    price_minor: int = 0
    currency: str = ""
    version: int = 0
    quote_id: str = ""


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


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The features of one listing at the end of a minute. The columns of the features follow these columns."""

    listing: str
    event_timestamp: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class PriceTableRecord:
    """Value of the `tables` topic: the listing, and the fields of the Redis hash as strings."""

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
