"""FEATURES: every feature by name, with its type, window, age limit, owner and meaning.

One list for everybody: the logic that computes rows, Feast's definitions and the Parquet schema
(both generated), the data checks and the docs. A feature that is computed but not listed, or listed
but never computed, fails a test. Ten features carry a *public* name from source document 001; that
name stands in rows, Feast and Parquet, the house name beside it in code and docs.

To add one: a line here, and its value in :meth:`features.feature_logic.FeatureLogic._row`.

Rules of missing values: a count without events is 0 (an observed zero); a rate, price or belief
without data is null, never a made-up number; the meaning says when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
DType = Literal["int", "float", "string"]
ROW_TTL_S = DAY_S
"""A listing's row is written anew at least every few minutes while minutes arrive; a day old is stale."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a feature is.

    Parameters
    ----------
    name : house name, ``<measure>_<window>``.
    dtype : int (64 bits), float (64 bits) or string.
    window : what it is counted over, in words a reader of the data understands.
    meaning : one sentence with unit, and when it is null.
    alias : its public name from source document 001, where it has one.
    low, high : inclusive range that the data checks hold it to.
    nullable : whether null is allowed.
    grain : whose feature it is.
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
        """The name in rows, Feast and Parquet."""
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
    _count("orders_1h", _HOUR, "Orders placed minus those taken back."),
    FeatureSpec(
        "conversion_rate_1h", "float", _HOUR, "Orders per exposure, never negative; null without any.", "demand",
        low=0.0,
    ),
    _count("exposures_24h", _DAY, "Prices shown, once per customer and price table.", low=0),
    _count("orders_24h", _DAY, "Orders placed minus those taken back."),
    FeatureSpec(
        "conversion_rate_24h", "float", _DAY, "Orders per exposure, never negative; null without any.", "demand",
        low=0.0,
    ),
    _count("units_24h", _DAY, "Units ordered minus those taken back."),
    _count("revenue_minor_24h", _DAY, "Price paid times quantity, minus what was taken back, in minor units."),
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
    _count("orders_30d", _MONTH, "Orders placed minus those taken back."),
    _count(
        "units_30d", _MONTH, "Units ordered minus those taken back: what sold, not what was wanted.",
        alias="historical_demand_30d",
    ),
    _count("revenue_minor_30d", _MONTH, "Price paid times quantity, minus what was taken back, in minor units."),
    FeatureSpec(
        "current_price_minor", "int", "half-life 30 minutes",
        "The price quoted most lately, in minor units; null before the first exposure.", "pricing", low=1,
    ),
    FeatureSpec(
        "days_since_price_change", "float", "since the current price took the lead",
        "Days that the current price has led; null before the first exposure.", "pricing",
        alias="days_since_last_price_change", low=0.0,
    ),
    FeatureSpec(
        "margin_percent_now", "float", _NOW,
        "100 (price − cost) / price at the current price, the list price before the first exposure; "
        "null without cost or price.", "pricing", alias="margin_percent", high=100.0,
    ),
    FeatureSpec(
        "conversion_rate_at_current_price", "float", "since the price entered the last eight",
        "Orders per exposure at the current price, smoothed by the 30-day rate worth 50 exposures; "
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
    FeatureSpec("rivals_now", "int", _NOW, "Rivals that the reference counts.", "competition",
                nullable=False, low=0),
    FeatureSpec("rival_data_fresh", "int", _NOW, "1 while offers are valid, else 0.", "competition",
                nullable=False, low=0, high=1),
    FeatureSpec("rival_min_minor", "int", _NOW, "Lowest rival's price with shipping; null like the reference.",
                "competition", low=1),
    FeatureSpec("rival_max_minor", "int", _NOW, "Highest rival's price with shipping; null like the reference.",
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
        "own_price_elasticity", "float", "the estimate's own",
        "Own-price elasticity, sign kept, shrunk to its category; null before the first estimate.", "elasticity",
        alias="price_elasticity_coefficient",
    ),
    FeatureSpec("own_price_elasticity_sd", "float", "the estimate's own",
                "Standard deviation of the elasticity; null before the first estimate.", "elasticity", low=0.0),
    FeatureSpec("own_price_elasticity_state", "string", "the estimate's own",
                "How far the elasticity may be trusted; prior before the first estimate.", "elasticity",
                nullable=False, values=_STATES),
    FeatureSpec("units_on_hand", "int", _NOW, "Units in stock; null when the stock stream never told.", "stock",
                alias="inventory_level", low=0),
    FeatureSpec("units_inbound", "int", _NOW, "Units on the way; null like the stock.", "stock", low=0),
    FeatureSpec("stock_cover_days", "float", _MONTH,
                "Days that the stock lasts at the mean daily sales; null without stock data or sales.", "stock",
                low=0.0),
    FeatureSpec("safety_stock_units", "float", _MONTH,
                "Units kept against chance over the lead time (5 %); null without stock data or an hour of sales.",
                "stock", low=0.0),
    FeatureSpec("reorder_point_units", "float", _MONTH,
                "Stock at which to order again; null like the safety stock.", "stock", low=0.0),
    FeatureSpec("stock_out_probability", "float", _MONTH,
                "Chance that the stock does not last the lead time; null like the safety stock.", "stock",
                low=0.0, high=1.0),
    FeatureSpec(
        "seasonality_factor_now", "float", "hour and weekday profile of the category in the market",
        "Demand at this hour and weekday over the mean; 1 while nothing is known of the hour, null before the "
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
                "Beta-smoothed share of myopic requests over the market's listings in the bucket: what a newcomer "
                "is taken for.", "segments", nullable=False, low=0.0, high=1.0),
    FeatureSpec("wtp_myopic_minor", "float", "half-life 24 hours",
                "Price at which half of the sale probability is left, myopic segment, in minor units; null while "
                "elasticity or mean quoted price is unknown, or demand too flat.", "segments", low=0.0),
    FeatureSpec("wtp_strategic_minor", "float", "half-life 24 hours",
                "The same for the strategic segment.", "segments", low=0.0),
    FeatureSpec(
        "wtp_by_segment", "string", "half-life 24 hours",
        "JSON object segment → willingness to pay in minor units; null when no segment has one.", "segments",
        alias="customer_segment_willingness_to_pay",
    ),
    FeatureSpec("category", "string", _NOW, "The listing's category.", "catalog", nullable=False),
    FeatureSpec("currency", "string", _NOW, "The listing's currency: the unit of every _minor feature.", "catalog",
                nullable=False),
)  # fmt: skip
"""Every feature of a listing, in the order of the row."""

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
"""The Feature Store's names in source document 001, to the letter."""
KEY, EVENT_TIMESTAMP, CREATED = "listing", "event_timestamp", "created_ms"
"""Columns of a row beside the features: the listing's key; epoch ms of the minute's end, twice."""
