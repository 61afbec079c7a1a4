"""The pricing LP of a price group: against enumeration of its vertices, and by its properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.pricing.optimizer import solve_one
from jobs.pricing.optimizer.group_lp import GroupMember, GroupPlan, solve_group


def a_group(seed: int, members: int, segments: int, prices: int, tightness: float) -> list[GroupMember]:
    """Return members whose sales fall in price, with targets from what the highest price sells to no limit."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.uniform(5, 20, prices))
    group = []
    for _ in range(members):
        s = np.sort(rng.random((segments, prices)), axis=1)[:, ::-1] * rng.uniform(1, 1000, (segments, 1))
        v = s * (grid - rng.uniform(0, 8))
        low, high = s.min(axis=1).sum(), s.max(axis=1).sum()
        target = None if rng.random() < 0.3 else float(low + tightness * (high - low))
        group.append(GroupMember(s.tolist(), v.tolist(), target))
    return group


def by_enumeration(group: list[GroupMember]) -> float:
    """Return the best objective over all basic solutions of the LP, by trying every choice of columns."""
    sales = np.array([m.sales for m in group]).reshape(len(group), -1)
    value = np.array([m.values for m in group]).reshape(len(group), -1).sum(axis=0)
    segments, prices = np.shape(group[0].sales)
    rows, right = [np.kron(np.eye(segments), np.ones(prices))], [np.ones(segments)]
    limits = [i for i, m in enumerate(group) if m.at_most is not None]
    floors = [i for i, m in enumerate(group) if m.at_least > 0]
    rows += [sales[limits], -sales[floors]]
    right += [np.array([group[i].at_most for i in limits]), np.array([-group[i].at_least for i in floors])]
    matrix, b = np.concatenate(rows), np.concatenate(right)
    slack = np.concatenate([np.zeros((segments, len(b) - segments)), np.eye(len(b) - segments)])
    matrix = np.concatenate([matrix, slack], axis=1)
    costs = np.concatenate([value, np.zeros(len(b) - segments)])
    best = -np.inf
    for columns in itertools.combinations(range(matrix.shape[1]), len(b)):
        basis = matrix[:, columns]
        if abs(np.linalg.det(basis)) < 1e-9:
            continue
        x = np.linalg.solve(basis, b)
        if x.min() >= -1e-9:
            best = max(best, float(costs[list(columns)] @ x))
    return best


def units(group: list[GroupMember], plan: GroupPlan) -> list[float]:
    """Return each member's sales under a plan."""
    return [float((np.array(m.sales) * np.array(plan.shares)).sum()) for m in group]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 2), st.integers(2, 4),
    st.floats(0.05, 1.1), st.floats(0.0, 0.6),
)  # fmt: skip
def test_objective_equals_the_best_vertex(
    seed: int, members: int, segments: int, prices: int, tightness: float, floor: float
) -> None:
    group = a_group(seed, members, segments, prices, tightness)
    # A minimum of the first member, which its own limit and the others' may contradict.
    most = group[0].at_most or float(np.max(group[0].sales))
    group[0] = group[0]._replace(at_least=floor * most)
    plan = solve_group(group)
    assert np.array(plan.shares).min() >= 0.0
    np.testing.assert_allclose(np.sum(plan.shares, axis=1), 1.0)
    assert plan.scarce == ()
    for member, sold in zip(group, units(group, plan), strict=True):
        assert member.at_most is None or sold <= member.at_most * (1 + 1e-6) + 1e-6
    best = by_enumeration(group)
    if plan.relaxed:
        assert best == -np.inf and plan.relaxed == (0,)
    else:
        assert plan.objective == pytest.approx(best, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_one_segment_equals_a_fine_search_over_mixtures_of_two_prices(seed: int, tightness: float) -> None:
    # With one limit, an optimum mixes at most two prices.
    group = [m._replace(at_most=None) if i else m for i, m in enumerate(a_group(seed, 3, 1, 6, tightness))]
    value = np.array([m.values[0] for m in group]).sum(axis=0)
    sold, most = np.array(group[0].sales[0]), group[0].at_most or np.inf
    best = -np.inf
    for a, b in itertools.product(range(6), repeat=2):
        share = np.linspace(0, 1, 2001)
        fits = share * sold[a] + (1 - share) * sold[b] <= most * (1 + 1e-9)
        if fits.any():
            best = max(best, float((share * value[a] + (1 - share) * value[b])[fits].max()))
    plan = solve_group(group)
    step = float(np.abs(value).max()) / 1000
    assert best - 1e-6 * abs(best) <= plan.objective <= best + step


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(0.05, 1.1))
def test_group_of_one_equals_the_hull(seed: int, segments: int, tightness: float) -> None:
    [member] = a_group(seed, 1, segments, 12, tightness)
    single = solve_one(member.sales, member.values, member.at_most)
    plan = solve_group([member])
    assert plan.objective == pytest.approx(single.value, rel=1e-6)
    assert plan.multipliers[0] == pytest.approx(single.multiplier, rel=1e-4, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(-0.5, 1.1))
