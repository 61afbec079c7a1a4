"""Configuration of a simulated market: sizes, schedules, shares.

Times in a schedule are minutes after the start of the run, so that a market can start at any time of the Clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jobs.simulation.demand import FAMILIES

SEGMENTS = ("myopic", "strategic")
"""True segments; the column order of every ``(listing, segment)`` array."""
MYOPIC, STRATEGIC = 0, 1


@dataclass(frozen=True, slots=True)
class MarketPlace:
    """One market: its share of the visits, its currency and its local time.

    ``level`` converts the assortment's base price (major units of USD) to this currency.
    """

    name: str
    currency: str
    share: float
    level: float
    utc_offset_h: int
    zone: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shock:
    """A lasting shift in the demand of one listing, from ``at_min`` to ``until_min``.

    ``kind`` "arrivals" multiplies the number of visits; "readiness" multiplies the odds that a visit buys, so that
    searches are abandoned as well. ``rank`` counts a market's listings from the best seller, 0.
    """

    at_min: int
    market: str
    rank: int
    factor: float
    kind: Literal["arrivals", "readiness"]
    until_min: int = 10**9


@dataclass(frozen=True, slots=True)
class RivalMove:
    """All rivals of one listing multiply their price by ``factor`` and keep it for ``hold_min``."""

    at_min: int
    market: str
    rank: int
    factor: float
    hold_min: int = 720


@dataclass(frozen=True, slots=True)
class CostChange:
    """A supplier's new price: the catalog entry is sent again with the cost multiplied by ``factor``."""

    at_min: int
    market: str
    rank: int
    factor: float


@dataclass(frozen=True, slots=True)
class CalendarPlan:
    """An entry of the calendar: the announced effect on visits, and the true one.

    Empty ``zone`` or ``category`` mean all of them.
    """

    at_min: int
    until_min: int
    kind: str
    name: str
    zone: str
    category: str
    expected_factor: float
    true_factor: float
    spend_minor: int = 0


MARKETS = (
    MarketPlace(
        name="web-us-usd",
        currency="USD",
        share=0.5,
        level=1.0,
        utc_offset_h=-5,
        zone="us",
        places=("us-east", "us-west", "us-south"),
    ),
    MarketPlace(
        name="web-eu-eur",
        currency="EUR",
        share=0.3,
        level=0.95,
        utc_offset_h=1,
        zone="eu",
        places=("de", "fr", "nl"),
    ),
    MarketPlace(
        name="app-gb-gbp",
        currency="GBP",
        share=0.2,
        level=0.82,
        utc_offset_h=0,
        zone="gb",
        places=("gb-eng", "gb-sct"),
    ),
)
CATEGORIES = ("coffee", "kitchen", "audio", "lighting", "garden", "toys", "sport", "office")

