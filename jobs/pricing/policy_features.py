"""Sections of the policy for customers, local time and features (science §§ 2, 4, 5).

:mod:`jobs.pricing.policy` states the conventions.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from jobs.pricing.policy_section import DEPLOYMENT, Number, PolicySection, Share


class Segments(PolicySection):
    """Customer segments that are priced, and the rule that assigns customers to them (§ 2)."""

    live = True

    names: tuple[str, ...] = Field(
        json_schema_extra=DEPLOYMENT,
        default=("all", "myopic", "strategic"),
        min_length=1,
        description="segments with prices of their own; 'all': customers without a known segment",
    )
    prior_shares: tuple[Share, ...] = Field(
        json_schema_extra=DEPLOYMENT,
        default=(0.2, 0.4, 0.4),
        description="share of requests per segment before any data (§ 2)",
    )
    share_weight: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=50.0,
        gt=0,
        description="weight of the prior shares, in requests (§ 2)",
    )
    uniform: bool = Field(default=False, description="one price for all segments, where the law requires it (§ 8)")
    myopia_threshold: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.20,
        description="a customer with a larger share of purchases above the rivals' price is myopic (003 § G)",
    )
    smoothing_purchases: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=1.0,
        ge=0,
        description="w: weight of the prior in a customer's share, in purchases (§ 2)",
    )
    myopia_prior_share: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.09,
        description="m: share of purchases above the rivals' price before any data (003 § I)",
    )
    myopia_prior_weight: Number = Field(
        json_schema_extra=DEPLOYMENT, default=20.0, gt=0, description="α: its weight, in purchases (§ 2)"
    )
    sample_customers: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=256,
        ge=1,
        description="customers in the sample of a tenant and shard (§ 2)",
    )
    memory_days: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=30,
        ge=1,
        le=3_650,
        description="days of event time per period of a customer's purchases; the stream keeps the last periods, "
        "Redis keeps all (decision 44)",
    )

    @model_validator(mode="after")
    def _as_many_shares(self) -> Segments:
        if len(self.names) != len(self.prior_shares) or abs(sum(self.prior_shares) - 1) > 1e-9:
            raise ValueError(f"expected {len(self.names)} prior_shares that sum to 1, got {self.prior_shares}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"expected distinct segment names, got {self.names}")
        return self


class LocalTimes(PolicySection):
    """Local time of the markets: days of features and limits, hours and weekdays of requests."""

    time_zones: dict[str, str] = Field(
        default_factory=dict, description="market → IANA time zone; UTC where absent (decision 45)"
    )

    @model_validator(mode="after")
    def _known_zones(self) -> LocalTimes:
        for market, zone in self.time_zones.items():
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(
                    f"time_zones.{market}: expected an IANA time zone such as Europe/Berlin, got {zone!r}"
                ) from error
        return self


class Features(PolicySection):
    """Computation of feature rows and the times at which they are written (§ 4)."""

    emit_every_minutes: int = Field(
        default=5, ge=1, description="shortest time in minutes between two rows of a listing"
    )
    refresh_minutes: int = Field(
        default=15, ge=1, description="longest time in minutes between two rows of a listing"
    )
    estimate_lag_minutes: int = Field(
        default=10, ge=0, description="minutes after the end of its window at which an estimate takes effect"
    )
    prior_exposures: Number = Field(
        default=50.0,
        gt=0,
        description="weight of the 30-day conversion in that at the current price, in exposures (§ 4)",
    )
    prices_kept: int = Field(
        default=8, ge=2, description="prices kept per listing; the one with the oldest quote is removed first"
    )
    price_half_life_minutes: int = Field(
        default=30, ge=1, description="half-life in minutes of the weight that determines the current price"
    )
    price_run_gap_minutes: int = Field(
        default=60, ge=1, description="minutes without a quote after which a price starts a new run"
    )
    price_change_minutes: int = Field(
        default=240, ge=0, description="maximum age in minutes of a run whose start is the price change"
    )
    quoted_half_life_minutes: int = Field(
        default=1_440, ge=1, description="half-life in minutes of a segment's mean quoted price (§ 4)"
    )
    season_events: Number = Field(
        default=50.0, ge=0, description="κ: weight of the flat seasonal profile, in events per slot (§ 4)"
    )
    season_keep_per_week: Share = Field(
        default=0.98, gt=0, description="share of the seasonal counts kept per week (§ 4)"
    )
    stock_out_probability: Share = Field(
        default=0.05, gt=0, lt=1, description="stock-out probability per lead time of the safety stock (002 § 6.2)"
    )
    stock_sd_days: int = Field(
        default=7, ge=2, description="complete days from which on the sd of daily units is the sample's (§ 4)"
    )
    wtp_max_elasticity: Number = Field(
        default=-0.25, lt=0, description="largest elasticity with a willingness to pay (§ 4)"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Features:
        if self.refresh_minutes < self.emit_every_minutes:
            raise ValueError(
                f"expected refresh_minutes ≥ emit_every_minutes {self.emit_every_minutes}, "
                f"got {self.refresh_minutes}"
            )
        return self
