"""Linear programs in OR-Tools' GLOP: the reference for the hull, and the solver of wider problems.

The hull solves one knapsack with one limit. One price in a price group with a stock and minimum sales for each
member (:mod:`jobs.pricing.optimizer.group_lp`), several listings that share a resource, or x over price *vectors*
where demand is joint are linear programs for :func:`solve_lp` (science § 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ortools.linear_solver import pywraplp

from jobs.pricing.optimizer.hull import Plan

STATUS = {
    pywraplp.Solver.OPTIMAL: "OPTIMAL",
    pywraplp.Solver.FEASIBLE: "FEASIBLE",
    pywraplp.Solver.INFEASIBLE: "INFEASIBLE",
    pywraplp.Solver.UNBOUNDED: "UNBOUNDED",
    pywraplp.Solver.ABNORMAL: "ABNORMAL",
    pywraplp.Solver.MODEL_INVALID: "MODEL_INVALID",
    pywraplp.Solver.NOT_SOLVED: "NOT_SOLVED",
}


TOLERANCES = "primal_feasibility_tolerance: 1e-9 dual_feasibility_tolerance: 1e-9"
"""GLOP's parameters: tighter than its defaults, to distinguish prices of nearly equal value."""


class NotOptimalError(RuntimeError):
    """The solver stopped without an optimum; its status is the message's first word."""


class LpSolution(NamedTuple):
    """An optimum: variables, objective, and the multipliers of the ≤ rows."""

    x: NDArray[np.float64]
    value: float
    multipliers: NDArray[np.float64]


def solve_lp(
    objective: ArrayLike,
    at_most: tuple[ArrayLike, ArrayLike] | None = None,
    equal: tuple[ArrayLike, ArrayLike] | None = None,
) -> LpSolution:
    """Maximise ``objective @ x`` with ``A x ≤ b``, ``E x = e``, ``x ≥ 0`` by GLOP.

    Raises
    ------
    NotOptimalError
        With the status's name, if it is not OPTIMAL (GLOP's presolve may call an unbounded
        problem INFEASIBLE).

    Examples
    --------
    >>> solve_lp([3.0, 2.0], at_most=([[1.0, 1.0], [1.0, 0.0]], [4.0, 1.0])).value
    9.0
    >>> solve_lp([1.0], at_most=([[1.0]], [-1.0]))
    Traceback (most recent call last):
    ...
    jobs.pricing.optimizer.judge.NotOptimalError: INFEASIBLE: GLOP found no optimum of 1 variables and 1 rows
    """
    c = np.asarray(objective, dtype=np.float64)
    solver = pywraplp.Solver.CreateSolver("GLOP")
    solver.SetSolverSpecificParametersAsString(TOLERANCES)
    inf = solver.infinity()
    x = [solver.NumVar(0.0, inf, "") for _ in c]
    rows = []

    def add(matrix: ArrayLike, bounds: ArrayLike, equality: bool) -> None:
        for coefficients, bound in zip(
            np.asarray(matrix, dtype=np.float64), np.asarray(bounds, dtype=np.float64), strict=True
        ):
            row = solver.Constraint(float(bound) if equality else -inf, float(bound))
            for variable, a in zip(x, coefficients, strict=True):
                if a:
                    row.SetCoefficient(variable, float(a))
            rows.append(row)

    if at_most is not None:
        add(*at_most, False)
    limits = len(rows)
    if equal is not None:
        add(*equal, True)
    goal = solver.Objective()
    for variable, a in zip(x, c, strict=True):
        goal.SetCoefficient(variable, float(a))
    goal.SetMaximization()
    status = solver.Solve()
    if status != pywraplp.Solver.OPTIMAL:
        name = STATUS.get(status, str(status))
        raise NotOptimalError(f"{name}: GLOP found no optimum of {len(c)} variables and {len(rows)} rows")
    return LpSolution(
        np.array([variable.solution_value() for variable in x]),
        float(goal.Value()),
        np.array([row.dual_value() for row in rows[:limits]]),
    )


def solve_plan(
    sales: Sequence[Sequence[float]],
    values: Sequence[Sequence[float]],
    target: float | None = None,
    *,
    may_close: bool = False,
) -> Plan:
    """Solve the hull's problem, (A)-(D) of :mod:`jobs.pricing.optimizer.hull`, by GLOP.

    Raises
    ------
    NotOptimalError
        INFEASIBLE when the target lies below the least that can be sold under (C=).
    """
    s, v = np.asarray(sales, dtype=np.float64), np.asarray(values, dtype=np.float64)
    segments, prices = s.shape
    # GLOP's tolerances are absolute: state the problem in units of its own size.
    unit_s, unit_v = float(np.abs(s).max()) or 1.0, float(np.abs(v).max()) or 1.0
    one_each = np.kron(np.eye(segments), np.ones(prices))
    ones = np.ones(segments)
    limits, bounds = [], []
    if target is not None:
        limits.append(s.reshape(1, -1) / unit_s)
        bounds.append(np.array([target / unit_s]))
    if may_close:
        limits.append(one_each)
        bounds.append(ones)
    solution = solve_lp(
        v.reshape(-1) / unit_v,
        at_most=(np.concatenate(limits), np.concatenate(bounds)) if limits else None,
        equal=None if may_close else (one_each, ones),
    )
    x = solution.x.reshape(segments, prices)
    multiplier = float(solution.multipliers[0]) * unit_v / unit_s if target is not None else 0.0
    return Plan(x.tolist(), float((x * s).sum()), float((x * v).sum()), multiplier, False)
