"""Changed catalog entries: what reprices a listing, and a new start where the currency changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from features.bucket_logic import Batch, Output
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.listing.listing_state import ListingState
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.events import CatalogEntry, Stock
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    KEY,
    NOON_MS,
    FactSender,
    a_cell,
    a_running_logic,
    an_estimate,
    decision_of,
    state_value,
)
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    a_catalog_entry,
    a_fact,
    an_offer,
    catalog_of,
    of_stream,
    restarted,
)

LATER_MS = NOON_MS + 3 * 60 * MINUTE_MS
IN_YEN = {"currency": "JPY", "cost_minor": 180_000, "list_minor": 300_000}
"""Amounts far from those of the entry before."""


def taken(logic: RepricingLogic, entry: CatalogEntry, as_fact: bool) -> list[Output]:
    """Send a catalog entry as a fact or in its minute's batch; return the outputs."""
    at_ms = entry.event_time_ms
    if as_fact:
        return list(logic.on_fact(a_fact("catalog", entry, at_ms, 1000)))
    return list(logic.on_batch(Batch(0, at_ms + 1, catalog=(entry,), now_ms=at_ms + 1)))


@pytest.mark.parametrize("as_fact", [True, False])
@pytest.mark.parametrize(
    ("name", "before", "now"), [("role", "margin", "kvi"), ("category", "shoes", "boots"), ("pack_size", 1, 6)]
)
def test_changed_attribute_that_selects_policy_or_bounds_reprices_the_listing(
    name: str, before: Any, now: Any, as_fact: bool
) -> None:
    logic, _ = a_running_logic()
    decision = decision_of(taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **{name: now}), as_fact))
    assert decision["cause"] == "COST_CHANGED" and decision["cause_detail"] == {name: [before, now]}


@pytest.mark.parametrize("as_fact", [True, False])
def test_entry_that_repeats_the_one_before_reprices_nothing(as_fact: bool) -> None:
    logic, _ = a_running_logic()
    assert not list(of_stream(taken(logic, a_catalog_entry(at_ms=LATER_MS - 1), as_fact), "decisions"))


def test_offers_of_another_pack_size_are_dropped_when_the_pack_size_changes() -> None:
    logic, _ = a_running_logic()
    logic.on_batch(
        Batch(0, NOON_MS + MINUTE_MS, offers=(an_offer(1900, NOON_MS + 1),), now_ms=NOON_MS + MINUTE_MS)
    )
    decision = decision_of(taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, pack_size=6), as_fact=True))
    assert decision["inputs"]["offers"] == []


# -- currency -----------------------------------------------------------------------------------


def a_listing_with_a_past() -> RepricingLogic:
    """Return a logic whose listing has a table, offers, counts, stock, a held cost and a pending change."""
    sender = FactSender(a_running_logic()[0])
    at_ms = NOON_MS + MINUTE_MS
    offers, cells = (an_offer(1900, at_ms - 1),), (a_cell(1999, 400, 30, 30), a_cell(1949, 300, 25, 25))
    stock = (Stock("k", at_ms - 1, "acme", "web-us-usd", "s1", "s1", 70, 0, 1.0),)
    sender.logic.on_batch(Batch(0, at_ms, cells, offers=offers, stock=stock, now_ms=at_ms))
    sender.at_ms = at_ms
    sender.command("manual_price", price_minor=2199)
    sender.command("unfreeze")
    sender.send("offers", an_offer(1700, at_ms + 5000, competitor="other"))
    sender.send("estimates", an_estimate(-1.6, at_ms=at_ms))
    sender.send("catalog", a_catalog_entry(at_ms=sender.at_ms, cost_minor=6000, list_minor=7000))
    for name in ("odd_cost", "pending", "early_offers", "history", "usual_log", "experience", "requested_on"):
        assert state_value(sender.logic, name), name
    return sender.logic


@pytest.mark.parametrize("as_fact", [True, False])
def test_listing_in_a_new_currency_starts_as_at_a_first_price(as_fact: bool) -> None:
    logic = a_listing_with_a_past()
    outputs = taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact)
    decision, [table] = decision_of(outputs), of_stream(outputs, "tables")
    assert decision["cause"] == "COLD_START" and decision["cause_detail"] == {"currency": ["USD", "JPY"]}
    assert decision["result"]["outcome"] == "COLD_START"
    assert table["currency"] == "JPY" and int(table["default_minor"]) == 300_000 and table["offer_minor"] == ""
    assert decision["inputs"]["attributes"]["on_hand"] == 70, "stock has no currency"
    assert decision["inputs"]["elasticity"]["mean"] < -1.0
    assert Audit.of([decision], catalog_of(logic.policy)).differing == []


