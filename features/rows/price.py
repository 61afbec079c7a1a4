"""PriceFeatures: the current price, its age, its margin and its conversion."""

from __future__ import annotations

from typing import Any

from features.rows.base import NOW, STATES, FeatureGroup, FeatureSpec, RowInputs, rate
from features.segments.customers import missing_for_share, sufficiency
from features.settings import FeatureSettings
from schemas.time_units import DAY_MS


class PriceFeatures(FeatureGroup):
    """Features of the price that is quoted most often."""

    specs = (
        FeatureSpec(
            "current_price_minor",
            "int",
            "half-life 30 minutes",
            "The price quoted most often recently, in minor units; null before the first exposure.",
            "pricing",
            low=1,
        ),
        FeatureSpec(
            "days_since_price_change",
            "float",
            "since the last price change",
            "Days since the last price change; null before the first exposure.",
            "pricing",
            alias="days_since_last_price_change",
            low=0.0,
        ),
        FeatureSpec(
            "margin_percent_now",
            "float",
            NOW,
            "100 (price − cost) / price at the current price, the list price before the first exposure; "
            "null without cost or price.",
            "pricing",
            alias="margin_percent",
            high=100.0,
        ),
        FeatureSpec(
            "conversion_rate_at_current_price",
            "float",
            "since the price joined the eight most recent prices",
            "Orders per exposure at the current price, smoothed by the 30-day rate with a weight of 50 exposures; "
            "null before the first exposure.",
            "pricing",
            alias="conversion_rate_at_price_point",
            low=0.0,
        ),
        FeatureSpec(
            "conversion_at_price_state",
            "string",
            "as above",
            "sufficient: 90 % interval within ±15 % of the rate; provisional: some data; prior: none.",
            "pricing",
            nullable=False,
            values=STATES,
        ),
        FeatureSpec(
            "conversion_at_price_missing",
            "int",
            "as above",
            "Exposures still missing until sufficient.",
            "pricing",
            nullable=False,
            low=0,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the features of the current price; the margin uses the list price before the first exposure."""
        price, entry = inputs.price_minor, inputs.entry
        priced = price or entry.list_minor
        margin = None
        if priced is not None and priced > 0 and entry.cost_minor is not None and entry.cost_minor > 0:
            margin = 100.0 * (priced - entry.cost_minor) / priced
        exposures, orders = inputs.at_price
        base = rate(inputs.days_30["orders"], inputs.days_30["exposures"])
        conversion, weight = None, settings.prior_exposures
        if price is not None and base is not None:
            conversion = (max(orders, 0) + weight * base) / (exposures + weight)
        share = min(max(orders, 0) / exposures, 1.0) if exposures else 0.0
        missing = missing_for_share(share, exposures, settings.relative_width)
        return {
            "current_price_minor": price,
            "days_since_price_change": (
                (inputs.at_ms - inputs.changed_ms) / DAY_MS if inputs.changed_ms is not None else None
            ),
            "margin_percent_now": margin,
            "conversion_rate_at_current_price": conversion,
            "conversion_at_price_state": sufficiency(missing, exposures),
            "conversion_at_price_missing": missing,
        }
