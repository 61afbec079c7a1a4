"""ElasticityFeatures: the newest own-price elasticity over all segments."""

from __future__ import annotations

from typing import Any

from features.rows.base import STATES, FeatureGroup, FeatureSpec, RowInputs
from features.settings import FeatureSettings
from schemas.codes import Sufficiency


class ElasticityFeatures(FeatureGroup):
    """Mean, standard deviation and state of the estimate (:mod:`features.elasticity`)."""

    specs = (
        FeatureSpec(
            "own_price_elasticity",
            "float",
            "window of the estimate",
            "Own-price elasticity (usually negative), shrunk to its category; null before the first estimate.",
            "elasticity",
            alias="price_elasticity_coefficient",
        ),
        FeatureSpec(
            "own_price_elasticity_sd",
            "float",
            "window of the estimate",
            "Standard deviation of the elasticity; null before the first estimate.",
            "elasticity",
            low=0.0,
        ),
        FeatureSpec(
            "own_price_elasticity_state",
            "string",
            "window of the estimate",
            "Whether the data behind the elasticity suffice; prior before the first estimate.",
            "elasticity",
            nullable=False,
            values=STATES,
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the features of the estimate; state ``prior`` before the first one."""
        own = inputs.estimates.get("all")
        return {
            "own_price_elasticity": own[1] if own else None,
            "own_price_elasticity_sd": own[2] if own else None,
            "own_price_elasticity_state": own[4] if own else Sufficiency.PRIOR.value,
        }
