r"""The pricing LP of a price group, solved by OR-Tools' GLOP: one price for all members, a stock for each.

Data, for member i of one price group and one period:
  s_ikp ≥ 0   units sold if all of segment k's requests are quoted price p
  v_ikp       what that is worth
  T_i         sale target or stock in units; None: no limit
  m_i         minimum sales in units; 0: none

Variables: x_kp, the share of segment k's requests that is quoted price p, the same for all members.

  maximise  Σ_i Σ_k Σ_p v_ikp x_kp                                    (A)
  s.t.      Σ_k Σ_p s_ikp x_kp ≤ T_i   for every i with a limit       (B)
            Σ_k Σ_p s_ikp x_kp ≥ m_i   for every i with a minimum     (M)
            Σ_p x_kp = 1               for every k                    (C)
            x_kp ≥ 0                                                  (D)

The dual of member i's rows is what one more unit of it would be worth, the shadow price.

Rows that contradict each other:

* A member whose T_i is below what its least-selling prices sell is *scarce*: no price keeps (B). A higher price
  of the whole group would cost the other members and not keep it either. Its row is left out, and its value at
  price p is reduced to the share min(1, T_i/Σ_k s_ikp) of its demand that it can serve.
* If (M) contradicts (B), the minima are lowered by the smallest sum of relative shortfalls, Σ_i z_i/m_i, which is
  a linear program of its own. The result names the members whose minimum was lowered.

Prices whose values differ by less than ``TIE`` of the largest value are equally good, and the lower one is chosen.
Without a row that binds every segment quotes a single price.

Source: science § 7; 003 § K equations 2-8 over a group of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.pricing.optimizer.exploration import SMALLEST_SHARE
from jobs.pricing.optimizer.judge import LpSolution, NotOptimalError, solve_lp

TIE = 1e-7
"""Difference of values, as a share of the largest one, below which two prices are equally good."""
BINDING = 1e-6
"""Slack of a row, as a share of the member's largest sales, below which it binds."""

Floats = NDArray[np.float64]


class GroupMember(NamedTuple):
    """One member's data: ``sales`` and ``values`` [K][P]; ``at_most`` T_i and ``at_least`` m_i in units."""

    sales: Sequence[Sequence[float]]
    values: Sequence[Sequence[float]]
    at_most: float | None = None
    at_least: float = 0.0


class GroupPlan(NamedTuple):
    """The solution for a group; tuples and indices run over its members.

    ``shares[k][p]`` sums to 1 over p. ``objective`` is (A). ``multipliers``: shadow prices, value per unit.
    ``binding``: members whose limit or minimum binds. ``scarce``: members that sell more than their limit at every
    price. ``relaxed``: members whose minimum was lowered.
    """

    shares: list[list[float]]
    objective: float
    multipliers: tuple[float, ...]
    binding: tuple[int, ...]
    scarce: tuple[int, ...]
    relaxed: tuple[int, ...]


def solve_group(members: Sequence[GroupMember]) -> GroupPlan:
    """Solve the pricing LP of one price group.

    Parameters
    ----------
    members : at least one; all with the same segments and prices, in ascending order of price.

    Returns
    -------
    The shares per segment and price, the same for all members, and what binds.

    Raises
    ------
    ValueError
        If there is no member, no segment or no price, or members differ in shape.

    Examples
    --------
    Two members at prices 8 and 10. The first would sell 100 units at 8, the second has only 30 for 60 buyers.

    >>> first = GroupMember([[100.0, 50.0]], [[800.0, 500.0]])
    >>> second = GroupMember([[60.0, 20.0]], [[480.0, 200.0]], at_most=30.0)
    >>> plan = solve_group([first, second])
    >>> [round(x, 6) for x in plan.shares[0]], round(plan.objective, 6), plan.binding
    ([0.25, 0.75], 845.0, (1,))
    >>> [round(m, 3) for m in plan.multipliers]
    [0.0, 14.5]
    >>> solve_group([first, second._replace(at_most=5.0)]).scarce
    (1,)
    """
    sales, values, most, least = _arrays(members)
    segments, prices = sales.shape[1:]
    least = np.where(least > BINDING * sales.max(axis=(1, 2)), least, 0.0)
    lowest = sales.min(axis=2).sum(axis=1)
    is_scarce = lowest > most * (1 + TIE)
    while True:
        served = _served(sales, values, most, is_scarce)
        try:
            minima = _reachable_minima(sales, np.where(is_scarce, np.inf, most), least)
            break
        except NotOptimalError:
            # The limits exclude each other, since the members sell least at different prices: the tightest yields.
            tightness = np.where(is_scarce | ~np.isfinite(most), -np.inf, lowest / most)
            if not np.isfinite(tightness).any():
                raise
            is_scarce[int(np.argmax(tightness))] = True
    rows = np.where(is_scarce, np.inf, most)
    solution, limited, floored = _solve(served, sales, rows, minima)
    x = _cleaned(solution.x.reshape(segments, prices))
    scale = float(np.abs(served.sum(axis=0)).max()) or 1.0
    size = np.maximum(sales.max(axis=(1, 2)), 1e-300)
    duals = np.zeros(len(members))
    duals[limited] += solution.multipliers[: len(limited)] * scale / size[limited]
    duals[floored] -= solution.multipliers[len(limited) :] * scale / size[floored]
    sold = (sales * x).sum(axis=(1, 2))
    near = (np.abs(sold - rows) <= BINDING * size) | ((minima > 0) & (np.abs(sold - minima) <= BINDING * size))
    if not near.any():
        x = _best_single_prices(served.sum(axis=0), scale)
        duals[:] = 0.0
    return GroupPlan(
        shares=x.tolist(),
        objective=float((served * x).sum()),
        multipliers=tuple(float(m) if abs(m) > TIE * scale / s else 0.0 for m, s in zip(duals, size, strict=True)),
        binding=tuple(np.flatnonzero(near).tolist()),
        scarce=tuple(np.flatnonzero(is_scarce).tolist()),
        relaxed=tuple(np.flatnonzero(minima < least * (1 - BINDING)).tolist()),
    )


