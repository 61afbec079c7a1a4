"""reprice: outcomes, steps, deals, costs, approvals, exploration and targets by example."""

from __future__ import annotations

import pytest

from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record
from jobs.pricing.policy import Policy
from schemas.codes import OutcomeCode
from schemas.price_table import FULL
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_current,
    counts,
    prices_of,
    some_inputs,
)

HOUR_MS = 3_600_000


BOUGHT_AHEAD, TOO_FEW, AS_USUAL = (40, 120, 400, 480), (0, 0, 400, 480), (40, 48, 400, 480)
"""Orders and units at deals, and at all other prices."""


def an_overpriced_listing(bought: tuple[int, ...], shown: int = 2000) -> PricingDecision:
    """Return the decision on a listing whose best price lies far below its usual price of 20.00."""
    steep = {"mean": -9.0, "sd": 0.05}
    return reprice(some_inputs(current=a_current(shown), elasticity=steep, usual_minor=2000.0, bought=bought))


def test_deal_becomes_the_main_price_where_deals_are_not_bought_ahead() -> None:
    free = an_overpriced_listing(AS_USUAL)
    assert free.default_minor is not None and free.default_minor < 1900


def test_deal_is_only_explored_until_enough_orders_at_deals_are_counted() -> None:
    unknown = an_overpriced_listing(TOO_FEW)
    assert unknown.default_minor is not None and unknown.default_minor >= 1920
    assert min(prices_of(unknown)) < 1900


def test_no_price_is_a_deal_where_deals_are_bought_ahead() -> None:
    assert min(prices_of(an_overpriced_listing(BOUGHT_AHEAD))) >= 1920


def test_deal_that_is_bought_ahead_ends_whatever_its_expected_gain() -> None:
    lower = an_overpriced_listing(AS_USUAL, shown=1800).default_minor
    assert lower is not None and lower < 1800
    ended = an_overpriced_listing(BOUGHT_AHEAD, shown=1800)
    assert ended.outcome is OutcomeCode.PUBLISHED and min(prices_of(ended)) >= 1920


def test_price_too_low_for_demand_rises_by_one_step() -> None:
    inputs = some_inputs(elasticity={"mean": -1.8, "sd": 0.1}, current=a_current(2099), catalog_list_minor=2199)
    result = reprice(inputs)
    assert result.outcome is OutcomeCode.PUBLISHED and result.default_minor is not None
    assert 2099 < result.default_minor <= 2099 * 1.1
    assert result.gain is not None and result.gain.mean > 0 and result.gain.confidence > 0.6


def test_change_within_twenty_per_cent_continues_after_the_minimum_gap() -> None:
    new = {"share": 1 / 3, "units_per_order": 1.0, "counts": counts()}
    segments = dict.fromkeys(("all", "myopic", "strategic"), new)
    inputs = some_inputs(
        elasticity={"mean": -2.2, "sd": 0.05}, current=a_current(1899), offers=[], segments=segments
    )
    result = reprice(inputs)
    assert result.candidate_minor is not None and 1.1 < result.candidate_minor / 1899 <= 1.2
    assert result.outcome is OutcomeCode.PUBLISHED and result.approval_until_ms is None
    assert result.continue_at_ms == START_MS + HOUR_MS


FAR = {"elasticity": {"mean": -1.5, "sd": 0.05}, "offers": []}
"""The best price is more than a fifth above the current one."""


def test_candidate_beyond_twenty_per_cent_publishes_one_step_and_requests_an_approval() -> None:
    result = reprice(some_inputs(**FAR))
    assert result.approval_until_ms is not None and result.default_minor <= 1999 * 1.1
    assert result.continue_at_ms is None


def test_approved_candidate_is_published_in_one_step() -> None:
    result = reprice(some_inputs(**FAR))
    approved = reprice(some_inputs(approved_minor=result.candidate_minor))
    assert approved.default_minor == result.candidate_minor


def test_cost_rise_of_thirty_per_cent_overrides_pace_limits() -> None:
    current = a_current(1500, last_change_ms=START_MS - 60_000, changes_today=99)
    result = reprice(
        some_inputs(
            current=current, catalog_cost_minor=1560, catalog_trusted_cost_minor=1560, cause="COST_CHANGED"
        )
    )
    assert result.outcome is OutcomeCode.HARD_OVER_PACE and result.alert
    assert result.default_minor is not None and (result.default_minor - 1560) / result.default_minor >= 0.10
    assert result.default_minor <= 1560 / 0.9 + 60, "the nearest hard-legal price on the grid"


@pytest.mark.parametrize("factor", [0.66, 1.51])
def test_cost_that_moves_by_more_than_half_holds_until_confirmed(factor: float) -> None:
    cost = round(1200 * factor)
    held = reprice(some_inputs(catalog_cost_minor=cost))
    assert held.outcome in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE) and held.table is None and held.alert
    confirmed = reprice(some_inputs(catalog_cost_minor=cost, catalog_trusted_cost_minor=cost))
    assert "INPUT_INVALID" not in [b.code for b in confirmed.bands]


