r"""The multiple-choice knapsack LP by upper concave hulls: exact, without a solver.

Data, for one listing and period:
  s_tk ≥ 0   units sold if all of segment k's requests are quoted price t:  R C_k u_k S_tk
  v_tk       what that is worth:  s_tk (P_t − ω c)
  T          sale target or stock in units; None: no limit

Variables: x_tk, the share of segment k's requests that is quoted price t.

  maximise  Σ_k Σ_t v_tk x_tk                                  (A)
  s.t.      Σ_k Σ_t s_tk x_tk ≤ T                              (B)
            Σ_t x_tk = 1 for every k  (a shop always quotes)   (C=)
         or Σ_t x_tk ≤ 1              (the shop may close)     (C≤)
            x_tk ≥ 0                                           (D)

Why hulls: for a fixed price λ of (B) every segment chooses its own point of greatest v − λ s, so only
points on the upper concave hull of {(s_tk, v_tk)} are ever chosen. Start every segment at its
least-selling point, walk the hull edges of all segments in falling order of slope while the slope is
positive, stop when T is used up. The last edge may be walked in part: **at most one segment mixes two
prices**. Its slope is the multiplier of (B), what one more unit would be worth. Under (C≤) closing,
the point (0, 0), belongs to every segment's points.

If even the least-selling points sell more than T, (B) and (C=) contradict each other; the solution is
those points with ``below_demand`` set (science § 7, TARGET_BELOW_DEMAND).

With (B) as an equality, Σ Σ s_tk x_tk = T, the whole hull is walked, its falling part too; λ is then negative
where units are sold that cost more than they bring. If even the best-selling points sell less than T, the solution
is those points with ``above_demand`` set (TARGET_ABOVE_DEMAND).

Source: science § 7; 003 § K equations 2-8 with (C) added; Dantzig's LP bound for knapsacks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Plan(NamedTuple):
    """One listing's solution.

    ``shares[k][t]`` sums to 1 over t under (C=); ``sales`` and ``value`` are expected units and worth of
    the period; ``multiplier`` is (B)'s: 0 when T does not bind, negative only under the equality.
    ``below_demand``: even the prices that sell least sell more than T. ``above_demand``: even those that sell most
    sell less.
    """

    shares: list[list[float]]
    sales: float
    value: float
    multiplier: float
    below_demand: bool
    above_demand: bool = False


class Plans(NamedTuple):
    """Many listings' solutions; arrays over listings first (``shares`` [L, K, T], the rest [L])."""

    shares: Floats
    sales: Floats
    value: Floats
    multiplier: Floats
    below_demand: NDArray[np.bool_]


def _hull(sales: Sequence[float], values: Sequence[float], closed: bool, whole: bool = False) -> list[int]:
    """Return indices of the upper hull from the least-selling point on; -1 is closing.

    Only the rising part, unless ``whole``.
    """
    points = [(s, -v, t) for t, (s, v) in enumerate(zip(sales, values, strict=True))]
    if closed:
        points.append((0.0, -0.0, -1))
    points.sort()
    hull = [points[0]]
    for point in points[1:]:
        s, minus_v, _ = point
        if s <= hull[-1][0]:
            continue
        while len(hull) > 1:
            (s0, v0, _), (s1, v1, _) = hull[-2], hull[-1]
            if (v0 - v1) / (s1 - s0) > (v0 - minus_v) / (s - s0):
                break
            hull.pop()
        hull.append(point)
    rising = [hull[0][2]]
    for (_, v0, _), (_, v1, t1) in itertools.pairwise(hull):
        if v1 >= v0 and not whole:  # -value does not fall: selling more is worth no more
            break
        rising.append(t1)
    return rising


