"""Fairness of the signals: without a change, E[exp l] is 1 at the forecast and at most 1 within the band."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jobs.pricing.watcher.signals as package
from jobs.pricing.watcher import SIGNALS
from jobs.pricing.watcher.signals.abandonment import Abandonment
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread, cumulant_slope
from jobs.pricing.watcher.signals.stock_pressure import StockPressure
from jobs.pricing.watcher.signals.velocity import Velocity

MEANS = st.floats(0.01, 8.0)
PHIS = st.one_of(st.just(1.0), st.floats(1.0, 6.0))
BANDS = st.floats(0.0, 0.5)
EDGES = st.floats(-1.0, 1.0)


def an_observation(count: int, **values: object) -> Observation:
    fields = {name: np.zeros(count) for name in Observation.__dataclass_fields__}
    fields |= {
        name: np.array(np.broadcast_to(np.asarray(value, float), (count,))) for name, value in values.items()
    }
    return Observation(**fields)


def factors(
    signal: Signal, observation: Observation, phi: float = 1.0, mean: float = 1.0, variance: float = 0.0
) -> np.ndarray:
    count = len(observation.orders)
    out = np.empty((len(signal.effects), count))
    spread = Spread(np.full(count, phi), np.full(count, mean), np.full(count, variance))
    signal.increments(observation, signal.tilts(spread), out)
    return np.exp(out)


def order_probabilities(mean: float, phi: float, largest: int = 500) -> np.ndarray:
    x = np.arange(largest)
    if phi < 1.0 + 1e-9:
        return stats.poisson.pmf(x, mean)
    return stats.nbinom.pmf(x, mean / (phi - 1.0), 1.0 / phi)


@settings(max_examples=60, deadline=None)
@given(mean=MEANS, phi=PHIS, band=BANDS, edge=EDGES)
def test_velocity_is_fair_at_the_forecast_and_at_most_fair_within_the_band(mean, phi, band, edge):
    x = np.arange(500.0)
    truth = mean * (1.0 + band) ** edge
    fair = factors(Velocity(), an_observation(500, orders=x, expected_orders=mean), phi)
    within = factors(Velocity(), an_observation(500, orders=x, expected_orders=mean, epsilon=band), phi)
    assert fair @ order_probabilities(mean, phi) == pytest.approx(np.ones(4), abs=1e-10)
    assert (within @ order_probabilities(truth, phi) <= 1.0 + 1e-10).all()


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 40), share=st.floats(0.05, 0.95), band=st.floats(0.0, 0.04), edge=EDGES)
def test_abandonment_is_fair_at_the_expected_share_and_at_most_fair_within_the_band(n, share, band, edge):
    a = np.arange(n + 1.0)
    fair = factors(Abandonment(), an_observation(n + 1, searches=n, abandoned=a, abandon_share=share))
    observation = an_observation(n + 1, searches=n, abandoned=a, abandon_share=share, abandon_epsilon=band)
    assert fair @ stats.binom.pmf(a, n, share) == pytest.approx(np.ones(4), abs=1e-10)
    assert (factors(Abandonment(), observation) @ stats.binom.pmf(a, n, share + edge * band) <= 1.0 + 1e-10).all()


@settings(max_examples=20, deadline=None)
@given(mean=st.floats(0.05, 3.0), phi=st.floats(1.0, 3.0), more=st.floats(0.05, 1.0), band=BANDS, edge=EDGES)
def test_stock_pressure_is_fair_for_compound_counts(mean, phi, more, band, edge):
    x, extra = np.arange(120)[:, None], np.arange(200)[None, :]
    given_orders = stats.poisson.pmf(extra, more * x)
    units = np.broadcast_to(x + extra, given_orders.shape).ravel()
    spread = {"phi": phi, "mean": 1.0 + more, "variance": more}

    def expected(truth: float, epsilon: float) -> np.ndarray:
        probabilities = (order_probabilities(truth, phi, 120)[:, None] * given_orders).ravel()
        observation = an_observation(units.size, units=units, plan_orders=mean, units_epsilon=epsilon)
        return factors(StockPressure(), observation, **spread) @ probabilities

    assert expected(mean, 0.0) == pytest.approx(np.ones(4), abs=1e-8)
    assert (expected(mean * (1.0 + band) ** edge, band) <= 1.0 + 1e-8).all()


@pytest.mark.parametrize("signal", [signal() for signal in SIGNALS], ids=lambda signal: signal.name)
def test_increments_of_merged_minutes_are_the_sum_of_their_increments(signal):
    one = an_observation(
        1, orders=3, expected_orders=1.5, units=4, plan_orders=1.4, searches=6, abandoned=5, abandon_share=0.7
    )
    two = an_observation(
        1, orders=0, expected_orders=0.5, units=0, plan_orders=0.6, searches=2, abandoned=1, abandon_share=0.7
    )
    both = an_observation(
        1, orders=3, expected_orders=2.0, units=4, plan_orders=2.0, searches=8, abandoned=6, abandon_share=0.7
    )
    separate = factors(signal, one, 1.3, 1.2, 0.3) * factors(signal, two, 1.3, 1.2, 0.3)
    assert factors(signal, both, 1.3, 1.2, 0.3) == pytest.approx(separate)


def test_cumulant_raises_where_the_expectation_is_infinite():
    with pytest.raises(ValueError, match="theta must be below"):
        cumulant_slope(np.array([1.0]), np.array([3.0]))


@given(
    phi=st.floats(1.0, 1e6),
    more=st.one_of(st.just(0.0), st.floats(1e-300, 1e6)),
    variance=st.one_of(st.just(0.0), st.floats(1e-300, 1e9)),
)
@settings(max_examples=300)
def test_tilts_are_finite_for_every_spread(phi: float, more: float, variance: float) -> None:
    spread = Spread(np.array([phi]), np.array([1.0 + more]), np.array([variance]))
    for signal in SIGNALS:
        assert np.isfinite(signal().tilts(spread)).all()


def test_every_signal_class_of_the_folder_is_in_the_tuple_and_has_a_weight():
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        for _, member in inspect.getmembers(loaded, inspect.isclass):
            if member.__module__ == loaded.__name__ and member is not Signal and hasattr(member, "increments"):
                found.add(member)
    assert found == set(SIGNALS)
    for signal in SIGNALS:
        assert signal.weight > 0 and signal.text
        assert len(signal.effects) == len(signal.demand)
