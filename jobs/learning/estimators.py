"""The estimators of features/elasticity as `walras learn` calls them: the only module here that knows them.

The plain sums host the within estimator, whatever ``elasticity.host`` selects: both hosts have the same result
(science § 3), and the sums learn a period's rows as one array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.elasticity import model_for
from features.elasticity.base import Expectation, PeriodRows, SeriesModel, SeriesStatistics
from features.elasticity.pooling import pool_products, shrink, sufficiency
from features.elasticity.seasonal import SeasonalFactors
from features.elasticity.settings import ElasticitySettings
from features.segments.customers import Z_90
from schemas.codes import InsufficientReason, Sufficiency

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MAX_EFFECT_SE = 100.0
"""Largest standard error of a covariate's effect; a larger one means that the covariate did not vary."""

__all__ = [
    "CovariateEffect",
    "ElasticitySettings",
    "Expectation",
    "PeriodRows",
    "ProductEstimate",
    "SeasonalFactors",
    "SeriesModel",
    "SeriesStatistics",
    "learning_settings",
    "new_model",
    "pooled_estimates",
]


@dataclass(frozen=True, slots=True)
class CovariateEffect:
    """Effect of a covariate on log demand per unit of its value; None where it is not identified."""

    name: str
    slope: float | None
    se: float | None


@dataclass(frozen=True, slots=True)
class ProductEstimate:
    """What is learned of a product.

    Attributes
    ----------
    raw, raw_low, raw_high : estimate from the product's own data with its 90 % interval; None: not identified.
    mean, sd, low, high : the estimate shrunk to its category, with its 90 % interval.
    rival, rival_sd : elasticity to the reference price.
    rows, periods : informative rows, and periods with one.
    state, reason, periods_missing : sufficiency, why it is not sufficient, and periods missing until it is.
    moved : whether the price moved within a listing.
    covariates : effects of the covariates, from the product's own data.
    """

    raw: float | None
    raw_se: float | None
    raw_low: float | None
    raw_high: float | None
    mean: float
    sd: float
    low: float
    high: float
    rival: float
    rival_sd: float
    rows: float
    periods: float
    state: Sufficiency
    reason: InsufficientReason | None
    periods_missing: int
    moved: bool
    covariates: tuple[CovariateEffect, ...]


@dataclass(frozen=True, slots=True)
class CategoryEstimate:
    """A category's prior after pooling: mean, sd between products, dispersion of counts, and its products."""

    mean: float
    sd: float
    dispersion: float
    products: tuple[ProductEstimate, ...]


def learning_settings(settings: ElasticitySettings) -> ElasticitySettings:
    """Return the settings with which files are learned: the plain sums as host.

    Raises
    ------
    ValueError
        If the policy names competitors as regressors.
    """
    if settings.reference_competitors:
        raise ValueError(
            "policy: elasticity: walras learn expects no reference_competitors, "
            f"got {', '.join(settings.reference_competitors)}; replay the file with "
            "`python -m jobs.replay --alone` to learn with them"
        )
    return replace(settings, host="sums")


def new_model(settings: ElasticitySettings) -> SeriesModel:
    """Return a model without data."""
    return model_for(settings, settings.slopes)


def pooled_estimates(
    statistics: SeriesStatistics, product: Ints, products: int, settings: ElasticitySettings
) -> CategoryEstimate:
    """Return the estimates of a category's products.

    Parameters
    ----------
    statistics : of the category's series, in a fixed order.
    product : (S,) product of each series, 0 .. products - 1.
    """
    pooled = pool_products(statistics, product, products, settings)
    shrunk = shrink(pooled.b, pooled.category_se, settings, pooled.sampling_se)
    found = []
    for p in range(products):
        b, se, state = float(pooled.b[p]), float(pooled.se[p]), sufficiency(pooled, p, settings)
        identified = bool(np.isfinite(b) and np.isfinite(se))
        mean, sd = float(shrunk.mean[p]), float(shrunk.sd[p])
        rival, rival_sd = _rival(
            float(pooled.slopes[p, 1]), float(pooled.slope_se[p, 1]), pooled.rows[p], settings
        )
        found.append(
            ProductEstimate(
                raw=b if identified else None,
                raw_se=se if identified else None,
                raw_low=b - Z_90 * se if identified else None,
                raw_high=b + Z_90 * se if identified else None,
                mean=mean,
                sd=sd,
                low=mean - Z_90 * sd,
                high=mean + Z_90 * sd,
                rival=rival,
                rival_sd=rival_sd,
                rows=float(pooled.rows[p]),
                periods=float(pooled.periods[p]),
                state=state.sufficiency,
                reason=state.reason,
                periods_missing=state.periods_missing,
                moved=bool(pooled.moved[p]),
                covariates=_effects(pooled.slopes[p], pooled.slope_se[p], settings),
            )
        )
    return CategoryEstimate(shrunk.mu, shrunk.tau, pooled.dispersion, tuple(found))


def _effects(slopes: Floats, errors: Floats, settings: ElasticitySettings) -> tuple[CovariateEffect, ...]:
    first, found = len(slopes) - len(settings.covariates), []
    for name, slope, se in zip(settings.covariates, slopes[first:].tolist(), errors[first:].tolist(), strict=True):
        known = bool(np.isfinite(se)) and se <= MAX_EFFECT_SE
        found.append(CovariateEffect(name, slope if known else None, se if known else None))
    return tuple(found)


def _rival(eta: float, sd: float, rows: float, settings: ElasticitySettings) -> tuple[float, float]:
    """Return the rival elasticity; with scanner data its prior is applied here, as in pooling_logic.py."""
    if not np.isfinite(sd) or rows == 0:
        return settings.rival_mean, settings.rival_sd
    if settings.kind != "within":
        return eta, sd
    weight, prior = 1 / max(sd, 1e-9) ** 2, 1 / settings.rival_sd**2
    return (eta * weight + settings.rival_mean * prior) / (weight + prior), float((weight + prior) ** -0.5)
