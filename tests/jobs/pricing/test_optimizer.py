"""The optimizer: against GLOP, by its properties, and on published reference markets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.pricing.optimizer import explore, keep_neighbours, solve_many, solve_one
from jobs.pricing.optimizer.judge import NotOptimalError, solve_lp, solve_plan


def random_instances(count: int, seed: int, prices: int = 20, segments: int = 2):
    """Return sales that fall in price, values with a cost, and targets from infeasible to not binding."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.uniform(5, 20, (count, 1, prices)), axis=2)
    s = np.sort(rng.random((count, segments, prices)), axis=2)[:, :, ::-1] * rng.uniform(
        1, 1000, (count, segments, 1)
    )
    v = s * (grid - rng.uniform(0, 10, (count, 1, 1)))
    targets = rng.uniform(0, 1.2, count) * s.max(axis=2).sum(axis=1)
    return s, v, targets


@pytest.mark.parametrize("may_close", [False, True])
def test_hull_reaches_glops_objective(may_close: bool) -> None:
    s, v, targets = random_instances(80, seed=1 + may_close)
    for sales, values, target in zip(s.tolist(), v.tolist(), targets.tolist(), strict=True):
        plan = solve_one(sales, values, target, may_close=may_close)
        if plan.below_demand:
            with pytest.raises(NotOptimalError, match="INFEASIBLE"):
                solve_plan(sales, values, target)
            continue
        reference = solve_plan(sales, values, target, may_close=may_close)
        assert plan.value == pytest.approx(reference.value, rel=1e-9)
        assert plan.sales <= target * (1 + 1e-9)


@pytest.mark.parametrize("may_close", [False, True])
def test_solving_many_equals_solving_each(may_close: bool) -> None:
    s, v, targets = random_instances(300, seed=5)
    plans = solve_many(s, v, targets, may_close=may_close)
    for i in range(len(s)):
        plan = solve_one(s[i].tolist(), v[i].tolist(), float(targets[i]), may_close=may_close)
        assert plans.value[i] == pytest.approx(plan.value, rel=1e-12, abs=1e-9)
        assert plans.multiplier[i] == pytest.approx(plan.multiplier, rel=1e-9, abs=1e-12)
        assert bool(plans.below_demand[i]) == plan.below_demand
        np.testing.assert_allclose(plans.shares[i], plan.shares, atol=1e-9)


def test_at_most_one_segment_mixes_two_prices() -> None:
    s, v, targets = random_instances(200, seed=9, segments=3)
    plans = solve_many(s, v, targets)
    mixing = ((plans.shares > 1e-12).sum(axis=2) > 1).sum(axis=1)
    assert mixing.max() <= 1 and (plans.shares > 1e-12).sum(axis=2).max() <= 2
    np.testing.assert_allclose(plans.shares.sum(axis=2), 1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(-50, 200), st.integers(0, 50), st.integers(-50, 200)),
        min_size=1, max_size=6,
    ),
    st.integers(0, 120),
)  # fmt: skip
def test_hull_reaches_glops_objective_on_whole_numbers_with_ties(rows: list[tuple[int, ...]], target: int) -> None:
    sales = [[float(r[0]) for r in rows], [float(r[2]) for r in rows]]
    values = [[float(r[1]) for r in rows], [float(r[3]) for r in rows]]
    plan = solve_one(sales, values, float(target))
    if plan.below_demand:
        assert sum(min(row) for row in sales) > target
        return
    many = solve_many(np.array([sales]), np.array([values]), float(target))
    reference = solve_plan(sales, values, float(target))
    assert plan.value == pytest.approx(reference.value, rel=1e-7, abs=1e-6)
    assert float(many.value[0]) == pytest.approx(plan.value, rel=1e-12, abs=1e-9)


def test_multiplier_is_the_value_of_one_more_unit() -> None:
    s, v, targets = random_instances(50, seed=3)
    for sales, values, target in zip(s.tolist(), v.tolist(), targets.tolist(), strict=True):
        plan = solve_one(sales, values, target)
        more = solve_one(sales, values, target + 1e-6 * target)
        if not plan.below_demand and plan.multiplier:
            assert (more.value - plan.value) / (1e-6 * target) == pytest.approx(plan.multiplier, rel=1e-3)


def test_target_below_the_least_sales_quotes_the_prices_that_sell_least() -> None:
    plan = solve_one([[100.0, 50.0], [80.0, 60.0]], [[800.0, 500.0], [640.0, 600.0]], 100.0)
    assert plan.below_demand and plan.shares == [[0.0, 1.0], [0.0, 1.0]]


def test_lp_without_constraint_c_is_far_from_the_optimum() -> None:
    """The source prints the LP without (C): all shares go to the price of most value per unit."""
    sales = [[0.8, 0.6, 0.3, 0.1]]
    prices = [29.9, 34.9, 39.9, 44.9]
    values = [[s * p for s, p in zip(sales[0], prices, strict=True)]]
    best = solve_one(sales, values, 0.25, may_close=True)
    printed_share = min(1.0, 0.25 / 0.1)  # the share of P_max that can be quoted under (C)
    for target, share in ((0.25, 0.44), (0.5, 0.25)):
        optimum = solve_one(sales, values, target, may_close=True).value
        assert values[0][3] * printed_share / optimum == pytest.approx(share, abs=0.01)
    assert best.value == pytest.approx(10.10, abs=0.05)