SHOCKS = (
    Shock(55, "web-us-usd", 0, 0.4, "readiness"),
    Shock(65, "web-eu-eur", 0, 2.0, "arrivals"),
    Shock(75, "web-us-usd", 2, 2.0, "readiness"),
    Shock(85, "app-gb-gbp", 0, 0.4, "arrivals"),
    Shock(100, "web-us-usd", 1, 2.0, "arrivals"),
    Shock(120, "web-eu-eur", 1, 0.4, "readiness"),
    Shock(150, "web-us-usd", 4, 0.4, "arrivals"),
)
RIVAL_MOVES = (
    RivalMove(12, "web-us-usd", 7, 0.87),
    RivalMove(16, "web-eu-eur", 6, 1.14),
    RivalMove(20, "app-gb-gbp", 3, 0.86),
    RivalMove(26, "web-us-usd", 9, 1.13),
    RivalMove(34, "web-eu-eur", 7, 0.88),
    RivalMove(45, "app-gb-gbp", 5, 1.12),
    RivalMove(70, "web-us-usd", 3, 0.86),
    RivalMove(80, "web-eu-eur", 2, 0.88),
    RivalMove(90, "app-gb-gbp", 1, 1.15),
    RivalMove(110, "web-us-usd", 5, 1.12),
    RivalMove(130, "web-us-usd", 6, 0.84),
    RivalMove(150, "web-eu-eur", 4, 0.87),
)
COST_CHANGES = (CostChange(125, "web-us-usd", 8, 1.12), CostChange(155, "web-eu-eur", 5, 0.92))
CALENDAR = (
    CalendarPlan(
        at_min=100,
        until_min=340,
        kind="campaign",
        name="audio week",
        zone="",
        category="audio",
        expected_factor=1.5,
        true_factor=1.4,
        spend_minor=250_000,
    ),
    CalendarPlan(
        at_min=180,
        until_min=900,
        kind="weather",
        name="first warm days",
        zone="eu",
        category="garden",
        expected_factor=1.3,
        true_factor=1.45,
    ),
    CalendarPlan(
        at_min=1440,
        until_min=2880,
        kind="holiday",
        name="bank holiday",
        zone="gb",
        category="",
        expected_factor=1.2,
        true_factor=1.15,
    ),
)


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """Configuration of one simulated market; the defaults are the demo's.

    Parameters
    ----------
    events_per_minute : expected events of a simulated minute, averaged over a week; at the demo's 5,000 events a
        wall second and speed 60 a simulated minute also has 5,000.
    customers : shoppers per market; a few visit often (density ∝ 1/√rank), most rarely.
    dearer_share : share of listings whose rivals are usually cheaper. Strategic shoppers rarely visit them, which
        makes the segments distinguishable.
    grouped_share : share of products that are sold in two to four sizes or colours, each a listing of its own with
        the same list price; 0: every listing is a product of its own.
    family : name of the demand family, one of ``FAMILIES``.
    rival_check_min : mean minutes between two price checks of a rival.
    rival_jump_min : mean minutes between two jumps of a rival's price.
    arms : experiment arms, equally likely over customers.
    late_share : share of clicks that reach the topic 20 to 120 s after they happened.
    dirty_share : broken records per valid record, 0 to 1.

    Raises
    ------
    ValueError
        If a share, a size or the family's name is invalid.

    Examples
    --------
    >>> MarketConfig(skus=20).listings
    60
    """

    tenant: str = "demo"
    markets: tuple[MarketPlace, ...] = MARKETS
    skus: int = 200
    categories: tuple[str, ...] = CATEGORIES
    events_per_minute: float = 5000.0
    customers: int = 200_000
    popularity_exponent: float = 0.8
    conversion: float = 0.05
    elasticity: float = -2.0
    elasticity_sd: float = 0.4
    myopic_of_strategic: float = 0.5
    dearer_share: float = 0.3
    bot_share: float = 0.03
    search_share: float = 0.45
    season_amplitude: float = 0.25
    rivals: int = 3
    rival_check_min: int = 90
    rival_jump_min: int = 4320
    short_stock_share: float = 0.08
    grouped_share: float = 0.33
    arms: tuple[str, ...] = ("base",)
    family: str = "logit"
    shocks: tuple[Shock, ...] = field(default=SHOCKS)
    rival_moves: tuple[RivalMove, ...] = field(default=RIVAL_MOVES)
    cost_changes: tuple[CostChange, ...] = field(default=COST_CHANGES)
    calendar: tuple[CalendarPlan, ...] = field(default=CALENDAR)
    late_share: float = 0.001
    dirty_share: float = 0.0

    def __post_init__(self) -> None:
        if self.family not in {family.name for family in FAMILIES}:
            names = ", ".join(family.name for family in FAMILIES)
            raise ValueError(f"family: expected one of {names}; got {self.family!r}")
        for name in (
            "bot_share",
            "search_share",
            "dearer_share",
            "short_stock_share",
            "grouped_share",
            "late_share",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.dirty_share < 1:
            raise ValueError(f"dirty_share: expected a share in [0, 1), got {self.dirty_share}")
        if self.skus < 1 or self.customers < 10 or not self.events_per_minute > 0 or not self.markets:
            raise ValueError("expected at least one market and SKU, 10 customers and a positive events_per_minute")
        if not self.elasticity < -1 or not 0 < self.conversion < 0.5:
            raise ValueError("expected elasticity < -1 and conversion in (0, 0.5)")

    @property
    def listings(self) -> int:
        """Number of listings: every SKU in every market."""
        return self.skus * len(self.markets)
