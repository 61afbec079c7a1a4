"""Warnings of endogenous prices: what the tests see, what they cannot see, and how often they err."""

from __future__ import annotations

import numpy as np
import pytest

from features.elasticity import ElasticitySettings, WithinSums
from features.elasticity.base import PeriodRows
from features.elasticity.endogeneity import (
    MIN_PERIODS,
    instrument_verdict,
    instrumented,
    lagged_response,
    lagged_verdict,
    pooled_response,
)
from schemas.codes import Endogeneity

SETTINGS = ElasticitySettings(kind="within", host="sums", forgetting_per_week=1.0)


def market(
    rng: np.random.Generator, stores: int, weeks: int, answer: float = 0.0, same: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return log prices and demand shocks (stores, weeks) of a chain; ``answer`` follows the week before."""
    shock = rng.normal(0, 0.3, (1, weeks)) + rng.normal(0, 0.2, (stores, weeks))
    price = rng.normal(0, 0.1, (1, weeks)) + rng.normal(0, 0.05, (stores, weeks)) + same * shock
    price[:, 1:] += answer * shock[:, :-1]
    return price, shock


def response(price: np.ndarray, residual: np.ndarray) -> tuple[float, float]:
    stores, weeks = price.shape
    series, period = np.repeat(np.arange(stores), weeks), np.tile(np.arange(weeks), stores)
    got = lagged_response(np.zeros(stores * weeks, np.int64), 1, series, period, price.ravel(), residual.ravel())
    return float(got.correlation[0]), float(got.z[0])


def test_a_price_that_answers_the_week_before_is_shown() -> None:
    rng = np.random.default_rng(1)
    assert lagged_verdict(*response(*market(rng, 10, 104, answer=0.2))) is Endogeneity.SHOWN
    correlation, z = response(*market(rng, 10, 104, answer=-0.2))
    assert correlation < 0 and lagged_verdict(correlation, z) is Endogeneity.SHOWN


def test_a_price_set_in_the_same_week_is_not_seen() -> None:
    rng = np.random.default_rng(2)
    assert lagged_verdict(*response(*market(rng, 10, 104, same=0.3))) is Endogeneity.NO_SIGN


def test_random_prices_of_a_chain_are_rarely_flagged() -> None:
    rng = np.random.default_rng(3)
    flagged = [abs(response(*market(rng, 20, 52))[1]) >= 3 for _ in range(300)]
    assert sum(flagged) <= 4


def test_a_promotion_that_returns_to_the_usual_price_is_no_answer_to_demand() -> None:
    rng = np.random.default_rng(4)
    price = np.where(rng.random((5, 200)) < 0.2, -0.3, 0.0)
    # The promotion sells more than the curve says, and the price returns in the week after.
    residual = 0.4 * (price < 0) + rng.normal(0, 0.2, price.shape)
    assert lagged_verdict(*response(price, residual - residual.mean())) is Endogeneity.NO_SIGN


def test_too_few_periods_and_constant_prices_are_not_tested() -> None:
    rng = np.random.default_rng(5)
    assert np.isnan(response(*market(rng, 3, MIN_PERIODS))[1])
    assert np.isfinite(response(*market(rng, 3, MIN_PERIODS + 1))[1])
    correlation, z = response(np.zeros((3, 50)), rng.normal(size=(3, 50)))
    assert lagged_verdict(correlation, z) is Endogeneity.NOT_TESTED


def test_parts_of_a_category_give_its_whole() -> None:
    rng = np.random.default_rng(6)
    price, shock = market(rng, 6, 60, answer=0.3)
    series, period = np.repeat(np.arange(6), 60), np.tile(np.arange(60), 6)

    def part(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.isin(series, chosen)
        return np.unique(series[rows], return_inverse=True)[1], series[rows], period[rows], rows

    parts = []
    for chosen in (np.arange(6), np.arange(2), np.arange(2, 6)):
        product, of, at, rows = part(chosen)
        parts.append(lagged_response(product, len(chosen), of, at, price.ravel()[rows], shock.ravel()[rows]))
    assert pooled_response(parts[:1]) == pytest.approx(pooled_response(parts[1:]))
    assert pooled_response(parts[:1])[1] > 3
    assert all(np.isnan(value) for value in pooled_response([]))


def test_unsorted_rows_are_refused() -> None:
    two = np.array([0, 0])
    with pytest.raises(ValueError, match="sorted by series"):
        lagged_response(two, 1, two, np.array([1, 0]), np.zeros(2), np.zeros(2))


def simulated_sums(rng: np.random.Generator, rows: int, follow: float, relevance: float) -> WithinSums:
    """Return the sums of five series whose price follows the shock and a cost."""
    model = WithinSums(SETTINGS, 3)
    for period in range(rows):
        shock, cost, season = rng.normal(size=(3, 5)) * np.array([[0.3], [0.2], [0.2]])
        price = follow * shock + relevance * cost + 0.3 * season + rng.normal(0, 0.1, 5)
        log_units = 3 - 2 * price + season + shock
        x = np.column_stack([price, season, cost])
        model.learn(PeriodRows(period, np.arange(5), x, np.exp(log_units), np.zeros(5)))
    return model


@pytest.mark.parametrize(
    ("follow", "relevance", "verdict"),
    [(0.5, 1.0, Endogeneity.SHOWN), (0.0, 1.0, Endogeneity.NO_SIGN), (0.5, 0.0, Endogeneity.NOT_TESTED)],
)
def test_an_instrument_shows_what_the_lagged_test_cannot_see(
    follow: float, relevance: float, verdict: Endogeneity
) -> None:
    got = simulated_sums(np.random.default_rng(7), 200, follow, relevance).statistics()
    result = instrumented(got.a.sum(axis=0), got.c.sum(axis=0), float(got.yy.sum()), float(got.rows.sum()), [2])
    assert instrument_verdict(result) is verdict
    if relevance:
        assert result.two_stage == pytest.approx(-2, abs=4 * result.two_stage_se)
        assert abs(result.two_stage + 2) < 0.3


def test_two_stage_equals_a_batch_computation() -> None:
    rng = np.random.default_rng(8)
    cost, season, shock = rng.normal(size=(3, 300))
    price = cost + 0.5 * season + 0.5 * shock
    y = 1 - 1.5 * price + season + shock
    v = np.column_stack([price, season, cost, y])
    v -= v.mean(axis=0)
    m = v.T @ v
    got = instrumented(m[:3, :3], m[:3, 3], float(m[3, 3]), 299.0, [2])
    z = v[:, [1, 2]]
    hat = np.column_stack([z @ np.linalg.lstsq(z, v[:, 0], rcond=None)[0], v[:, 1]])
    assert got.two_stage == pytest.approx(np.linalg.lstsq(hat, v[:, 3], rcond=None)[0][0], abs=1e-9)
    assert got.plain == pytest.approx(np.linalg.lstsq(v[:, :2], v[:, 3], rcond=None)[0][0], abs=1e-9)


@pytest.mark.parametrize("instruments", [[], [0], [3]])
def test_positions_without_an_instrument_are_refused(instruments: list[int]) -> None:
    with pytest.raises(ValueError, match="instruments: expected positions"):
        instrumented(np.eye(3), np.ones(3), 9.0, 50.0, instruments)
