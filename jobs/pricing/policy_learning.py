"""Sections of the policy for what is learned: beliefs, counted demand, elasticities, changes of demand.

Descriptions cite sections of the science page (science § 3, below § 3); :mod:`jobs.pricing.policy` states the
conventions.

The file exceeds 300 lines because it lists every number of learning with its meaning and source. A section moves
out as a whole when it grows.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jobs.pricing.policy_section import DEPLOYMENT, Number, PolicySection, Share
from schemas.topics import IDENTIFIER, MAX_NAME_LENGTH, NAME


class Sufficiency(PolicySection):
    """Width of the interval of a share whose data suffice (§ 5)."""

    relative_width: Share = Field(
        default=0.15, gt=0, description="half width of the 90 % interval, relative to the share (003 § N)"
    )


class Beliefs(PolicySection):
    """Priors of demand and of elasticities (§ 3, § 4), and the changes of estimates that request a repricing."""

    elasticity_mean: Number = Field(
        default=-2.0, lt=0, description="m₀: own-price elasticity before data; the prior mean of learning (§ 3)"
    )
    elasticity_sd: Number = Field(
        default=0.5, gt=0, description="τ₀: its standard deviation between products (§ 3)"
    )
    elasticity_max: Number = Field(default=-0.2, lt=0, description="upper bound of the own-price elasticity (§ 3)")
    rival_elasticity: Number = Field(
        default=0.5, ge=0, description="elasticity of demand to the rivals' price before data (§ 3)"
    )
    list_price_sd: Number = Field(
        default=0.15, gt=0, description="sd of the log of the best price around the list price (decision 15)"
    )
    implied_elasticity_max: Number = Field(
        default=-1.1,
        lt=-1,
        description="upper bound of the elasticity that list price and cost imply (§ 3, 'List price')",
    )
    segment_deviation_sd: Number = Field(
        default=0.7, gt=0, description="sd of a segment's deviation from the listings' elasticity (§ 3)"
    )
    listing_deviation_sd: Number = Field(
        default=0.25, gt=0, description="sd of a listing's deviation from its segment's (§ 3)"
    )
    look_when_moved_sd: Number = Field(
        default=0.5,
        gt=0,
        description="a change of the elasticity by this many of its sd requests a repricing (decision 15)",
    )
    look_when_grown: Number = Field(
        default=1.5,
        gt=1,
        description="growth of the requests to this multiple since the last decision does, too (decision 15)",
    )
    least_requests: Number = Field(
        default=100.0, ge=0, description="fewest requests whose growth requests a repricing (decision 15)"
    )
    conversion: Share = Field(
        default=0.02, gt=0, lt=1, description="s₀: orders per exposure of a listing without data (§ 4)"
    )
    requests_per_day: Number = Field(
        default=20.0, gt=0, description="requests per day of a listing without data (§ 4)"
    )
    max_rival_factor: Number = Field(default=2.0, gt=1, description="(o/ō)^η is clipped to [1/x, x] (§ 4)")


class Demand(PolicySection):
    """Counting of demand and the sale probability at a price (§ 4); the priors are in ``beliefs``."""

    order_horizon_minutes: int = Field(
        default=60, ge=1, description="H: minutes within which an exposure's order is expected (§ 4)"
    )
    memory_days: Number = Field(
        default=30.0, gt=0, description="time constant in days of the counts per price point (§ 4)"
    )
    max_points: int = Field(
        default=24, ge=2, description="price points kept per listing; the least used one is merged (§ 4)"
    )
    prior_exposures: Number = Field(
        default=50.0, gt=0, description="a: weight of the prior conversion, in exposures (§ 4)"
    )
    curve_sd: Number = Field(
        default=0.08, gt=0, description="m: sd of demand around the curve, in logs (decision 15)"
    )
    units_weight: Number = Field(
        default=5.0, gt=0, description="weight of the prior of one unit per order, in orders (§ 4)"
    )
    requests_days: Number = Field(
        default=0.05, gt=0, description="weight of the prior requests per day, in days (§ 4)"
    )
    requests_memory_days: Number = Field(
        default=7.0, gt=0, description="time constant in days of a listing's level of requests (§ 4)"
    )
    profile_memory_days: Number = Field(
        default=28.0, gt=0, description="time constant in days of a market's profile of requests (§ 4)"
    )
    profile_requests: Number = Field(
        default=50.0, gt=0, description="weight of the flat profile, in requests per hour or weekday (§ 4)"
    )


class Drift(PolicySection):
    """Detection of changes in demand, and what follows from one (§ 11)."""

    live = True

    delta: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.05,
        gt=0,
        lt=1.0,
        description="δ of ADWIN for categories and the level of markets; a smaller one finds fewer changes, fewer "
        "by chance",
    )
    market_delta: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.3,
        gt=0,
        lt=1.0,
        description="δ of ADWIN for the dependence on the price in a whole market",
    )
    listing_delta: Share = Field(
        json_schema_extra=DEPLOYMENT, default=0.001, gt=0, lt=1.0, description="δ of ADWIN for listings"
    )
    grace_periods: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=24,
        ge=1,
        description="periods that a detector needs before its first test",
    )
    level_sd: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.5,
        ge=0,
        description="sd that a change of the level adds to the log of the level",
    )
    slope_sd: Number = Field(
        json_schema_extra=DEPLOYMENT, default=1.0, gt=0, description="sd of changes of the elasticity before data"
    )
    minor_share: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.2,
        description="share of level_sd that a change of the elasticity adds to the level, and the other way",
    )
    spread: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.3,
        description="sd of the listings' shifts around the common one, as a share of it",
    )
    keep_counts: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.1,
        gt=0,
        description="share of the counts per price point that a change leaves",
    )
    far_propensity: Share = Field(
        default=0.12, description="select probability of the lowest and highest allowed price after a change"
    )
    explore_minutes: int = Field(default=1_440, ge=0, description="minutes for which it applies")


class Elasticity(PolicySection):
    """Learning of elasticities (§ 3); the priors that decisions use, too, are in ``beliefs``."""

    kind: Literal["poisson", "within"] = Field(
        default="poisson",
        description="poisson: orders given exposures; within: scanner data, log units (§ 3)",
    )
    host: Literal["river", "sums"] = Field(default="river", description="host of the within estimator (§ 3)")
    models: tuple[str, ...] = Field(
        default=("poisson", "within_river", "logit_river"),
        min_length=1,
        description="models that compete where there are exposures, the one used before any score first (§ 3)",
    )
    score_periods: int = Field(
        default=168, ge=1, description="length of the rolling score of a model, in periods (§ 3)"
    )
    switch_margin: Number = Field(
        default=0.05, ge=0, description="advantage, in nats per listing and period, that replaces a model (§ 3)"
    )
    switch_rows: Number = Field(default=1_000.0, ge=1, description="scores that a replacement needs (§ 3)")
    period_minutes: int = Field(
        default=60, ge=1, description="length in minutes of a period, which is one row per listing (§ 3)"
    )
    period_offset_minutes: int = Field(
        default=0, ge=0, description="start of the first period after the epoch (Monday: 5760, Thursday: 0)"
    )
    order_lag_periods: int = Field(
        default=1,
        ge=0,
        le=1,
        description="periods by which learning is delayed, since orders follow exposures (§ 3)",
    )
    category_effects: bool = Field(
        default=False, description="remove the effect of each week on the category (within, § 3)"
    )
    forgetting_per_week: Share = Field(default=0.99, gt=0, description="λ; 1: no forgetting (§ 3)")
    prior_sd: Number = Field(
        default=3.0, gt=0, description="sd of ε while a listing learns; removed before pooling (§ 3)"
    )
    conversion_sd: Number = Field(
        default=1.5, gt=0, description="sd of the log of orders per exposure before data (§ 3)"
    )
    rival_sd: Number = Field(default=0.5, gt=0, description="sd of the rival elasticity before data (§ 3)")
    noise_variance: Number = Field(
        default=0.25, gt=0, description="initial variance of log units (within with river, § 3)"
    )
    category_sd: Number = Field(default=1.0, gt=0, description="s₀: sd of a category's mean before data (§ 3)")
    prior_weight: Number = Field(
        default=4.0, gt=0, description="weight of τ₀² in the variance between products, in products (§ 3)"
    )
    rounds: int = Field(default=10, ge=1, description="iterations of the shrinkage to the category (§ 3)")
    single_series_factor: Number = Field(
        default=1.5, gt=0, description="factor of the SE of a product with one series (within, § 3)"
    )
    variance_prior_df: Number = Field(
        default=3.0,
        gt=0,
        description="weight of noise_variance in a category of fewer than three products, in degrees of freedom",
    )
    sufficient_df: Number = Field(
        default=15.0, gt=0, description="residual degrees of freedom required for a sufficient estimate (§ 3)"
    )
    sufficient_price_range: Number = Field(
        default=0.05, gt=0, description="range of the log price required for a sufficient estimate (§ 3)"
    )
    sufficient_periods: Number = Field(
        default=12.0, gt=0, description="W: active periods required for a sufficient estimate (§ 3)"
    )
    sufficient_se: Number = Field(default=0.5, gt=0, description="largest SE of a sufficient estimate (§ 3)")
    provisional_se: Number = Field(default=1.0, gt=0, description="largest SE of a provisional estimate (§ 3)")
    max_covariate_correlation: Share = Field(
        default=0.95,
        gt=0,
        description="largest multiple correlation of price and covariates of an identified estimate (§ 3); "
        ".95 is a variance inflation of 10 (Marquardt 1970)",
    )
    reference_competitors: tuple[str, ...] = Field(
        default=(),
        description="competitors whose prices are regressors of their own; none: the mean reference price (§ 3)",
    )
    covariates: tuple[str, ...] = Field(
        default=(), description="covariates that are regressors, in this order (§ 3, 'Covariates')"
    )
    max_covariates: int = Field(
        default=16,
        ge=1,
        le=64,
        description="covariates kept per listing; the one with the oldest record is removed first",
    )
    endogeneity_periods: int = Field(
        default=168, ge=1, description="periods of the test whether prices followed demand (§ 3, 'Identification')"
    )
    endogeneity_z: Number = Field(
        default=4.0, gt=0, description="smallest |z| of its warning, in standard errors (decision 58)"
    )
    endogeneity_correlation: Share = Field(
        default=0.1, description="smallest |ρ| of its warning; a weaker answer hardly moves an estimate (§ 3)"
    )
    tell: Literal["changed", "moved"] = Field(
        default="moved",
        description="publish an estimate when its product's statistics changed, or only when it moved",
    )
    emit_shift: Number = Field(
        default=0.1, gt=0, description="step of published means, in sd, and of published sds, as a share (§ 3)"
    )

    @model_validator(mode="after")
    def _usable_names(self) -> Elasticity:
        names = {
            "covariates": (self.covariates, NAME),
            "reference_competitors": (self.reference_competitors, IDENTIFIER),
        }
        for key, (listed, characters) in names.items():
            for name in listed:
                if not characters.allows(name) or len(name) > MAX_NAME_LENGTH:
                    raise ValueError(
                        f"{key}: expected names of 1 to {MAX_NAME_LENGTH} characters: {characters.words}; "
                        f"got {name!r}"
                    )
            if len(set(listed)) != len(listed):
                raise ValueError(f"{key}: expected different names, got {', '.join(listed)}")
        if len(self.covariates) > self.max_covariates:
            raise ValueError(
                f"covariates: expected at most max_covariates {self.max_covariates} names, "
                f"got {len(self.covariates)}"
            )
        return self

    @model_validator(mode="after")
    def _sufficient_is_stricter(self) -> Elasticity:
        if self.sufficient_se > self.provisional_se:
            raise ValueError(
                f"expected sufficient_se ≤ provisional_se {self.provisional_se}, got {self.sufficient_se}"
            )
        return self
