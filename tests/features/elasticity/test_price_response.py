"""The running test whether prices followed demand, alone and through both stages of learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Fact, Output
from features.elasticity import ElasticitySettings
from features.elasticity.base import PeriodRows
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import PoolingLogic
from features.elasticity.price_response import CategoryResponse, PriceResponses, ResponseTest
from schemas.codes import Endogeneity
from schemas.events import CatalogEntry
from schemas.records.counts import Cell
from schemas.time_units import HOUR_MS

START = 1_760_000_400_000 // HOUR_MS * HOUR_MS
KEY = ("acme", "toys")
EXPOSURES = ElasticitySettings(emit="changed")
SCANNER = ElasticitySettings(kind="within", forgetting_per_week=1.0, emit="changed")


def response_of(residual: np.ndarray, price: np.ndarray, settings: ElasticitySettings = EXPOSURES) -> ResponseTest:
    """Return the test of residuals and log prices, both (periods, listings)."""
    responses, test = PriceResponses(), CategoryResponse(settings)
    size = price.shape[1]
    for period in range(len(price)):
        rows = PeriodRows(period, np.arange(size), price[period][:, None], np.zeros(size), np.zeros(size))
        responses.observe(rows, residual[period], [KEY] * size)
        test.add(0, period, responses.moments(KEY))
    return test.result()


def random_prices(seed: int, periods: int = 200, listings: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals that last (autocorrelation .8), and promotions that start and end by chance."""
    rng = np.random.default_rng(seed)
    residual = np.zeros((periods, listings))
    for period in range(1, periods):
        residual[period] = 0.8 * residual[period - 1] + 0.6 * rng.normal(size=listings)
    return residual, np.where(rng.random((periods, listings)) < 0.3, -0.2, 0.0)


def test_random_prices_are_not_flagged_in_200_seeds() -> None:
    results = [response_of(*random_prices(seed)) for seed in range(200)]
    assert {result.verdict for result in results} == {Endogeneity.NO_SIGN}
    z = np.array([result.z for result in results])
    assert abs(z.mean()) < 0.25
    assert 0.8 < z.std() < 1.2


def test_return_of_promoted_prices_and_an_error_of_the_slope_are_no_sign() -> None:
    residual, price = random_prices(1)
    # With a slope that is wrong by 2 the residual moves with the price.
    assert response_of(residual + 2 * price / 0.1, price).verdict is Endogeneity.NO_SIGN


def test_prices_set_from_the_demand_of_the_period_before_are_flagged_in_200_seeds() -> None:
    for seed in range(200):
        residual, price = random_prices(seed)
        follows = price + np.vstack([np.zeros((1, 3)), 0.05 * residual[:-1]])
        result = response_of(residual, follows)
        assert result.verdict is Endogeneity.SHOWN
        assert result.correlation > 0.15


def test_prices_that_never_move_are_not_response_of() -> None:
    residual, price = random_prices(1)
    result = response_of(residual, np.zeros_like(price))
    assert result.verdict is Endogeneity.NOT_TESTED
    assert np.isnan(result.z)


def test_order_and_repeats_of_buckets_change_nothing() -> None:
    rng = np.random.default_rng(2)
    responses, parts = PriceResponses(), []
    for period in range(40):
        for bucket in range(3):
            rows = PeriodRows(period, np.array([bucket]), rng.normal(size=(1, 1)), np.zeros(1), np.zeros(1))
            responses.observe(rows, rng.normal(size=1), [KEY])
            parts.append((bucket, period, responses.moments(KEY)))
    one, two = CategoryResponse(EXPOSURES), CategoryResponse(EXPOSURES)
    for part in parts:
        one.add(*part)
        one.add(*part)
    for bucket in (2, 0, 1):
        for part in parts:
            if part[0] == bucket:
                two.add(*part)
    assert one.snapshot() == two.snapshot()
    assert one.result() == two.result()
    assert one.result().pairs == 3 * 38


def test_state_is_bounded_by_the_periods_of_the_policy() -> None:
    test = CategoryResponse(replace(EXPOSURES, endogeneity_periods=20))
    for period in range(100):
        test.add(0, period, [1] * 10)
    assert list(test.snapshot()["kept"]) == sorted(str(period) for period in range(80, 100))


# -- through both stages -----------------------------------------------------------------------


