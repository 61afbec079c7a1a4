"""Models of price elasticity, learned online (science § 3).

Data flow: cells of a minute → :class:`elasticity_logic.ElasticityLogic` (per bucket: rows per listing, price
and period → every competing model's cumulative statistics per listing, and its scores) → stream ``sums`` →
:class:`pooling_logic.PoolingLogic` (per category: products over markets, shrinkage) → ``estimates``.

=================  =================================================================================
base.py            interface of a model (PeriodRows, Expectation, SeriesStatistics, SeriesModel)
models/            the models, and how to add one
count_scores.py    score of a forecast: the log probability of the count that came
contest.py         rolling scores per category, and which model's estimates are used
drift/             changes of demand: detection by ADWIN, and what follows from a change
endogeneity.py     warnings that prices followed demand
controls.py        regressors besides the own price: reference prices, covariates
pooling.py         products from series, shrinkage to the category, sufficiency
category_state.py  statistics and published estimates of a category's listings
seasonal.py        factors of hour, weekday and segment
checks.py          the contract of all models
=================  =================================================================================
"""

from __future__ import annotations

from features.elasticity.base import SeriesModel
from features.elasticity.models import (
    MODELS,
    LogitRiver,
    PoissonLaplace,
    WithinRiver,
    WithinSums,
    competing_models,
    model_for,
)
from features.elasticity.settings import ElasticitySettings

__all__ = [
    "MODELS",
    "ElasticitySettings",
    "LogitRiver",
    "PoissonLaplace",
    "SeriesModel",
    "WithinRiver",
    "WithinSums",
    "competing_models",
    "model_for",
]
