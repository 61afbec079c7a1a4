"""Points of a product's demand: sales against price, with the differences between its listings removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.learning.history import Floats, History, PriceRows
from jobs.learning.learner import Learned
from jobs.learning.listing_rows import listing_rows, share_in_stock
from jobs.learning.results import ProductResult

BINS = 12
"""Most price bins of a chart."""
POINTS = 300
"""Most single points of a chart; more are thinned evenly."""


@dataclass(frozen=True, slots=True)
class DemandPoints:
    """Demand of a product at the level of its largest listing; prices in minor units.

    Attributes
    ----------
    price, demand : single rows (within): units per period; empty with exposures, where rows are mostly 0.
    bin_price, bin_demand, bin_rows : mean of the rows of a price bin; orders per exposure with exposures.
    centre_price, centre_demand : point through which the demand curve passes.
    """

    price: Floats
    demand: Floats
    bin_price: Floats
    bin_demand: Floats
    bin_rows: Floats
    centre_price: float
    centre_demand: float


def demand_points(history: History, learned: Learned, product: ProductResult) -> DemandPoints | None:
    """Return the points of a product; None without two usable rows.

    Each row is moved by its listing's mean log price and level to those of the largest listing, and by what the
    reference price and the covariates explain.
    """
    facts, number = learned.facts, learned.product_of[product.series]
    mine = np.flatnonzero(learned.product_of == number)
    parts = list(history.by_series(int(mine[0]), int(mine[-1])))
    if not parts:
        return None
    kind = learned.settings.kind
    rows, _ = listing_rows(PriceRows(*(np.concatenate(c) for c in zip(*parts, strict=True))), kind)
    if rows.series.size < 2:
        return None
    deviation = rows.log_price - facts.mean_log_price[rows.series]
    effects = np.array([effect.slope or 0.0 for effect in product.estimate.covariates])
    named = (rows.covariates - facts.mean_covariates[rows.series]) @ effects
    others = product.estimate.rival * rows.log_offer + named
    centre_price = float(np.exp(facts.mean_log_price[product.series]))
    level = float(facts.level[product.series])
    edges = np.unique(np.quantile(deviation, np.linspace(0, 1, BINS + 1)))
    bins = np.clip(np.searchsorted(edges, deviation, side="right") - 1, 0, max(len(edges) - 2, 0))
    count = np.bincount(bins)
    used = count > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "within":
            share = share_in_stock(rows, history.out_ms, learned.settings.period_ms)
            demand = np.log(rows.sold) - np.log(share) - facts.level[rows.series] - others
            mean = np.bincount(bins, weights=demand) / count
            weight: Floats = count.astype(np.float64)
            x = np.bincount(bins, weights=deviation) / count
        else:
            expected = rows.exposures * np.exp(facts.level[rows.series] + others)
            mean = np.log(np.bincount(bins, weights=rows.sold) / np.bincount(bins, weights=expected))
            weight = np.asarray(np.bincount(bins, weights=rows.exposures), np.float64)
            x = np.bincount(bins, weights=deviation * rows.exposures) / weight
            demand = np.zeros(0)
    used = used & np.isfinite(mean)
    single = np.arange(0, demand.size, max(1, -(-demand.size // POINTS)))
    return DemandPoints(
        price=centre_price * np.exp(deviation[single]),
        demand=np.exp(level + demand[single]),
        bin_price=centre_price * np.exp(x[used]),
        bin_demand=np.exp(level + mean[used]),
        bin_rows=weight[used],
        centre_price=centre_price,
        centre_demand=float(np.exp(level)),
    )
