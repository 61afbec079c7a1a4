"""Repricing per listing (20 prices, 2 segments) beside GLOP's time, and the objective's gap to GLOP's."""

from __future__ import annotations

import time

from infra.reports.benchmarks.bench_optimizer import compare, instances, timed
from jobs.pricing.optimizer import solve_many
from jobs.pricing.optimizer.judge import solve_plan

LISTINGS = 2_000


def repricing(*, rounds: int = 7, judged: int = 200) -> dict[str, float]:
    """Microseconds per listing by the hull, many at once, and by GLOP, one after the other."""
    s, v, targets = instances(LISTINGS, 20)
    hull = min(timed(lambda: solve_many(s, v, targets)) for _ in range(rounds)) / LISTINGS
    few = list(zip(s[:judged].tolist(), v[:judged].tolist(), targets[:judged].tolist(), strict=True))
    began = time.perf_counter()
    for sales, values, target in few:
        # Under "at most one", which is never infeasible, as GLOP would have to be asked of every listing.
        solve_plan(sales, values, target, may_close=True)
    return {"hull_us": 1e6 * hull, "glop_us": 1e6 * (time.perf_counter() - began) / judged}


def gap(count: int = 10_000) -> dict[str, float]:
    """See :func:`infra.reports.benchmarks.bench_optimizer.compare`."""
    return compare(count)
