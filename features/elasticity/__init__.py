"""Models of price elasticity, learned online (science § 3).

Data flow: cells of a minute → :class:`elasticity_logic.ElasticityLogic` (per bucket: rows per listing, price
and period → every competing model's cumulative statistics per listing, and its scores) → stream ``sums`` →
:class:`pooling.pooling_logic.PoolingLogic` (per category: products over markets, shrinkage) → ``estimates``.

==================  ================================================================================
base.py             interface of a model (PeriodRows, Expectation, SeriesStatistics, SeriesModel)
models/             the models, and how to add one
elasticity_logic.py  stage 1: the two steps below, and their outputs
period_counts.py    from minutes to the rows of a period
period_learning.py  a closed period through the models, their scores, changes of demand
listing_index.py    numbers and newest entries of a bucket's listings
controls.py         regressors besides the own price: reference prices, covariates
seasonal.py         factors of hour, weekday and segment
count_scores.py     score of a forecast: the log probability of the count that came
drift/              changes of demand: detection by ADWIN, and what follows from a change
endogeneity.py      warnings that prices followed demand
pooling/            stage 2: products from series, shrinkage to the category, sufficiency, model in use
checks.py           the contract of all models
==================  ================================================================================
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
