"""The optimizer by figures: objective against GLOP on random instances, and time per listing.

Each figure of ours stands beside GLOP's, measured in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from jobs.pricing.optimizer import solve_many, solve_one
from jobs.pricing.optimizer.judge import solve_plan


def instances(
    count: int, prices: int, segments: int = 2, seed: int = 11
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sales falling in price, values with a cost, targets from too low to never binding."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.uniform(5, 20, (count, 1, prices)), axis=2)
    scale = rng.uniform(1, 1000, (count, segments, 1))
    s = np.sort(rng.random((count, segments, prices)), axis=2)[:, :, ::-1] * scale
    v = s * (grid - rng.uniform(0, 10, (count, 1, 1)))
    return s, v, rng.uniform(0, 1.2, count) * s.max(axis=2).sum(axis=1)


def compare(count: int) -> dict[str, float]:
    """Largest relative gap to GLOP over instances of 2 to 40 prices, 1 to 4 segments, both forms of (C)."""
    gap, compared, below, ours, theirs = 0.0, 0, 0, 0.0, 0.0
    shapes = [(2, 1), (5, 2), (20, 2), (40, 4)]
    for (prices, segments), may_close in [(shape, close) for shape in shapes for close in (False, True)]:
        s, v, targets = instances(count // 8, prices, segments, seed=prices + may_close)
        for sales, values, target in zip(s.tolist(), v.tolist(), targets.tolist(), strict=True):
            start = time.perf_counter()
            plan = solve_one(sales, values, target, may_close=may_close)
            ours += time.perf_counter() - start
            if plan.below_demand:
                below += 1
                continue
            start = time.perf_counter()
            judge = solve_plan(sales, values, target, may_close=may_close)
            theirs += time.perf_counter() - start
            gap = max(gap, abs(plan.value - judge.value) / max(abs(judge.value), 1e-9))
            compared += 1
    return {
        "instances": compared,
        "below_demand": below,
        "max_relative_gap": gap,
        "hull_us_each": 1e6 * ours / (compared + below),
        "glop_us_each": 1e6 * theirs / compared,
    }


def speed() -> dict[str, float]:
    """Microseconds per listing: many at once, and one alone by number of prices (003 Fig. 8 (D))."""
    s, v, targets = instances(2_000, 20)
    best = min(timed(lambda: solve_many(s, v, targets)) for _ in range(5))
    figures = {"many_20_prices_2_segments_us_per_listing": 1e6 * best / len(s)}
    for prices in (10, 20, 50, 100):
        each = min(timed(partial(_each, *(a.tolist() for a in instances(50, prices)))) for _ in range(3))
        figures[f"one_{prices}_prices_us"] = 1e6 * each / 50
    return figures


def _each(sales: list, values: list, targets: list) -> None:
    for s, v, target in zip(sales, values, targets, strict=True):
        solve_one(s, v, target)


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
