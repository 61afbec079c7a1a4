"""Contest of models: independence of arrival, restarts, hysteresis."""

from __future__ import annotations

import itertools

import numpy as np
import orjson
import pytest
from river import linear_model

from features.elasticity.base import PeriodRows
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.models import LogitRiver, WithinRiver, competing_models
from features.elasticity.pooling.contest import Contest
from features.elasticity.settings import ElasticitySettings
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import elasticity_settings

MODELS = ("poisson", "within_river")


def contest() -> Contest:
    return Contest(MODELS, periods=10, margin=0.05, rows=20)


def reports(periods: int = 40) -> list[tuple[int, int, dict[str, tuple[float, int]]]]:
    """Scores of three buckets; from period 20 the second model is better."""
    rng = np.random.default_rng(5)
    made = []
    for period, bucket in itertools.product(range(periods), range(3)):
        better = 0.3 if period >= 20 else -0.3
        scores = {
            "poisson": (float(rng.normal(-10, 0.5)), 5),
            "within_river": (float(rng.normal(-10, 0.5)) + 5 * better, 5),
        }
        made.append((bucket, period, scores))
    return made


def test_default_of_the_elasticity_job_learns_through_river() -> None:
    settings = elasticity_settings(Policy())
    kinds = {type(model) for model in competing_models(settings)}
    assert {WithinRiver, LogitRiver} <= kinds
    logic = ElasticityLogic(settings)
    assert {type(model) for model in logic._learning.models} == kinds
    model = next(model for model in logic._learning.models if isinstance(model, WithinRiver))
    model.grow(1)
    assert isinstance(model._regressions[0], linear_model.BayesianLinearRegression)
    rows = [PeriodRows(p, np.array([0]), np.array([[x, 0.0]]), np.array([q]), np.zeros(1)) for p, x, q in
            ((0, 0.0, 9.0), (1, 0.1, 7.0), (2, -0.1, 12.0))]  # fmt: skip
    for row in rows:
        model.learn(row)
    assert model._regressions[0]._m, "River's regression learned nothing"


def test_better_model_is_used_after_the_window_shows_it() -> None:
    one = contest()
    for bucket, period, scores in reports():
        one.add(bucket, period, scores)
    switches = one.new_switches()
    assert [(s.before, s.after) for s in switches] == [("poisson", "within_river")]
    assert 20 < switches[0].period < 30
    assert one.in_use == "within_river" and one.new_switches() == []


def test_small_advantage_replaces_nothing() -> None:
    one = contest()
    for period in range(40):
        one.add(0, period, {"poisson": (-10.0, 5), "within_river": (-9.9, 5)})
    assert one.in_use == "poisson"


def test_choice_does_not_depend_on_the_order_of_buckets_or_repeats() -> None:
    one, two = contest(), contest()
    for bucket, period, scores in reports():
        one.add(bucket, period, scores)
        assert not one.add(bucket, period, scores)
    for bucket, period, scores in sorted(reports(), key=lambda r: (r[1], -r[0])):
        two.add(bucket, period, scores)
    assert (one.in_use, one.scores()) == (two.in_use, two.scores())


@pytest.mark.parametrize("after", [1, 50, 119])
def test_restart_changes_nothing(after: int) -> None:
    one, two = contest(), contest()
    for at, (bucket, period, scores) in enumerate(reports()):
        one.add(bucket, period, scores)
        two.add(bucket, period, scores)
        if at == after:
            fresh = contest()
            fresh.restore(orjson.loads(orjson.dumps(two.snapshot())))
            two = fresh
    assert one.snapshot() == two.snapshot() and one.in_use == two.in_use


def test_unknown_model_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match="expected some of poisson, within_river, logit_river; got magic"):
        competing_models(ElasticitySettings(models=("poisson", "magic")))
