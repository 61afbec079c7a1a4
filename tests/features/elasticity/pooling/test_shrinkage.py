"""Shrinkage of products to the mean of their category."""

from __future__ import annotations

import numpy as np
import pytest

from features.elasticity import ElasticitySettings
from features.elasticity.pooling import shrink


def test_category_without_data_has_its_prior() -> None:
    got = shrink(np.array([np.nan]), np.array([np.nan]), ElasticitySettings(m0=-1.5, s0=0.8, tau0=0.6))
    assert (got.mean[0], got.mu, got.tau) == (-1.5, -1.5, pytest.approx(0.6))
    assert got.sd[0] == pytest.approx(1.0)


def test_category_mean_weights_the_prior_by_its_precision() -> None:
    s = ElasticitySettings(m0=-3.0, s0=0.8, tau0=0.6, rounds=1)
    got = shrink(np.array([-1.0]), np.array([0.8]), s)
    # One estimate of variance .64 + .36 against a prior of variance .64.
    assert got.mu == pytest.approx((-1.0 / 1.0 - 3.0 / 0.64) / (1 / 1.0 + 1 / 0.64))


def test_category_sd_is_estimated_from_many_precise_estimates() -> None:
    b = np.random.default_rng(2).normal(-2.0, 0.9, 800)
    got = shrink(b, np.full(800, 0.05))
    assert got.tau == pytest.approx(0.9, rel=0.05)


def test_one_outlier_does_not_switch_off_the_shrinkage() -> None:
    rng = np.random.default_rng(7)
    b, se = rng.normal(-2.0, 0.5, 200), np.full(200, 0.4)
    observed = b + rng.normal(0, 0.4, 200)
    clean = shrink(observed, se)
    spoilt = shrink(np.append(observed, 174.0), np.append(se, 0.04))
    assert spoilt.tau < 1.15 * clean.tau
    assert spoilt.mu == pytest.approx(clean.mu, abs=0.1)
