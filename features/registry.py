"""FEATURES: all features with name, type, window, age limit, owner and meaning.

The list concatenates the specs of :data:`features.rows.GROUPS`; that package states how to add a feature. Rows,
Feast's definitions and the Parquet schema (both generated), the data checks and the documentation use this list.

Ten features have a *public* name from source document 001. Rows, Feast and Parquet use the public name; code and
documentation use the internal name.
"""

from __future__ import annotations

from features.rows import GROUPS, ROW_TTL_S, FeatureSpec

__all__ = [
    "CREATED", "EVENT_TIMESTAMP", "FEATURES", "KEY", "PUBLIC_NAMES", "ROW_TTL_S", "SOURCE_001", "FeatureSpec",
]  # fmt: skip

FEATURES: tuple[FeatureSpec, ...] = tuple(spec for group in GROUPS for spec in group.specs)
"""All features of a listing, in the order of the row."""
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
