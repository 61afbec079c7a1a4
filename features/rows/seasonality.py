"""SeasonalityFeatures: the seasonal factor of demand at the end of the minute."""

from __future__ import annotations

from typing import Any

from features.rows.base import FeatureGroup, FeatureSpec, RowInputs
from features.settings import FeatureSettings


class SeasonalityFeatures(FeatureGroup):
    """The category's factor of the hour and weekday (:mod:`features.books.seasonality`)."""

    specs = (
        FeatureSpec(
            "seasonality_factor_now",
            "float",
            "hour and weekday profile of the category in the market",
            "Demand at this hour and weekday relative to the mean; 1 without data of the hour, null before the "
            "category's first minute.",
            "demand",
            alias="seasonality_factor",
            low=0.0,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the seasonal factor."""
        return {"seasonality_factor_now": inputs.seasonality}
