"""Listings that another one leaves behind in a price group: all of them are decided again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.bucket_logic import Batch
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from tests.jobs.pricing.bucket.test_price_groups import HOUR_MS, Tables, a_group, decisions
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command
from tests.jobs.pricing.group_builders import GROUP
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, catalog_of, restarted

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


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from(["s1", "s2", "s3", "s4"]),
            "price_group": st.sampled_from([GROUP, "own"]),
            "active": st.booleans(),
            "currency": st.sampled_from(["USD", "USD", "EUR"]),
            "cost_minor": st.sampled_from([None, 1100, 1200]),
            "ceiling_minor": st.sampled_from([None, None, 1500]),
            "floor_minor": st.sampled_from([None, None, 1800]),
            "category": st.sampled_from(["shoes", "boots"]),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(entries=ENTRIES, restart_at=st.integers(0, 8))
def test_no_listing_is_left_behind_and_no_record_mixes_currencies(
    entries: list[dict[str, Any]], restart_at: int
) -> None:
    logic, tables = a_group()
    known = {sku: {"price_group": GROUP, "active": True, "currency": "USD"} for sku in ("s1", "s2", "s3")}
    for number, changes in enumerate(entries):
        at_ms, sku = NOON_MS + (number + 1) * HOUR_MS, changes["sku"]
        if number == restart_at:
            logic = restarted(logic)
        before = group_of(known, sku)
        known[sku] = {name: changes[name] for name in ("price_group", "active", "currency")}
        entry = a_catalog_entry(at_ms=at_ms - 1, **changes)
        found = decisions(tables.take(logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms))))
        left = before - group_of(known, sku) - {sku}
        assert left <= {d["sku"] for d in found}
        for decision in found:
            of_listing = known[decision["sku"]]
            current = decision["inputs"]["current"]
            assert of_listing["active"] and decision["inputs"]["currency"] == of_listing["currency"]
            assert current is None or tables[decision["sku"]].currency == of_listing["currency"]
        assert Audit.of(found, catalog_of()).differing == []


def group_of(known: dict[str, dict[str, Any]], sku: str) -> set[str]:
    """Return the active listings that are decided together with a listing; none for one that is not for sale."""
    if sku not in known or not known[sku]["active"]:
        return set()
    return {other for other, entry in known.items() if entry == known[sku]}