@pytest.mark.parametrize("factor", [0.67, 0.7, 1.3, 1.5])
def test_cost_that_moves_by_at_most_half_changes_prices(factor: float) -> None:
    cost = round(1200 * factor)
    result = reprice(some_inputs(catalog_cost_minor=cost, cause="COST_CHANGED"))
    assert result.outcome not in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE)
    shown = prices_of(result) or {1999}
    assert all((p - cost) / p >= 0.10 for p in shown)


def test_hard_bands_without_a_common_price_hold_and_send_a_notification() -> None:
    result = reprice(some_inputs(catalog_ceiling_minor=1300))
    assert result.outcome is OutcomeCode.UNPRICEABLE and result.alert and result.table is None
    assert {"MIN_MARGIN", "FLOOR_CEILING"} <= {b.code for b in result.bands}


def test_frozen_price_within_the_hard_bands_is_held() -> None:
    assert reprice(some_inputs(frozen="frozen by ann")).outcome is OutcomeCode.HELD


def test_frozen_price_outside_the_hard_bands_is_unpriceable() -> None:
    flagged = reprice(some_inputs(frozen="frozen by ann", catalog_ceiling_minor=1800))
    assert flagged.outcome is OutcomeCode.UNPRICEABLE and flagged.table is None


def test_settling_does_not_depend_on_the_path() -> None:
    paths = [
        a_current(1999),
        a_current(1777, last_change_ms=START_MS - 1, changes_today=50),
        a_current(2345, segments={"all": {"p": [2300, 2345], "c": [FULL // 4, FULL]}}),
    ]
    tables = [reprice(some_inputs(cause="SETTLE", current=current)).table for current in paths]
    first = tables[0]
    assert first is not None and all(table == first for table in tables)


def test_low_confidence_holds_the_main_price_and_sends_it_to_review() -> None:
    seen = counts((1899, 300, 18), (1949, 500, 27), (1999, 2000, 100))
    thin = {
        "all": {"share": 0.2, "units_per_order": 1.0, "counts": seen},
        "myopic": {"share": 0.4, "units_per_order": 1.0, "counts": seen},
        "strategic": {"share": 0.4, "units_per_order": 1.0, "counts": counts()},
    }
    careful = Policy(limits={"min_confidence": 0.6})
    result = reprice(some_inputs(careful, segments=thin, elasticity={"mean": -2.7, "sd": 0.5}))
    assert result.outcome is OutcomeCode.HELD and result.review
    assert "LOW_CONFIDENCE" in {b.code for b in result.bands}
    assert result.table is not None and all(pl.default == 1999 for pl in result.table.values())
    assert all(len(pl.prices) > 1 for pl in result.table.values()), "exploration is exempt"


def test_table_equal_to_the_current_one_is_not_published() -> None:
    first = reprice(some_inputs(cause="SETTLE"))
    assert first.table is not None
    again = some_inputs(
        cause="SETTLE",
        current=a_current(first.default_minor, segments=decision_record(first)["table"]),
    )
    assert reprice(again).outcome is OutcomeCode.UNCHANGED and reprice(again).table is None


def test_target_below_the_least_sales_is_reported_with_its_shadow_price() -> None:
    result = reprice(some_inputs(target_units=1.0, target_from="stock"))
    assert result.below_demand and result.multiplier > 0
    assert result.outcome is OutcomeCode.TARGET_BELOW_DEMAND


def test_farthest_prices_are_explored_until_the_elasticity_is_known() -> None:
    shown = {}
    for sd in (0.9, 0.05):
        policy = Policy.from_dict({"exploration": {"far_budget": 0.0}})
        result = reprice(some_inputs(policy, elasticity={"mean": -2.5, "sd": sd}))
        assert result.table is not None
        prices = result.table["all"].prices
        shown[sd] = prices[-1] / prices[0]
    assert shown[0.9] > 1.15 > shown[0.05] > 1.0


@pytest.mark.parametrize("mode", ["bounded", "thompson", "none"])
def test_every_mode_of_exploration_is_deterministic(mode: str) -> None:
    policy = Policy.from_dict({"exploration": {"mode": mode}})
    one, two = (decision_record(reprice(some_inputs(policy, cause="SETTLE"))) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("mode", ["bounded", "none"])
def test_seed_is_read_by_thompson_sampling_alone(mode: str) -> None:
    policy = Policy.from_dict({"exploration": {"mode": mode}})
    one, other = (reprice(some_inputs(policy, cause="SETTLE", seed=seed)) for seed in (1, 2))
    assert one.table == other.table


def test_uniform_policy_publishes_one_price_list_for_all_segments() -> None:
    policy = Policy.from_dict({"segments": {"uniform": True}})
    result = reprice(some_inputs(policy, cause="SETTLE"))
    assert result.table is not None and list(result.table) == ["all"]
