"""River's progressive validation over the elasticity models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from river import dummy, evaluate, metrics, stats

from features.elasticity import MODELS, ElasticitySettings, SeriesModel, WithinSums
from features.elasticity.models.river_adapter import RiverRegressor


def a_stream(rows: int = 250) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield rows of one listing with an elasticity of -3 and 60 orders at the usual price."""
    rng = np.random.default_rng(11)
    for period in range(rows):
        price, rival = rng.choice([-0.3, 0.0, 0.3]), rng.normal(0, 0.05)
        x = {"series": 0, "period": period, "log_price": price, "offer": rival, "log_exposure": np.log(1000.0)}
        yield x, int(rng.poisson(60 * np.exp(-3 * price + 0.5 * rival)))


@pytest.mark.parametrize("model", [model for model in MODELS if model.forecasts], ids=lambda model: model.name)
def test_progressive_error_is_far_below_that_of_the_mean(model: type[SeriesModel]) -> None:
    settings = ElasticitySettings(conversion=0.05)
    learned = evaluate.progressive_val_score(a_stream(), RiverRegressor(model(settings, 2)), metrics.MAE())
    mean = evaluate.progressive_val_score(a_stream(), dummy.StatisticRegressor(stats.Mean()), metrics.MAE())
    assert learned.get() < 0.5 * mean.get()


def test_prediction_changes_nothing() -> None:
    regressor = RiverRegressor(MODELS[0](ElasticitySettings(), 2))
    rows = list(a_stream(20))
    for x, y in rows:
        regressor.learn_one(x, y)
    before = regressor.model.statistics()
    assert regressor.predict_one(rows[0][0]) == regressor.predict_one(rows[0][0])
    for one, two in zip(before, regressor.model.statistics(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_model_without_a_forecast_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one that forecasts, got within_sums"):
        RiverRegressor(WithinSums())
