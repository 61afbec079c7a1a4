"""Section of the policy for features (science §§ 4, 5); :mod:`jobs.pricing.policy` states the conventions."""

from __future__ import annotations

from pydantic import Field, model_validator

from jobs.pricing.policy_section import Number, PolicySection, Share


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
