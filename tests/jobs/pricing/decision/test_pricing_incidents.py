"""Incidents of other shops, replayed: the guardrails prevent each of them (science § 8)."""

from __future__ import annotations

import math

import pytest

from jobs.pricing.decision.reprice import reprice
from schemas.codes import OutcomeCode
from tests.jobs.pricing.pricing_builders import START_MS, a_current, an_offer_row, prices_of, some_inputs

HOUR_MS = 3_600_000


@pytest.mark.parametrize("floor", [None, 0])
def test_price_of_one_cent_is_raised_to_the_margin(floor: int | None) -> None:
    """A blank minimum (2012), one hour at 0.01 (2014)."""
    result = reprice(some_inputs(catalog_floor_minor=floor, approved_minor=1))
    assert all((p - 1200) / p >= 0.10 for p in prices_of(result) or {1999})


def test_missing_cost_holds_the_price() -> None:
    broken = reprice(some_inputs(catalog_cost_minor=None))
    assert broken.outcome is not OutcomeCode.PUBLISHED and broken.table is None


def test_mutual_multiplication_of_prices_stops_at_the_ceiling() -> None:
    """.9983 and 1.270589 took a book to 23.7 million (2011)."""
    ours, at_ms = 1999, START_MS
    for _day in range(60):
        at_ms += 24 * HOUR_MS
        rival = ours * 1.270589
        inputs = some_inputs(
            at_ms=at_ms, current=a_current(ours), elasticity={"mean": -1.01, "sd": 0.02}, cause="RIVAL_MOVED",
            offers=[an_offer_row(round(rival), at_ms - 1)], rival_elasticity={"mean": 3.0, "sd": 0.1},
        )  # fmt: skip
        ours = reprice(inputs).default_minor or ours
    assert ours <= 1999 * 1.5


def test_currency_rate_ten_times_too_low_holds_the_price() -> None:
    """Costs and rivals' prices fell to a tenth at once (2015)."""
    result = reprice(some_inputs(catalog_cost_minor=120, offers=[an_offer_row(190, START_MS - 1)]))
    assert result.table is None and result.alert


def test_rivals_prices_ten_times_too_low_hold_the_price() -> None:
    result = reprice(some_inputs(offers=[an_offer_row(190, START_MS - 1)]))
    assert result.outcome is OutcomeCode.UNPRICEABLE and result.table is None


def test_ceiling_below_the_margin_holds_the_price() -> None:
    """A ceiling set to one number for every listing (2010)."""
    assert reprice(some_inputs(catalog_ceiling_minor=100)).table is None


def test_floor_without_ceiling_still_bounds_prices_above() -> None:
    result = reprice(some_inputs(catalog_floor_minor=1500, approved_minor=10_000_000))
    assert max(prices_of(result)) <= math.floor(1999 * 1.5)
