"""Section of the policy for the watcher (science § 6); :mod:`jobs.pricing.policy` states the conventions."""

from __future__ import annotations

from pydantic import Field

from jobs.pricing.policy_section import Number, PolicySection, Share


class Watch(PolicySection):
    """The watcher's false-alarm budget, its time constants and the evidence that it publishes (§ 6)."""

    false_alarm_every: Number = Field(
        default=10_080.0, gt=0, description="minutes between false repricings of a listing"
    )
    own_share: Share = Field(
        default=0.6, gt=0, description="share of the false-alarm budget for each listing's own evidence"
    )
    group_share: Share = Field(
        default=0.4, ge=0, description="share of the budget for the evidence of its price group"
    )
    weights: dict[str, Share] = Field(
        default_factory=dict, description="signal → share of the budget, in place of the signal's own"
    )
    rivals_weight: Share = Field(
        default=0.15, description="share of the budget for the start mass of rivals' moves (004)"
    )
    events_weight: Share = Field(
        default=0.10, description="share of the budget for the start mass of calendar events (004)"
    )
    level_minutes: Number = Field(
        default=20_160.0, gt=0, description="time constant in minutes of a listing's level of orders"
    )
    warmup_minutes: int = Field(default=60, ge=0, description="minutes of data before detectors run")
    hold_minutes: int = Field(default=60, ge=0, description="minutes after a trigger in which detectors pause")
    relearn_minutes: int = Field(
        default=1_440, ge=0, description="minutes after a trigger with a band one standard error wider"
    )
    reseed_minutes: Number = Field(
        default=5.0, ge=0, description="minutes of old exposure that stay in the level after a trigger"
    )
    block_minutes: int = Field(
        default=720, ge=1, description="length in minutes of the blocks that show slow drift of a rate"
    )
    start_dispersion: Number = Field(
        default=1.5, ge=1, description="variance over mean of orders until the first block is full"
    )
    prior_blocks: Number = Field(default=2.0, gt=0, description="weight of this prior, in blocks")
    merge_gap_minutes: int = Field(
        default=60,
        ge=0,
        description="longest gap in minutes whose counts are merged; those of a longer one are dropped",
    )
    session_lag_minutes: int = Field(
        default=45, ge=0, description="minutes after an own price change in which abandonment is not observed"
    )
    fact_minutes: Number = Field(
        default=43_200.0,
        gt=0,
        description="time constant in minutes of a fact's rate, and its longest mean interval",
    )
    full_mass_orders: Number = Field(
        default=0.05, gt=0, description="expected orders per minute from which on a minute counts fully"
    )
    profile_orders: Number = Field(
        default=200.0, gt=0, description="weight of a category's daily profile in a listing's, in orders"
    )
    show_above: Share = Field(
        default=0.5, description="evidence above this score is published; triggers are always published"
    )
    top: int = Field(default=3, ge=0, description="so is a change among this many leading listings of a bucket")
