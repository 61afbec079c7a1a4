"""FEATURES: all features with name, type, window, age limit, owner and meaning.

The computation of rows, Feast's definitions and the Parquet schema (both generated), the data checks and the
documentation use this list. A test fails if a feature is computed but not listed, or listed but not computed. Ten
features have a *public* name from source document 001. Rows, Feast and Parquet use the public name; code and
documentation use the internal name.

To add a feature: add an entry here, and its value in :mod:`features.feature_row`.

Missing values: a count without events is 0; a rate, price or estimate without data is null and never a default.
The meaning states when a feature is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
DType = Literal["int", "float", "string"]
ROW_TTL_S = DAY_S
"""A listing's row is rewritten every few minutes while the job runs; a row older than a day is stale."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Definition of a feature.

    Parameters
    ----------
    name : internal name, ``<measure>_<window>``.
    dtype : int (64 bits), float (64 bits) or string.
    window : time range of the feature, as text for users of the data.
    meaning : one sentence with the unit and the condition for null.
    owner : area of responsibility.
    alias : public name from source document 001, if there is one.
    low, high : inclusive range for the data checks.
    nullable : whether null is allowed.
    grain : entity of the feature.
    ttl_s : age in seconds after which Feast treats a value as missing.
    values : allowed strings.
    """

    name: str
    dtype: DType
    window: str
    meaning: str
    owner: str
    alias: str | None = None
    low: float | None = None
    high: float | None = None
    nullable: bool = True
    grain: str = "listing"
    ttl_s: int = ROW_TTL_S
    values: tuple[str, ...] | None = None

    @property
    def public(self) -> str:
        """Return the name in rows, Feast and Parquet."""
        return self.alias or self.name


def _count(name: str, window: str, meaning: str, **more: object) -> FeatureSpec:
    return FeatureSpec(name, "int", window, meaning, "demand", nullable=False, **more)  # type: ignore[arg-type]


_HOUR, _DAY = "the last 60 minutes", "the current hour and the 23 before"
_MONTH = "the market's current day and the 29 before"
_WEEK = "28 six-hour slots, the current one included"
_NOW = "now"
_STATES = ("sufficient", "provisional", "prior", "not_identified")

FEATURES: tuple[FeatureSpec, ...] = (
    _count("views_1h", _HOUR, "Product views.", low=0),
    _count("exposures_1h", _HOUR, "Prices shown, once per customer and price table.", low=0),
    _count("orders_1h", _HOUR, "Orders placed minus orders cancelled or returned."),
    FeatureSpec(
        "conversion_rate_1h", "float", _HOUR, "Orders per exposure, never negative; null without any.", "demand",
        low=0.0,
    ),
    _count("exposures_24h", _DAY, "Prices shown, once per customer and price table.", low=0),
    _count("orders_24h", _DAY, "Orders placed minus orders cancelled or returned."),
    FeatureSpec(
        "conversion_rate_24h", "float", _DAY, "Orders per exposure, never negative; null without any.", "demand",
        low=0.0,
    ),
    _count("units_24h", _DAY, "Units ordered minus units cancelled or returned."),
    _count("revenue_minor_24h", _DAY, "Revenue at prices paid, net of cancellations and returns, in minor units."),
    FeatureSpec(
        "abandonment_rate_24h", "float", _DAY,
        "Share of searches whose session ended without an order; null while none has ended.", "demand",
        low=0.0, high=1.0,
    ),
    FeatureSpec(
        "cart_abandonment_rate_24h", "float", _DAY,
        "Share of carts whose session ended without an order; null while none has ended.", "demand",
        low=0.0, high=1.0,
    ),
    _count("exposures_30d", _MONTH, "Prices shown, once per customer and price table.", low=0),
    _count("orders_30d", _MONTH, "Orders placed minus orders cancelled or returned."),
    _count(
        "units_30d", _MONTH, "Units ordered minus units cancelled or returned: sales, not unconstrained demand.",
        alias="historical_demand_30d",
    ),
    _count(
        "revenue_minor_30d", _MONTH, "Revenue at prices paid, net of cancellations and returns, in minor units."
    ),
    FeatureSpec(
        "current_price_minor", "int", "half-life 30 minutes",
        "The price quoted most often recently, in minor units; null before the first exposure.", "pricing", low=1,
    ),
    FeatureSpec(
        "days_since_price_change", "float", "since the last price change",
        "Days since the last price change; null before the first exposure.", "pricing",
        alias="days_since_last_price_change", low=0.0,
    ),
    FeatureSpec(
        "margin_percent_now", "float", _NOW,
        "100 (price − cost) / price at the current price, the list price before the first exposure; "
        "null without cost or price.", "pricing", alias="margin_percent", high=100.0,
    ),
    FeatureSpec(
        "conversion_rate_at_current_price", "float", "since the price joined the eight most recent prices",
        "Orders per exposure at the current price, smoothed by the 30-day rate with a weight of 50 exposures; "
        "null before the first exposure.", "pricing", alias="conversion_rate_at_price_point", low=0.0,
    ),
    FeatureSpec(
        "conversion_at_price_state", "string", "as above",
        "sufficient: 90 % interval within ±15 % of the rate; provisional: some data; prior: none.", "pricing",
        nullable=False, values=_STATES,
    ),
    FeatureSpec(
        "conversion_at_price_missing", "int", "as above", "Exposures still missing until sufficient.", "pricing",
        nullable=False, low=0,
    ),
    FeatureSpec(
        "rival_reference_minor", "int", _NOW,
        "Rivals' reference price (features.books.offers), in minor units; null when no comparable rival is known.",
        "competition", low=1,
    ),
    FeatureSpec("rivals_now", "int", _NOW, "Number of rivals in the reference price.", "competition",
                nullable=False, low=0),
    FeatureSpec("rival_data_fresh", "int", _NOW, "1 if a fresh offer is known, else 0.", "competition",
                nullable=False, low=0, high=1),
    FeatureSpec("rival_min_minor", "int", _NOW, "Lowest rival price including shipping; null like the reference.",
                "competition", low=1),
    FeatureSpec("rival_max_minor", "int", _NOW, "Highest rival price including shipping; null like the reference.",
                "competition", low=1),
    FeatureSpec(
        "rival_price_range", "string", _NOW,
        "JSON array [lowest, highest] of rivals' prices in minor units; null like the reference.", "competition",
        alias="competitor_price_min_max",
    ),
    FeatureSpec(
        "rival_price_mean_7d", "float", _WEEK,
        "Mean of the rivals' reference price over the minutes in which it was fresh, in minor units; null "
        "without such a minute.", "competition", alias="competitor_price_avg_7d", low=0.0,
    ),
    FeatureSpec(
        "rival_gap_ratio", "float", _NOW,
        "(current price − rivals' reference) / rivals' reference; null without either.", "competition", low=-1.0,
    ),
    FeatureSpec(
        "own_price_elasticity", "float", "window of the estimate",
        "Own-price elasticity (usually negative), shrunk to its category; null before the first estimate.",
        "elasticity",
        alias="price_elasticity_coefficient",
    ),
    FeatureSpec("own_price_elasticity_sd", "float", "window of the estimate",
                "Standard deviation of the elasticity; null before the first estimate.", "elasticity", low=0.0),
    FeatureSpec("own_price_elasticity_state", "string", "window of the estimate",
                "Whether the data behind the elasticity suffice; prior before the first estimate.", "elasticity",
                nullable=False, values=_STATES),
    FeatureSpec("units_on_hand", "int", _NOW, "Units in stock; null before the first stock record.", "stock",
                alias="inventory_level", low=0),
    FeatureSpec("units_inbound", "int", _NOW, "Units inbound; null like the stock.", "stock", low=0),
    FeatureSpec("stock_cover_days", "float", _MONTH,
                "Days that the stock lasts at the mean daily sales; null without stock data or sales.", "stock",
                low=0.0),
    FeatureSpec("safety_stock_units", "float", _MONTH,
                "Safety stock for a stock-out probability of 5 % per lead time; null without stock data or before "
                "an hour of observation.",
                "stock", low=0.0),
    FeatureSpec("reorder_point_units", "float", _MONTH,
                "Stock level at which to reorder; null like the safety stock.", "stock", low=0.0),
    FeatureSpec("stock_out_probability", "float", _MONTH,
                "Probability that the stock runs out within the lead time; null like the safety stock.", "stock",
                low=0.0, high=1.0),
    FeatureSpec(
        "seasonality_factor_now", "float", "hour and weekday profile of the category in the market",
        "Demand at this hour and weekday relative to the mean; 1 without data of the hour, null before the "
        "category's first minute.", "demand", alias="seasonality_factor", low=0.0,
    ),
    FeatureSpec("segment_share_myopic_24h", "float", _DAY,
                "Share of price requests by myopic customers (C_k); null without requests of known segment.",
                "segments", low=0.0, high=1.0),
    FeatureSpec("segment_share_strategic_24h", "float", _DAY,
                "Share of price requests by strategic customers (C_k); null like the other.", "segments",
                low=0.0, high=1.0),
    FeatureSpec("segment_share_state", "string", _DAY,
                "sufficient: the myopic share's 90 % interval is within ±15 % of it; provisional; prior.",
                "segments", nullable=False, values=_STATES),
    FeatureSpec("segment_share_missing", "int", _DAY, "Requests still missing until sufficient.", "segments",
                nullable=False, low=0),
    FeatureSpec("myopia_prior", "float", _DAY,
                "Beta-smoothed share of myopic requests over the market's listings in the bucket: the prior "
                "of a new customer.", "segments", nullable=False, low=0.0, high=1.0),
    FeatureSpec("wtp_myopic_minor", "float", "half-life 24 hours",
                "Price with half of the sale probability at the mean quoted price, myopic segment, in minor "
                "units; null while elasticity or mean quoted price is unknown, or demand is too inelastic.",
                "segments", low=0.0),
    FeatureSpec("wtp_strategic_minor", "float", "half-life 24 hours",
                "The same for the strategic segment.", "segments", low=0.0),
    FeatureSpec(
        "wtp_by_segment", "string", "half-life 24 hours",
        "JSON object segment → willingness to pay in minor units; null when no segment has one.", "segments",
        alias="customer_segment_willingness_to_pay",
    ),
    FeatureSpec("category", "string", _NOW, "The listing's category.", "catalog", nullable=False),
    FeatureSpec("currency", "string", _NOW, "The listing's currency, in which all _minor features are.", "catalog",
                nullable=False),
)  # fmt: skip
"""All features of a listing, in the order of the row."""

BY_NAME: dict[str, FeatureSpec] = {spec.name: spec for spec in FEATURES}
PUBLIC_NAMES: tuple[str, ...] = tuple(spec.public for spec in FEATURES)
SOURCE_001: tuple[str, ...] = (
    "competitor_price_avg_7d",
    "competitor_price_min_max",
    "historical_demand_30d",
    "price_elasticity_coefficient",
    "inventory_level",
    "seasonality_factor",
    "customer_segment_willingness_to_pay",
    "conversion_rate_at_price_point",
    "margin_percent",
    "days_since_last_price_change",
)
"""Feature names of source document 001, verbatim."""
KEY, EVENT_TIMESTAMP, CREATED = "listing", "event_timestamp", "created_ms"
"""Other columns of a row: the listing's key, and the end of the minute in epoch ms, twice."""
