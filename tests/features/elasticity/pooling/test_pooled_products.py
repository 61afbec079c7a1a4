"""Raw estimates of products, their errors and states."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from features.elasticity import ElasticitySettings, PoissonLaplace, WithinSums
from features.elasticity.base import PeriodRows
from features.elasticity.pooling import pool_products, sufficiency
from schemas.codes import Sufficiency

WITH_FORGETTING = ElasticitySettings(forgetting_per_week=0.9, period_ms=86_400_000)
WITHOUT_FORGETTING = ElasticitySettings(kind="within", forgetting_per_week=1.0)


def test_product_with_a_constant_price_is_not_identified() -> None:
    model = PoissonLaplace(WITH_FORGETTING, 2)
    for t in range(20):
        model.learn(PeriodRows(t, np.array([0]), np.zeros((1, 2)), np.array([5.0]), np.log([100.0])))
    got = pool_products(model.statistics(), np.array([0]), 1, WITH_FORGETTING)
    assert not got.moved[0]
    assert np.isnan(got.b[0])


def test_rival_elasticity_with_a_constant_rival_price_is_the_prior() -> None:
    settings = ElasticitySettings(rival_mean=0.7, rival_sd=0.3)
    model = PoissonLaplace(settings, 2)
    for t in range(40):
        x = np.array([[0.1 * (-1) ** t, 0.0]])
        model.learn(PeriodRows(t, np.array([0]), x, np.array([50.0]), np.log([1000.0])))
    got = pool_products(model.statistics(), np.array([0]), 1, settings)
    assert got.slopes[0, 1] == pytest.approx(0.7, abs=1e-6)
    assert got.slope_se[0, 1] == pytest.approx(0.3, rel=0.01)


def test_rival_elasticity_is_estimated_from_rivals_price_changes() -> None:
    settings = ElasticitySettings(forgetting_per_week=1.0)
    model = PoissonLaplace(settings, 2)
    for t in range(200):
        x = np.array([[0.1 * (-1) ** t, 0.1 * (-1) ** (t // 2)]])
        q = np.round(1e4 * np.exp(x @ [-2.0, 1.5]))
        model.learn(PeriodRows(t, np.array([0]), x, q, np.log([1e5])))
    got = pool_products(model.statistics(), np.array([0]), 1, settings)
    assert got.slopes[0] == pytest.approx([-2.0, 1.5], abs=0.05)


def test_standard_error_of_a_scanner_product_follows_its_formula() -> None:
    rng = np.random.default_rng(4)
    x, noise = rng.normal(0, 0.1, (30, 2)), rng.normal(0, 0.2, 30)
    y = 5 + x @ [-2.0, 0.5] + noise
    model = WithinSums(WITHOUT_FORGETTING, 2)
    for t in range(30):
        model.learn(PeriodRows(t, np.array([0]), x[t : t + 1], np.exp(y[t : t + 1]), np.zeros(1)))
    got = pool_products(model.statistics(), np.array([0]), 1, WITHOUT_FORGETTING)
    f = np.column_stack([np.ones(30), x])
    slopes, [rest], _, _ = np.linalg.lstsq(f, y, rcond=None)
    # N = 29, because the first row of a series only sets its level. K = 2.
    s, df = WITHOUT_FORGETTING, 29 - 2 - 1
    # One product: the variance is moderated by the settings' prior, and the error has the width of Student's t.
    variance = (s.variance_prior_df * s.noise_variance + rest) / (s.variance_prior_df + df)
    student = stats.t.ppf(0.95, s.variance_prior_df + df) / stats.norm.ppf(0.95)
    se = student * np.sqrt(variance * np.diag(np.linalg.inv(f.T @ f)))[1:]
    np.testing.assert_allclose(got.slopes[0], slopes[1:], rtol=1e-6)
    np.testing.assert_allclose(got.slope_se[0], se * s.single_series_factor, rtol=1e-6)


def test_perfect_fit_to_a_few_rows_is_no_precise_estimate() -> None:
    rng = np.random.default_rng(6)
    model, products = WithinSums(WITHOUT_FORGETTING, 1), 40
    for t in range(12):
        x = rng.normal(0, 0.1, products)
        y = 3 - 2 * x + rng.normal(0, 0.3, products)
        # The first product's rows lie on a line.
        y[0] = 3 - 25 * x[0]
        model.learn(PeriodRows(t, np.arange(products), x[:, None], np.exp(y), np.zeros(products)))
    got = pool_products(model.statistics(), np.arange(products), products, WITHOUT_FORGETTING)
    assert got.b[0] == pytest.approx(-25, abs=1e-6)
    assert got.se[0] > 0.15 * float(np.median(got.se))
    assert sufficiency(got, 0, WITHOUT_FORGETTING).sufficiency is not Sufficiency.SUFFICIENT
