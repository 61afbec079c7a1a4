"""Settings objects of features, learning, rivals and the watcher from the policy.

A settings object belongs to its logic, which does not import the policy. Every business number has one key of the
policy. A number that two logics need, such as the elasticity before data or the validity of an offer, has one key
too, so that learning and decisions use the same value.
"""

from __future__ import annotations

from features.books.offers import RivalSettings
from features.books.sale_probability import DemandSettings
from features.elasticity.drift import DriftSettings
from features.elasticity.settings import ElasticitySettings
from features.market_time import MarketTime
from features.segments.customers import SegmentSettings
from features.settings import FeatureSettings
from jobs.pricing.policy import Policy
from jobs.pricing.watcher.settings import WatcherSettings
from schemas.time_units import MINUTE_MS


def rival_settings(policy: Policy) -> RivalSettings:
    """Return the parameters of the rivals' reference price.

    >>> rival_settings(Policy()) == RivalSettings()
    True
    """
    market = policy.market
    return RivalSettings(
        validity_ms=market.offer_validity_minutes * MINUTE_MS,
        min_match_confidence=market.min_match_confidence,
        max_rivals=market.max_rivals,
    )


def elasticity_settings(policy: Policy) -> ElasticitySettings:
    """Return the parameters of both stages of elasticity learning; the priors are the policy's ``beliefs``.

    >>> elasticity_settings(Policy()) == ElasticitySettings()
    True
    >>> weekly = Policy.from_dict({"elasticity": {"kind": "within", "period_minutes": 10_080}})
    >>> elasticity_settings(weekly).period_ms, elasticity_settings(weekly).m0
    (604800000, -2.0)
    """
    own, beliefs = policy.elasticity, policy.beliefs
    return ElasticitySettings(
        kind=own.kind,
        host=own.host,
        models=own.models,
        score_periods=own.score_periods,
        switch_margin=own.switch_margin,
        switch_rows=own.switch_rows,
        period_ms=own.period_minutes * MINUTE_MS,
        period_offset_ms=own.period_offset_minutes * MINUTE_MS,
        order_lag_periods=own.order_lag_periods,
        category_effects=own.category_effects,
        forgetting_per_week=own.forgetting_per_week,
        prior_mean=beliefs.elasticity_mean,
        prior_sd=own.prior_sd,
        conversion=beliefs.conversion,
        conversion_sd=own.conversion_sd,
        rival_mean=beliefs.rival_elasticity,
        rival_sd=own.rival_sd,
        noise_variance=own.noise_variance,
        m0=beliefs.elasticity_mean,
        s0=own.category_sd,
        tau0=beliefs.elasticity_sd,
        prior_weight=own.prior_weight,
        rounds=own.rounds,
        variance_prior_df=own.variance_prior_df,
        sufficient_df=own.sufficient_df,
        sufficient_price_range=own.sufficient_price_range,
        sufficient_periods=own.sufficient_periods,
        sufficient_se=own.sufficient_se,
        provisional_se=own.provisional_se,
        max_covariate_correlation=own.max_covariate_correlation,
        single_series_factor=own.single_series_factor,
        emit=own.tell,
        emit_shift=own.emit_shift,
        time_zones=dict(policy.local_time.time_zones),
        rivals=rival_settings(policy),
        reference_competitors=own.reference_competitors,
        covariates=own.covariates,
        max_covariates=own.max_covariates,
        endogeneity_periods=own.endogeneity_periods,
        endogeneity_z=own.endogeneity_z,
        endogeneity_correlation=own.endogeneity_correlation,
        drift=drift_settings(policy),
    )


def drift_settings(policy: Policy) -> DriftSettings:
    """Return the parameters of drift detection in learning.

    >>> drift_settings(Policy()) == DriftSettings()
    True
    """
    own = policy.drift
    return DriftSettings(
        delta=own.delta,
        market_delta=own.market_delta,
        listing_delta=own.listing_delta,
        level_sd=own.level_sd,
        slope_sd=own.slope_sd,
        minor_share=own.minor_share,
        spread=own.spread,
        grace_periods=own.grace_periods,
    )


