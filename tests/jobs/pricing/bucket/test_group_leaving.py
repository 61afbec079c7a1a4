"""Listings that another one leaves behind in a price group: all of them are decided again."""

from __future__ import annotations

from typing import Any

import pytest

from features.bucket_logic import Batch
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from tests.jobs.pricing.bucket.test_price_groups import HOUR_MS, Tables, a_group, decisions
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command
from tests.jobs.pricing.group_builders import GROUP
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact

HELD = {"cost_minor": None}
"""A catalog entry that holds its listing."""


@pytest.mark.parametrize(
    ("former", "change"),
    [
        ({}, {"active": False}),
        ({}, {"price_group": "own"}),
        ({}, {"currency": "EUR"}),
        (HELD, {"active": False}),
        (HELD, {"price_group": "own", **HELD}),
        (HELD, {"currency": "EUR", **HELD}),
    ],
)
def test_listings_that_another_one_leaves_behind_are_decided_again(
    former: dict[str, Any], change: dict[str, Any]
) -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + HOUR_MS
    entry = a_catalog_entry("s1", at_ms, **{"price_group": GROUP} | former)
    tables.take(logic.on_fact(a_fact("catalog", entry, at_ms, 1)))
    entry = a_catalog_entry("s1", at_ms + HOUR_MS, **{"price_group": GROUP} | change)
    found = decisions(tables.take(logic.on_fact(a_fact("catalog", entry, at_ms + HOUR_MS, 2))))
    left = [d for d in found if d["cause"] == "GROUP_LEFT"]
    assert [d["sku"] for d in left] == ["s2", "s3"]
    assert all(d["cause_detail"] == {"listing": "acme/web-us-usd/s1"} for d in left)
    assert {len(d["inputs"]["group"]["members"]) for d in left} == {2}
    assert not any(band["kind"] == "hold" for d in left for band in d["result"]["bands"])


@pytest.mark.parametrize("as_fact", [True, False])
def test_listing_without_a_price_gets_its_first_one_when_the_one_that_excluded_it_leaves(as_fact: bool) -> None:
    logic, tables, at_ms = RepricingLogic(), Tables(), START_MS + MINUTE_MS
    entries = (
        a_catalog_entry("s1", price_group=GROUP, ceiling_minor=1500),
        a_catalog_entry("s2", price_group=GROUP, floor_minor=1800),
    )
    found = decisions(tables.take(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms))))
    assert {d["result"]["outcome"] for d in found} == {"UNPRICEABLE"} and not tables
    at_ms += HOUR_MS
    entry = a_catalog_entry("s1", at_ms - 1, price_group=GROUP, active=False)
    if as_fact:
        outputs = logic.on_fact(a_fact("catalog", entry, at_ms, 1))
    else:
        outputs = logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms))
    [found_first] = decisions(tables.take(outputs))
    assert found_first["cause"] == "COLD_START" and found_first["cause_detail"]["after"] == "GROUP_LEFT"
    assert set(tables) == {"s2"}


def test_entry_that_changes_no_membership_leaves_nobody_behind() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + HOUR_MS
    entry = a_catalog_entry("s1", at_ms, price_group=GROUP, cost_minor=1150)
    found = decisions(tables.take(logic.on_fact(a_fact("catalog", entry, at_ms, 1))))
    assert {d["cause"] for d in found} == {"COST_CHANGED"} and len(found) == 3


def a_patch(**values: Any) -> Any:
    """Return the fact of a patch that prices listing s1 by itself from the third minute after noon on."""
    changes = '{"groups": {"equal_price": false}}'
    given = {"market": "web-us-usd", "changes": changes, "from_ms": NOON_MS + 3 * MINUTE_MS}
    return a_fact("commands", a_command("policy", **given | values), NOON_MS + 1000, 1)


def test_listings_that_a_patch_leaves_behind_are_decided_again() -> None:
    logic, tables = a_group()
    list(logic.on_fact(a_patch(selection="sku=s1")))
    found = []
    for minute in range(1, 5):
        at_ms = NOON_MS + minute * MINUTE_MS
        found += decisions(tables.take(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))
    assert {d["sku"]: d["cause"] for d in found} == {
        "s1": "POLICY_CHANGED",
        "s2": "GROUP_LEFT",
        "s3": "GROUP_LEFT",
    }


def test_patch_that_prices_all_listings_of_a_group_alone_is_the_cause_of_each_decision() -> None:
    logic, tables = a_group()
    list(logic.on_fact(a_patch()))
    found = []
    for minute in range(1, 5):
        at_ms = NOON_MS + minute * MINUTE_MS
        found += decisions(tables.take(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))
    assert {d["sku"]: d["cause"] for d in found} == dict.fromkeys(("s1", "s2", "s3"), "POLICY_CHANGED")


def test_category_by_whose_policy_a_listing_is_priced_alone_leaves_the_others_behind() -> None:
    logic, tables = a_group()
    list(logic.on_fact(a_patch(selection="category=sale")))
    at_ms = NOON_MS + 4 * MINUTE_MS
    tables.take(logic.on_batch(Batch(0, at_ms, now_ms=at_ms)))
    entry = a_catalog_entry("s1", at_ms, price_group=GROUP, category="sale", cost_minor=1100)
    found = decisions(tables.take(logic.on_fact(a_fact("catalog", entry, at_ms + 1, 2))))
    assert {d["sku"]: d["cause"] for d in found} == {"s1": "COST_CHANGED", "s2": "GROUP_LEFT", "s3": "GROUP_LEFT"}
