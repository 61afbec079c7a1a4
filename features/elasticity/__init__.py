"""Models of price elasticity, learned online (science § 3).

Data flow: cells of a minute → :class:`elasticity_logic.ElasticityLogic` (per bucket: rows per listing, price and
period → a model's cumulative statistics per listing) → stream ``sums`` → :class:`pooling_logic.PoolingLogic` (per
category: products over markets, shrinkage) → ``estimates``.

=================  =================================================================================
base.py            interface of a model (PeriodRows, SeriesStatistics, SeriesModel)
controls.py        regressors besides the own price: reference prices, covariates
poisson.py         counts with zeros, given exposures: online Laplace approximation
within_sums.py     log units within a series, as plain sums: the reference, and the model for K > 4
within_river.py    the same estimator in River: means and Bayesian regression
pooling.py         products from series, shrinkage to the category, sufficiency
checks.py          the contract of all models
=================  =================================================================================

To add a model: add one file with a class that has ``name``, ``version``, ``grow``, ``learn``, ``statistics``,
``snapshot`` and ``restore`` (see base.SeriesModel), and add the class to :data:`MODELS`. Tests run
``checks.check_model`` over MODELS and fail if a class is missing. To make the model selectable, add a value to
``ElasticitySettings.kind`` or ``host`` and a line to :func:`model_for`.
"""

from __future__ import annotations

from features.elasticity.base import SeriesModel
from features.elasticity.poisson import PoissonLaplace
from features.elasticity.settings import ElasticitySettings
from features.elasticity.within_river import MAX_SLOPES, WithinRiver
from features.elasticity.within_sums import WithinSums

MODELS: tuple[type[SeriesModel], ...] = (PoissonLaplace, WithinRiver, WithinSums)
"""All elasticity models."""


def model_for(settings: ElasticitySettings, slopes: int = 2) -> SeriesModel:
    """Return the model that the settings select; more regressors than River is for are learned as plain sums."""
    if settings.kind == "poisson":
        return PoissonLaplace(settings, slopes)
    river = settings.host == "river" and slopes <= MAX_SLOPES
    return WithinRiver(settings, slopes) if river else WithinSums(settings, slopes)


__all__ = [
    "MODELS",
    "ElasticitySettings",
    "PoissonLaplace",
    "SeriesModel",
    "WithinRiver",
    "WithinSums",
    "model_for",
]
