"""Records of the input topics that describe the market: one frozen dataclass per record.

Amounts are integer minor units (``_minor``), times are epoch milliseconds UTC (``_ms``). Every input contains its
price group, from which its Kafka key is made, so that all facts about a listing are in the same partition and in
the same bucket. A record is a JSON object with exactly these field names, in this order.

These conventions also apply to the records of operators and checkouts, of counts, and of what the Python jobs
learn and decide (:mod:`schemas.records`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_SEGMENT = "all"
DEFAULT_ARM = "base"


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


class CalendarKind(StrEnum):
    """Kind of a calendar entry."""

    HOLIDAY = "holiday"
    WEATHER = "weather"
    CAMPAIGN = "campaign"
    EMERGENCY = "emergency"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Quote:
    """A price returned to a shopper. Exposures are counted from quotes only.

    ``kept``: the session keeps a price of an earlier draw. ``version``, ``table_id``, ``segment`` and
    ``propensity`` are then those of that draw, so that the exposure counts where it was randomised.
    """

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
    kept: bool = False


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
    ``tags``: names separated by commas, by which pricing rules may select. An entry with another ``price_group``
    than the one before moves the listing to that group's bucket, which knows nothing else of it (decision 75).

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
class Tick:
    """A record that advances the watermark.

    Each minute has one tick per bucket on ``ticks``. Every partition of all other inputs has its own ticks, with
    ``bucket`` -1.
    """

    event_time_ms: int
    bucket: int = -1
    tick: bool = True