def a_shop(seed: int, follows: float, hours: int = 150, listings: int = 4) -> list[Batch]:
    """Return one minute per hour; log prices are random plus ``follows`` times the last hour's demand shock."""
    rng = np.random.default_rng(seed)
    shock, batches = np.zeros(listings), []
    for hour in range(hours):
        log_price = rng.choice([-0.1, 0.0, 0.1], listings) + follows * shock
        shock = rng.normal(0, 0.3, listings)
        cells, entries = [], []
        for i in range(listings):
            name = ("acme", "web-us-usd", f"s{i}", f"s{i}")
            price = round(1000 * np.exp(log_price[i]))
            orders = int(rng.poisson(200 * (price / 1000) ** -2 * np.exp(shock[i])))
            cells.append(Cell(*name, "base", "all", price, "USD", exposures=4_000, orders=orders, units=orders))
            entries.append(CatalogEntry("e", START, *name, "toys", "margin", "USD", 1, True))
        end = START + (hour + 1) * HOUR_MS
        batches.append(Batch(0, end, tuple(cells), catalog=tuple(entries) if hour == 0 else ()))
    return batches


def stage_one(batches: list[Batch], settings: ElasticitySettings, restart_every: int = 0) -> list[Output]:
    logic, outputs = ElasticityLogic(settings), []
    for at, batch in enumerate(batches):
        outputs += logic.on_batch(batch)
        if restart_every and at % restart_every == 0:
            saved = orjson.loads(orjson.dumps(logic.snapshot(), default=array_text))
            logic = ElasticityLogic(settings)
            logic.restore(saved)
    return outputs


def stage_two(
    sums: list[Output], settings: ElasticitySettings, restart_every: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the newest estimate of a listing and the newest report of its category."""
    pool, newest = PoolingLogic(settings), {}
    for at, output in enumerate(sums):
        for got in pool.on_fact(Fact(output.stream, orjson.loads(orjson.dumps(output.value)), 0, "", 0)):
            newest[got.stream] = got.value
        if restart_every and at % restart_every == 0:
            saved = orjson.loads(orjson.dumps(pool.snapshot(), default=array_text))
            pool = PoolingLogic(settings)
            pool.restore(saved)
    return newest["estimates"], newest["models"]


@pytest.mark.parametrize("settings", [EXPOSURES, SCANNER], ids=["exposures", "scanner"])
def test_estimate_warns_of_prices_that_followed_demand_and_stays_sufficient(settings: ElasticitySettings) -> None:
    estimate, report = stage_two(stage_one(a_shop(1, 0.3), settings), settings)
    assert (estimate["warning"], estimate["sufficient"]) == ("prices_followed_demand", "sufficient")
    assert report["endogeneity"] == "shown"
    assert report["lagged_correlation"] > 0.3
    assert report["lagged_z"] > 4


@pytest.mark.parametrize("settings", [EXPOSURES, SCANNER], ids=["exposures", "scanner"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_estimate_from_random_prices_has_no_warning(settings: ElasticitySettings, seed: int) -> None:
    estimate, report = stage_two(stage_one(a_shop(seed, 0.0), settings), settings)
    assert estimate["warning"] == ""
    assert report["endogeneity"] == "no_sign"
    assert abs(report["lagged_z"]) < 3


@pytest.mark.parametrize("settings", [EXPOSURES, SCANNER], ids=["exposures", "scanner"])
def test_restarts_change_nothing(settings: ElasticitySettings) -> None:
    batches = a_shop(2, 0.3, hours=40)
    sums = stage_one(batches, settings)
    assert stage_one(batches, settings, restart_every=3) == sums
    assert stage_two(sums, settings, restart_every=3) == stage_two(sums, settings)


def test_warning_is_published_also_where_no_value_moved() -> None:
    settings = ElasticitySettings(emit="moved", emit_shift=100.0)
    pool, warnings = PoolingLogic(settings), []
    for output in stage_one(a_shop(1, 0.3), settings):
        for got in pool.on_fact(Fact(output.stream, orjson.loads(orjson.dumps(output.value)), 0, "", 0)):
            if got.stream == "estimates" and got.value["sku"] == "s0":
                warnings.append(got.value["warning"])
    assert sorted(set(warnings), key=warnings.index) == ["", "prices_followed_demand"]
    assert len(warnings) < 10