@pytest.mark.parametrize("as_fact", [True, False])
def test_record_in_a_new_currency_has_no_amount_of_the_old_one(as_fact: bool) -> None:
    logic = a_listing_with_a_past()
    outputs = taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact)
    inputs = decision_of(outputs)["inputs"]
    assert inputs["currency"] == "JPY" and inputs["current"] is None and inputs["offers"] == []
    assert inputs["usual_minor"] is None and inputs["offer_centre"] is None
    assert inputs["catalog"]["cost_minor"] == inputs["catalog"]["trusted_cost_minor"] == 180_000
    experience = inputs["experience"]
    assert [experience[name] for name in ("start_minor", "low_minor", "high_minor", "step")] == [None] * 4
    assert all(not segment["counts"]["prices"] for segment in inputs["segments"].values()), inputs["segments"]
    assert state_value(logic, "pending") is None and len(state_value(logic, "history")) == 1


def test_rollback_after_a_change_of_currency_restores_no_price_of_the_old_one() -> None:
    logic = a_listing_with_a_past()
    taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact=True)
    sender = FactSender(logic)
    sender.at_ms, sender.offset = LATER_MS, 50
    assert not sender.command("rollback")


def test_table_of_the_old_currency_is_not_renewed_while_the_new_price_is_held() -> None:
    logic = a_listing_with_a_past()
    outputs = taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN | {"cost_minor": None}), as_fact=False)
    for hour in range(4, 30):
        at_ms = NOON_MS + hour * 60 * MINUTE_MS
        outputs += logic.on_batch(Batch(0, at_ms, now_ms=at_ms))
    assert {table["currency"] for table in of_stream(outputs, "tables")} <= {"JPY"}
    whole = a_catalog_entry(at_ms=NOON_MS + 2 * DAY_MS, **IN_YEN)
    [table] = of_stream(taken(logic, whole, as_fact=False), "tables")
    assert table["currency"] == "JPY" and int(table["default_minor"]) == 300_000


def test_versions_rise_over_a_change_of_currency() -> None:
    logic = a_listing_with_a_past()
    before = state_value(logic, "last_version")
    [table] = of_stream(taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact=True), "tables")
    assert int(table["version"]) > before


def test_listing_without_a_table_forgets_the_old_currency_too() -> None:
    logic, _ = a_running_logic(cost_minor=None)
    logic.on_batch(Batch(0, NOON_MS + MINUTE_MS, (a_cell(1650, 0, 9, 9),), now_ms=NOON_MS + MINUTE_MS))
    decision = decision_of(taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact=False))
    assert decision["result"]["default_minor"] == 300_000
    assert decision["cause_detail"] == {"currency": ["USD", "JPY"]}


def test_restart_after_a_change_of_currency_changes_nothing() -> None:
    logic = a_listing_with_a_past()
    taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact=True)
    again = restarted(logic)
    at_ms = LATER_MS + MINUTE_MS
    cell = replace(a_cell(300_000, 200, 9, 9), currency="JPY")
    offer = an_offer(250_000, at_ms - 1, currency="JPY")
    batch = Batch(0, at_ms, (cell,), offers=(offer,), now_ms=at_ms)
    assert list(logic.on_batch(batch)) == list(again.on_batch(batch))
    assert decision_of(list(logic.on_fact(a_fact("estimates", an_estimate(-4.0, at_ms=at_ms), at_ms, 90))))[
        "inputs"
    ]["segments"]["all"]["counts"]["prices"] == [300_000]


def test_state_of_a_listing_keeps_only_what_has_no_currency() -> None:
    kept = {
        "price_group", "stock", "estimate", "last_version", "target", "log_price_factor", "early_stock", "bought",
        "since_ms",
    }  # fmt: skip
    state, fresh = ListingState("g"), ListingState("g")
    marks = {name: object() for name in ListingState.__dataclass_fields__}
    for name, mark in marks.items():
        setattr(state, name, mark)
    state.forget_amounts()
    assert {name for name, mark in marks.items() if getattr(state, name) is mark} == kept
    assert all(getattr(state, name) == getattr(fresh, name) for name in marks.keys() - kept)


def test_other_listings_keep_their_counts() -> None:
    logic, _ = a_running_logic()
    at_ms = NOON_MS + MINUTE_MS
    cells = tuple(a_cell(1999, 400, 30, 30, sku=sku) for sku in ("s1", "s2", "s3"))
    entries = tuple(a_catalog_entry(sku, at_ms - 1) for sku in ("s2", "s3"))
    logic.on_batch(Batch(0, at_ms, cells, catalog=entries, now_ms=at_ms))
    before = {
        key: logic._book.counts(key, "all").to_record() for key in ("acme/web-us-usd/s2", "acme/web-us-usd/s3")
    }
    requests = logic._book.requests(KEY)
    taken(logic, a_catalog_entry(at_ms=LATER_MS - 1, **IN_YEN), as_fact=True)
    assert {key: logic._book.counts(key, "all").to_record() for key in before} == before
    assert not len(logic._book.counts(KEY, "all").prices) and logic._book.requests(KEY) == requests
