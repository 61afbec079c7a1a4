"""Price groups in a bucket: one decision for all members, one table id, whatever changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from features.bucket_logic import Batch, Output
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.optimizer import group_lp
from jobs.pricing.policy import Policy
from jobs.simulation.config import MarketConfig
from jobs.simulation.count_market import CountMarket, Shown
from schemas.events import Stock
from schemas.listings import bucket_of, group_key
from schemas.price_table import PriceTable
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command
from tests.jobs.pricing.group_builders import GROUP, a_group_logic
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    SmallMarket,
    a_catalog_entry,
    a_fact,
    an_offer,
    catalog_of,
    of_stream,
    restarted,
)

HOUR_MS = 60 * MINUTE_MS


class Tables(dict[str, PriceTable]):
    """The newest table by SKU, as a reader of the tables topic has them."""

    def take(self, outputs: Iterable[Output]) -> list[Output]:
        """Take the tables among some outputs; return the outputs."""
        outputs = list(outputs)
        for record in of_stream(outputs, "tables"):
            self[record["sku"]] = PriceTable.from_record(record)
        return outputs

    @property
    def kinds(self) -> set[tuple[str, bytes]]:
        """The distinct table ids with their lists."""
        return {(t.table_id, t.to_redis()["table"].encode()) for t in self.values()}


def a_group(policy: Policy | None = None) -> tuple[RepricingLogic, Tables]:
    """Return a running group of three listings half a day after its first prices."""
    tables = Tables()
    logic, outputs = a_group_logic(policy=policy)
    tables.take(outputs)
    tables.take(logic.on_batch(Batch(0, NOON_MS, now_ms=NOON_MS)))
    return logic, tables


def decisions(outputs: list[Output]) -> list[dict[str, Any]]:
    """Return the decisions among some outputs as they are read from the topic."""
    return [orjson.loads(orjson.dumps(value)) for value in of_stream(outputs, "decisions")]


def test_first_prices_of_a_group_have_one_table_id() -> None:
    _, tables = a_group()
    assert len(tables) == 3 and len(tables.kinds) == 1


def test_reason_to_reprice_one_member_reprices_all_of_them() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + MINUTE_MS
    outputs = tables.take(
        logic.on_fact(a_fact("offers", an_offer(1500, at_ms, sku="s2", price_group=GROUP), at_ms, 1))
    )
    found = decisions(outputs)
    assert [d["sku"] for d in found] == ["s1", "s2", "s3"] and len(tables.kinds) == 1
    assert {d["inputs"]["group"]["requested_by"] for d in found} == {"acme/web-us-usd/s2"}
    audit = Audit.of(found, catalog_of())
    assert (audit.joint, audit.differing) == (1, [])


def test_several_requests_in_one_minute_decide_a_group_once() -> None:
    logic, _ = a_group()
    at_ms = NOON_MS + MINUTE_MS
    offers = tuple(an_offer(1500, at_ms - 1000, sku=sku, price_group=GROUP) for sku in ("s1", "s2"))
    found = decisions(list(logic.on_batch(Batch(0, at_ms, offers=offers, now_ms=at_ms))))
    assert len({d["decision_id"] for d in found}) == len(found) == 3


def test_equal_price_off_decides_each_listing_alone() -> None:
    _, tables = a_group(Policy().overridden({"groups": {"equal_price": False}}))
    assert len({table.table_id for table in tables.values()}) == 3


def test_new_member_gets_the_price_of_its_group() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + MINUTE_MS
    tables.take(logic.on_fact(a_fact("commands", a_command("manual_price", market="web-us-usd", sku="s1",
                                                           price_minor=2199), at_ms, 1)))  # fmt: skip
    tables.take(logic.on_fact(a_fact("commands", a_command("unfreeze"), at_ms + 1, 2)))
    entry = a_catalog_entry("s4", at_ms, price_group=GROUP)
    at_ms += MINUTE_MS
    found = decisions(tables.take(logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms))))
    assert {d["cause"] for d in found} == {"COLD_START", "GROUP_JOINED"}
    assert len(tables) == 4 and len(tables.kinds) == 1
    assert tables["s4"].default_minor == 2199


def test_manual_price_of_one_member_applies_to_the_group_and_holds_it() -> None:
    logic, tables = a_group()
    command = a_command("manual_price", market="web-us-usd", sku="s2", price_minor=2399)
    found = decisions(tables.take(logic.on_fact(a_fact("commands", command, NOON_MS + 1000, 1))))
    assert len(found) == 3 and {t.default_minor for t in tables.values()} == {2399} and len(tables.kinds) == 1
    at_ms = NOON_MS + 3 * HOUR_MS
    found = decisions(
        tables.take(logic.on_fact(a_fact("offers", an_offer(1500, at_ms, sku="s1", price_group=GROUP), at_ms, 1)))
    )
    assert {d["result"]["outcome"] for d in found} == {"HELD"}
    texts = {band["detail"] for d in found for band in d["result"]["bands"] if band["code"] == "EQUAL_PRICE"}
    assert texts == {"the group is held with acme/web-us-usd/s2: price set by ann"}


def test_manual_price_off_the_grid_and_the_rollback_to_it_keep_their_amount_in_the_group() -> None:
    logic, tables = a_group()
    for offset, price_minor in enumerate((2100, 2399)):
        command = a_command("manual_price", market="web-us-usd", sku="s2", price_minor=price_minor)
        tables.take(logic.on_fact(a_fact("commands", command, NOON_MS + 1000 + offset, offset)))
        assert {t.default_minor for t in tables.values()} == {price_minor}
    command = a_command("rollback", market="web-us-usd", sku="s2")
    tables.take(logic.on_fact(a_fact("commands", command, NOON_MS + 2000, 3)))
    assert {t.default_minor for t in tables.values()} == {2100} and len(tables.kinds) == 1


def test_manual_price_of_a_group_that_is_held_freezes_nothing_and_is_refused_with_the_reason() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + 1000
    entry = a_catalog_entry("s1", at_ms, price_group=GROUP, cost_minor=None)
    tables.take(logic.on_fact(a_fact("catalog", entry, at_ms, 1)))
    command = a_command("manual_price", sku="s2", price_minor=2399)
    outputs = tables.take(logic.on_fact(a_fact("commands", command, at_ms + 1000, 2)))
    [refused] = of_stream(outputs, "refused_commands")
    assert "the group is held with acme/web-us-usd/s1: cost" in refused["problem"]
    found = decisions(tables.take(logic.on_fact(a_fact("commands", a_command("settle"), at_ms + 2000, 3))))
    assert {d["inputs"]["frozen"] for d in found} == {None}


def test_approval_of_one_member_applies_to_the_group_and_answers_for_all() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + HOUR_MS
    entry = a_catalog_entry("s1", at_ms, price_group=GROUP, cost_minor=1650, ceiling_minor=4000)
    outputs = tables.take(logic.on_fact(a_fact("catalog", entry, at_ms, 1)))
    waiting = [d for d in decisions(outputs) if d["result"]["approval_until_ms"]]
    if waiting:
        command = a_command("approve", sku=waiting[0]["sku"], decision_id=waiting[0]["decision_id"])
        tables.take(logic.on_fact(a_fact("commands", command, at_ms + 1000, 2)))
        assert {t.default_minor for t in tables.values()} == {waiting[0]["result"]["candidate_minor"]}
    assert len(tables.kinds) == 1


def test_settling_a_tenant_decides_each_group_once() -> None:
    logic, tables = a_group()
    found = decisions(tables.take(logic.on_fact(a_fact("commands", a_command("settle"), NOON_MS + 1000, 1))))
    assert len({d["decision_id"] for d in found}) == len(found) == 3 and len(tables.kinds) == 1


def test_renewal_and_a_new_offer_keep_the_table_id_and_the_prices_of_the_group() -> None:
    logic, tables = a_group()
    before, at_ms = tables.kinds, NOON_MS + HOUR_MS
    # Too small a move to reprice: only the rivals' price that quotes carry changes.
    offers = (an_offer(1950, at_ms - 1000, sku="s2", price_group=GROUP, competitor="other"),)
    tables.take(logic.on_batch(Batch(0, at_ms, offers=offers, now_ms=at_ms)))
    kept = tables.kinds
    for hours in range(2, 30, 3):
        at_ms = NOON_MS + hours * HOUR_MS
        tables.take(logic.on_batch(Batch(0, at_ms, now_ms=at_ms)))
        assert len(tables.kinds) == 1
    assert len(kept) == 1 and len(before) == 1
    assert min(table.expires_ms for table in tables.values()) > at_ms


def test_stock_of_one_size_raises_the_price_of_the_group() -> None:
    def price(on_hand: int) -> int:
        logic, tables = a_group()
        stock = Stock("k", NOON_MS + 1000, "acme", "web-us-usd", "s3", GROUP, on_hand, 0, 1.0)
        tables.take(logic.on_fact(a_fact("stock", stock, NOON_MS + 1000, 1)))
        tables.take(logic.on_fact(a_fact("commands", a_command("settle"), NOON_MS + 2000, 1)))
        assert len(tables.kinds) == 1
        return tables["s3"].default_minor

    assert price(100_000) <= price(1)


def test_restart_between_two_minutes_changes_nothing() -> None:
    logic, _ = a_group()
    again = restarted(logic)
    at_ms = NOON_MS + 3 * HOUR_MS
    fact = a_fact("offers", an_offer(1500, at_ms, sku="s1", price_group=GROUP), at_ms, 1)
    assert list(logic.on_fact(fact)) == list(again.on_fact(fact))


def test_listing_that_leaves_a_group_is_priced_alone() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + 3 * HOUR_MS
    moved = a_catalog_entry("s1", at_ms, price_group="own", cost_minor=1900)
    found = decisions(tables.take(logic.on_fact(a_fact("catalog", moved, at_ms, 1))))
    alone, *others = found
    assert alone["sku"] == "s1" and alone["inputs"]["group"] is None
    assert [d["cause"] for d in others] == ["GROUP_LEFT", "GROUP_LEFT"]
    found = decisions(tables.take(logic.on_fact(a_fact("commands", a_command("settle"), at_ms + 1000, 2))))
    sizes = {d["sku"]: len((d["inputs"]["group"] or {"members": [1]})["members"]) for d in found}
    assert sizes == {"s1": 1, "s2": 2, "s3": 2}


def test_member_without_a_cost_has_a_table_of_its_own_at_its_list_price_until_its_cost_is_known() -> None:
    logic, tables = a_group()
    at_ms = NOON_MS + MINUTE_MS

    def takes(kind: str, value: Any, offset: int) -> list[dict[str, Any]]:
        return decisions(tables.take(logic.on_fact(a_fact(kind, value, at_ms + offset * HOUR_MS, offset))))

    new = a_catalog_entry("s4", at_ms, price_group=GROUP, cost_minor=None, ceiling_minor=1800)
    found = decisions(tables.take(logic.on_batch(Batch(0, at_ms, catalog=(new,), now_ms=at_ms))))
    [own] = [d for d in found if d["sku"] == "s4"]
    assert tables["s4"].default_minor == 1800 and tables["s4"].table_id == own["decision_id"]
    kept = tables["s4"].table_id

    found += takes("offers", an_offer(1500, at_ms + 3 * HOUR_MS, sku="s1", price_group=GROUP), 3)
    moved = {sku: tables[sku].table_id for sku in ("s1", "s2", "s3")}
    assert len(set(moved.values())) == 1 and moved["s1"] != found[0]["table_id"]
    assert tables["s4"].table_id == kept

    known = a_catalog_entry("s4", at_ms + 5 * HOUR_MS, price_group=GROUP, cost_minor=1100, ceiling_minor=1900)
    found += takes("catalog", known, 5)
    assert len(tables.kinds) == 1
    audit = Audit.of(found, catalog_of())
    assert (audit.joint, audit.differing) == (3, [])


def test_evidence_in_one_size_moves_all_sizes_together() -> None:
    logic, tables, market = RepricingLogic(), Tables(), SmallMarket(listings=3)
    for number in range(240):
        batch = market.minute(number, 1.0 if number < 120 else 0.3)
        if number == 0:
            entries = tuple(a_catalog_entry(sku, price_group=GROUP) for sku in market.skus)
            batch = Batch(0, batch.window_end_ms, catalog=entries, now_ms=batch.now_ms)
        outputs = tables.take(logic.on_batch(batch))
        market.take(outputs)
        assert len(tables.kinds) == 1


def test_simulated_assortment_of_a_run_is_decided_with_or_tools() -> None:
    solved = 0
    solve = group_lp.solve_lp

    def counted(*args: Any, **more: Any) -> group_lp.LpSolution:
        nonlocal solved
        solved += 1
        return solve(*args, **more)

    market = CountMarket(MarketConfig(skus=12, events_per_minute=300.0), 1, START_MS)
    opening = market.opening()
    groups = {group_key(e.tenant, e.market, e.price_group) for e in opening.catalog}
    buckets = 4
    logics = [RepricingLogic() for _ in range(buckets)]
    group_lp.solve_lp = counted  # type: ignore[assignment]
    try:
        tables: dict[str, dict[str, str]] = {}
        for minute in (opening, *(market.step(Shown.single(market.list_minor)) for _ in range(3))):
            for bucket, logic in enumerate(logics):
                here = [
                    tuple(
                        x
                        for x in rows
                        if bucket_of(group_key(x.tenant, x.market, x.price_group), buckets) == bucket
                    )
                    for rows in (minute.cells, minute.offers, minute.catalog)
                ]
                at_ms = market.now_ms + MINUTE_MS
                outputs = list(
                    logic.on_batch(Batch(bucket, at_ms, here[0], offers=here[1], catalog=here[2], now_ms=at_ms))
                )
                for record in of_stream(outputs, "tables"):
                    group = group_key(record["tenant"], record["market"], record["price_group"])
                    tables.setdefault(group, {})[record["sku"]] = record["table_id"]
    finally:
        group_lp.solve_lp = solve
    assert solved > 0
    assert len(groups) < len(opening.catalog)
    assert all(len(set(ids.values())) == 1 for ids in tables.values()) and len(tables) == len(groups)
