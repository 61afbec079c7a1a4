"""Computation of one feature row from a listing's sums, without state.

:mod:`features.feature_logic` keeps the sums. The computation is separate, so that a row can be checked by hand and
recomputed from any source of the same sums. This module computes exactly the features in :data:`FEATURES`; a test
compares the names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.books.offers import ReferenceOffer
from features.books.stock import (
    StockLevel,
    cover_days,
    daily_sd,
    reorder_point,
    safety_stock,
    stock_out_probability,
)
from features.registry import CREATED, EVENT_TIMESTAMP, FEATURES, KEY
from features.segments.customers import (
    SEGMENTS,
    SegmentSettings,
    missing_for_share,
    segment_shares,
    smoothed_share,
    sufficiency,
    willingness_to_pay_minor,
)
from features.windows import LocalTime
from schemas.codes import Sufficiency
from schemas.events import CatalogEntry, Listing
from schemas.time_units import DAY_MS, HOUR_MS

PRIOR_EXPOSURES = 50.0
"""Weight of the 30-day conversion against a price point's own exposures (science § 4)."""
_PUBLIC = tuple((spec.name, spec.public) for spec in FEATURES)


@dataclass(frozen=True, slots=True)
class RowInputs:
    """Sums of a listing at the end of a minute.

    ``hour_1``, ``hours_24`` and ``days_30`` are counts by measure. ``complete_days`` are units per complete day,
    oldest first. ``at_price`` are exposures and orders at the current price. ``estimates`` are by segment, as
    (window_end_ms, mean, sd, n, state). ``market_requests`` are price requests by segment over the bucket's
    listings of the market.
    """

    at_ms: int
    first_ms: int
    local: LocalTime
    entry: CatalogEntry
    hour_1: Mapping[str, int]
    hours_24: Mapping[str, int]
    days_30: Mapping[str, int]
    complete_days: list[float]
    price_minor: int | None
    changed_ms: int | None
    at_price: tuple[int, int]
    reference: ReferenceOffer | None
    rival_sum_7d: float
    rival_minutes_7d: float
    stock: StockLevel | None
    estimates: Mapping[str, tuple[Any, ...]]
    seasonality: float | None
    market_requests: Mapping[str, int]
    mean_quoted: Mapping[str, float | None]


def feature_row(inputs: RowInputs, segments: SegmentSettings, relative_width: float) -> dict[str, Any]:
    """Return the value of the ``features`` stream: key, times, then all features by public name, in order.

    Parameters
    ----------
    inputs : the listing's sums.
    segments : settings of the segments.
    relative_width : half width of the 90 % interval of a sufficient share, relative to the share (science § 5).

    Raises
    ------
    KeyError
        If a feature of the registry was not computed.
    """
    values = _demand(inputs) | _price(inputs, relative_width) | _rivals(inputs) | _stock(inputs)
    values |= _estimates(inputs, segments, relative_width)
    entry = inputs.entry
    return {
        KEY: Listing.key_of(entry),
        EVENT_TIMESTAMP: inputs.at_ms,
        CREATED: inputs.at_ms,
        **{public: values[name] for name, public in _PUBLIC},
    }


def rate(part: int, whole: int) -> float | None:
    """Return a share of at least 0, or None if ``whole`` is 0.

    ``part`` can be negative: in a quiet hour, cancellations and returns may exceed orders.

    Examples
    --------
    >>> rate(1, 4), rate(-1, 4), rate(1, 0)
    (0.25, 0.0, None)
    """
    return max(part, 0) / whole if whole > 0 else None


def _demand(inputs: RowInputs) -> dict[str, Any]:
    h, d, m = inputs.hour_1, inputs.hours_24, inputs.days_30
    return {
        "views_1h": h["views"],
        "exposures_1h": h["exposures"],
        "orders_1h": h["orders"],
        "conversion_rate_1h": rate(h["orders"], h["exposures"]),
        "exposures_24h": d["exposures"],
        "orders_24h": d["orders"],
        "conversion_rate_24h": rate(d["orders"], d["exposures"]),
        "units_24h": d["units"],
        "revenue_minor_24h": d["revenue_minor"],
        "abandonment_rate_24h": rate(d["searches_abandoned"], d["searches_matured"]),
        "cart_abandonment_rate_24h": rate(d["carts_abandoned"], d["carts_matured"]),
        "exposures_30d": m["exposures"],
        "orders_30d": m["orders"],
        "units_30d": m["units"],
        "revenue_minor_30d": m["revenue_minor"],
        "seasonality_factor_now": inputs.seasonality,
        "category": inputs.entry.category,
        "currency": inputs.entry.currency,
    }


