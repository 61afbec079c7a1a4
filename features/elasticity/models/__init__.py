"""Elasticity models. ``MODELS`` lists them; the contract is ``features.elasticity.checks.check_model``.

================  ============================================================================================
poisson.py        counts with zeros, given exposures: online Laplace approximation
within_river.py   log units within a series, in River: means and Bayesian linear regression
logit_river.py    logit utility per exposure, in River: logistic regression
within_sums.py    the estimator of within_river as plain sums: the reference, and the model for K > 4
river_adapter.py  River's regressor interface over a model, for River's metrics and progressive validation
================  ============================================================================================

To add a model: add one file with a class that implements :class:`features.elasticity.base.SeriesModel`, and add
the class to :data:`MODELS`. The policy names the models that compete (``elasticity.models``); a model that
competes forecasts the next period's count (``forecasts``). Tests run ``check_model`` over MODELS and fail if a
class is missing.
"""

from __future__ import annotations

from features.elasticity.base import SeriesModel
from features.elasticity.models.logit_river import LogitRiver
from features.elasticity.models.poisson import PoissonLaplace
from features.elasticity.models.within_river import MAX_SLOPES, WithinRiver
from features.elasticity.models.within_sums import WithinSums
from features.elasticity.settings import ElasticitySettings

MODELS: tuple[type[SeriesModel], ...] = (PoissonLaplace, WithinRiver, LogitRiver, WithinSums)
"""All elasticity models."""

_BY_NAME = {model.name: model for model in MODELS}


def model_for(settings: ElasticitySettings, slopes: int = 2) -> SeriesModel:
    """Return the first of the competing models, whose estimates are used before any score.

    Examples
    --------
    >>> model_for(ElasticitySettings()).name, model_for(ElasticitySettings(kind="within", host="sums")).name
    ('poisson', 'within_sums')
    """
    return competing_models(settings, slopes)[0]


def competing_models(settings: ElasticitySettings, slopes: int = 2) -> tuple[SeriesModel, ...]:
    """Return the models that learn the same rows, the default one first.

    With exposures these are the models that ``settings.models`` names. Scanner data have no exposures; there the
    within estimator learns alone, in River or as plain sums.

    Raises
    ------
    ValueError
        If a name is unknown, or a model that competes makes no forecast.

    Examples
    --------
    >>> [model.name for model in competing_models(ElasticitySettings())]
    ['poisson', 'within_river', 'logit_river']
    """
    if settings.kind == "within":
        host = WithinRiver if settings.host == "river" and slopes <= MAX_SLOPES else WithinSums
        return (host(settings, slopes),)
    able = [name for name, model in _BY_NAME.items() if model.forecasts]
    unknown = [name for name in settings.models if name not in able]
    if unknown or not settings.models:
        raise ValueError(
            f"elasticity models: expected some of {', '.join(able)}; got {', '.join(unknown) or 'none'}"
        )
    return tuple(_BY_NAME[name](settings, slopes) for name in settings.models)  # type: ignore[call-arg]


__all__ = [
    "MODELS",
    "LogitRiver",
    "PoissonLaplace",
    "WithinRiver",
    "WithinSums",
    "competing_models",
    "model_for",
]
