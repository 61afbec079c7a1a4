"""reprice: what rivals' offers and reference prices change."""

from __future__ import annotations

import pytest

from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from schemas.codes import OutcomeCode
from tests.jobs.pricing.pricing_builders import START_MS, a_current, an_offer_row, prices_of, some_inputs

HOUR_MS = 3_600_000


SCARCE = {"cause": "SETTLE", "rival_elasticity": {"mean": 1.5, "sd": 0.1}, "target_units": 30.0}


def test_lower_price_of_a_rival_lowers_the_optimum_where_stock_is_scarce() -> None:
    """Without a sale target a scaled curve has the same optimum; only caps and roles follow a rival then."""
    with_rival = reprice(some_inputs(**SCARCE, offers=[an_offer_row(1700, START_MS - 1)]))
    without = reprice(some_inputs(**SCARCE, offers=[]))
    assert with_rival.default_minor < without.default_minor


def test_stale_offer_moves_no_price() -> None:
    stale = reprice(some_inputs(**SCARCE, offers=[an_offer_row(1400, START_MS - 25 * HOUR_MS)]))
    without = reprice(some_inputs(**SCARCE, offers=[]))
    assert stale.table == without.table
    assert stale.reference is not None and not stale.reference.fresh


def beside_a_cheap_rival(cause: str, role: str) -> PricingDecision:
    """Return the decision on a listing at 19.99 of some role whose one rival asks 15.00."""
    return reprice(
        some_inputs(
            cause=cause,
            catalog_role=role,
            offers=[an_offer_row(1500, START_MS - 1)],
            elasticity={"mean": -1.9, "sd": 0.1},
        )
    )


@pytest.mark.parametrize(
    ("role", "ratio"), [("kvi", 1.0), ("traffic", 1.05), ("margin", 1.25), ("long_tail", 9.9)]
)
def test_role_bounds_the_price_over_the_rivals_mean(role: str, ratio: float) -> None:
    assert max(prices_of(beside_a_cheap_rival("SETTLE", role))) <= 1500 * ratio


@pytest.mark.parametrize(("role", "ratio"), [("kvi", 1.0), ("traffic", 1.05)])
def test_listing_of_a_following_role_approaches_a_rival_step_by_step(role: str, ratio: float) -> None:
    step = beside_a_cheap_rival("RIVAL_MOVED", role)
    assert step.default_minor < 1999 and min(prices_of(step)) >= 1999 * 0.9
    assert step.default_minor > 1500 * ratio and (step.continue_at_ms or step.approval_until_ms)


PREMIUM = {"catalog_list_minor": 3000, "catalog_cost_minor": 1800, "catalog_trusted_cost_minor": 1800,
           "current": a_current(3000), "catalog_role": "long_tail"}  # fmt: skip


def test_premium_item_at_three_times_the_reference_is_priceable() -> None:
    result = reprice(some_inputs(**PREMIUM, offers=[an_offer_row(1000, START_MS - 1, kind="reference")]))
    assert result.outcome is not OutcomeCode.UNPRICEABLE
    assert "MARKET_CAP" not in {band.code for band in result.bands}


def test_premium_item_at_three_times_a_rival_is_capped() -> None:
    result = reprice(some_inputs(**PREMIUM, offers=[an_offer_row(1000, START_MS - 1)]))
    [cap] = [band for band in result.bands if band.code == "MARKET_CAP"]
    assert result.outcome is OutcomeCode.UNPRICEABLE and cap.high == 1500


def test_market_cap_is_based_on_rivals_alone() -> None:
    offers = [an_offer_row(1900, START_MS - 1), an_offer_row(300, START_MS - 1, "shelf", "reference")]
    [cap] = [b for b in reprice(some_inputs(offers=offers)).bands if b.code == "MARKET_CAP"]
    assert cap.high == 3800


def test_reference_price_moves_the_optimum_as_a_rival_does() -> None:
    tables = [
        reprice(some_inputs(**SCARCE, catalog_role="long_tail", offers=offers)).table
        for offers in (
            [an_offer_row(1700, START_MS - 1, kind="reference")], [an_offer_row(1700, START_MS - 1)], [],
        )
    ]  # fmt: skip
    assert tables[0] == tables[1] != tables[2]


def test_decision_carries_the_reference_price_for_quotes() -> None:
    result = reprice(some_inputs(offers=[an_offer_row(1700, START_MS - 1, kind="reference")]))
    assert result.reference is not None and result.reference.reference_minor == 1700


def test_listing_of_a_following_role_does_not_follow_a_reference() -> None:
    offers = [an_offer_row(1500, START_MS - 1, kind="reference")]
    assert reprice(some_inputs(catalog_role="kvi", offers=offers)).follow_minor is None


def test_first_price_does_not_follow_a_reference() -> None:
    offers = [an_offer_row(1500, START_MS - 1, kind="reference")]
    assert reprice(some_inputs(cause="COLD_START", current=None, offers=offers)).candidate_minor == 1999


def test_stale_reference_caps_no_increase() -> None:
    offers = [an_offer_row(1500, START_MS - 30 * HOUR_MS, kind="reference")]
    assert "STALE_OFFERS" not in {band.code for band in reprice(some_inputs(offers=offers)).bands}
