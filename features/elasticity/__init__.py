"""How demand answers to price, learned one row at a time (science § 3).

The way of the data: a minute's cells → :class:`logic.ElasticityLogic` (per bucket: rows per listing,
price and period → a model's cumulative statistics per listing) → stream ``sums`` →
:class:`pooling_logic.PoolingLogic` (per category: products over markets, shrinkage) → ``estimates``.

=================  =================================================================================
base.py            what a model takes and answers (PeriodRows, SeriesStatistics, SeriesModel)
poisson.py         counts with zeros, given exposures: online Laplace
within_sums.py     log units within a series, as plain sums: the judge, and the wide case
within_river.py    the same, hosted by River: means and Bayesian regression
pooling.py         products from series, shrinkage to the category, sufficiency
checks.py          the contract that every model passes
=================  =================================================================================

To add a model: one file with a class that has ``name``, ``version``, ``grow``, ``learn``,
``statistics``, ``snapshot``, ``restore`` (see base.SeriesModel); its name in :data:`MODELS`; run
``checks.check_model`` over it in tests (the test goes over MODELS, and fails if a class is missing).
To make a deployment use it, give it a word in ``ElasticitySettings.kind`` or ``host`` and a line in
:func:`model_for`.
"""

from __future__ import annotations

from features.elasticity.base import SeriesModel
from features.elasticity.poisson import PoissonLaplace
from features.elasticity.settings import ElasticitySettings
from features.elasticity.within_river import WithinRiver
from features.elasticity.within_sums import WithinSums

MODELS: tuple[type[SeriesModel], ...] = (PoissonLaplace, WithinRiver, WithinSums)
"""Every model of elasticity, by explicit list."""


def model_for(settings: ElasticitySettings, slopes: int = 2) -> SeriesModel:
    """The model that a deployment's settings ask for."""
    if settings.kind == "poisson":
        return PoissonLaplace(settings, slopes)
    return WithinRiver(settings, slopes) if settings.host == "river" else WithinSums(settings, slopes)


__all__ = [
    "MODELS",
    "ElasticitySettings",
    "PoissonLaplace",
    "SeriesModel",
    "WithinRiver",
    "WithinSums",
    "model_for",
]
