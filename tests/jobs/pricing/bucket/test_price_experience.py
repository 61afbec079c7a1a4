"""Price experience: which prices count as observed, and when the listing's own tables widen their range."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.bucket_logic import Batch
from jobs.pricing.bucket.listing.price_experience import (
    KEPT_PRICES,
    KEPT_TESTED,
    PriceCount,
    PriceExperience,
    PriceStep,
    grown,
    known_price,
    observed,
    published,
    started,
)
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.guardrails.extrapolation import ExtrapolationSettings
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from tests.jobs.pricing.bucket_builders import KEY, a_cell, a_command, an_estimate, decision_of
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    SmallMarket,
    a_catalog_entry,
    a_fact,
    catalog_of,
    of_stream,
    restarted,
)

SETTINGS = ExtrapolationSettings(least_orders=2, least_exposures=100)
HOUR_MS = 60 * MINUTE_MS


def seen(*counts: tuple[int, int, int], start: PriceExperience | None = None) -> PriceExperience:
    """Return the experience after one minute per count: price, orders and exposures."""
    experience = start or PriceExperience()
    for count in counts:
        experience = observed(experience, [PriceCount(*count)], SETTINGS, has_table=False)
    return experience


def range_of(experience: PriceExperience) -> tuple[int | None, int | None]:
    """Return the lowest and the highest observed price."""
    return experience.low_minor, experience.high_minor


# -- the range ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], (None, None)),
        ([(1000, 1, 0)], (None, None)),
        ([(1000, 1, 0), (1000, 1, 0)], (1000, 1000)),
        ([(1000, 0, 99)], (None, None)),
        ([(1000, 0, 100)], (1000, 1000)),
        ([(1000, 1, 50)], (1000, 1000)),
        ([(1000, -5, -500)], (None, None)),
        ([(1000, 2, 0), (900, 1, 0)], (1000, 1000)),
        ([(1000, 2, 0), (900, 1, 0), (800, 1, 0)], (900, 1000)),
        ([(1000, 2, 0), (1100, 1, 0), (1200, 1, 0)], (1000, 1100)),
        ([(900, 1, 0), (1100, 1, 0)], (None, None)),
        ([(900, 1, 0), (1100, 1, 0), (1000, 1, 0)], (1000, 1000)),
    ],
)
def test_price_is_observed_with_enough_orders_or_exposures_at_or_beyond_it(
    counts: list[tuple[int, int, int]], expected: tuple[int | None, int | None]
) -> None:
    assert range_of(seen(*counts)) == expected


@given(
    st.lists(st.tuples(st.integers(800, 1200), st.integers(0, 2), st.integers(0, 60)), max_size=12), st.randoms()
)
def test_range_does_not_depend_on_the_order_of_the_minutes(
    counts: list[tuple[int, int, int]], order: random.Random
) -> None:
    start = started(PriceExperience(), 1000)
    shuffled = order.sample(counts, len(counts))
    assert range_of(seen(*counts, start=start)) == range_of(seen(*shuffled, start=start))


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(-3, 5), st.integers(-9, 200)), max_size=20))
def test_range_never_narrows_and_what_is_inside_it_is_dropped(counts: list[tuple[int, int, int]]) -> None:
    experience = started(PriceExperience(), 1000)
    for count in counts:
        before = experience
        experience = seen(count, start=experience)
        assert experience.low_minor is not None and experience.high_minor is not None
        assert before.low_minor is not None and experience.low_minor <= before.low_minor
        assert before.high_minor is not None and experience.high_minor >= before.high_minor
        assert all(each.price_minor < experience.low_minor for each in experience.lower)
        assert all(each.price_minor > experience.high_minor for each in experience.higher)


def test_price_that_only_own_tables_have_shown_is_not_observed() -> None:
    experience = published(started(PriceExperience(), 1000), [950, 1000, 1050], 1000, 1000, bounded=True)
    assert experience.tested == (950, 1050)
    assert range_of(seen((1050, 9, 900), (1049, 0, 0), start=experience)) == (1000, 1000)
    assert range_of(seen((1060, 9, 900), start=experience)) == (1000, 1060)


def test_price_of_a_table_that_the_range_did_not_bound_is_observed() -> None:
    experience = published(started(PriceExperience(), 1000), [1050], 1000, 1000, bounded=True)
    experience = published(experience, [1050], 1050, 1000, bounded=False)
    assert experience.tested == () and range_of(seen((1050, 2, 0), start=experience)) == (1000, 1050)


def test_prices_of_own_tables_are_kept_up_to_the_limit_newest_last() -> None:
    experience = published(started(PriceExperience(), 1000), range(1001, 1101), 1000, 1000, bounded=True)
    assert experience.tested == tuple(range(1101 - KEPT_TESTED, 1101))


# -- steps --------------------------------------------------------------------------------------


def test_main_price_outside_the_range_is_a_step_from_the_price_before_it() -> None:
    experience = published(started(PriceExperience(), 1000), [1050], 1050, 1000, bounded=True)
    assert experience.step == PriceStep(1000, 1050)
    further = published(experience, [1100], 1100, 1050, bounded=True)
    assert further.step == PriceStep(1000, 1100)
    assert published(further, [940], 940, 1100, bounded=True).step == PriceStep(1000, 940)
    assert published(further, [1000], 1000, 1100, bounded=True).step is None


def test_range_grows_by_one_step_on_the_side_of_the_step() -> None:
    experience = published(started(PriceExperience(), 1000), [1050], 1050, 1000, bounded=True)
    assert range_of(grown(experience, 0.1)) == (1000, 1100) and grown(experience, 0.1).step is None
    experience = published(started(PriceExperience(), 1000), [950], 950, 1000, bounded=True)
    assert range_of(grown(experience, 0.1)) == (900, 1000)


# -- prices of orders before the first table ----------------------------------------------------


def test_newest_price_with_enough_orders_is_known() -> None:
    experience = seen((900, 9, 0), (1000, 2, 0), (950, 1, 0), (1000, 1, 0))
    assert known_price(experience, 3) == 1000 and known_price(experience, 4) == 900
    assert known_price(experience, 10) is None


def test_of_one_minute_the_price_with_most_orders_is_the_newest_and_of_these_the_lowest() -> None:
    counts = [PriceCount(900, 3, 0), PriceCount(1000, 4, 0), PriceCount(1100, 4, 0)]
    assert known_price(observed(PriceExperience(), counts, SETTINGS, has_table=False), 3) == 1000


def test_prices_of_orders_are_kept_up_to_the_limit_and_only_before_the_first_table() -> None:
    experience = seen(*((price, 1, 0) for price in range(1000, 1100)))
    assert len(experience.recent) == KEPT_PRICES and experience.recent[0].price_minor == 1099
    assert started(experience, 1000).recent == ()
    assert observed(started(experience, 1000), [PriceCount(1, 9, 0)], SETTINGS, has_table=True).recent == ()


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2), st.integers(0, 60)), max_size=8))
def test_experience_is_read_back_from_its_row(counts: list[tuple[int, int, int]]) -> None:
    experience = published(started(seen(*counts), 1000), [900, 1100], 1100, 1000, bounded=True)
    assert PriceExperience.of_row(orjson.loads(orjson.dumps(experience.to_row()))) == experience


# -- a bucket -----------------------------------------------------------------------------------


UNAPPROVED = Policy.from_dict({"limits": {"approval_over": 1.0}})
"""A policy under which no change awaits an approval."""


def with_provisional(state: str = "provisional") -> RepricingLogic:
    """Return a logic with one listing at 19.99 whose best price, by an estimate of this state, is far higher."""
    logic = RepricingLogic(UNAPPROVED)
    first = Batch(0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(role="long_tail"),), now_ms=START_MS)
    list(logic.on_batch(first))
    estimate = replace(an_estimate(-1.3), sufficient=state)
    list(logic.on_fact(a_fact("estimates", estimate, START_MS + MINUTE_MS, 1)))
    return logic


def hours(
    logic: RepricingLogic, first: int, last: int, **counts: dict[int, tuple[int, int]]
) -> list[dict[str, Any]]:
    """Send one batch per hour with some exposures and orders per price; return the decisions."""
    decisions = []
    for hour in range(first, last):
        at_ms = START_MS + hour * HOUR_MS + 2 * MINUTE_MS
        cells = tuple(a_cell(price, n, y, y) for price, (n, y) in counts.get("cells", {}).items())
        decisions += of_stream(list(logic.on_batch(Batch(0, at_ms, cells, now_ms=at_ms))), "decisions")
    return decisions


def test_all_prices_stay_within_the_range_until_the_estimate_is_sufficient() -> None:
    logic = with_provisional()
    decisions = hours(logic, 1, 30)
    prices = {
        price
        for decision in decisions
        for of_segment in (decision["result"]["table"] or {}).values()
        for price in of_segment["p"]
    }
    assert min(prices) >= 1999 * 0.85 and 2199 < max(prices) <= 1999 * 1.15
    free = hours(with_provisional("sufficient"), 1, 30)
    assert max(decision["result"]["default_minor"] for decision in free) > 1999 * 1.15


def test_decisions_with_a_range_are_recomputed_from_their_records() -> None:
    for decision in hours(with_provisional(), 1, 10):
        record = orjson.loads(orjson.dumps(decision, option=orjson.OPT_SERIALIZE_NUMPY))
        assert recompute(record, catalog_of(UNAPPROVED)) == record["result"]
        assert "EXTRAPOLATION" in {band["code"] for band in record["result"]["bands"]}


def stepped(orders_at_the_step: int) -> list[dict[str, Any]]:
    """Return the decisions of a day and a half after a step up: 5 of 100 bought before it, this many after."""
    logic = with_provisional()
    moved = hours(logic, 1, 4)[-1]["result"]["default_minor"]
    assert moved > 1999
    return hours(logic, 4, 40, cells={1999: (100, 5), moved: (100, orders_at_the_step)})


def test_step_that_brought_a_gain_widens_the_range_and_requests_a_repricing() -> None:
    grew = [d for d in stepped(5) if "range_high_minor" in d["cause_detail"]]
    assert grew and grew[0]["cause"] == Cause.BELIEFS_MOVED
    assert grew[0]["cause_detail"]["range_high_minor"] >= 2198
    assert grew[0]["cause_detail"]["confidence"] >= 0.6


def test_step_that_brought_a_loss_leaves_the_range_as_it_is() -> None:
    decisions = stepped(1)
    assert not [d for d in decisions if "range_high_minor" in d["cause_detail"]]
    assert decisions[-1]["inputs"]["experience"]["high_minor"] == 1999


def test_price_set_by_an_operator_outside_the_range_counts_as_observed() -> None:
    logic = with_provisional()
    at_ms = START_MS + 3 * MINUTE_MS
    command = replace(
        a_command("manual_price", market="web-us-usd", sku="s1", price_minor=2600), event_time_ms=at_ms
    )
    assert (
        decision_of(list(logic.on_fact(a_fact("commands", command, at_ms, 1))))["result"]["default_minor"] == 2600
    )
    hours(logic, 1, 2, cells={2600: (100, 2)})
    rows = logic.snapshot()["bucket"]
    state = dict(zip(rows["state_row"], rows["states"][rows["index"].index(KEY)], strict=True))
    assert PriceExperience.of_row(state["experience"]).high_minor == 2600


def test_restart_leaves_the_range_and_the_step_unchanged() -> None:
    straight, market = RepricingLogic(), SmallMarket(1, 60.0)
    again = straight
    for number in range(180):
        outputs = list(straight.on_batch(market.minute(number)))
        if again is not straight:
            assert list(again.on_batch(market.minute(number))) == outputs
        market.take(outputs)
        again = restarted(straight)
    assert again.snapshot()["bucket"]["states"] == straight.snapshot()["bucket"]["states"]
