"""Guardrails: the band that each rule returns, and the intersection of bands."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from features.books.sale_probability import PointCounts
from jobs.pricing.decision.inputs import DealCounts, Experience
from jobs.pricing.guardrails import AllowedPrices, Band, Kind, Pin, forward_buying, intersect
from jobs.pricing.guardrails.extrapolation import step_result
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from tests.jobs.pricing.guardrail_builders import AT_MS, MINUTE_MS, a_context, bands_of

# -- inputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [None, 0, -5, float("nan"), float("inf")])
def test_missing_or_unusable_cost_holds(cost: float | None) -> None:
    band = bands_of(a_context(cost_minor=cost))["COST_MISSING"]
    assert band.kind is Kind.HOLD and "cost" in band.detail


@pytest.mark.parametrize(("cost", "holds"), [(900, False), (901, True), (400, False), (399, True), (60, True)])
def test_cost_that_moves_by_more_than_half_at_once_holds(cost: int, holds: bool) -> None:
    assert ("INPUT_INVALID" in bands_of(a_context(cost_minor=cost))) is holds


@pytest.mark.parametrize(
    "change", [{"list_minor": None}, {"list_minor": 0}, {"list_minor": 2**63 - 1}, {"currency": "XXX"}]
)
def test_listing_without_a_usable_list_price_or_currency_holds(change: dict[str, Any]) -> None:
    assert bands_of(a_context(**change))["INPUT_INVALID"].kind is Kind.HOLD


def test_freeze_holds() -> None:
    assert bands_of(a_context(frozen="frozen by ann"))["FROZEN"].kind is Kind.HOLD


# -- hard bands ---------------------------------------------------------------------------------


def test_margin_band_names_its_least_price() -> None:
    band = bands_of(a_context(cost_minor=901))["MIN_MARGIN"]
    assert band.low == 1002 and (1002 - 901) / 1002 >= 0.10 > (1001 - 901) / 1001
    assert "10.02 USD" in band.detail


def test_candidate_at_twice_the_rivals_mean_is_not_capped() -> None:
    assert bands_of(a_context(candidate_minor=2000))["MARKET_CAP"].high == 2000


def test_candidate_above_twice_the_rivals_mean_is_capped_at_one_and_a_half() -> None:
    capped = bands_of(a_context(candidate_minor=2001))["MARKET_CAP"]
    assert capped.high == 1500 and capped.alert


def test_approval_replaces_the_market_cap_in_band_and_detail() -> None:
    band = bands_of(a_context(candidate_minor=2500, approved_minor=2500))["MARKET_CAP"]
    assert band.high == 2500 and "approval" in band.detail


def test_blank_or_zero_floor_is_no_limit() -> None:
    band = bands_of(a_context(floor_minor=0, ceiling_minor=None))["FLOOR_CEILING"]
    assert band.low is None and band.high == 1500


def test_catalogs_band_has_both_ends() -> None:
    band = bands_of(a_context(floor_minor=900, ceiling_minor=1100))["FLOOR_CEILING"]
    assert (band.low, band.high) == (900, 1100)


def test_first_price_without_list_price_keeps_the_floor() -> None:
    first = a_context(
        floor_minor=2500, ceiling_minor=None, list_minor=None, current_minor=None, cause=Cause.COLD_START,
        experience=Experience(),
    )  # fmt: skip
    band = bands_of(first)["FLOOR_CEILING"]
    assert (band.low, band.high) == (2500, None)


def test_emergency_bans_increases() -> None:
    assert bands_of(a_context(surge_ban="storm"))["SURGE_BAN"].high == 1000


# -- pace bands ---------------------------------------------------------------------------------


def test_stale_offers_cap_increases_at_their_mean() -> None:
    bands = bands_of(a_context(rivals_fresh=False, rivals_mean_minor=1020.0, candidate_minor=5000))
    assert bands["STALE_OFFERS"].high == 1020 and "MARKET_CAP" not in bands


def test_stale_offers_below_the_current_price_do_not_lower_it() -> None:
    bands = bands_of(a_context(rivals_fresh=False, rivals_mean_minor=800.0, candidate_minor=5000))
    assert bands["STALE_OFFERS"].high == 1000


def test_step_limit_rounds_towards_the_current_price() -> None:
    band = bands_of(a_context(current_minor=1005))["STEP_LIMIT"]
    assert (band.low, band.high) == (905, 1105)


@pytest.mark.parametrize("candidate", [1200, 800])
def test_candidate_within_twenty_per_cent_needs_no_approval(candidate: int) -> None:
    assert "APPROVAL" not in bands_of(a_context(candidate_minor=candidate))


@pytest.mark.parametrize("candidate", [1201, 799])
def test_candidate_beyond_twenty_per_cent_moves_one_step_until_approved(candidate: int) -> None:
    band = bands_of(a_context(candidate_minor=candidate))["APPROVAL"]
    assert (band.low, band.high) == (900, 1100)


def test_table_is_kept_until_the_minimum_gap_is_over() -> None:
    gap = bands_of(a_context(last_change_ms=(10_000 - 59) * MINUTE_MS))["MIN_GAP"]
    assert gap.pin is Pin.TABLE and gap.until_ms == 10_001 * MINUTE_MS
    assert "MIN_GAP" not in bands_of(a_context(last_change_ms=(10_000 - 60) * MINUTE_MS))


def test_table_is_kept_after_the_most_changes_of_a_day() -> None:
    assert bands_of(a_context(changes_today=8))["MAX_CHANGES"].pin is Pin.TABLE
    assert "MAX_CHANGES" not in bands_of(a_context(changes_today=7))


def test_low_confidence_pins_the_main_prices() -> None:
    assert bands_of(a_context(confidence=0.49))["LOW_CONFIDENCE"].pin is Pin.MAIN


@pytest.mark.parametrize("change", [{"confidence": 0.1, "cause": Cause.COLD_START}, {"confidence": None}])
def test_low_confidence_needs_a_gain_to_compare(change: dict[str, Any]) -> None:
    assert "LOW_CONFIDENCE" not in bands_of(a_context(**change))


def test_settling_has_no_pace_bands() -> None:
    context = a_context(
        cause=Cause.SETTLE, candidate_minor=1400, confidence=0.1, changes_today=99, last_change_ms=AT_MS
    )
    assert not [b for b in bands_of(context).values() if b.kind is Kind.PACE]


# -- forward buying -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bought", "pin"),
    [
        ((4, 12, 100, 120), Pin.CHOICE),  # too few orders to judge: only exploration shows deals
        ((5, 16, 100, 120), Pin.TABLE_PRICES),  # three units an order: bought ahead
    ],
)
def test_prices_far_below_the_usual_one_are_bounded(bought: tuple[int, ...], pin: Pin) -> None:
    band = bands_of(a_context(usual_minor=1100.0, bought=bought))["FORWARD_BUYING"]
    assert (band.pin, band.low, band.high) == (pin, 1056, None)


def test_deals_with_as_many_units_an_order_as_usual_are_not_bounded() -> None:
    assert "FORWARD_BUYING" not in bands_of(a_context(usual_minor=1100.0, bought=(40, 50, 400, 480)))


def test_forward_buying_is_believed_at_the_least_z() -> None:
    bought = DealCounts(5, 16, 100, 120)
    policy = Policy.from_dict({"forward_buying": {"least_z": forward_buying.units_z(bought)}})
    assert forward_buying.is_bought_ahead(900, 1000.0, bought, policy)


# -- range of experience ------------------------------------------------------------------------


def extrapolation(**changes: Any) -> Band | None:
    """Return the band of the range 8.00 to 10.00 for a candidate that does not matter."""
    experience = Experience(low_minor=800, high_minor=1000)
    return bands_of(a_context(**{"experience": experience, **changes})).get("EXTRAPOLATION")


def test_prices_stay_within_fifteen_per_cent_of_the_observed_ones() -> None:
    band = extrapolation()
    assert band is not None and (band.low, band.high, band.pin) == (680, 1150, Pin.SHOWN_PRICES)


def test_range_of_a_listing_without_observed_prices_is_the_current_price() -> None:
    band = extrapolation(experience=Experience(), current_minor=1200)
    assert band is not None and (band.low, band.high) == (1020, 1380)


@pytest.mark.parametrize(
    "change",
    [
        {"experience": None},
        {"experience": Experience(sufficient=True, low_minor=800, high_minor=1000)},
        {"current_minor": None},
        {"approved_minor": 2000},
        {"cause": Cause.SETTLE},
    ],
    ids=["no record", "sufficient", "first price", "operator's price", "settle"],
)
def test_range_of_experience_does_not_bound(change: dict[str, Any]) -> None:
    assert extrapolation(**change) is None


def counts(*rows: tuple[int, float, float]) -> PointCounts:
    """Return counts per price point; a row is price, exposures and orders."""
    prices, n, y = (np.array(column) for column in zip(*rows, strict=True))
    return PointCounts(prices, n * 1.0, y * 1.0, y * 1.0, n * 0.0)


def test_gain_of_a_step_compares_the_profit_per_exposure_at_both_prices() -> None:
    same = step_result(1000, 1100, [counts((1000, 1000, 40), (1100, 1000, 32))], 600.0)
    worse, better = (step_result(1000, 1100, [counts((1000, 1000, 40), (1100, 1000, y))], 600.0) for y in (18, 50))
    assert same.confidence == pytest.approx(0.5, abs=0.02) and same.orders == 32
    assert worse.confidence is not None and better.confidence is not None
    assert worse.confidence < 0.05 and better.confidence > 0.95


def test_gain_of_a_step_compares_within_segments() -> None:
    # The dearer price was shown to the segment that buys more: pooled, it would look better than it is.
    few, many = counts((1000, 900, 18), (1100, 100, 1)), counts((1000, 100, 20), (1100, 900, 120))
    result = step_result(1000, 1100, [few, many], 600.0)
    assert result.confidence is not None and result.confidence < 0.5


@pytest.mark.parametrize("rows", [((1000, 900, 18),), ((1100, 900, 18),), ((1000, 0, 0), (1100, 900, 18))])
def test_gain_of_a_step_without_exposures_at_both_prices_is_not_known(
    rows: tuple[tuple[int, int, int], ...],
) -> None:
    assert step_result(1000, 1100, [counts(*rows)], 600.0).confidence is None


# -- intersections ------------------------------------------------------------------------------


def test_intersection_is_empty_exactly_when_no_price_is_in_all_bands() -> None:
    ends = [None, 90, 100, 110]
    for (l1, h1), (l2, h2) in itertools.product(itertools.product(ends, repeat=2), repeat=2):
        pair = [Band("MIN_MARGIN", Kind.HARD, "", *lh) for lh in ((l1, h1), (l2, h2))]
        allowed = intersect(pair)
        inside = [p for p in range(1, 130) if all((b.low or 1) <= p <= (b.high or 999) for b in pair)]
        assert allowed.empty is not bool(inside)
        assert [p for p in range(1, 130) if p in allowed] == inside


def test_nearest_allowed_price_is_the_end_of_the_intersection() -> None:
    assert AllowedPrices(5, 9).nearest(12) == 9