def _price(inputs: RowInputs, relative_width: float) -> dict[str, Any]:
    price, entry = inputs.price_minor, inputs.entry
    priced = price or entry.list_minor
    margin = None
    if priced is not None and priced > 0 and entry.cost_minor is not None and entry.cost_minor > 0:
        margin = 100.0 * (priced - entry.cost_minor) / priced
    exposures, orders = inputs.at_price
    base = rate(inputs.days_30["orders"], inputs.days_30["exposures"])
    conversion = None
    if price is not None and base is not None:
        conversion = (max(orders, 0) + PRIOR_EXPOSURES * base) / (exposures + PRIOR_EXPOSURES)
    share = min(max(orders, 0) / exposures, 1.0) if exposures else 0.0
    missing = missing_for_share(share, exposures, relative_width)
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


def _rivals(inputs: RowInputs) -> dict[str, Any]:
    reference, price = inputs.reference, inputs.price_minor
    known = reference is not None
    return {
        "rival_reference_minor": reference.reference_minor if reference else None,
        "rivals_now": reference.rivals if reference else 0,
        "rival_data_fresh": int(known and reference.fresh) if reference else 0,
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


def _stock(inputs: RowInputs) -> dict[str, Any]:
    level = inputs.stock
    names = (
        "units_on_hand", "units_inbound", "stock_cover_days", "safety_stock_units", "reorder_point_units",
        "stock_out_probability",
    )  # fmt: skip
    values: dict[str, Any] = dict.fromkeys(names)
    if level is None:
        return values
    values["units_on_hand"], values["units_inbound"] = level.on_hand, level.inbound
    # The window covers the current day and the 29 days before it, or the listing's lifetime if that is shorter.
    seen_days = min((inputs.at_ms - inputs.first_ms) / DAY_MS, 29.0 + inputs.local.day_fraction)
    if seen_days * DAY_MS < HOUR_MS:
        return values
    mean = max(inputs.days_30["units"], 0) / seen_days
    sd = daily_sd(inputs.complete_days, mean)
    values["stock_cover_days"] = cover_days(level.on_hand, mean)
    values["safety_stock_units"] = safety_stock(sd, level.lead_time_days)
    values["reorder_point_units"] = reorder_point(mean, sd, level.lead_time_days)
    values["stock_out_probability"] = stock_out_probability(level.on_hand, mean, sd, level.lead_time_days)
    return values


def _estimates(inputs: RowInputs, segments: SegmentSettings, relative_width: float) -> dict[str, Any]:
    own = inputs.estimates.get("all")
    requests = {segment: inputs.hours_24[f"exposures_{segment}"] for segment in SEGMENTS}
    shares = segment_shares(requests)
    total_requests = sum(requests.values())
    missing = missing_for_share(
        shares["myopic"] if shares else segments.prior_share, total_requests, relative_width
    )
    values: dict[str, Any] = {
        "own_price_elasticity": own[1] if own else None,
        "own_price_elasticity_sd": own[2] if own else None,
        "own_price_elasticity_state": own[4] if own else Sufficiency.PRIOR.value,
        "segment_share_state": sufficiency(missing, total_requests),
        "segment_share_missing": missing,
        "myopia_prior": smoothed_share(
            inputs.market_requests["myopic"],
            sum(inputs.market_requests.values()),
            segments.prior_share,
            segments.prior_weight,
        ),
    }
    willingness: dict[str, float] = {}
    for segment in SEGMENTS:
        estimate = inputs.estimates.get(segment) or own
        limit = willingness_to_pay_minor(inputs.mean_quoted[segment], estimate[1] if estimate else None)
        values[f"wtp_{segment}_minor"] = limit
        values[f"segment_share_{segment}_24h"] = shares[segment] if shares else None
        if limit is not None:
            willingness[segment] = limit
    values["wtp_by_segment"] = json.dumps(willingness, separators=(",", ":")) if willingness else None
    return values
