"""What a table tells edges beside its prices: the session window, and the hard limits of the last decision."""

from __future__ import annotations

from typing import Any

from features.bucket_logic import Output
from jobs.connectors.redis.rebuild import table_of_decision
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.price_table import PriceTable
from tests.jobs.pricing.bucket_builders import NOON_MS, FactSender, a_running_logic, decision_of, price_of
from tests.jobs.pricing.pricing_builders import MINUTE_MS, Batch, a_catalog_entry, an_offer, of_stream, restarted

NEVER_MATERIAL = {"materiality": {"min_gain_share": 1.0}}


def table_of(outputs: list[Output]) -> PriceTable:
    return PriceTable.from_record(list(of_stream(outputs, "tables"))[-1])


def a_policy(**tables: Any) -> Policy:
    return Policy.from_dict(NEVER_MATERIAL | {"tables": tables})


def test_table_has_the_window_and_the_hard_limits_of_its_decision() -> None:
    outputs = FactSender(a_running_logic(role="kvi")[0]).send("offers", an_offer(1700, NOON_MS))
    table, low_high = table_of(outputs), decision_of(outputs)["result"]["hard"]
    assert [table.hard_low_minor, table.hard_high_minor] == low_high
    assert (table.session_minutes, table.unconfirmed_minutes, table.session_from_version) == (30, 60, 0)
    assert all(table.allows(price) for prices in table.table["base"].values() for price in prices.prices)


def test_stricter_limit_is_published_although_prices_stay() -> None:
    logic, before = a_running_logic(a_policy(), floor_minor=1400, ceiling_minor=2999)
    first = table_of(before)
    entry = a_catalog_entry(at_ms=NOON_MS + 1, floor_minor=1450, ceiling_minor=2999)
    outputs = list(logic.on_batch(Batch(0, NOON_MS + MINUTE_MS, catalog=(entry,), now_ms=NOON_MS + MINUTE_MS)))
    assert not decision_of(outputs)["published"]
    table = table_of(outputs)
    assert (first.hard_low_minor, table.hard_low_minor) == (1400, 1450)
    assert (table.table_id, table.table) == (first.table_id, first.table) and table.version > first.version


def test_wider_limit_waits_for_the_next_table() -> None:
    logic, _ = a_running_logic(a_policy(), floor_minor=1400, ceiling_minor=2999)
    entry = a_catalog_entry(at_ms=NOON_MS + 1, floor_minor=1390, ceiling_minor=3099)
    outputs = list(logic.on_batch(Batch(0, NOON_MS + MINUTE_MS, catalog=(entry,), now_ms=NOON_MS + MINUTE_MS)))
    assert decision_of(outputs)["result"]["hard"] == [1390, 3099] and not list(of_stream(outputs, "tables"))


def test_price_of_an_operator_ends_kept_prices_and_later_tables_repeat_that() -> None:
    logic, before = a_running_logic()
    sender = FactSender(logic)
    by_hand = table_of(sender.command("manual_price", market="web-us-usd", sku="s1", price_minor=1899))
    assert table_of(before).session_from_version == 0
    assert by_hand.session_from_version == by_hand.version > table_of(before).version
    sender.logic = restarted(logic)
    sender.command("unfreeze", market="web-us-usd", sku="s1")
    later = table_of(sender.send("offers", an_offer(1500, sender.at_ms), later_ms=3 * 3_600_000))
    assert later.version > by_hand.version and later.session_from_version == by_hand.version


def test_price_of_an_operator_that_is_in_force_already_ends_kept_prices() -> None:
    logic, _ = a_running_logic(Policy.from_dict({"exploration": {"mode": "none"}}))
    sender = FactSender(logic)
    given = {"market": "web-us-usd", "sku": "s1", "price_minor": 1899}
    first, again = (sender.command("manual_price", **given) for _ in range(2))
    assert price_of(first) == 1899 and not decision_of(again)["published"]
    assert table_of(again).session_from_version == table_of(again).version > table_of(first).version


def test_window_that_the_policy_turns_off_is_published_with_the_next_decision() -> None:
    policy = Policy.from_dict(NEVER_MATERIAL)
    logic, before = a_running_logic(policy)
    assert table_of(before).session_minutes == 30
    sender, from_ms = FactSender(logic), NOON_MS + 5 * MINUTE_MS
    sender.command("policy", changes='{"tables": {"session_minutes": 0}}', from_ms=from_ms)
    outputs = list(logic.on_batch(Batch(0, from_ms + MINUTE_MS, now_ms=from_ms + MINUTE_MS)))
    assert decision_of(outputs)["cause"] == Cause.POLICY_CHANGED
    assert table_of(outputs).session_minutes == 0


def test_without_a_window_limits_alone_publish_nothing() -> None:
    logic, _ = a_running_logic(a_policy(session_minutes=0), floor_minor=1400, ceiling_minor=2999)
    entry = a_catalog_entry(at_ms=NOON_MS + 1, floor_minor=1450, ceiling_minor=2999)
    outputs = list(logic.on_batch(Batch(0, NOON_MS + MINUTE_MS, catalog=(entry,), now_ms=NOON_MS + MINUTE_MS)))
    assert not decision_of(outputs)["published"] and not list(of_stream(outputs, "tables"))


def test_table_rebuilt_from_its_decision_has_the_same_limits() -> None:
    policy = Policy()
    logic, _ = a_running_logic(policy, role="kvi")
    outputs = FactSender(logic).send("offers", an_offer(1700, NOON_MS))
    rebuilt = table_of_decision(decision_of(outputs), {policy.hash: policy})
    assert rebuilt is not None and rebuilt == table_of(outputs)
