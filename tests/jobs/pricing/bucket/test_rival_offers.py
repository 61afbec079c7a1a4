"""Offers: which request a repricing, which are left out, and how facts and minutes are combined."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from features.bucket_logic import Batch
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from tests.jobs.pricing.bucket_builders import (
    NOON_MS,
    FactSender,
    RivalFeed,
    a_cell,
    a_command,
    a_running_logic,
    decision_of,
    price_of,
)
from tests.jobs.pricing.pricing_builders import MINUTE_MS, a_fact, an_offer, of_stream, restarted

AS_FACT_OR_IN_BATCH = pytest.mark.parametrize("as_facts", [True, False])


def test_new_rival_reprices_the_listing_immediately() -> None:
    outputs = FactSender(a_running_logic(role="kvi")[0]).send("offers", an_offer(1700, NOON_MS))
    decision = decision_of(outputs)
    assert decision["cause"] == Cause.RIVAL_MOVED and decision["cause_detail"]["competitor"] == "rival"
    assert decision["published"] and price_of(outputs) < 1999


def test_new_table_carries_the_rivals_price() -> None:
    outputs = FactSender(a_running_logic(role="kvi")[0]).send("offers", an_offer(1700, NOON_MS))
    assert list(of_stream(outputs, "tables"))[-1]["offer_minor"] == "1700"


@AS_FACT_OR_IN_BATCH
def test_rivals_price_reaches_the_quotes_although_prices_stay(as_facts: bool) -> None:
    logic, _ = a_running_logic(Policy.from_dict({"materiality": {"min_gain_share": 1.0}}), role="long_tail")
    offer, at_ms = an_offer(1900, NOON_MS), NOON_MS + MINUTE_MS
    if as_facts:
        outputs = FactSender(logic).send("offers", offer)
    else:
        # After a restart a minute's batch may hold an offer that was not yet received as a fact.
        outputs = list(logic.on_batch(Batch(0, at_ms, offers=(offer,), now_ms=at_ms)))
    assert decision_of(outputs)["result"]["outcome"] == OutcomeCode.NOT_MATERIAL
    tables = list(of_stream(outputs, "tables"))
    assert len(tables) == 1 and tables[0]["offer_minor"] == "1900"


@AS_FACT_OR_IN_BATCH
def test_rival_move_of_a_thousandth_requests_no_repricing(as_facts: bool) -> None:
    assert not RivalFeed(as_facts=as_facts).requests(13125)


def test_rival_move_of_one_per_cent_requests_a_repricing() -> None:
    assert RivalFeed().requests(13007)


@AS_FACT_OR_IN_BATCH
def test_small_steps_of_a_rival_add_up_to_a_request(as_facts: bool) -> None:
    feed = RivalFeed(as_facts=as_facts)
    assert [feed.requests(price) for price in (13115, 13092, 13069, 13046, 13023)] == [
        False, False, True, False, False,
    ]  # fmt: skip


def test_cause_names_the_rivals_price_of_its_last_request() -> None:
    feed = RivalFeed()
    feed.send(13115)
    [decision] = of_stream(feed.send(13000), "decisions")
    assert decision["cause_detail"]["before_minor"] == 13138


def test_rival_that_usually_moves_far_requests_no_repricing_for_small_moves() -> None:
    feed = RivalFeed()
    for price in (11800, 13100, 11800, 13100, 11800, 13100):
        assert feed.requests(price)
    assert not feed.requests(13000)


@pytest.mark.parametrize("change", [{"in_stock": False}, {"competitor": "other"}])
def test_new_rival_and_stock_change_request_a_repricing(change: dict[str, Any]) -> None:
    assert RivalFeed().requests(13138, **change)


def test_small_move_of_a_rival_is_an_input_of_the_next_decision() -> None:
    feed = RivalFeed()
    feed.send(13125)
    settle = a_fact("commands", a_command("settle"), feed.at_ms, 99)
    decision = decision_of(list(feed.logic.on_fact(settle)))
    assert decision["inputs"]["offers"][0]["price_minor"] == 13125


def test_small_move_of_a_rival_reaches_the_quotes_with_the_next_renewal() -> None:
    feed = RivalFeed(as_facts=False)
    feed.send(13125)
    at_ms = feed.at_ms + 20 * 3_600_000
    [renewed] = of_stream(list(feed.logic.on_batch(Batch(0, at_ms, now_ms=at_ms))), "tables")
    assert renewed["offer_minor"] == "13125"


def test_small_move_of_a_rival_adds_no_start_mass_to_the_watcher() -> None:
    feed = RivalFeed()
    before = feed.start_mass
    feed.send(13125)
    assert feed.start_mass == before


def test_large_move_of_a_rival_adds_start_mass_to_the_watcher() -> None:
    feed = RivalFeed()
    before = feed.start_mass
    feed.send(12800)
    assert feed.start_mass > before


def test_offer_received_as_a_fact_requests_nothing_again_with_its_minute() -> None:
    feed = RivalFeed()
    offer = an_offer(12800, feed.at_ms + 1)
    assert feed.logic.on_fact(a_fact("offers", offer, feed.at_ms + 1, 50))
    end_ms = feed.at_ms + MINUTE_MS
    outputs = list(restarted(feed.logic).on_batch(Batch(0, end_ms, offers=(offer,), now_ms=end_ms)))
    assert not list(of_stream(outputs, "decisions"))


@AS_FACT_OR_IN_BATCH
def test_offer_becomes_a_reference_when_its_kind_changes(as_facts: bool) -> None:
    feed = RivalFeed(as_facts=as_facts)
    [decision] = of_stream(feed.send(13138, offer_kind="reference"), "decisions")
    assert decision["inputs"]["offers"][0]["offer_kind"] == "reference"
    assert "MARKET_CAP" not in {band["code"] for band in decision["result"]["bands"]}


def test_offer_sent_again_under_another_offset_changes_nothing() -> None:
    logic, _ = a_running_logic()
    assert logic.on_fact(a_fact("offers", an_offer(1700, NOON_MS), NOON_MS, 7))
    assert not logic.on_fact(a_fact("offers", an_offer(1700, NOON_MS), NOON_MS, 8))


@pytest.mark.parametrize(
    "odd",
    [{"currency": "EUR"}, {"pack_size": 6}, {"match_confidence": 0.2}, {"sku": "unknown"}, {"price_minor": -5}],
)
def test_offer_that_is_not_comparable_is_left_out(odd: dict[str, Any]) -> None:
    logic, _ = a_running_logic()
    assert not FactSender(logic).send("offers", replace(an_offer(1700, NOON_MS), **odd))


def test_price_that_jumps_counts_when_it_comes_again() -> None:
    sender = FactSender(a_running_logic()[0])
    sender.send("offers", an_offer(1900, NOON_MS))
    assert not sender.send("offers", an_offer(190, NOON_MS + 1000))
    assert sender.send("offers", an_offer(190, NOON_MS + 2000))


def test_decision_carries_the_rivals_price_that_counts_are_centred_on() -> None:
    logic, _ = a_running_logic()
    end_ms = NOON_MS + MINUTE_MS
    offer = an_offer(1900, end_ms - 1)
    list(logic.on_batch(Batch(0, end_ms, (a_cell(1999, 50),), offers=(offer,), now_ms=end_ms)))
    decision = decision_of(FactSender(logic).send("commands", a_command("settle"), 2 * MINUTE_MS))
    assert decision["inputs"]["offer_centre"] == pytest.approx(math.log(1900))
