"""First prices: the price that customers know, moved by hard bands alone; a rule where they know none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from features.bucket_logic import Batch
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from schemas.events import CatalogEntry
from schemas.records.counts import Cell
from tests.jobs.pricing.bucket_builders import a_cell, a_running_logic, decision_of, price_of
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, an_offer


def test_first_price_is_the_list_price_that_shoppers_see() -> None:
    _, outputs = a_running_logic()
    decision = decision_of(outputs)
    assert decision["cause"] == Cause.COLD_START and decision["result"]["outcome"] == OutcomeCode.COLD_START
    assert price_of(outputs) == 1999


def test_first_table_explores_neighbouring_prices() -> None:
    decision = decision_of(a_running_logic()[1])
    assert all(len(prices["p"]) > 1 for prices in decision["result"]["table"].values())


def start_of(entry: CatalogEntry, *cells: Cell, offer: int | None = None) -> dict[str, Any]:
    """Return the first decision on an entry without a cost at first, whose orders come before its cost."""
    logic, at_ms = RepricingLogic(), START_MS + MINUTE_MS
    offers = () if offer is None else (an_offer(offer, START_MS),)
    logic.on_batch(Batch(0, at_ms, cells, catalog=(replace(entry, cost_minor=None),), offers=offers, now_ms=at_ms))
    at_ms += MINUTE_MS
    whole = replace(entry, event_time_ms=at_ms - 1)
    return decision_of(list(logic.on_batch(Batch(0, at_ms, catalog=(whole,), now_ms=at_ms))))


def test_first_price_is_the_list_price_beside_a_cheaper_rival_and_continues_to_the_roles_bound() -> None:
    at_ms = START_MS + MINUTE_MS
    entry = a_catalog_entry(role="kvi")
    batch = Batch(0, at_ms, catalog=(entry,), offers=(an_offer(1710, START_MS),), now_ms=at_ms)
    logic = RepricingLogic()
    # One decision for both requests: a new rival, and a listing without a table.
    decision = decision_of(list(logic.on_batch(batch)))
    assert decision["cause"] == Cause.COLD_START and decision["result"]["default_minor"] == 1999
    assert decision["result"]["continue_at_ms"] == at_ms + 60 * MINUTE_MS
    later_ms = at_ms + 60 * MINUTE_MS
    decision = decision_of(list(logic.on_batch(Batch(0, later_ms, now_ms=later_ms))))
    assert decision["cause"] == Cause.CONTINUED and 1799 <= decision["result"]["default_minor"] <= 1849


@pytest.mark.parametrize("list_minor", [2000, 1999, 1237])
def test_first_price_is_the_list_price_without_rounding(list_minor: int) -> None:
    assert (
        start_of(a_catalog_entry(list_minor=list_minor, cost_minor=900))["result"]["default_minor"] == list_minor
    )


def test_first_price_is_that_of_enough_orders_before_the_first_table() -> None:
    entry = a_catalog_entry()
    assert start_of(entry, a_cell(1650, 0, 3, 3))["result"]["default_minor"] == 1650
    assert start_of(entry, a_cell(1650, 0, 2, 2))["result"]["default_minor"] == 1999


def test_first_price_of_a_listing_without_a_list_price_is_that_of_its_orders() -> None:
    entry = a_catalog_entry(list_minor=None)
    assert start_of(entry, a_cell(1650, 0, 3, 3))["result"]["default_minor"] == 1650


@pytest.mark.parametrize(("offer", "price"), [(None, 1714), (1600, 1714), (1900, 1900)])
def test_first_price_of_a_listing_without_a_known_price_is_the_cold_start_rules(
    offer: int | None, price: int
) -> None:
    found = start_of(a_catalog_entry(list_minor=None), offer=offer)["result"]
    assert found["outcome"] == OutcomeCode.COLD_START and price - 50 < found["default_minor"] <= price


def test_first_price_is_moved_by_the_least_margin() -> None:
    result = start_of(a_catalog_entry(cost_minor=1900))["result"]
    assert result["default_minor"] >= 1900 / 0.9 and result["default_minor"] < 1900 / 0.9 + 50


def test_listing_that_started_without_a_list_price_is_repriced_around_its_first_price() -> None:
    logic, at_ms = RepricingLogic(), START_MS + MINUTE_MS
    entry = a_catalog_entry(list_minor=None)
    logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms))
    later_ms = at_ms + 90 * MINUTE_MS
    dearer = replace(entry, event_time_ms=later_ms - 1, cost_minor=1300)
    result = decision_of(list(logic.on_batch(Batch(0, later_ms, catalog=(dearer,), now_ms=later_ms))))["result"]
    [ceiling] = [band for band in result["bands"] if band["code"] == "FLOOR_CEILING"]
    assert ceiling["high"] == pytest.approx(1.5 * 1714, abs=75) and "first price" in ceiling["detail"]
