"""reprice: what is published lies in the meet, is recomputed from its record, and explains itself."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs.pricing.decision.record import InputsError, Result

from jobs.audit.recompute import same_bytes
from jobs.pricing.decision.reprice import recompute, recompute_without_offer, reprice
from jobs.pricing.guardrails import GUARDRAILS
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode, OutcomeCode
from schemas.price_table import FULL
from tests.jobs.pricing.pricing_builders import START_MS, a_current, a_record, an_offer_row, counts, some_inputs

HOUR_MS = 3_600_000


def prices_of(result: Result) -> set[int]:
    return {p for price_list in (result.table or {}).values() for p in price_list.prices}


AHEAD, FEW, AS_EVER = (40, 120, 400, 480), (0, 0, 400, 480), (40, 48, 400, 480)
"""Orders and units at deals and otherwise: bought ahead, not known, nothing special."""


def a_dear_listing(bought: tuple[int, ...], shown: int = 2000) -> Result:
    """One whose best price lies far below the 20.00 that its shoppers are used to."""
    steep = {"mean": -9.0, "sd": 0.05}
    return reprice(some_inputs(current=a_current(shown), elasticity=steep, usual_minor=2000.0, bought=bought))


def test_a_deal_is_shown_to_few_until_it_is_known_whether_it_is_bought_ahead() -> None:
    free, unknown, ahead = (a_dear_listing(bought) for bought in (AS_EVER, FEW, AHEAD))
    assert free.default_minor is not None and free.default_minor < 1900
    assert unknown.default_minor is not None and unknown.default_minor >= 1920
    assert min(prices_of(unknown)) < 1900 <= 1920 <= min(prices_of(ahead))


def test_a_deal_that_is_bought_ahead_ends_whatever_gain_is_believed_in_it() -> None:
    lower = a_dear_listing(AS_EVER, shown=1800).default_minor
    assert lower is not None and lower < 1800
    ended = a_dear_listing(AHEAD, shown=1800)
    assert ended.outcome is OutcomeCode.PUBLISHED and min(prices_of(ended)) >= 1920


worlds = st.fixed_dictionaries(
    {
        "catalog_cost_minor": st.integers(200, 2600),
        "catalog_floor_minor": st.one_of(st.none(), st.integers(0, 2500)),
        "catalog_ceiling_minor": st.one_of(st.none(), st.integers(1500, 4000)),
        "offers": st.lists(
            st.builds(an_offer_row, st.integers(100, 4000), st.integers(START_MS - 50 * HOUR_MS, START_MS)),
            max_size=1,
        ),
        "current": st.one_of(st.none(), st.builds(a_current, st.integers(900, 3500))),
        "elasticity": st.fixed_dictionaries({"mean": st.floats(-6, -0.3), "sd": st.floats(0.02, 1.0)}),
        "requests": st.floats(0, 10_000),
        "cause": st.sampled_from(["EVIDENCE", "RIVAL_MOVED", "COST_CHANGED", "SETTLE", "CONTINUED"]),
        "target_units": st.one_of(st.none(), st.floats(0, 100)),
        "approved_minor": st.one_of(st.none(), st.none(), st.integers(500, 4000)),
        "usual_minor": st.one_of(st.none(), st.floats(900, 3500)),
        "bought": st.sampled_from([None, FEW, AHEAD, AS_EVER]),
    }
)


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_every_published_price_lies_in_the_hard_bands_and_within_a_step_unless_hard_limits_force_it(
    world: dict[str, Any],
) -> None:
    world = dict(world)
    if world["current"] is None:
        world["cause"] = "COLD_START"
    inputs = some_inputs(**world)
    kept = copy.deepcopy(inputs)
    result = reprice(inputs)
    assert inputs == kept, "the input is untouched"
    if result.table is None:
        return
    prices = prices_of(result)
    assert result.hard is not None and all(p in result.hard for p in prices)
    if result.outcome is not OutcomeCode.HARD_OVER_PACE:
        assert result.allowed is not None and all(p in result.allowed for p in prices)
        if inputs["cause"] != "SETTLE" and inputs["approved_minor"] is None:
            now = inputs["current"]["default_minor"] if inputs["current"] else inputs["catalog"]["list_minor"]
            assert all(0.9 * now - 1e-6 <= p <= 1.1 * now + 1e-6 for p in prices)
    for price_list in result.table.values():
        widths = [c - b for b, c in zip((-1, *price_list.cumulative[:-1]), price_list.cumulative, strict=True)]
        assert min(widths) / (FULL + 1) >= 0.02 - 1e-8 or len(widths) == 1


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_a_decision_is_recomputed_bit_for_bit_from_its_record(world: dict[str, Any]) -> None:
    record = a_record(some_inputs(**world))
    assert recompute(record) == record["result"]
    assert orjson.dumps(recompute(record)) == orjson.dumps(record["result"])
    assert recompute_without_offer(record) == recompute({**record, "inputs": {**record["inputs"], "offers": []}})


SNAPSHOTS = Path(__file__).parents[3] / "golden" / "snapshots"
BEFORE_0042 = orjson.loads((SNAPSHOTS / "decisions_before_0042.json").read_bytes())


@pytest.mark.parametrize("record", BEFORE_0042, ids=lambda record: record["decision_id"])
def test_decision_written_before_0042_recomputes_bit_for_bit(record: dict[str, Any]) -> None:
    assert same_bytes(recompute(record), record["result"])


@settings(max_examples=25, deadline=None)
@given(worlds, st.permutations(GUARDRAILS))
def test_the_order_of_guardrails_changes_no_price(world: dict[str, Any], shuffled: list) -> None:
    inputs = some_inputs(**world)
    one, other = reprice(inputs), reprice(inputs, guardrails=tuple(shuffled))
    assert (one.table, one.outcome, one.hard, one.allowed) == (
        other.table,
        other.outcome,
        other.hard,
        other.allowed,
    )


def test_inputs_of_another_version_are_refused_by_name() -> None:
    with pytest.raises(InputsError, match=r"inputs.v: expected 1, got 7"):
        reprice(some_inputs() | {"v": 7})


def test_a_price_too_low_for_demand_rises_a_step_and_goes_on() -> None:
    inputs = some_inputs(elasticity={"mean": -1.8, "sd": 0.1}, current=a_current(2099), catalog_list_minor=2199)
    result = reprice(inputs)
    assert result.outcome is OutcomeCode.PUBLISHED and result.default_minor is not None
    assert 2099 < result.default_minor <= 2099 * 1.1
    assert result.gain is not None and result.gain.mean > 0 and result.gain.confidence > 0.6


def test_within_twenty_per_cent_a_stepped_change_plans_to_continue() -> None:
    new = {"share": 1 / 3, "units_per_order": 1.0, "counts": counts()}
    segments = dict.fromkeys(("all", "myopic", "strategic"), new)
    inputs = some_inputs(
        elasticity={"mean": -2.2, "sd": 0.05}, current=a_current(1899), offers=[], segments=segments
    )
    result = reprice(inputs)
    assert result.candidate_minor is not None and 1.1 < result.candidate_minor / 1899 <= 1.2
    assert result.outcome is OutcomeCode.PUBLISHED and result.approval_until_ms is None
    assert result.continue_at_ms == START_MS + HOUR_MS


def test_a_candidate_far_away_publishes_one_step_and_an_approval_lets_it_jump() -> None:
    inputs = some_inputs(elasticity={"mean": -1.5, "sd": 0.05}, offers=[])
    result = reprice(inputs)
    assert result.approval_until_ms is not None and result.default_minor <= 1999 * 1.1
    assert result.continue_at_ms is None
    approved = reprice(some_inputs(approved_minor=result.candidate_minor))
    assert approved.default_minor == result.candidate_minor


def test_a_cost_rise_of_thirty_per_cent_goes_over_pace_at_once() -> None:
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
def test_a_cost_that_moves_by_more_than_half_holds_until_confirmed(factor: float) -> None:
    cost = round(1200 * factor)
    held = reprice(some_inputs(catalog_cost_minor=cost))
    assert held.outcome in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE) and held.table is None and held.alert
    confirmed = reprice(some_inputs(catalog_cost_minor=cost, catalog_trusted_cost_minor=cost))
    assert GuardrailCode.INPUT_INVALID not in [b.code for b in confirmed.bands]


@pytest.mark.parametrize("factor", [0.67, 0.7, 1.3, 1.5])
def test_a_cost_within_half_is_acted_on(factor: float) -> None:
    cost = round(1200 * factor)
    result = reprice(some_inputs(catalog_cost_minor=cost, cause="COST_CHANGED"))
    assert result.outcome not in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE)
    shown = prices_of(result) or {1999}
    assert all((p - cost) / p >= 0.10 for p in shown)


def test_hard_bands_that_do_not_meet_hold_and_call_people() -> None:
    result = reprice(some_inputs(catalog_ceiling_minor=1300))
    assert result.outcome is OutcomeCode.UNPRICEABLE and result.alert and result.table is None
    assert {GuardrailCode.MIN_MARGIN, GuardrailCode.FLOOR_CEILING} <= {b.code for b in result.bands}


def test_a_frozen_price_outside_the_hard_bands_is_flagged() -> None:
    assert reprice(some_inputs(frozen="frozen by ann")).outcome is OutcomeCode.HELD
    flagged = reprice(some_inputs(frozen="frozen by ann", catalog_ceiling_minor=1800))
    assert flagged.outcome is OutcomeCode.UNPRICEABLE and flagged.table is None


SCARCE = {"cause": "SETTLE", "rival_elasticity": {"mean": 1.5, "sd": 0.1}, "target_units": 30.0}


def test_a_rival_who_goes_down_moves_the_optimum_where_stock_is_scarce() -> None:
    """Without a limit a scaled curve has the same optimum: there only caps and roles follow a rival."""
    with_rival = reprice(some_inputs(**SCARCE, offers=[an_offer_row(1700, START_MS - 1)]))
    without = reprice(some_inputs(**SCARCE, offers=[]))
    assert with_rival.default_minor < without.default_minor


def test_a_stale_offer_moves_no_price() -> None:
    stale = reprice(some_inputs(**SCARCE, offers=[an_offer_row(1400, START_MS - 25 * HOUR_MS)]))
    without = reprice(some_inputs(**SCARCE, offers=[]))
    assert stale.table == without.table
    assert stale.reference is not None and not stale.reference.fresh


@pytest.mark.parametrize(
    ("role", "ratio"), [("kvi", 1.0), ("traffic", 1.05), ("margin", 1.25), ("long_tail", 9.9)]
)
def test_a_role_says_how_closely_rivals_are_followed(role: str, ratio: float) -> None:
    world = {
        "catalog_role": role,
        "offers": [an_offer_row(1500, START_MS - 1)],
        "elasticity": {"mean": -1.9, "sd": 0.1},
    }
    settled = reprice(some_inputs(cause="SETTLE", **world))
    assert max(prices_of(settled)) <= 1500 * ratio
    step = reprice(some_inputs(cause="RIVAL_MOVED", **world))
    if role in ("kvi", "traffic"):
        assert step.default_minor < 1999 and min(prices_of(step)) >= 1999 * 0.9, "a step at a time"
        assert step.default_minor > 1500 * ratio and (step.continue_at_ms or step.approval_until_ms)


PREMIUM = {"catalog_list_minor": 3000, "catalog_cost_minor": 1800, "catalog_trusted_cost_minor": 1800,
           "current": a_current(3000), "catalog_role": "long_tail"}  # fmt: skip


def test_premium_item_at_three_times_the_reference_is_priceable() -> None:
    result = reprice(some_inputs(**PREMIUM, offers=[an_offer_row(1000, START_MS - 1, kind="reference")]))
    assert result.outcome is not OutcomeCode.UNPRICEABLE
    assert GuardrailCode.MARKET_CAP not in {band.code for band in result.bands}


def test_premium_item_at_three_times_a_rival_is_capped() -> None:
    result = reprice(some_inputs(**PREMIUM, offers=[an_offer_row(1000, START_MS - 1)]))
    [cap] = [band for band in result.bands if band.code is GuardrailCode.MARKET_CAP]
    assert result.outcome is OutcomeCode.UNPRICEABLE and cap.high == 1500


def test_cap_counts_the_rivals_alone() -> None:
    offers = [an_offer_row(1900, START_MS - 1), an_offer_row(300, START_MS - 1, "shelf", "reference")]
    [cap] = [b for b in reprice(some_inputs(offers=offers)).bands if b.code is GuardrailCode.MARKET_CAP]
    assert cap.high == 3800


def test_reference_price_moves_the_optimum_as_a_rival_does() -> None:
    tables = [
        reprice(some_inputs(**SCARCE, catalog_role="long_tail", offers=offers)).table
        for offers in (
            [an_offer_row(1700, START_MS - 1, kind="reference")], [an_offer_row(1700, START_MS - 1)], [],
        )
    ]  # fmt: skip
    assert tables[0] == tables[1] != tables[2]


def test_reference_price_is_carried_by_the_quotes() -> None:
    result = reprice(some_inputs(offers=[an_offer_row(1700, START_MS - 1, kind="reference")]))
    assert result.reference is not None and result.reference.reference_minor == 1700


def test_listing_of_a_following_role_does_not_follow_a_reference() -> None:
    offers = [an_offer_row(1500, START_MS - 1, kind="reference")]
    assert reprice(some_inputs(catalog_role="kvi", offers=offers)).follow_minor is None


def test_first_price_is_not_met_with_a_reference() -> None:
    offers = [an_offer_row(1500, START_MS - 1, kind="reference")]
    assert reprice(some_inputs(cause="COLD_START", current=None, offers=offers)).candidate_minor == 1999


def test_stale_reference_caps_no_increase() -> None:
    offers = [an_offer_row(1500, START_MS - 30 * HOUR_MS, kind="reference")]
    assert GuardrailCode.STALE_OFFERS not in {band.code for band in reprice(some_inputs(offers=offers)).bands}


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
    assert GuardrailCode.LOW_CONFIDENCE in {b.code for b in result.bands}
    assert result.table is not None and all(pl.default == 1999 for pl in result.table.values())
    assert all(len(pl.prices) > 1 for pl in result.table.values()), "exploration is exempt"


def test_the_same_again_is_not_published() -> None:
    first = reprice(some_inputs(cause="SETTLE"))
    assert first.table is not None
    again = some_inputs(
        cause="SETTLE",
        current=a_current(first.default_minor, segments=first.to_record()["table"]),
    )
    assert reprice(again).outcome is OutcomeCode.UNCHANGED and reprice(again).table is None


def test_too_little_to_sell_quotes_the_dearest_allowed_and_says_so() -> None:
    result = reprice(some_inputs(target_units=1.0, target_from="stock"))
    assert result.below_demand and result.multiplier > 0
    assert result.outcome is OutcomeCode.TARGET_BELOW_DEMAND


def test_the_farthest_prices_are_shown_until_the_elasticity_is_known() -> None:
    shown = {}
    for sd in (0.5, 0.05):
        result = reprice(some_inputs(elasticity={"mean": -2.5, "sd": sd}))
        assert result.table is not None
        prices = result.table["all"].prices
        shown[sd] = prices[-1] / prices[0]
    assert shown[0.5] > 1.15 > shown[0.05] > 1.0


@pytest.mark.parametrize("mode", ["bounded", "thompson", "none"])
def test_every_mode_of_exploration_is_deterministic(mode: str) -> None:
    policy = Policy.from_dict({"exploration": {"mode": mode}})
    one, two = (reprice(some_inputs(policy, cause="SETTLE")).to_record() for _ in range(2))
    assert one == two
    other_seed = reprice(some_inputs(policy, cause="SETTLE", seed=2)).to_record()
    assert (other_seed["table"] == one["table"]) or mode == "thompson"


def test_one_price_for_all_where_the_law_asks_it() -> None:
    policy = Policy.from_dict({"segments": {"uniform": True}})
    result = reprice(some_inputs(policy, cause="SETTLE"))
    assert result.table is not None and list(result.table) == ["all"]


class TestIncidents:
    """What went wrong elsewhere replays harmlessly (science § 8)."""

    def test_all_prices_to_one_cent(self) -> None:
        """A blank minimum (2012), one hour at 0.01 (2014)."""
        for floor in (None, 0):
            inputs = some_inputs(catalog_floor_minor=floor, approved_minor=1)
            result = reprice(inputs)
            assert all((p - 1200) / p >= 0.10 for p in prices_of(result) or {1999})
        broken = reprice(some_inputs(catalog_cost_minor=None))
        assert broken.outcome is not OutcomeCode.PUBLISHED and broken.table is None

    def test_two_sellers_multiplying_each_others_price(self) -> None:
        """.9983 and 1.270589 took a book to 23.7 million (2011)."""
        ours, rival, at_ms = 1999, 1999.0, START_MS
        for _day in range(60):
            at_ms += 24 * HOUR_MS
            rival = ours * 1.270589
            inputs = some_inputs(
                at_ms=at_ms, current=a_current(ours), elasticity={"mean": -1.01, "sd": 0.02}, cause="RIVAL_MOVED",
                offers=[an_offer_row(round(rival), at_ms - 1)], rival_elasticity={"mean": 3.0, "sd": 0.1},
            )  # fmt: skip
            ours = reprice(inputs).default_minor or ours
        assert ours <= 1999 * 1.5, f"stopped by the ceiling, got {ours}"

    def test_a_currency_rate_ten_times_too_low(self) -> None:
        """Costs and rivals suddenly a tenth (2015): held, nothing given away."""
        result = reprice(some_inputs(catalog_cost_minor=120, offers=[an_offer_row(190, START_MS - 1)]))
        assert result.table is None and result.alert

    def test_rivals_alone_ten_times_too_low(self) -> None:
        result = reprice(some_inputs(offers=[an_offer_row(190, START_MS - 1)]))
        assert result.outcome is OutcomeCode.UNPRICEABLE and result.table is None

    def test_all_capped_at_one_price(self) -> None:
        """A ceiling set to one number for every listing (2010): what cannot live under it is held."""
        assert reprice(some_inputs(catalog_ceiling_minor=100)).table is None

    def test_a_low_side_check_alone_lets_nothing_run_away_upwards(self) -> None:
        result = reprice(some_inputs(catalog_floor_minor=1500, approved_minor=10_000_000))
        assert max(prices_of(result)) <= math.floor(1999 * 1.5)
