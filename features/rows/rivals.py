"""RivalFeatures: the rivals' reference price, its range and its distance from the current price."""

from __future__ import annotations

from typing import Any

from features.rows.base import LAST_WEEK, NOW, FeatureGroup, FeatureSpec, RowInputs
from features.settings import FeatureSettings


class RivalFeatures(FeatureGroup):
    """Features of the rivals' offers (:mod:`features.books.offers`)."""

    specs = (
        FeatureSpec(
            "rival_reference_minor",
            "int",
            NOW,
            "Rivals' reference price (features.books.offers), in minor units; null when no comparable rival is "
            "known.",
            "competition",
            low=1,
        ),
        FeatureSpec(
            "rivals_now",
            "int",
            NOW,
            "Number of rivals in the reference price.",
            "competition",
            nullable=False,
            low=0,
        ),
        FeatureSpec(
            "rival_data_fresh",
            "int",
            NOW,
            "1 if a fresh offer is known, else 0.",
            "competition",
            nullable=False,
            low=0,
            high=1,
        ),
        FeatureSpec(
            "rival_min_minor",
            "int",
            NOW,
            "Lowest rival price including shipping; null like the reference.",
            "competition",
            low=1,
        ),
        FeatureSpec(
            "rival_max_minor",
            "int",
            NOW,
            "Highest rival price including shipping; null like the reference.",
            "competition",
            low=1,
        ),
        FeatureSpec(
            "rival_price_range",
            "string",
            NOW,
            "JSON array [lowest, highest] of rivals' prices in minor units; null like the reference.",
            "competition",
            alias="competitor_price_min_max",
        ),
        FeatureSpec(
            "rival_price_mean_7d",
            "float",
            LAST_WEEK,
            "Mean of the rivals' reference price over the minutes in which it was fresh, in minor units; null "
            "without such a minute.",
            "competition",
            alias="competitor_price_avg_7d",
            low=0.0,
        ),
        FeatureSpec(
            "rival_gap_ratio",
            "float",
            NOW,
            "(current price − rivals' reference) / rivals' reference; null without either.",
            "competition",
            low=-1.0,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the features of the reference price; null where no comparable rival is known."""
        reference, price = inputs.reference, inputs.price_minor
        return {
            "rival_reference_minor": reference.reference_minor if reference else None,
            "rivals_now": reference.rivals if reference else 0,
            "rival_data_fresh": int(reference.fresh) if reference else 0,
            "rival_min_minor": reference.min_minor if reference else None,
            "rival_max_minor": reference.max_minor if reference else None,
            "rival_price_range": f"[{reference.min_minor},{reference.max_minor}]" if reference else None,
            "rival_price_mean_7d": (
                inputs.rival_sum_7d / inputs.rival_minutes_7d if inputs.rival_minutes_7d > 0 else None
            ),
            "rival_gap_ratio": (
                (price - reference.mean_minor) / reference.mean_minor if reference and price is not None else None
            ),
        }
