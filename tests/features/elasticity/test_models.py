"""Elasticity models: the contract, agreement of the implementations, and accuracy."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.elasticity.models as package
from features.elasticity import MODELS, ElasticitySettings, PoissonLaplace, WithinRiver, WithinSums, model_for
from features.elasticity.base import PeriodRows
from features.elasticity.checks import check_model
from features.elasticity.models.poisson import _mode

WITH_FORGETTING = ElasticitySettings(forgetting_per_week=0.9, period_ms=86_400_000)
WITHOUT_FORGETTING = ElasticitySettings(kind="within", forgetting_per_week=1.0)


def some_periods(seed: int, periods: int = 6, series: int = 4, k: int = 2) -> list[PeriodRows]:
    """Return random rows: some series absent, some with several prices in a period, some without a sale."""
    rng = np.random.default_rng(seed)
    made, now = [], 0
    for _ in range(periods):
        now += int(rng.integers(1, 4))
        i = np.sort(rng.integers(0, series, int(rng.integers(1, 2 * series))))
        x = rng.normal(0, 0.1, (len(i), k))
        exposure = rng.integers(50, 500, len(i)).astype(float)
        quantity = rng.poisson(exposure * 0.05 * np.exp(-2 * x[:, 0])).astype(float)
        made.append(PeriodRows(now, i, x, quantity, np.log(exposure)))
    return made


@pytest.mark.parametrize("model", MODELS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_model_passes_the_contract(model: type, seed: int) -> None:
    check_model(lambda: model(WITH_FORGETTING, 2), some_periods(seed))


def test_models_contains_all_model_classes() -> None:
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        for _, cls in inspect.getmembers(
            importlib.import_module(f"features.elasticity.models.{module.name}"), inspect.isclass
        ):
            members = {"grow", "learn", "statistics"} <= set(dir(cls))
            if members and cls.__module__.startswith("features.elasticity") and cls.__name__ != "SeriesModel":
                found.add(cls)
    assert found == set(MODELS)


def test_settings_select_the_model() -> None:
    assert isinstance(model_for(ElasticitySettings()), PoissonLaplace)
    assert isinstance(model_for(ElasticitySettings(kind="within")), WithinRiver)
    assert isinstance(model_for(ElasticitySettings(kind="within", host="sums")), WithinSums)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 4), forgetting=st.sampled_from([1.0, 0.9]))
@settings(max_examples=15, deadline=None)
def test_river_and_plain_sums_agree(seed: int, k: int, forgetting: float) -> None:
    s = ElasticitySettings(kind="within", forgetting_per_week=forgetting, period_ms=604_800_000)
    river, sums = WithinRiver(s, k), WithinSums(s, k)
    for rows in some_periods(seed, periods=12, k=k):
        river.learn(rows)
        sums.learn(rows)
    a, b = river.statistics(), sums.statistics()
    for one, two in zip(a, b, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-8)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_one_pass_equals_batch_regression_with_series_intercepts(seed: int) -> None:
    periods = some_periods(seed, periods=30)
    model = WithinSums(WITHOUT_FORGETTING, 2)
    for rows in periods:
        model.learn(rows)
    i, x, q, e = (np.concatenate([getattr(r, f) for r in periods]) for f in
                  ("series", "x", "quantity", "log_exposure"))  # fmt: skip
    sold = q > 0
    i, u = i[sold], np.column_stack([x[sold], np.log(q[sold]) - e[sold]])
    for series in np.unique(i):
        u[i == series] -= u[i == series].mean(axis=0)
    got = model.statistics()
    np.testing.assert_allclose(got.a.sum(axis=0), u[:, :2].T @ u[:, :2], rtol=1e-9)
    np.testing.assert_allclose(got.c.sum(axis=0), u[:, :2].T @ u[:, 2], rtol=1e-9, atol=1e-9)


def test_category_effects_remove_a_common_shock() -> None:
    rng = np.random.default_rng(3)
    with_effects, without = WithinSums(WITHOUT_FORGETTING, 1), WithinSums(WITHOUT_FORGETTING, 1)
    for period in range(80):
        shock, common = rng.normal(0, 0.5), rng.normal(0, 0.1)
        x = common + rng.normal(0, 0.1, 20) + 0.1 * shock
        rows = PeriodRows(
            period, np.arange(20), x[:, None], np.exp(5 - 2 * x + shock + rng.normal(0, 0.1, 20)), np.zeros(20)
        )
        without.learn(rows)
        with_effects.learn(rows._replace(group=np.zeros(20, np.int64)))
    b = [float(m.statistics().c.sum() / m.statistics().a.sum()) for m in (with_effects, without)]
    assert abs(b[0] + 2) < 0.06
    assert abs(b[1] + 2) > 0.5


def test_river_and_plain_sums_agree_with_category_effects() -> None:
    river, sums = WithinRiver(WITHOUT_FORGETTING, 2), WithinSums(WITHOUT_FORGETTING, 2)
    for rows in some_periods(5, periods=10):
        grouped = rows._replace(group=rows.series % 2)
        river.learn(grouped)
        sums.learn(grouped)
    for one, two in zip(river.statistics(), sums.statistics(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-9)


def test_unsorted_rows_are_rejected() -> None:
    rows = PeriodRows(0, np.array([1, 0]), np.zeros((2, 2)), np.ones(2), np.zeros(2))
    for model in MODELS:
        with pytest.raises(ValueError, match="sorted by series"):
            model(WITH_FORGETTING, 2).learn(rows)


@given(q=st.integers(0, 5_000), mu=st.floats(-8, 8), v=st.floats(1e-9, 20))
@settings(max_examples=200, deadline=None)
def test_mode_solves_its_equation(q: int, mu: float, v: float) -> None:
    eta = float(_mode(np.array([float(q)]), np.array([mu]), np.array([v]))[0])
    # In the scaled form v(q − e^η) = η − μ.
    assert abs(v * (q - np.exp(eta)) - (eta - mu)) <= 1e-8 * max(1.0, v * q, abs(eta - mu))


def test_poisson_filter_equals_batch_maximum_likelihood_for_large_samples() -> None:
    rng = np.random.default_rng(1)
    s = ElasticitySettings(forgetting_per_week=1.0, prior_sd=30.0, conversion_sd=30.0, rival_sd=30.0)
    model = PoissonLaplace(s, 1)
    x = rng.normal(0, 0.15, 400)
    e = rng.integers(50, 400, 400).astype(float)
    q = rng.poisson(e * 0.08 * np.exp(-1.7 * x)).astype(float)
    for t in range(400):
        model.learn(PeriodRows(t, np.array([0]), x[t : t + 1, None], q[t : t + 1], np.log(e[t : t + 1])))
    theta = np.array([-3.0, -2.0])
    f = np.column_stack([np.ones(400), x])
    for _ in range(30):
        mean = e * np.exp(f @ theta)
        theta = theta + np.linalg.solve((f * mean[:, None]).T @ f, f.T @ (q - mean))
    cov = np.linalg.inv((f * mean[:, None]).T @ f)
    got = model.statistics()
    b, se = float(got.c[0, 0] / got.a[0, 0, 0]), float(got.a[0, 0, 0] ** -0.5)
    assert abs(b - theta[1]) < 0.15 * cov[1, 1] ** 0.5
    assert abs(se / cov[1, 1] ** 0.5 - 1) < 0.02


def test_series_after_a_long_gap_starts_from_the_prior() -> None:
    old, new = PoissonLaplace(WITH_FORGETTING, 2), PoissonLaplace(WITH_FORGETTING, 2)
    x = np.array([[0.1, 0.0]])
    for t in range(30):
        old.learn(PeriodRows(t, np.array([0]), x * (-1) ** t, np.array([40.0]), np.log([100.0])))
    late = PeriodRows(100_000, np.array([0]), x, np.array([5.0]), np.log([100.0]))
    old.learn(late)
    new.learn(late)
    np.testing.assert_allclose(old.snapshot()["m"], new.snapshot()["m"], rtol=1e-6)
