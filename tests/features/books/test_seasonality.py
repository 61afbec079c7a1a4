"""Estimation of the seasonal profile."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from features.books.seasonality import SeasonalProfile
from features.bucket_logic import SnapshotError
from features.settings import FeatureSettings
from features.windows import LocalTime


def moments(days: int):
    for day in range(1, days + 1):
        for hour in range(24):
            yield LocalTime(day, (day - 1) % 7, hour, hour / 24)


def truth(when: LocalTime) -> float:
    return (1 + 0.5 * np.sin(2 * np.pi * when.hour / 24)) * (1.4 if when.weekday >= 5 else 0.84)


def test_estimate_is_within_a_few_percent_of_the_true_profile():
    rng, profile = np.random.default_rng(1), SeasonalProfile(FeatureSettings(season_events=20.0))
    for when in moments(28):
        profile.observe("shoes", when, float(rng.poisson(60 * truth(when))), 60.0)
    errors = [abs(profile.factor("shoes", when) / truth(when) - 1) for when in moments(7)]
    assert max(errors) < 0.12 and np.mean(errors) < 0.04


def test_factor_of_an_unknown_group_is_none():
    assert SeasonalProfile().factor("shoes", LocalTime(1, 0, 3, 0.1)) is None


def test_factor_with_little_data_is_near_one():
    profile = SeasonalProfile()
    when = LocalTime(1, 0, 3, 0.1)
    profile.observe("shoes", when, 3.0, 1.0)
    profile.observe("shoes", LocalTime(1, 0, 4, 0.2), 0.0, 1.0)
    assert profile.factor("shoes", when) == pytest.approx(1.0, abs=0.05)
    assert profile.factor("shoes", LocalTime(1, 0, 20, 0.9)) == pytest.approx(1.0, abs=0.01)


def test_groups_are_independent():
    profile = SeasonalProfile(FeatureSettings(season_events=0.0))
    for when in moments(7):
        profile.observe("shoes", when, 1.0, 1.0)
        profile.observe("hats", when, 9.0 if when.hour == 8 else 1.0, 1.0)
    assert profile.factor("shoes", LocalTime(8, 0, 8, 0.0)) == pytest.approx(1.0)
    assert profile.factor("hats", LocalTime(8, 0, 8, 0.0)) > 5


def test_restart_changes_nothing():
    whole, first = SeasonalProfile(), SeasonalProfile()
    history = list(moments(20))
    for when in history[:200]:
        first.observe("g", when, when.hour * 0.1, 2.0)
    again = SeasonalProfile()
    again.restore(orjson.loads(orjson.dumps(first.snapshot())))
    for when in history[200:]:
        again.observe("g", when, when.hour * 0.1, 2.0)
    for when in history:
        whole.observe("g", when, when.hour * 0.1, 2.0)
    assert again.snapshot() == whole.snapshot()


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError):
        SeasonalProfile().restore({"v": 2})


def test_counts_decay_once_per_elapsed_week():
    profile = SeasonalProfile(FeatureSettings(season_keep_per_week=0.5))
    profile.observe("g", LocalTime(1, 0, 5, 0.2), 8.0, 8.0)
    profile.observe("g", LocalTime(15, 0, 6, 0.2), 0.0, 1.0)
    events, minutes = profile.snapshot()["groups"]["g"]
    assert (events[5], minutes[5]) == (2.0, 2.0)


def test_hour_with_less_than_one_expected_event_has_a_factor():
    profile = SeasonalProfile(FeatureSettings(season_events=0.0))
    profile.observe("g", LocalTime(1, 0, 5, 0.2), 0.6, 1.0)
    profile.observe("g", LocalTime(1, 0, 6, 0.2), 0.2, 1.0)
    assert profile.factor("g", LocalTime(1, 0, 5, 0.2)) == pytest.approx(1.5)
