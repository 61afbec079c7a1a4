"""The policy's numbers as settings objects of elasticities, features, segments, demand and rivals.

A settings object belongs to its logic and knows no policy; the policy is the one place of every business number. A
number that two logics need (the elasticity believed before data, how long an offer counts) comes from one key, so
that learning and deciding agree about it.
"""

from __future__ import annotations

from features.books.offers import RivalSettings
from features.books.sale_probability import DemandSettings
from features.elasticity.settings import ElasticitySettings
from features.feature_logic import FeatureSettings
from features.market_time import MarketTime
from features.segments.customers import SegmentSettings
from jobs.pricing.policy import MINUTE_MS, Policy


def rival_settings(policy: Policy) -> RivalSettings:
    """How offers are read.

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
    """Both stages of elasticity learning; the beliefs before data are the policy's ``beliefs``.

    >>> weekly = Policy.from_dict({"elasticity": {"kind": "within", "period_minutes": 10_080}})
    >>> elasticity_settings(weekly).period_ms, elasticity_settings(weekly).m0
    (604800000, -2.0)
    """
    own, beliefs = policy.elasticity, policy.beliefs
    return ElasticitySettings(
        kind=own.kind,
        host=own.host,
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
        m0=beliefs.elasticity_mean,
        s0=own.category_sd,
        tau0=beliefs.elasticity_sd,
        sufficient_periods=own.sufficient_periods,
        sufficient_se=own.sufficient_se,
        provisional_se=own.provisional_se,
        emit=own.tell,
        emit_shift=own.emit_shift,
        time_zones=dict(policy.local_time.time_zones),
        rivals=rival_settings(policy),
    )


def feature_settings(policy: Policy) -> FeatureSettings:
    """How features are computed and how often rows are written.

    >>> feature_settings(Policy()).emit_every_minutes
    5
    """
    own = policy.features
    return FeatureSettings(
        emit_every_minutes=own.emit_every_minutes,
        refresh_minutes=own.refresh_minutes,
        estimate_lag_ms=own.estimate_lag_minutes * MINUTE_MS,
        time_zones=dict(policy.local_time.time_zones),
        rivals=rival_settings(policy),
        relative_width=policy.sufficiency.relative_width,
    )


def segment_settings(policy: Policy) -> SegmentSettings:
    """How customers are told apart, and how long their purchases are remembered.

    >>> segment_settings(Policy()) == SegmentSettings()
    True
    """
    return SegmentSettings(memory_days=policy.segments.memory_days)


def market_time(policy: Policy) -> MarketTime:
    """Local time of the markets, for decisions and the profile of requests.

    >>> policy = Policy.from_dict({"local_time": {"time_zones": {"web-eu-eur": "Europe/Berlin"}}})
    >>> market_time(policy).hour("web-eu-eur", 0).hour
    1
    """
    return MarketTime(policy.local_time.time_zones)


def demand_settings(policy: Policy) -> DemandSettings:
    """Return the demand book's settings."""
    beliefs = policy.beliefs
    return DemandSettings(
        prior_conversion=beliefs.conversion,
        requests_per_day=beliefs.requests_per_day,
        max_rival_factor=beliefs.max_rival_factor,
        segments=policy.segments.names,
        prior_shares=policy.segments.prior_shares,
        share_weight=policy.segments.share_weight,
    )
