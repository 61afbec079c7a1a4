"""Scores of forecasts: probabilities add up, and a bad count is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from features.elasticity.base import Distribution, Expectation
from features.elasticity.count_scores import FLOOR, log_probability


@pytest.mark.parametrize("distribution", list(Distribution))
@pytest.mark.parametrize(
    ("mean", "variance", "dispersion"), [(0.2, 0.05, 1.0), (3.0, 0.3, 1.4), (40.0, 0.01, 2.0)]
)
def test_probabilities_of_all_counts_add_up_to_one(
    distribution: Distribution, mean: float, variance: float, dispersion: float
) -> None:
    q = np.arange(2_000, dtype=float)
    one = Expectation(*(np.full(len(q), value) for value in (mean, variance, dispersion)))
    scores = log_probability(distribution, q, one)
    # Counts whose score is at its bound have probabilities below it.
    assert float(np.exp(scores[scores > FLOOR]).sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("distribution", list(Distribution))
def test_impossible_count_has_the_lowest_score(distribution: Distribution) -> None:
    one = Expectation(np.array([0.5]), np.array([0.01]), np.array([1.0]))
    assert log_probability(distribution, np.array([10_000.0]), one).tolist() == [FLOOR]


def test_true_mean_scores_better_than_a_wrong_one() -> None:
    q = np.random.default_rng(3).poisson(4.0, 500).astype(float)

    def score(mean: float) -> float:
        forecast = Expectation(np.full(500, mean), np.full(500, 1e-6), np.ones(500))
        return float(log_probability(Distribution.COUNTS, q, forecast).mean())

    assert score(4.0) > score(3.0) and score(4.0) > score(5.0)