def test_same_input_gives_the_same_plan(seed: int, members: int, tightness: float) -> None:
    group = a_group(seed, members, 3, 10, tightness)
    assert solve_group(group) == solve_group([GroupMember(*member) for member in group])


def test_of_equally_good_prices_the_lowest_is_chosen() -> None:
    # The second member gains at the higher price what the first loses.
    group = [
        GroupMember([[3.0, 2.0, 1.0]], [[30.0, 20.0, 10.0]]),
        GroupMember([[3.0, 2.0, 1.0]], [[10.0, 20.0, 30.0]]),
    ]
    assert solve_group(group).shares == [[1.0, 0.0, 0.0]]
    assert solve_group(group[::-1]).shares == [[1.0, 0.0, 0.0]]


def test_shadow_price_is_the_value_of_one_more_unit() -> None:
    free, limited = a_group(11, 2, 2, 6, 0.1)
    sold = units([limited], solve_group([free, limited._replace(at_most=None)]))[0]
    group = [free._replace(at_most=None), limited._replace(at_most=0.8 * sold)]
    plan = solve_group(group)
    assert plan.binding == (1,) and plan.multipliers[0] == 0.0
    for i in plan.binding:
        more = [m._replace(at_most=(m.at_most or 0.0) + 1e-3) if j == i else m for j, m in enumerate(group)]
        assert solve_group(more).objective - plan.objective == pytest.approx(plan.multipliers[i] * 1e-3, rel=1e-3)


def test_minimum_sales_that_bind_lower_the_price() -> None:
    free = GroupMember([[10.0, 4.0]], [[20.0, 40.0]])
    assert solve_group([free, free]).shares == [[0.0, 1.0]]
    plan = solve_group([free, free._replace(at_least=7.0)])
    np.testing.assert_allclose(plan.shares, [[0.5, 0.5]], atol=1e-6)
    assert plan.binding == (1,) and plan.multipliers[1] < 0 and plan.relaxed == ()


def test_minimum_sales_out_of_reach_are_lowered_and_named() -> None:
    member = GroupMember([[10.0, 4.0]], [[20.0, 40.0]])
    limited = member._replace(at_most=7.0)
    plan = solve_group([limited, member._replace(at_least=9.0), member._replace(at_least=5.0)])
    assert plan.relaxed == (1,)
    np.testing.assert_allclose(units([member], plan), 7.0, atol=1e-4)


def test_scarce_member_is_named_and_does_not_drive_the_price_of_the_group() -> None:
    rich = GroupMember([[100.0, 10.0]], [[800.0, 100.0]])
    scarce = GroupMember([[100.0, 50.0]], [[800.0, 500.0]], at_most=1.0)
    plan = solve_group([rich, scarce])
    assert plan.scarce == (1,) and plan.shares == [[1.0, 0.0]]
    # The scarce member serves 1 of 100: 800/100 of value.
    assert plan.objective == pytest.approx(808.0)


def test_limits_that_exclude_each_other_yield_one_by_one() -> None:
    # Each sells least at the price at which the other sells most.
    one, other = GroupMember([[10.0, 1.0]], [[10.0, 1.0]], 2.0), GroupMember([[1.0, 10.0]], [[1.0, 10.0]], 3.0)
    assert solve_group([one, other]).scarce == (0,)


@pytest.mark.parametrize(
    "group",
    [[], [GroupMember([], [])], [GroupMember([[1.0]], [[1.0, 2.0]])],
     [GroupMember([[1.0]], [[1.0]]), GroupMember([[1.0, 2.0]], [[1.0, 2.0]])]],
)  # fmt: skip
def test_groups_of_another_shape_are_refused(group: list[GroupMember]) -> None:
    with pytest.raises(ValueError, match="expected at least one, with sales and values of one shape"):
        solve_group(group)
