"""Demand families: what each keeps of the true demand, and which assumption it breaks."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.simulation import demand
from jobs.simulation.demand import (
    FAMILIES,
    DemandParameters,
    Logit,
    Mixture,
    ReferencePrice,
    StepWillingness,
    Stockpiling,
)

TASTES = DemandParameters.single(conversion=0.1, elasticity=-2.0, reference=1000.0)


def chance(family: Logit, price: float, latent_class: int = 0, lift: float = 0.0) -> float:
    zero = np.zeros(1, dtype=int)
    answer = family.probability(zero, zero, zero + latent_class, np.array([price]), np.array([1000.0]), lift)
    return float(answer[0])


def mean_chance(family: Logit, price: float) -> float:
    return sum(share * chance(family, price, k) for k, share in enumerate(family.classes))


def test_every_family_is_in_the_tuple() -> None:
    found = {c for _, c in inspect.getmembers(demand, inspect.isclass) if issubclass(c, Logit)}
    assert found == set(FAMILIES)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_conversion_at_the_reference_price_is_the_configured_one(family: type[Logit]) -> None:
    assert mean_chance(family(TASTES), 1000.0) == pytest.approx(0.1, rel=1e-9)
    assert sum(family.classes) == pytest.approx(1.0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(deadline=None, max_examples=40)
@given(low=st.floats(300, 3000), factor=st.floats(1.0, 3.0))
def test_higher_price_never_sells_more(family: type[Logit], low: float, factor: float) -> None:
    shoppers = family(TASTES)
    assert mean_chance(shoppers, low * factor) <= mean_chance(shoppers, low) + 1e-12
    assert 0.0 <= mean_chance(shoppers, low) <= 1.0


def test_logit_has_the_configured_elasticity_at_the_reference_price() -> None:
    h = 1e-5
    slope = (np.log(chance(Logit(TASTES), 1000 * (1 + h))) - np.log(chance(Logit(TASTES), 1000 * (1 - h)))) / (
        2 * h
    )
    assert slope == pytest.approx(-2.0, abs=1e-4)


def test_mixture_becomes_less_elastic_at_higher_prices() -> None:
    shoppers = Mixture(TASTES)

    def elasticity(price: float) -> float:
        return float(np.log(mean_chance(shoppers, price * 1.01) / mean_chance(shoppers, price)) / np.log(1.01))

    assert elasticity(1600.0) > elasticity(1000.0) + 0.2


def test_step_demand_is_flat_between_the_steps() -> None:
    shoppers = StepWillingness(TASTES)
    assert mean_chance(shoppers, 1000.0) == mean_chance(shoppers, 1035.0)
    assert mean_chance(shoppers, 1045.0) < mean_chance(shoppers, 1035.0)
    assert mean_chance(shoppers, 1300.0) == 0.0


def test_price_rise_changes_demand_more_than_a_cut() -> None:
    shoppers, plain = ReferencePrice(TASTES), Logit(TASTES)
    up = np.log(chance(plain, 1100.0) / chance(shoppers, 1100.0))
    down = np.log(chance(shoppers, 1000 / 1.1) / chance(plain, 1000 / 1.1))
    assert up > down > 0


def test_reference_price_follows_the_shown_price_only() -> None:
    shoppers = ReferencePrice(TASTES)
    for _ in range(2880):
        shoppers.end_minute(np.array([1200.0]), np.zeros(1))
    assert shoppers.reference_price[0] == pytest.approx(1000 + 200 * (1 - np.exp(-1)), rel=1e-3)
    before = shoppers.reference_price.copy()
    shoppers.end_minute(np.array([np.nan]), np.zeros(1))
    assert np.array_equal(before, shoppers.reference_price)


def test_low_price_sells_more_units_now_and_fewer_orders_later() -> None:
    shoppers = Stockpiling(TASTES)
    zero = np.zeros(4, dtype=int)
    draws = np.array([0.0, 0.4, 0.7, 0.99])
    assert shoppers.extra_units(zero, np.full(4, 900.0), draws).tolist() == [1, 2, 3, 3]
    assert shoppers.extra_units(zero, np.full(4, 990.0), draws).tolist() == [0] * 4
    before = chance(shoppers, 1000.0)
    shoppers.end_minute(np.array([1000.0]), np.array([50.0]))
    full = chance(shoppers, 1000.0)
    for _ in range(3 * 4320):
        shoppers.end_minute(np.array([1000.0]), np.zeros(1))
    assert full < 0.7 * before
    assert chance(shoppers, 1000.0) == pytest.approx(before, rel=0.05)


def test_unknown_family_is_refused_with_the_list_of_families() -> None:
    with pytest.raises(
        ValueError, match="logit, mixture, step, reference, stockpiling, break, drift; got 'probit'"
    ):
        demand.family_named("probit", TASTES)
