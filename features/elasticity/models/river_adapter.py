"""River's regressor interface over an elasticity model, for River's metrics and progressive validation.

A row is a dict: ``series`` (index), ``period``, ``log_price``, the controls in order of their names, optionally
``log_exposure``. The target is the row's quantity.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import numpy as np
from river import base

from features.elasticity.base import PeriodRows, SeriesModel

_KNOWN = ("series", "period", "log_price", "log_exposure")


class RiverRegressor(base.Regressor):
    """An elasticity model as a River regressor.

    Parameters
    ----------
    model : a model that forecasts. Each period may hold one row per call; a period that is not newer than the last
        one is learned as the next period.

    Examples
    --------
    >>> from river import metrics
    >>> from features.elasticity.models.poisson import PoissonLaplace
    >>> regressor, error = RiverRegressor(PoissonLaplace(slopes=1)), metrics.MAE()
    >>> for period, (price, sold) in enumerate([(0.0, 50), (0.2, 33), (-0.2, 75), (0.0, 50)] * 5):
    ...     x = {"series": 0, "period": period, "log_price": price, "log_exposure": 6.9}
    ...     _ = error.update(sold, regressor.predict_one(x))
    ...     regressor.learn_one(x, sold)
    >>> error.get() < 8
    True
    """

    def __init__(self, model: SeriesModel) -> None:
        if not model.forecasts:
            raise ValueError(f"model: expected one that forecasts, got {model.name}")
        self.model = model
        self._period = -1

    def learn_one(self, x: dict[Hashable, Any], y: float) -> None:
        """Learn one row."""
        self._period = max(int(x["period"]), self._period + 1)
        self.model.learn(self._rows(x, self._period, float(y)))

    def predict_one(self, x: dict[Hashable, Any]) -> float:
        """Return the expected quantity of a row; the model learns nothing."""
        # A model forecasts a row while it learns it, so a copy learns it.
        twin = copy.deepcopy(self.model)
        return float(twin.learn(self._rows(x, self._period + 1, 0.0)).expected[0])

    def _rows(self, x: dict[Hashable, Any], period: int, quantity: float) -> PeriodRows:
        controls = [float(x[name]) for name in sorted(map(str, x)) if name not in _KNOWN]
        return PeriodRows(
            period,
            np.array([int(x["series"])], np.int64),
            np.array([[float(x["log_price"]), *controls]]),
            np.array([quantity]),
            np.array([float(x.get("log_exposure", 0.0))]),
        )
