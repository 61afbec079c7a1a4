"""Sufficiency: whether a product's data suffice for an estimate of its own, and why not (science § 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.elasticity.pooling.products import Products
from features.elasticity.settings import ElasticitySettings
from schemas.codes import InsufficientReason, Sufficiency


class State(NamedTuple):
    """Whether the data of an estimate suffice, why not, and the number of active periods still needed."""

    sufficiency: Sufficiency
    reason: InsufficientReason | None
    periods_missing: int


def sufficiency(products: Products, p: int, settings: ElasticitySettings) -> State:
    """Return the state of product ``p``.

    Examples
    --------
    >>> def one(b: float, se: float, periods: float, price_range: float = 0.3, df: float = 40.0) -> Products:
    ...     column = [np.array([value]) for value in (b, se, se, se)]
    ...     rest = [np.array([value]) for value in (df + 3, periods, price_range, df)]
    ...     return Products(*column, np.zeros((1, 2)), np.zeros((1, 2)), *rest, 1.0, np.zeros(1))
    >>> sufficiency(one(-2.0, 0.3, 20), 0, ElasticitySettings())
    State(sufficiency=<Sufficiency.SUFFICIENT: 'sufficient'>, reason=None, periods_missing=0)
    >>> state = sufficiency(one(float("nan"), float("nan"), 40, price_range=0.0), 0, ElasticitySettings())
    >>> state.sufficiency.value, state.reason.value
    ('not_identified', 'price_never_moved')
    >>> sufficiency(one(-2.0, 0.3, 20, df=3.0), 0, ElasticitySettings()).reason.value
    'too_few_rows'
    """
    s, reasons = settings, InsufficientReason
    b, se, periods = float(products.b[p]), float(products.se[p]), float(products.periods[p])
    missing = max(0, int(np.ceil(s.sufficient_periods - periods)))
    if periods > 0 and not products.moved[p]:
        return State(Sufficiency.NOT_IDENTIFIED, reasons.PRICE_NEVER_MOVED, missing)
    # With hardly more rows than regressors any price moves with the covariates.
    if (
        products.covariate_correlation[p] > s.max_covariate_correlation
        and products.df[p] > products.slopes.shape[1]
    ):
        return State(Sufficiency.NOT_IDENTIFIED, reasons.MOVED_WITH_COVARIATES, missing)
    if not (np.isfinite(b) and np.isfinite(se)):
        return State(Sufficiency.PRIOR, reasons.TOO_FEW_ROWS if periods > 0 else reasons.NO_DATA, max(1, missing))
    if se >= s.sufficient_se and periods > 0:
        # Information is proportional to the periods: SE² decreases as 1/W.
        missing = max(missing, int(np.ceil(min(periods * ((se / s.sufficient_se) ** 2 - 1), 1e6))) + 1)
    reason: InsufficientReason | None = None
    if products.price_range[p] < s.sufficient_price_range:
        reason = reasons.PRICE_HARDLY_MOVED
    elif products.df[p] < s.sufficient_df:
        reason, missing = reasons.TOO_FEW_ROWS, max(missing, int(np.ceil(s.sufficient_df - products.df[p])))
    elif periods < s.sufficient_periods:
        reason = reasons.TOO_FEW_PERIODS
    elif se >= s.sufficient_se:
        reason = reasons.ERROR_TOO_LARGE
    if reason is None:
        return State(Sufficiency.SUFFICIENT, None, 0)
    return State(Sufficiency.PROVISIONAL if se < s.provisional_se else Sufficiency.PRIOR, reason, max(1, missing))
