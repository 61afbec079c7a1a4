"""The policy: keys, defaults, errors, and the settings derived from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from features.books.offers import RivalSettings
from features.elasticity.settings import ElasticitySettings
from features.feature_logic import FeatureSettings
from jobs.pricing.policy import Policy, PolicyError
from jobs.pricing.policy_settings import elasticity_settings, feature_settings

SHIPPED = Path(__file__).parents[3] / "infra" / "config" / "policy.yaml"


def test_shipped_policy_equals_the_defaults() -> None:
    assert Policy.load(SHIPPED) == Policy()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("limits: {max_step: 7}", ["limits.max_step", "less than or equal to 1", "got 7"]),
        ("limits: {max_stepp: .1}", ["limits.max_stepp", "not permitted"]),
        ("margin: {min_margin: .nan}", ["margin.min_margin"]),
        ("local_time: {time_zones: {web: Mars/Crater}}", ["local_time", "time_zones.web", "IANA", "Mars/Crater"]),
        ("features: {time_zones: {web: UTC}}", ["features.time_zones", "local_time.time_zones", "{'web': 'UTC'}"]),
        ("limits: {day_offset_minutes: {web: 60}}", ["limits.day_offset_minutes", "local_time.time_zones", "60"]),
        ("features: {emit_every_minutes: 20}", ["features", "refresh_minutes", "got 15"]),
        (
            "strategies: {by_role: {kvi: cost_plus}, allowed_by_role: {kvi: [match_rival]}}",
            ["strategies", "allowed_by_role.kvi", "by_role.kvi chooses", "'cost_plus'", "among match_rival"],
        ),
        (
            "strategies: {allowed_by_role: {kvi: [match_rival]}}",
            ["allowed_by_role.kvi", "default chooses", "'profit_lp'", "choose another one in by_role.kvi"],
        ),
        (
            "strategies: {allowed_by_role: {kvi: [magic]}}",
            ["allowed_by_role.kvi", "expected strategies", "'magic'"],
        ),
        ("strategies: {allowed_by_role: {kvi: []}}", ["allowed_by_role.kvi", "among no strategy"]),
        ("groups: {minimum_sales: -1}", ["groups.minimum_sales", "greater than or equal to 0", "got -1"]),
        ("elasticity: {kind: magic}", ["elasticity.kind", "poisson", "magic"]),
        ("elasticity: {sufficient_se: 2}", ["sufficient_se", "got 2"]),
        ("elasticity: {covariates: [in store]}", ["covariates", "letters, digits", "'in store'"]),
        ("elasticity: {covariates: [a, a]}", ["covariates", "different names", "a, a"]),
        ("elasticity: {covariates: [a, b], max_covariates: 1}", ["covariates", "max_covariates 1", "got 2"]),
        ("elasticity: {reference_competitors: ['a|b']}", ["reference_competitors", "no vertical bar", "'a|b'"]),
        (
            "{market: {max_rivals: 1}, elasticity: {reference_competitors: [a, b]}}",
            ["elasticity.reference_competitors", "market.max_rivals 1", "got 2"],
        ),
        ("segments: {prior_shares: [.5, .5, .5]}", ["segments", "sum to 1"]),
        ("market: {cap_ratio: 3.0}", ["market", "cap_ratio", "3.0"]),
        ("- 1", ["expected a mapping", "[1]"]),
        ("limits: {", ["expected YAML"]),
    ],
)
def test_error_names_the_key_what_was_expected_and_what_came(
    tmp_path: Path, content: str, words: list[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(content)
    with pytest.raises(PolicyError) as refusal:
        Policy.load(path)
    for word in [str(path), *words]:
        assert word in str(refusal.value)


def test_policy_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Policy().limits.max_step = 0.5  # type: ignore[misc]


def test_hash_depends_on_the_content_alone() -> None:
    other = Policy.from_dict({"limits": {"max_step": 0.05}})
    assert Policy().hash == Policy.from_dict(Policy().to_dict()).hash != other.hash


def test_learning_and_features_take_their_settings_from_the_policy() -> None:
    policy = Policy.from_dict(
        {
            "beliefs": {"elasticity_mean": -3.0, "conversion": 0.05, "rival_elasticity": 0.7},
            "market": {"offer_validity_minutes": 60},
            "elasticity": {"period_minutes": 1_440, "forgetting_per_week": 1.0},
            "sufficiency": {"relative_width": 0.1},
            "features": {"emit_every_minutes": 2},
            "local_time": {"time_zones": {"web": "Europe/Berlin"}},
        }
    )
    learning, features = elasticity_settings(policy), feature_settings(policy)
    assert (learning.prior_mean, learning.m0, learning.conversion, learning.rival_mean) == (-3.0, -3.0, 0.05, 0.7)
    assert (learning.period_ms, learning.forgetting) == (86_400_000, 1.0)
    assert learning.rivals == features.rivals == RivalSettings(validity_ms=3_600_000)
    assert (features.emit_every_minutes, features.time_zones) == (2, {"web": "Europe/Berlin"})
    assert features.relative_width == 0.1


def test_settings_of_the_default_policy_are_their_defaults() -> None:
    assert elasticity_settings(Policy()) == replace(ElasticitySettings(), conversion=Policy().beliefs.conversion)
    assert feature_settings(Policy()) == replace(FeatureSettings(), emit_every_minutes=5)