def test_reference_market_has_its_known_optimum() -> None:
    sales = [[0.8, 0.6, 0.3, 0.1]]
    values = [[s * p for s, p in zip(sales[0], [29.9, 34.9, 39.9, 44.9], strict=True)]]
    assert solve_one(sales, values, 0.25, may_close=True).value == pytest.approx(10.10, abs=0.005)
    assert solve_one(sales, values, 0.5, may_close=True).value == pytest.approx(17.95, abs=0.005)


@pytest.mark.parametrize(("alpha", "published"), [(0.25, 98.49)])
def test_thompson_sampling_with_updates_earns_the_published_share(alpha: float, published: float) -> None:
    """Ferreira, Simchi-Levi, Wang 2018, TS-update, T = 500, quick form: 100 runs, ± 1 point."""
    prices, chance, horizon, runs = np.array([29.9, 34.9, 39.9, 44.9]), np.array([0.8, 0.6, 0.3, 0.1]), 500, 100
    rng = np.random.default_rng(0)
    left, wins, losses = np.full(runs, alpha * horizon), np.ones((runs, 4)), np.ones((runs, 4))
    earned, at = np.zeros(runs), np.arange(runs)
    for t in range(horizon):
        drawn = rng.beta(wins, losses)[:, None, :]
        shares = solve_many(drawn, drawn * prices, left / (horizon - t), may_close=True).shares[:, 0, :]
        pick = (rng.random(runs)[:, None] > np.cumsum(shares, axis=1)).sum(axis=1)
        open_ = (pick < 4) & (left > 0)
        price = np.minimum(pick, 3)
        sold = open_ & (rng.random(runs) < chance[price])
        earned += prices[price] * sold
        left -= sold
        np.add.at(wins, (at[open_], price[open_]), sold[open_])
        np.add.at(losses, (at[open_], price[open_]), ~sold[open_])
    optimum = solve_one([chance.tolist()], [(chance * prices).tolist()], alpha, may_close=True).value
    assert 100 * earned.mean() / (optimum * horizon) == pytest.approx(published, abs=1.0)


DEMANDS = {
    "linear": lambda p: np.array([8 - 1.5 * p[0], 9 - 3 * p[1]]),
    "exponential": lambda p: np.array([5 * np.exp(-0.5 * p[0]), 9 * np.exp(-p[1])]),
    "logit": lambda p: 10 * np.exp(-np.array(p)) / (1 + np.exp(-p[0]) + np.exp(-p[1])),
}


@pytest.mark.parametrize(
    ("capacity", "demand", "optimum"),
    [
        ((3, 5, 7), "linear", 6.667), ((3, 5, 7), "exponential", 4.599), ((3, 5, 7), "logit", 3.768),
        ((15, 12, 30), "linear", 9.750), ((15, 12, 30), "exponential", 6.045), ((15, 12, 30), "logit", 4.416),
    ],
)  # fmt: skip
def test_two_products_with_three_resources_have_their_known_optima(
    capacity: tuple[int, ...], demand: str, optimum: float
) -> None:
    vectors = [(1, 1.5), (1, 2), (2, 3), (4, 4), (4, 6.5)]
    use = np.array([[1, 1], [3, 1], [0, 5]])
    means = np.array([np.maximum(DEMANDS[demand](p), 0.0) for p in vectors])
    revenue = (means * np.array(vectors)).sum(axis=1)
    limits = np.vstack([use @ means.T, np.ones(len(vectors))])
    assert solve_lp(revenue, at_most=(limits, [*capacity, 1.0])).value == pytest.approx(optimum, abs=0.001)


def test_neighbours_of_chosen_prices_have_at_least_their_propensity() -> None:
    for shares in ([0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.4, 0.0, 0.6], [1.0]):
        q = keep_neighbours(shares, 0.02, 2)
        assert sum(q) == pytest.approx(1.0)
        chosen = [t for t, x in enumerate(shares) if x]
        for t, p in enumerate(q):
            near = any(abs(t - c) <= 2 for c in chosen)
            assert (p >= 0.02 - 1e-12) if near else p == 0.0


def test_mode_none_adds_no_price() -> None:
    assert explore([[0.5, 0.5]], "none", 0.02, 2) == [[0.5, 0.5]]


def test_farthest_allowed_prices_have_their_own_propensity() -> None:
    q = keep_neighbours([0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 0.02, 1, far=(0.04, 0.04))
    assert q == pytest.approx([0.04, 0.0, 0.02, 0.88, 0.02, 0.04])
    assert keep_neighbours([1.0], 0.02, 1, far=(0.04, 0.04)) == [1.0]


def test_propensities_that_sum_to_more_than_one_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot each keep"):
        keep_neighbours([1.0] * 11, 0.1, 5)
