"""CatalogFeatures: the listing's attributes from the catalog."""

from __future__ import annotations

from typing import Any

from features.rows.base import NOW, FeatureGroup, FeatureSpec, RowInputs
from features.settings import FeatureSettings


class CatalogFeatures(FeatureGroup):
    """Attributes of the listing's catalog entry."""

    specs = (
        FeatureSpec("category", "string", NOW, "The listing's category.", "catalog", nullable=False),
        FeatureSpec(
            "currency",
            "string",
            NOW,
            "The listing's currency, in which all _minor features are.",
            "catalog",
            nullable=False,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return category and currency."""
        return {"category": inputs.entry.category, "currency": inputs.entry.currency}