def feature_settings(policy: Policy) -> FeatureSettings:
    """Return the parameters of the feature computation.

    >>> feature_settings(Policy()) == FeatureSettings()
    True
    """
    own = policy.features
    return FeatureSettings(
        emit_every_minutes=own.emit_every_minutes,
        refresh_minutes=own.refresh_minutes,
        estimate_lag_ms=own.estimate_lag_minutes * MINUTE_MS,
        time_zones=dict(policy.local_time.time_zones),
        rivals=rival_settings(policy),
        segments=segment_settings(policy),
        relative_width=policy.sufficiency.relative_width,
        prior_exposures=own.prior_exposures,
        prices_kept=own.prices_kept,
        price_half_life_ms=own.price_half_life_minutes * MINUTE_MS,
        price_run_gap_ms=own.price_run_gap_minutes * MINUTE_MS,
        price_change_ms=own.price_change_minutes * MINUTE_MS,
        quoted_half_life_ms=own.quoted_half_life_minutes * MINUTE_MS,
        season_events=own.season_events,
        season_keep_per_week=own.season_keep_per_week,
        stock_out_probability=own.stock_out_probability,
        stock_sd_days=own.stock_sd_days,
        wtp_max_elasticity=own.wtp_max_elasticity,
    )


def segment_settings(policy: Policy) -> SegmentSettings:
    """Return the parameters of the segment rule.

    >>> segment_settings(Policy()) == SegmentSettings()
    True
    """
    own = policy.segments
    return SegmentSettings(
        myopia_threshold=own.myopia_threshold,
        smoothing_purchases=own.smoothing_purchases,
        prior_share=own.myopia_prior_share,
        prior_weight=own.myopia_prior_weight,
        sample=own.sample_customers,
        memory_days=own.memory_days,
    )


def market_time(policy: Policy) -> MarketTime:
    """Return the markets' local time, for decisions and the profile of requests.

    >>> policy = Policy.from_dict({"local_time": {"time_zones": {"web-eu-eur": "Europe/Berlin"}}})
    >>> market_time(policy).hour("web-eu-eur", 0).hour
    1
    """
    return MarketTime(policy.local_time.time_zones)


def demand_settings(policy: Policy) -> DemandSettings:
    """Return the parameters of counted demand and of the sale probability.

    >>> demand_settings(Policy()) == DemandSettings()
    True
    """
    own, beliefs, segments = policy.demand, policy.beliefs, policy.segments
    return DemandSettings(
        order_horizon_ms=own.order_horizon_minutes * MINUTE_MS,
        memory_days=own.memory_days,
        max_points=own.max_points,
        prior_conversion=beliefs.conversion,
        prior_exposures=own.prior_exposures,
        curve_sd=own.curve_sd,
        max_rival_factor=beliefs.max_rival_factor,
        units_weight=own.units_weight,
        segments=segments.names,
        prior_shares=segments.prior_shares,
        share_weight=segments.share_weight,
        requests_per_day=beliefs.requests_per_day,
        requests_days=own.requests_days,
        requests_memory_days=own.requests_memory_days,
        profile_memory_days=own.profile_memory_days,
        profile_requests=own.profile_requests,
        segment_deviation_sd=beliefs.segment_deviation_sd,
        listing_deviation_sd=beliefs.listing_deviation_sd,
    )


def watcher_settings(policy: Policy) -> WatcherSettings:
    """Return the watcher's settings.

    >>> watcher_settings(Policy()) == WatcherSettings()
    True
    """
    watch = policy.watch
    return WatcherSettings(
        false_alarm_every=watch.false_alarm_every,
        own_share=watch.own_share,
        group_share=watch.group_share,
        weights=watch.weights,
        rivals=watch.rivals_weight,
        events=watch.events_weight,
        level_ticks=watch.level_minutes,
        warmup_ticks=watch.warmup_minutes,
        hold_ticks=watch.hold_minutes,
        relearn_ticks=watch.relearn_minutes,
        reseed_ticks=watch.reseed_minutes,
        block_ticks=watch.block_minutes,
        start_phi=watch.start_dispersion,
        prior_blocks=watch.prior_blocks,
        merge_gap_ticks=watch.merge_gap_minutes,
        session_lag_ticks=watch.session_lag_minutes,
        fact_ticks=watch.fact_minutes,
        full_mass_orders=watch.full_mass_orders,
        profile_orders=watch.profile_orders,
    )
