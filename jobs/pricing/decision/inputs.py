"""PricingInputs: everything that one decision depends on, as a frozen tree of dataclasses.

Guardrails and strategies read it directly. :mod:`jobs.pricing.decision.serialization` writes it into the
decision's record and reads it back, so that any decision can be recomputed from its own record.

Money is in minor units, times are epoch milliseconds of event time, shares are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from features.books.offers import ReferenceOffer, RivalOffer, reference_of
from features.books.price_bandit import ArmBelief
from features.books.sale_probability import PointCounts
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.events import DEFAULT_SEGMENT
from schemas.listings import Listing
from schemas.price_table import FULL, PriceList
from schemas.time_units import MINUTE_MS

Table = Mapping[str, PriceList]
"""Segment → its price list."""
Shares = Mapping[str, Mapping[int, float]]
"""Segment → price in minor units → share of the segment's requests."""


class Belief(NamedTuple):
    """Mean and standard deviation of a number that is believed, not known."""

    mean: float
    sd: float


class StepResult(NamedTuple):
    """What a step outside the observed prices brought.

    ``from_minor``: the main price before it. ``orders``: counted at ``to_minor``. ``confidence``: P(gain > 0);
    None while one of the two prices has no exposures.
    """

    from_minor: int
    to_minor: int
    orders: float
    confidence: float | None


class DealCounts(NamedTuple):
    """Orders and units at deals, and at all other prices, of a listing's category."""

    deal_orders: int = 0
    deal_units: int = 0
    other_orders: int = 0
    other_units: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """What the catalog states. ``trusted_cost_minor``: the last confirmed cost."""

    cost_minor: float | None = None
    trusted_cost_minor: float | None = None
    list_minor: float | None = None
    floor_minor: float | None = None
    ceiling_minor: float | None = None
    pack_size: int | None = 1
    role: str | None = ""


@dataclass(frozen=True, slots=True)
class CurrentTable:
    """The price table in force.

    ``default_minor``: its main price; ``day_ends_ms``: end of the market's day; ``table_id``: empty in records
    from before it was recorded.
    """

    default_minor: int
    prices: Table
    last_change_ms: int | None = None
    changes_today: int = 0
    day_ends_ms: int | None = None
    table_id: str = ""


@dataclass(frozen=True, slots=True)
class SegmentBeliefs:
    """One segment of customers: share of requests, units per order, counts per price point.

    ``elasticity`` is None in records from before segments had their own; the listing's applies then.
    """

    share: float
    units_per_order: float
    counts: PointCounts
    elasticity: Belief | None = None