def solve_one(
    sales: Sequence[Sequence[float]],
    values: Sequence[Sequence[float]],
    target: float | None = None,
    *,
    may_close: bool = False,
    equal: bool = False,
) -> Plan:
    """Solve one listing, in plain floats: the quick path, and bit for bit the same everywhere.

    Parameters
    ----------
    sales, values : [K][T], as above; finite, sales ≥ 0.
    target : T; None for no limit.
    may_close : (C≤) instead of (C=).
    equal : (B) as an equality; nothing changes without a target.

    Raises
    ------
    ValueError
        If there is no segment, no price, or a segment has not as many sales as values.

    Examples
    --------
    Two prices, 10 and 8; half buy at 10, all at 8; 100 requests, cost 0, 75 units to sell: quoting
    half of them 8 sells 25 + 50 units for 650.

    >>> plan = solve_one([[100.0, 50.0]], [[800.0, 500.0]], 75.0)
    >>> plan.shares, plan.sales, plan.value, plan.multiplier
    ([[0.5, 0.5]], 75.0, 650.0, 6.0)
    >>> solve_one([[100.0, 50.0]], [[800.0, 500.0]], 20.0).below_demand
    True

    At a cost of 7 the price of 10 is best; to sell 75 units all the same costs 1 a unit at the margin.

    >>> solve_one([[100.0, 50.0]], [[100.0, 150.0]], 75.0, equal=True).multiplier
    -1.0
    >>> solve_one([[100.0, 50.0]], [[100.0, 150.0]], 120.0, equal=True).above_demand
    True
    """
    if (
        not sales
        or len(sales) != len(values)
        or any(not s or len(s) != len(v) for s, v in zip(sales, values, strict=True))
    ):
        raise ValueError("expected at least one segment and one price, and as many values as sales")
    equal = equal and target is not None
    hulls = [_hull(s, v, may_close, equal) for s, v in zip(sales, values, strict=True)]

    def point(k: int, t: int) -> tuple[float, float]:
        return (0.0, 0.0) if t < 0 else (sales[k][t], values[k][t])

    edges: list[tuple[float, int, int, float]] = []
    least = 0.0
    for k, hull in enumerate(hulls):
        s0, v0 = point(k, hull[0])
        least += s0
        slope = float("inf")
        for i, t in enumerate(hull[1:]):
            s1, v1 = point(k, t)
            # A hull's slopes fall; float dust must not turn two of them round.
            slope = min(slope, (v1 - v0) / (s1 - s0))
            edges.append((-slope, k, i, s1 - s0))
            s0, v0 = s1, v1
    edges.sort()
    room = float("inf") if target is None else target - least
    below_demand = room < -1e-12 * max(1.0, least)
    reached = [0] * len(hulls)
    mixed: tuple[int, float] | None = None
    multiplier = 0.0
    for minus_slope, k, i, width in edges:
        if width <= room:
            reached[k] = i + 1
            room -= width
            continue
        multiplier = -minus_slope
        if room > 0:
            mixed = k, room / width
        break
    else:
        multiplier = -edges[-1][0] if equal and edges else 0.0
    above_demand = equal and mixed is None and room > 1e-12 * max(1.0, least)
    shares = [[0.0] * len(s) for s in sales]
    total_sales = total_value = 0.0
    for k, hull in enumerate(hulls):
        weights = [(hull[reached[k]], 1.0)]
        if mixed and mixed[0] == k:
            weights = [(hull[reached[k]], 1.0 - mixed[1]), (hull[reached[k] + 1], mixed[1])]
        for t, weight in weights:
            if t >= 0:
                shares[k][t] = weight
            s, v = point(k, t)
            total_sales += weight * s
            total_value += weight * v
    return Plan(shares, total_sales, total_value, multiplier, below_demand, above_demand)


