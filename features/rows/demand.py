"""DemandFeatures: counts of views, prices shown, orders and units, and their rates."""

from __future__ import annotations

from typing import Any

from features.rows.base import LAST_DAY, LAST_HOUR, LAST_MONTH, FeatureGroup, FeatureSpec, RowInputs, count, rate
from features.settings import FeatureSettings


class DemandFeatures(FeatureGroup):
    """Counts and rates over the last hour, 24 hours and 30 days."""

    specs = (
        count("views_1h", LAST_HOUR, "Product views.", low=0),
        count("exposures_1h", LAST_HOUR, "Prices shown, once per customer and price table.", low=0),
        count("orders_1h", LAST_HOUR, "Orders placed minus orders cancelled or returned."),
        FeatureSpec(
            "conversion_rate_1h",
            "float",
            LAST_HOUR,
            "Orders per exposure, never negative; null without any.",
            "demand",
            low=0.0,
        ),
        count("exposures_24h", LAST_DAY, "Prices shown, once per customer and price table.", low=0),
        count("orders_24h", LAST_DAY, "Orders placed minus orders cancelled or returned."),
        FeatureSpec(
            "conversion_rate_24h",
            "float",
            LAST_DAY,
            "Orders per exposure, never negative; null without any.",
            "demand",
            low=0.0,
        ),
        count("units_24h", LAST_DAY, "Units ordered minus units cancelled or returned."),
        count(
            "revenue_minor_24h",
            LAST_DAY,
            "Revenue at prices paid, net of cancellations and returns, in minor units.",
        ),
        FeatureSpec(
            "abandonment_rate_24h",
            "float",
            LAST_DAY,
            "Share of searches whose session ended without an order; null while none has ended.",
            "demand",
            low=0.0,
            high=1.0,
        ),
        FeatureSpec(
            "cart_abandonment_rate_24h",
            "float",
            LAST_DAY,
            "Share of carts whose session ended without an order; null while none has ended.",
            "demand",
            low=0.0,
            high=1.0,
        ),
        count("exposures_30d", LAST_MONTH, "Prices shown, once per customer and price table.", low=0),
        count("orders_30d", LAST_MONTH, "Orders placed minus orders cancelled or returned."),
        count(
            "units_30d",
            LAST_MONTH,
            "Units ordered minus units cancelled or returned: sales, not unconstrained demand.",
            alias="historical_demand_30d",
        ),
        count(
            "revenue_minor_30d",
            LAST_MONTH,
            "Revenue at prices paid, net of cancellations and returns, in minor units.",
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the counts of the three windows and their rates."""
        hour, day, month = inputs.hour_1, inputs.hours_24, inputs.days_30
        return {
            "views_1h": hour["views"],
            "exposures_1h": hour["exposures"],
            "orders_1h": hour["orders"],
            "conversion_rate_1h": rate(hour["orders"], hour["exposures"]),
            "exposures_24h": day["exposures"],
            "orders_24h": day["orders"],
            "conversion_rate_24h": rate(day["orders"], day["exposures"]),
            "units_24h": day["units"],
            "revenue_minor_24h": day["revenue_minor"],
            "abandonment_rate_24h": rate(day["searches_abandoned"], day["searches_matured"]),
            "cart_abandonment_rate_24h": rate(day["carts_abandoned"], day["carts_matured"]),
            "exposures_30d": month["exposures"],
            "orders_30d": month["orders"],
            "units_30d": month["units"],
            "revenue_minor_30d": month["revenue_minor"],
        }
