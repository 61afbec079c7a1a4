"""Acceptance of intervals on few rows: simulated products, and Dominick's brands in one half of the stores."""

from __future__ import annotations

import numpy as np

from features.elasticity import ElasticitySettings, PoissonLaplace, SeriesModel, WithinSums
from features.elasticity.base import PeriodRows
from features.elasticity.pooling import pool_products, shrink, sufficiency
from features.segments.customers import Z_90
from infra.reports.acceptance.orange_juice import Juice, fit
from infra.reports.acceptance.stages import REFERENCE, at_least, at_most
from infra.reports.report import Figure, Limit
from schemas.codes import Sufficiency

ROWS = (5, 10, 20, 50, 200)
PRODUCTS = 100
PRECISE_FROM = 50
"""Rows from which on an interval must not be wider than needed either."""
SUFFICIENT_FROM = 20


def simulated_coverage(kind: str, rows: int, seed: int) -> float:
    """Return the share of published 90 % intervals that contain the true elasticity, of 100 products.

    Parameters
    ----------
    kind : ``within``: log units with normal noise; ``poisson``: orders given exposures.
    rows : rows per product.
    """
    rng = np.random.default_rng([seed, rows, len(kind)])
    truth, level = rng.normal(-2.0, 0.5, PRODUCTS), rng.normal(0.0, 0.4, PRODUCTS)
    noise = np.exp(rng.normal(np.log(0.4), 0.2, PRODUCTS))
    settings = REFERENCE if kind == "within" else ElasticitySettings(forgetting_per_week=1.0, conversion=0.05)
    model: SeriesModel = WithinSums(settings, 2) if kind == "within" else PoissonLaplace(settings, 2)
    for period in range(rows):
        x = np.column_stack([rng.normal(0, 0.12, PRODUCTS), rng.normal(0, 0.05, PRODUCTS)])
        mean = level + truth * x[:, 0] + 0.5 * x[:, 1]
        if kind == "within":
            quantity, exposure = np.exp(4 + mean + rng.normal(0, 1, PRODUCTS) * noise), np.ones(PRODUCTS)
        else:
            exposure = rng.integers(50, 300, PRODUCTS).astype(float)
            quantity = rng.poisson(exposure * 0.05 * np.exp(mean)).astype(float)
        model.learn(PeriodRows(period, np.arange(PRODUCTS), x, quantity, np.log(exposure)))
    pooled = pool_products(model.statistics(), np.arange(PRODUCTS), PRODUCTS, settings)
    shrunk = shrink(pooled.b, pooled.category_se, settings, pooled.sampling_se)
    return float((np.abs(shrunk.mean - truth) <= Z_90 * shrunk.sd).mean())


def half_of_stores(juice: Juice, rows: int, repetitions: int) -> tuple[float, int]:
    """Return the coverage of raw intervals from ``rows`` weeks of one store, and how many were sufficient.

    Each brand's interval is compared with the estimate from the other half of the stores, both errors counted.
    """
    rng = np.random.default_rng([3, rows])
    weeks, brands = sorted(set(juice.week.tolist())), list(range(11))
    stores = np.array(sorted(set(juice.frame["store"])))
    store_of_row = juice.frame["store"].to_numpy()
    covered = total = sufficient = 0
    for _ in range(repetitions):
        order = rng.permutation(stores)
        other = np.isin(store_of_row, order[len(order) // 2 :])
        whole = fit(WithinSums(REFERENCE, 4), _rows_of(juice, other), juice.narrow[other], weeks, brands)
        first = int(rng.integers(0, len(weeks) - rows)) if rows < len(weeks) else 0
        mine = (store_of_row == order[0]) & np.isin(juice.week, weeks[first : first + rows])
        few = fit(WithinSums(REFERENCE, 4), _rows_of(juice, mine), juice.narrow[mine], weeks, brands)
        known = np.isfinite(few.b) & np.isfinite(whole.b)
        error = np.abs(few.b - whole.b)
        covered += int((error <= Z_90 * np.hypot(few.se, whole.se))[known].sum())
        total += int(known.sum())
        sufficient += sum(sufficiency(few, b, REFERENCE).sufficiency is Sufficiency.SUFFICIENT for b in brands)
    return covered / max(total, 1), sufficient


def _rows_of(juice: Juice, rows: np.ndarray) -> Juice:
    """Return the data of some rows."""
    return Juice(
        juice.week[rows], juice.series[rows], juice.brand_of_series, juice.quantity[rows], juice.wide[rows],
        juice.narrow[rows], juice.reference, juice.frame[rows],
    )  # fmt: skip


def interval_figures(juice: Juice, quick: bool) -> list[Figure]:
    """Return the coverage of published intervals by number of rows."""
    figures = []
    for kind in ("within", "poisson"):
        for rows in (5, 20, 50) if quick else ROWS:
            coverage = float(np.mean([simulated_coverage(kind, rows, seed) for seed in range(2 if quick else 10)]))
            limit = Limit(0.85 - 0.03 * quick, (0.96 + 0.02 * quick) if rows >= PRECISE_FROM else None)
            figures.append(Figure(f"simulated {kind}, {rows} rows: 90 % intervals cover", coverage, limit=limit))
    for rows in (10, 20) if quick else (10, 15, 20, 50, 100):
        coverage, sufficient = half_of_stores(juice, rows, 6 if quick else 40)
        name = f"juice, {rows} weeks of one store against half of the stores"
        if rows >= SUFFICIENT_FROM:
            figures.append(at_least(f"{name}: 90 % intervals cover", coverage, 0.85))
        else:
            figures.append(at_most(f"{name}: sufficient", sufficient, 0))
    return figures
