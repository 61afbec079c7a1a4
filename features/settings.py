"""FeatureSettings: all parameters of the feature computation in one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.books.offers import RivalSettings
from features.segments.customers import SegmentSettings
from schemas.time_units import DAY_MS, HOUR_MS, MINUTE_MS


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Parameters of the feature computation; the defaults are the policy's. They are not part of the state.

    Parameters
    ----------
    emit_every_minutes : minimum event time between two rows of a listing.
    refresh_minutes : maximum event time between two rows of an active listing.
    estimate_lag_ms : time after the end of its window at which an estimate takes effect; must exceed the usual
        delay of the estimates topic.
    time_zones : IANA zone per market, for days, hours and weekdays; UTC where absent.
    rivals : how offers are used.
    segments : how customers are assigned to segments.
    relative_width : half width of the 90 % interval of a sufficient share, relative to the share (science § 5).
    prior_exposures : weight of the 30-day conversion in the conversion at the current price, in exposures.
    prices_kept : prices kept per listing; the one with the oldest quote is removed first.
    price_half_life_ms : half-life of the weight that determines the current price.
    price_run_gap_ms : time without a quote after which a price starts a new run.
    price_change_ms : maximum age of a run whose start is the time of the price change.
    quoted_half_life_ms : half-life of the mean quoted price of a segment.
    season_events : κ of the seasonal profile: weight of the flat profile, in events per slot.
    season_keep_per_week : share of the profile's counts kept at the end of a week, in (0, 1].
    stock_out_probability : stock-out probability per lead time of the safety stock, in (0, 1).
    stock_sd_days : complete days from which on the standard deviation of daily units is the sample's.
    wtp_max_elasticity : largest elasticity with a willingness to pay, < 0; at -0.25 it is 16 times the price.
    """

    emit_every_minutes: int = 5
    refresh_minutes: int = 15
    estimate_lag_ms: int = 10 * MINUTE_MS
    time_zones: Mapping[str, str] = field(default_factory=dict)
    rivals: RivalSettings = field(default_factory=RivalSettings)
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    relative_width: float = 0.15
    prior_exposures: float = 50.0
    prices_kept: int = 8
    price_half_life_ms: int = HOUR_MS // 2
    price_run_gap_ms: int = HOUR_MS
    price_change_ms: int = 4 * HOUR_MS
    quoted_half_life_ms: int = DAY_MS
    season_events: float = 50.0
    season_keep_per_week: float = 0.98
    stock_out_probability: float = 0.05
    stock_sd_days: int = 7
    wtp_max_elasticity: float = -0.25
