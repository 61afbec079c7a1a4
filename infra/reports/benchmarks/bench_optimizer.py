"""Repricing time per listing (20 prices, 2 segments) beside GLOP's, and the gap of the objective to GLOP's (e)."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from jobs.pricing.optimizer import solve_many, solve_one
from jobs.pricing.optimizer.judge import solve_plan

LISTINGS = 2_000


def instances(
    count: int, prices: int, segments: int = 2, seed: int = 11
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random sales that fall with the price, values, and targets from infeasible to not binding."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.uniform(5, 20, (count, 1, prices)), axis=2)
    scale = rng.uniform(1, 1000, (count, segments, 1))
    s = np.sort(rng.random((count, segments, prices)), axis=2)[:, :, ::-1] * scale
    v = s * (grid - rng.uniform(0, 10, (count, 1, 1)))
    return s, v, rng.uniform(0, 1.2, count) * s.max(axis=2).sum(axis=1)


def repricing(*, rounds: int = 7, compared: int = 200) -> dict[str, float]:
    """Return the microseconds per listing of the hull, all at once, and of GLOP, one after another."""
    s, v, targets = instances(LISTINGS, 20)
    hull = min(timed(lambda: solve_many(s, v, targets)) for _ in range(rounds)) / LISTINGS
    few = list(zip(s[:compared].tolist(), v[:compared].tolist(), targets[:compared].tolist(), strict=True))
    began = time.perf_counter()
    for sales, values, target in few:
        # With "at most one price", which is always feasible.
        solve_plan(sales, values, target, may_close=True)
    return {"hull_us": 1e6 * hull, "glop_us": 1e6 * (time.perf_counter() - began) / compared}


def gap(count: int = 10_000) -> dict[str, float]:
    """Return the largest relative gap to GLOP over instances of 2 to 40 prices, 1 to 4 segments, both (C)."""
    largest, compared, below, hull_s, glop_s = 0.0, 0, 0, 0.0, 0.0
    shapes = [(2, 1), (5, 2), (20, 2), (40, 4)]
    for (prices, segments), may_close in [(shape, close) for shape in shapes for close in (False, True)]:
        s, v, targets = instances(count // 8, prices, segments, seed=prices + may_close)
        for sales, values, target in zip(s.tolist(), v.tolist(), targets.tolist(), strict=True):
            start = time.perf_counter()
            plan = solve_one(sales, values, target, may_close=may_close)
            hull_s += time.perf_counter() - start
            if plan.below_demand:
                below += 1
                continue
            start = time.perf_counter()
            judge = solve_plan(sales, values, target, may_close=may_close)
            glop_s += time.perf_counter() - start
            largest = max(largest, abs(plan.value - judge.value) / max(abs(judge.value), 1e-9))
            compared += 1
    return {
        "instances": compared,
        "below_demand": below,
        "max_relative_gap": largest,
        "hull_us_each": 1e6 * hull_s / (compared + below),
        "glop_us_each": 1e6 * glop_s / compared,
    }


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