@dataclass(frozen=True, slots=True)
class DemandBeliefs:
    """What is believed of the listing's demand.

    ``requests``: expected in the policy's period. ``offer_centre``: log price on which the counts' offer
    deviations are centred; None without rivals. ``changed_ms``: time of the last confirmed change of demand.
    """

    requests: float
    segments: Mapping[str, SegmentBeliefs]
    elasticity: Belief
    rival_elasticity: Belief
    offer_centre: float | None = None
    changed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Units that may be sold in the period, and why (``sale_target``, ``stock``); None: no limit."""

    units: float | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Controls:
    """What operators and the calendar set.

    ``frozen``, ``surge_ban``: the text of a freeze and the name of a declared emergency, None without one.
    ``approved_minor``: a price that an operator approved or set by hand.
    """

    frozen: str | None = None
    surge_ban: str | None = None
    approved_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Habits:
    """The price that shoppers are used to, and what they bought below it and otherwise; None: not known."""

    usual_minor: float | None = None
    bought: DealCounts | None = None


@dataclass(frozen=True, slots=True)
class Experience:
    """Which prices of the listing are known, and how well its elasticity is.

    ``sufficient``: whether the estimate of the elasticity is. ``start_minor``: before the first table the price of
    the shop's orders, None without enough of them; afterwards the main price of the first table. ``low_minor``,
    ``high_minor``: the lowest and highest observed price. ``step``: what the last step outside them brought.
    """

    sufficient: bool = False
    start_minor: int | None = None
    low_minor: int | None = None
    high_minor: int | None = None
    step: StepResult | None = None


@dataclass(frozen=True, slots=True)
class ListingAttributes:
    """What rules and bandits read of a listing beside its demand; None: not known.

    ``on_hand``: units. ``cover_days``: days that they last at the expected sales. ``age_days``: since the first
    catalog entry. ``hour``: of the market's day, 0 to 23. ``tags``: of the catalog entry, sorted. ``weekday``: of
    the market's day, Monday 0. These two are None in records from before they were read.
    """

    category: str = ""
    on_hand: int | None = None
    cover_days: float | None = None
    age_days: float | None = None
    hour: int = 0
    tags: tuple[str, ...] | None = None
    weekday: int | None = None


@dataclass(frozen=True, slots=True)
class BanditInputs:
    """What the contextual bandit reads of its state.

    ``waiting``: whether the reward of the last step is still being counted. ``arms``: steps, ascending, with what
    is believed of each; a step without a reward is absent.
    """

    waiting: bool = False
    arms: tuple[tuple[int, ArmBelief], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of the estimate behind the elasticity; the policy decides whether it is used as a model.

    ``estimated_ms``: end of the newest estimate's window; None before the first one. ``refused``: why the newest
    estimate is not identified (:class:`schemas.codes.InsufficientReason`), or ``estimate_unusable`` where its
    numbers cannot be used; empty otherwise.
    """

    estimated_ms: int | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class PricingInputs:
    """All inputs of one decision on one listing.

    ``cause_detail``: plain values that describe the cause. ``seed``: of Thompson's draw. ``offers``: the
    comparable offers known, one per rival. ``policy``: the one that the decision runs under. ``experience`` is
    None in records from before prices were observed; no range bounds prices then, and a listing without a table
    starts by the cold-start rule. ``attributes`` is None in records from before rules read them.
    ``bandit`` is None where no strategy of the policy reads it. ``group``: what the joint decision of its price
    group fixed; None for a listing that is decided alone. ``model`` is None in records from before fallbacks; none
    is used then.
    """

    listing: Listing
    at_ms: int
    cause: Cause
    seed: int
    currency: str
    product: Product
    beliefs: DemandBeliefs
    policy: Policy
    current: CurrentTable | None = None
    offers: tuple[RivalOffer, ...] = ()
    target: Target = Target()
    controls: Controls = Controls()
    habits: Habits = Habits()
    experience: Experience | None = None
    attributes: ListingAttributes | None = None
    bandit: BanditInputs | None = None
    group: GroupTerms | None = None
    model: ModelState | None = None
    cause_detail: Mapping[str, Any] = field(default_factory=dict)

    def reference(self, *, rivals_only: bool = False) -> ReferenceOffer | None:
        """Return the reference price at the decision's time; with ``rivals_only`` the one that bounds prices."""
        validity_ms = self.policy.market.offer_validity_minutes * MINUTE_MS
        return reference_of(self.offers, self.at_ms, validity_ms, rivals_only=rivals_only)

    @property
    def shown_minor(self) -> int | None:
        """The price that shoppers see: the table's main price, else that of orders, else the list price.

        None if there is none, or it is unusable.
        """
        ordered = self.experience.start_minor if self.experience else None
        shown = self.current.default_minor if self.current else ordered or self.product.list_minor
        return shown if shown and shown > 0 else None  # type: ignore[return-value]

    @property
    def ignores_pace(self) -> bool:
        """Whether pace limits are left aside: when settling, whose prices must not depend on the path."""
        return self.cause.ignores_pace or self.shown_minor is None

    @property
    def is_start(self) -> bool:
        """Whether this is a listing's first price, with what is known of its prices on record."""
        return self.cause is Cause.COLD_START and self.experience is not None

    @property
    def base_minor(self) -> float | None:
        """The price of which the grid's step and the default ceiling are shares.

        The list price; without one, the first known price; None before there is one.
        """
        if self.product.list_minor is not None or self.experience is None:
            return self.product.list_minor
        return self.experience.start_minor

    def current_shares(self) -> Shares | None:
        """Return the select probabilities in force; None without a table."""
        return None if self.current is None else shares_of(self.current.prices, self.policy.segments.names)


def shares_of(table: Table, segments: tuple[str, ...]) -> dict[str, dict[int, float]]:
    """Return select probabilities by segment and price; a segment without a list takes the default segment's.

    >>> table = {"all": PriceList.from_propensities([900, 1000], [0.25, 0.75])}
    >>> {price: round(q, 6) for price, q in shares_of(table, ("strategic",))["strategic"].items()}
    {900: 0.25, 1000: 0.75}
    """
    shares = {}
    for segment in segments:
        prices = table.get(segment) or table.get(DEFAULT_SEGMENT) or table[min(table)]
        below = (-1, *prices.cumulative[:-1])
        widths = [(c - b) / (FULL + 1) for b, c in zip(below, prices.cumulative, strict=True)]
        shares[segment] = dict(zip(prices.prices, widths, strict=True))
    return shares


def main_segment(segments: tuple[str, ...]) -> str:
    """Return the segment whose price of highest propensity is the table's main price (schemas.price_table)."""
    return DEFAULT_SEGMENT if DEFAULT_SEGMENT in segments else min(segments)
