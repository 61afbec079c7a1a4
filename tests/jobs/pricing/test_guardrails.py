"""Guardrails: the check suite over all of them, and each rule's own words."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.pricing.guardrails as rooms
from jobs.pricing.guardrails import (
    GUARDRAILS,
    Band,
    Case,
    Keeps,
    Kind,
    Meet,
    confidence,
    forward_buying,
    frozen,
    inputs,
    limits,
    margin,
    market,
    meet,
    pace,
)
from jobs.pricing.policy import Policy
from schemas.codes import Cause, GuardrailCode

POLICY = Policy()
MINUTE_MS = 60_000


def a_case(**changes: object) -> Case:
    """A listing at 10.00 that costs 6.00; rivals at 10.00."""
    base = Case(
        now_ms=10_000 * MINUTE_MS, cause=Cause.EVIDENCE, currency="USD", current_minor=1000, cost_minor=600,
        trusted_cost_minor=600, list_minor=1000, rivals_mean_minor=1000.0, candidate_minor=1050, confidence=0.9,
    )  # fmt: skip
    return replace(base, **changes)


def bands_of(case: Case, guardrails: tuple = GUARDRAILS) -> dict[GuardrailCode, Band]:
    return {b.code: b for b in (g.band(case, POLICY) for g in guardrails) if b is not None}


cases = st.builds(
    a_case,
    cause=st.sampled_from(list(Cause)),
    current_minor=st.one_of(st.none(), st.integers(1, 5000)),
    has_table=st.booleans(),
    cost_minor=st.one_of(st.none(), st.integers(-10, 3000)),
    trusted_cost_minor=st.one_of(st.none(), st.integers(1, 3000)),
    list_minor=st.one_of(st.none(), st.integers(-10, 5000)),
    floor_minor=st.one_of(st.none(), st.integers(0, 3000)),
    ceiling_minor=st.one_of(st.none(), st.integers(0, 6000)),
    rivals_mean_minor=st.one_of(st.none(), st.floats(1, 6000)),
    rivals_fresh=st.booleans(),
    surge_ban=st.one_of(st.none(), st.just("storm")),
    frozen=st.one_of(st.none(), st.just("frozen by ann")),
    last_change_ms=st.one_of(st.none(), st.integers(9_800 * MINUTE_MS, 10_000 * MINUTE_MS)),
    changes_today=st.integers(0, 12),
    approved_minor=st.one_of(st.none(), st.integers(1, 6000)),
    candidate_minor=st.one_of(st.none(), st.integers(1, 6000)),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    usual_minor=st.one_of(st.none(), st.floats(1, 6000)),
    bought=st.one_of(st.none(), st.tuples(*[st.integers(0, 400)] * 4)),
)


@settings(max_examples=80, deadline=None)
@given(cases, st.permutations(GUARDRAILS))
def test_order_cannot_matter_and_a_band_depends_on_the_case_alone(case: Case, shuffled: list) -> None:
    before = asdict(case)
    straight, other = bands_of(case), bands_of(case, tuple(shuffled))
    assert straight == other == bands_of(case)
    assert asdict(case) == before
    for kinds in ({Kind.HARD}, {Kind.HARD, Kind.PACE}):
        assert meet(b for b in straight.values() if b.kind in kinds) == meet(
            b for b in other.values() if b.kind in kinds
        )


@settings(max_examples=40, deadline=None)
@given(cases)
def test_what_does_not_need_the_candidate_does_not_read_it(case: Case) -> None:
    blind = replace(case, candidate_minor=None, confidence=None)
    for guardrail in GUARDRAILS:
        if not guardrail.needs_candidate:
            assert guardrail.band(case, POLICY) == guardrail.band(blind, POLICY)


def test_every_guardrail_stands_in_the_tuple_under_its_own_code() -> None:
    written = {
        cls
        for module in (confidence, forward_buying, frozen, inputs, limits, margin, market, pace)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and hasattr(cls, "band")
    }
    assert written == {type(g) for g in rooms.GUARDRAILS}
    codes = [g.code for g in GUARDRAILS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("cost", [None, 0, -5, float("nan"), float("inf")])
def test_a_missing_or_senseless_cost_holds(cost: float | None) -> None:
    band = bands_of(a_case(cost_minor=cost))[GuardrailCode.COST_MISSING]
    assert band.kind is Kind.HOLD and "cost" in band.detail


@pytest.mark.parametrize(("cost", "holds"), [(900, False), (901, True), (400, False), (399, True), (60, True)])
def test_a_cost_that_moves_by_more_than_half_at_once_holds(cost: int, holds: bool) -> None:
    assert (GuardrailCode.INPUT_INVALID in bands_of(a_case(cost_minor=cost))) is holds


@pytest.mark.parametrize(
    "change", [{"list_minor": None}, {"list_minor": 0}, {"list_minor": 2**63 - 1}, {"currency": "XXX"}]
)
def test_a_listing_without_list_price_or_currency_holds(change: dict) -> None:
    assert bands_of(a_case(**change))[GuardrailCode.INPUT_INVALID].kind is Kind.HOLD


def test_margin_names_the_least_price_that_would_pass() -> None:
    band = bands_of(a_case(cost_minor=901))[GuardrailCode.MIN_MARGIN]
    assert band.low == 1002 and (1002 - 901) / 1002 >= 0.10 > (1001 - 901) / 1001
    assert "10.02 USD" in band.detail


def test_a_candidate_above_twice_the_rivals_mean_is_capped_at_one_and_a_half() -> None:
    assert bands_of(a_case(candidate_minor=2000))[GuardrailCode.MARKET_CAP].high == 2000
    capped = bands_of(a_case(candidate_minor=2001))[GuardrailCode.MARKET_CAP]
    assert capped.high == 1500 and capped.alert


def test_an_approval_replaces_the_market_cap_and_says_so() -> None:
    band = bands_of(a_case(candidate_minor=2500, approved_minor=2500))[GuardrailCode.MARKET_CAP]
    assert band.high == 2500 and "approval" in band.detail


def test_stale_offers_move_nothing_but_cap_increases() -> None:
    case = a_case(rivals_fresh=False, rivals_mean_minor=1020.0, candidate_minor=5000)
    said = bands_of(case)
    assert said[GuardrailCode.STALE_OFFERS].high == 1020 and GuardrailCode.MARKET_CAP not in said
    assert bands_of(replace(case, rivals_mean_minor=800.0))[GuardrailCode.STALE_OFFERS].high == 1000


def test_a_blank_or_zero_limit_is_no_limit_and_never_zero() -> None:
    band = bands_of(a_case(floor_minor=0, ceiling_minor=None))[GuardrailCode.FLOOR_CEILING]
    assert band.low is None and band.high == 1500


def test_both_sides_of_the_catalogs_band_are_checked() -> None:
    band = bands_of(a_case(floor_minor=900, ceiling_minor=1100))[GuardrailCode.FLOOR_CEILING]
    assert (band.low, band.high) == (900, 1100)


def test_one_change_is_at_most_a_step_and_rounds_towards_safety() -> None:
    band = bands_of(a_case(current_minor=1005))[GuardrailCode.STEP_LIMIT]
    assert (band.low, band.high) == (905, 1105)


@pytest.mark.parametrize(("candidate", "asks"), [(1200, False), (1201, True), (800, False), (799, True)])
def test_a_far_candidate_asks_for_approval_and_moves_one_step(candidate: int, asks: bool) -> None:
    said = bands_of(a_case(candidate_minor=candidate))
    assert (GuardrailCode.APPROVAL in said) is asks
    if asks:
        assert (said[GuardrailCode.APPROVAL].low, said[GuardrailCode.APPROVAL].high) == (900, 1100)


def test_changes_keep_their_distance_and_their_number() -> None:
    gap = bands_of(a_case(last_change_ms=(10_000 - 59) * MINUTE_MS))[GuardrailCode.MIN_GAP]
    assert gap.keeps is Keeps.TABLE and gap.until_ms == 10_001 * MINUTE_MS
    assert GuardrailCode.MIN_GAP not in bands_of(a_case(last_change_ms=(10_000 - 60) * MINUTE_MS))
    assert bands_of(a_case(changes_today=8))[GuardrailCode.MAX_CHANGES].keeps is Keeps.TABLE


def test_low_confidence_pins_main_prices_but_not_a_cold_start() -> None:
    assert bands_of(a_case(confidence=0.49))[GuardrailCode.LOW_CONFIDENCE].keeps is Keeps.MAIN
    assert GuardrailCode.LOW_CONFIDENCE not in bands_of(a_case(confidence=0.1, cause=Cause.COLD_START))
    assert GuardrailCode.LOW_CONFIDENCE not in bands_of(a_case(confidence=None))


def test_settling_leaves_pace_aside() -> None:
    case = a_case(
        cause=Cause.SETTLE,
        candidate_minor=1400,
        confidence=0.1,
        changes_today=99,
        last_change_ms=10_000 * MINUTE_MS,
    )
    assert not [b for b in bands_of(case).values() if b.kind is Kind.PACE]


@pytest.mark.parametrize(
    ("bought", "keeps"),
    [
        ((4, 12, 100, 120), Keeps.CHOICE),  # too few to know: a deal is shown to few
        ((5, 16, 100, 120), Keeps.TABLE_PRICES),  # three units an order: bought ahead
        ((40, 50, 400, 480), None),  # as many as ever: a deal is only a price
    ],
)
def test_deals_that_are_bought_ahead_are_ended(bought: tuple, keeps: Keeps | None) -> None:
    band = bands_of(a_case(usual_minor=1100.0, bought=bought)).get(GuardrailCode.FORWARD_BUYING)
    assert (band and band.keeps) == keeps
    assert band is None or (band.low, band.high) == (1056, None)


def test_an_emergency_bans_increases_and_a_freeze_holds() -> None:
    assert bands_of(a_case(surge_ban="storm"))[GuardrailCode.SURGE_BAN].high == 1000
    assert bands_of(a_case(frozen="frozen by ann"))[GuardrailCode.FROZEN].kind is Kind.HOLD


def test_a_meet_is_empty_exactly_when_no_price_is_in_all_bands() -> None:
    ends = [None, 90, 100, 110]
    for (l1, h1), (l2, h2) in itertools.product(itertools.product(ends, repeat=2), repeat=2):
        pair = [Band(GuardrailCode.MIN_MARGIN, Kind.HARD, "", *lh) for lh in ((l1, h1), (l2, h2))]
        got = meet(pair)
        inside = [p for p in range(1, 130) if all((b.low or 1) <= p <= (b.high or 999) for b in pair)]
        assert got.empty is not bool(inside)
        assert [p for p in range(1, 130) if p in got] == inside
    assert Meet(5, 9).nearest(12) == 9


def test_deals_are_believed_to_be_bought_ahead_from_the_least_z_on() -> None:
    bought = (5, 16, 100, 120)
    least_z = forward_buying.Bought(*bought).z
    policy = Policy.from_dict({"forward_buying": {"least_z": least_z}})
    assert forward_buying.is_bought_ahead(900, 1000.0, bought, policy)