def _arrays(members: Sequence[GroupMember]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return sales and values [I, K, P], limits (infinite: none) and minima [I]."""
    shapes = {(np.shape(member.sales), np.shape(member.values)) for member in members}
    shape = next(iter(shapes))[0] if len(shapes) == 1 else ()
    if len(shape) != 2 or 0 in shape or shapes != {(shape, shape)}:
        raise ValueError(
            f"members: expected at least one, with sales and values of one shape [K][P], got {sorted(shapes)}"
        )
    sales = np.array([member.sales for member in members], dtype=np.float64)
    values = np.array([member.values for member in members], dtype=np.float64)
    most = np.array([np.inf if member.at_most is None else member.at_most for member in members])
    return sales, values, most, np.array([member.at_least for member in members], dtype=np.float64)


def _served(sales: Floats, values: Floats, most: Floats, is_scarce: NDArray[np.bool_]) -> Floats:
    """Return the values, for scarce members those of the share of demand that they can serve at each price."""
    demand = np.maximum(sales.sum(axis=1), 1e-300)
    share: Floats = np.where(is_scarce[:, None], np.minimum(1.0, most[:, None] / demand), 1.0)
    return np.asarray(values * share[:, None, :])


def _reachable_minima(sales: Floats, most: Floats, least: Floats) -> Floats:
    """Return the minima, lowered as little as the limits require.

    Raises
    ------
    NotOptimalError
        If the limits alone exclude each other.
    """
    floored, limited = np.flatnonzero(least > 0), np.flatnonzero(np.isfinite(most))
    if not len(floored) and len(limited) <= 1:
        return least.copy()
    members, segments, prices = sales.shape
    flat = sales.reshape(members, -1)
    # Columns: shares, then each minimum's shortfall as a share of it.
    count = segments * prices + len(floored)
    at_most = np.zeros((len(limited) + len(floored), count))
    bounds = np.zeros(len(at_most))
    size = np.maximum(sales.max(axis=(1, 2)), 1e-300)
    for row, i in enumerate(limited):
        at_most[row, : segments * prices] = flat[i] / size[i]
        bounds[row] = most[i] / size[i]
    for column, i in enumerate(floored):
        row = len(limited) + column
        at_most[row, : segments * prices] = -flat[i] / least[i]
        at_most[row, segments * prices + column] = -1.0
        bounds[row] = -1.0
    objective = np.concatenate([np.zeros(segments * prices), -np.ones(len(floored))])
    one_each = np.concatenate(
        [np.kron(np.eye(segments), np.ones(prices)), np.zeros((segments, len(floored)))], axis=1
    )
    solution = solve_lp(objective, (at_most, bounds), (one_each, np.ones(segments)))
    minima = least.copy()
    short = solution.x[segments * prices :]
    # A hair below what is reachable, so that rounding does not make the second program infeasible.
    minima[floored] *= np.where(short > SMALLEST_SHARE, np.maximum(0.0, 1 - short - TIE), 1.0)
    return minima


def _solve(
    values: Floats, sales: Floats, most: Floats, least: Floats
) -> tuple[LpSolution, NDArray[np.int64], NDArray[np.int64]]:
    """Solve (A)-(D); return the solution, and the members of the (B) rows and of the (M) rows in their order."""
    members, segments, prices = sales.shape
    limited, floored = np.flatnonzero(np.isfinite(most)), np.flatnonzero(least > 0)
    size = np.maximum(sales.max(axis=(1, 2)), 1e-300)
    flat = sales.reshape(members, -1) / size[:, None]
    total = values.sum(axis=0)
    # Equally good prices: the lower one. GLOP's tolerances are absolute, so every row has its own unit.
    objective = total / (float(np.abs(total).max()) or 1.0) - TIE * np.arange(prices) / prices
    solution = solve_lp(
        objective.reshape(-1),
        (np.concatenate([flat[limited], -flat[floored]]),
         np.concatenate([(most / size)[limited], -(least / size)[floored]])),
        (np.kron(np.eye(segments), np.ones(prices)), np.ones(segments)),
    )  # fmt: skip
    return solution, limited, floored


def _cleaned(x: Floats) -> Floats:
    """Return shares without rounding errors; each row sums to 1."""
    kept: Floats = np.where(x > TIE, x, 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _best_single_prices(total: Floats, scale: float) -> Floats:
    """Return all of each segment's share at its best price, the lowest of equally good ones."""
    x = np.zeros_like(total)
    best = total.max(axis=1, keepdims=True)
    x[np.arange(len(total)), (total >= best - TIE * scale).argmax(axis=1)] = 1.0
    return x
