"""SegmentFeatures: shares of the customer segments and their willingness to pay."""

from __future__ import annotations

import json
from typing import Any

from features.rows.base import LAST_DAY, STATES, FeatureGroup, FeatureSpec, RowInputs
from features.segments.customers import (
    SEGMENTS,
    missing_for_share,
    segment_shares,
    smoothed_share,
    sufficiency,
    willingness_to_pay_minor,
)
from features.settings import FeatureSettings


class SegmentFeatures(FeatureGroup):
    """Features of the customer segments (:mod:`features.segments.customers`)."""

    specs = (
        FeatureSpec(
            "segment_share_myopic_24h",
            "float",
            LAST_DAY,
            "Share of price requests by myopic customers (C_k); null without requests of known segment.",
            "segments",
            low=0.0,
            high=1.0,
        ),
        FeatureSpec(
            "segment_share_strategic_24h",
            "float",
            LAST_DAY,
            "Share of price requests by strategic customers (C_k); null like the other.",
            "segments",
            low=0.0,
            high=1.0,
        ),
        FeatureSpec(
            "segment_share_state",
            "string",
            LAST_DAY,
            "sufficient: the myopic share's 90 % interval is within ±15 % of it; provisional; prior.",
            "segments",
            nullable=False,
            values=STATES,
        ),
        FeatureSpec(
            "segment_share_missing",
            "int",
            LAST_DAY,
            "Requests still missing until sufficient.",
            "segments",
            nullable=False,
            low=0,
        ),
        FeatureSpec(
            "myopia_prior",
            "float",
            LAST_DAY,
            "Beta-smoothed share of myopic requests over the market's listings in the bucket: the prior "
            "of a new customer.",
            "segments",
            nullable=False,
            low=0.0,
            high=1.0,
        ),
        FeatureSpec(
            "wtp_myopic_minor",
            "float",
            "half-life 24 hours",
            "Price with half of the sale probability at the mean quoted price, myopic segment, in minor "
            "units; null while elasticity or mean quoted price is unknown, or demand is too inelastic.",
            "segments",
            low=0.0,
        ),
        FeatureSpec(
            "wtp_strategic_minor",
            "float",
            "half-life 24 hours",
            "The same for the strategic segment.",
            "segments",
            low=0.0,
        ),
        FeatureSpec(
            "wtp_by_segment",
            "string",
            "half-life 24 hours",
            "JSON object segment → willingness to pay in minor units; null when no segment has one.",
            "segments",
            alias="customer_segment_willingness_to_pay",
        ),
    )

    def values(self, inputs: RowInputs, settings: FeatureSettings) -> dict[str, Any]:
        """Return the shares of the segments; a segment without an estimate has the listing's elasticity."""
        rule = settings.segments
        requests = {segment: inputs.hours_24[f"exposures_{segment}"] for segment in SEGMENTS}
        shares = segment_shares(requests)
        total_requests = sum(requests.values())
        missing = missing_for_share(
            shares["myopic"] if shares else rule.prior_share, total_requests, settings.relative_width
        )
        values: dict[str, Any] = {
            "segment_share_state": sufficiency(missing, total_requests),
            "segment_share_missing": missing,
            "myopia_prior": smoothed_share(
                inputs.market_requests["myopic"],
                sum(inputs.market_requests.values()),
                rule.prior_share,
                rule.prior_weight,
            ),
        }
        willingness: dict[str, float] = {}
        for segment in SEGMENTS:
            estimate = inputs.estimates.get(segment) or inputs.estimates.get("all")
            limit = willingness_to_pay_minor(
                inputs.mean_quoted[segment], estimate[1] if estimate else None, settings.wtp_max_elasticity
            )
            values[f"wtp_{segment}_minor"] = limit
            values[f"segment_share_{segment}_24h"] = shares[segment] if shares else None
            if limit is not None:
                willingness[segment] = limit
        values["wtp_by_segment"] = json.dumps(willingness, separators=(",", ":")) if willingness else None
        return values