def solve_many(
    sales: Floats, values: Floats, targets: Floats | float | None = None, *, may_close: bool = False
) -> Plans:
    """Solve many listings at once; the same answers as :func:`solve_one`, within float dust.

    Parameters
    ----------
    sales, values : [L, K, T].
    targets : [L] or one number; None or infinity for no limit.
    may_close : (C≤) instead of (C=).

    Notes
    -----
    The hull is walked by choosing, from each point, the steepest way to a better-selling one; all
    listings walk in step. At most T steps of a few array operations each.

    Examples
    --------
    >>> plans = solve_many(np.array([[[100.0, 50.0]]]), np.array([[[800.0, 500.0]]]), 75.0)
    >>> plans.shares.tolist(), float(plans.multiplier[0])
    ([[[0.5, 0.5]]], 6.0)
    """
    sales = np.asarray(sales, dtype=np.float64)
    values = np.asarray(values, dtype=np.float64)
    if sales.ndim != 3 or sales.shape != values.shape or 0 in sales.shape[1:]:
        raise ValueError(f"expected sales and values of one shape [L, K, T], got {sales.shape}, {values.shape}")
    listings, segments, prices = sales.shape
    if may_close:
        closed = np.zeros((listings, segments, 1))
        sales, values = np.concatenate([sales, closed], axis=2), np.concatenate([values, closed], axis=2)
    points = sales.shape[2]
    rows = listings * segments
    s, v = sales.reshape(rows, points), values.reshape(rows, points)
    row = np.arange(rows)

    least = s.min(axis=1)
    at = np.where(s == least[:, None], v, -np.inf).argmax(axis=1)
    vertices, widths, slopes = [at], [], []
    slope_before = np.full(rows, np.inf)
    walking = np.ones(rows, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        while True:
            ds = s - s[row, at][:, None]
            slope = np.where(ds > 0, (v - v[row, at][:, None]) / ds, -np.inf)
            best = slope.max(axis=1)
            walking = walking & (best > 0)
            if not walking.any():
                break
            # Of equally steep ways the farthest: collinear points are one edge.
            to = np.where(slope == best[:, None], ds, -np.inf).argmax(axis=1)
            at = np.where(walking, to, at)
            slope_before = np.minimum(slope_before, best)
            vertices.append(at)
            widths.append(np.where(walking, ds[row, to], 0.0))
            slopes.append(np.where(walking, slope_before, -np.inf))
    if not widths:
        vertices.append(at)
        widths.append(np.zeros(rows))
        slopes.append(np.full(rows, -np.inf))
    vertex = np.stack(vertices, axis=1).reshape(listings, segments, -1)
    steps = len(widths)
    width = np.stack(widths, axis=1).reshape(listings, segments * steps)
    slope = np.stack(slopes, axis=1).reshape(listings, segments * steps)

    order = np.argsort(-slope, axis=1, kind="stable")
    width_sorted = np.take_along_axis(width, order, axis=1)
    slope_sorted = np.take_along_axis(slope, order, axis=1)
    sold = np.cumsum(width_sorted, axis=1)
    least_all = least.reshape(listings, segments).sum(axis=1)
    limit = np.inf if targets is None else np.asarray(targets, dtype=np.float64)
    room = np.broadcast_to(limit, (listings,)) - least_all
    below = room < -1e-12 * np.maximum(1.0, least_all)
    real = slope_sorted > 0
    full = real & (sold <= room[:, None])
    open_edge = real & ~full
    first = open_edge.argmax(axis=1)
    has_open = open_edge.any(axis=1)
    l = np.arange(listings)
    multiplier = np.where(has_open, slope_sorted[l, first], 0.0)
    before = sold[l, first] - width_sorted[l, first]
    part = np.zeros(listings)
    np.divide(np.maximum(room - before, 0.0), width_sorted[l, first], out=part, where=has_open)

    full_by_edge = np.zeros_like(full)
    np.put_along_axis(full_by_edge, order, full, axis=1)
    reached = full_by_edge.reshape(listings, segments, steps).sum(axis=2)
    shares = np.zeros((listings, segments, points))
    ll, kk = np.meshgrid(l, np.arange(segments), indexing="ij")
    shares[ll, kk, vertex[ll, kk, reached]] = 1.0
    mixing = np.flatnonzero(part > 0)
    if len(mixing):
        k = order[mixing, first[mixing]] // steps
        i = reached[mixing, k]
        shares[mixing, k, vertex[mixing, k, i]] = 1.0 - part[mixing]
        shares[mixing, k, vertex[mixing, k, i + 1]] = part[mixing]
    total_sales = (shares * sales).sum(axis=(1, 2))
    total_value = (shares * values).sum(axis=(1, 2))
    return Plans(shares[:, :, :prices], total_sales, total_value, multiplier, below)
