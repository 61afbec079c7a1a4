"""StockFeatures: stock level, cover, safety stock, reorder point and stock-out probability."""

from __future__ import annotations

from typing import Any

from features.books.stock import (
    cover_days,
    daily_sd,
    reorder_point,
    safety_stock,
    service_factor,
    stock_out_probability,
)
from features.rows.base import LAST_MONTH, NOW, FeatureGroup, FeatureSpec, RowInputs
from features.settings import FeatureSettings
from schemas.time_units import DAY_MS, HOUR_MS


class StockFeatures(FeatureGroup):
    """Features of the stock level (:mod:`features.books.stock`)."""

    specs = (
        FeatureSpec(
            "units_on_hand",
            "int",
            NOW,
            "Units in stock; null before the first stock record.",
            "stock",
            alias="inventory_level",
            low=0,
        ),
        FeatureSpec("units_inbound", "int", NOW, "Units inbound; null like the stock.", "stock", low=0),
        FeatureSpec(
            "stock_cover_days",
            "float",
            LAST_MONTH,
            "Days that the stock lasts at the mean daily sales; null without stock data or sales.",
            "stock",
            low=0.0,
        ),
        FeatureSpec(
            "safety_stock_units",
            "float",
            LAST_MONTH,
            "Safety stock for a stock-out probability of 5 % per lead time; null without stock data or before "
            "an hour of observation.",
            "stock",
            low=0.0,
        ),
        FeatureSpec(
            "reorder_point_units",
            "float",
            LAST_MONTH,
            "Stock level at which to reorder; null like the safety stock.",
            "stock",
            low=0.0,
        ),
        FeatureSpec(
            "stock_out_probability",
            "float",
            LAST_MONTH,
            "Probability that the stock runs out within the lead time; null like the safety stock.",
            "stock",
            low=0.0,
            high=1.0,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the stock levels, and from an hour of observation on what depends on the mean daily units."""
        values: dict[str, Any] = dict.fromkeys(spec.name for spec in self.specs)
        level = inputs.stock
        if level is None:
            return values
        values["units_on_hand"], values["units_inbound"] = level.on_hand, level.inbound
        # The window covers the current day and the 29 days before it, or the listing's lifetime if it is shorter.
        seen_days = min((inputs.at_ms - inputs.first_ms) / DAY_MS, 29.0 + inputs.local.day_fraction)
        if seen_days * DAY_MS < HOUR_MS:
            return values
        mean = max(inputs.days_30["units"], 0) / seen_days
        sd = daily_sd(inputs.complete_days, mean, settings.stock_sd_days)
        z = service_factor(settings.stock_out_probability)
        values["stock_cover_days"] = cover_days(level.on_hand, mean)
        values["safety_stock_units"] = safety_stock(sd, level.lead_time_days, z)
        values["reorder_point_units"] = reorder_point(mean, sd, level.lead_time_days, z)
        values["stock_out_probability"] = stock_out_probability(level.on_hand, mean, sd, level.lead_time_days)
        return values
