"""Minutes: first prices, evidence, growth of the counts, renewals, and what a minute leaves out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch, Output
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.ports import InMemoryPriceTables
from schemas.causes import Cause
from schemas.events import CatalogEntry
from schemas.price_table import PriceTable
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    NOON_MS,
    a_cell,
    a_command,
    a_running_logic,
    decision_of,
    state_value,
)
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


def snapshot_bytes(logic: RepricingLogic) -> bytes:
    """Return a logic's snapshot as JSON."""
    return orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)


# -- listings without a cost --------------------------------------------------------------------


def a_logic_without_a_cost() -> tuple[RepricingLogic, list[Output]]:
    """Return a logic whose listing has no cost, and the outputs of its first minute."""
    logic, at_ms = RepricingLogic(), START_MS + MINUTE_MS
    return logic, list(logic.on_batch(Batch(0, at_ms, catalog=(a_catalog_entry(cost_minor=None),), now_ms=at_ms)))


def test_listing_without_a_cost_gets_no_table() -> None:
    _, outputs = a_logic_without_a_cost()
    assert decision_of(outputs)["result"]["bands"][0]["code"] == "COST_MISSING"
    assert not list(of_stream(outputs, "tables"))


def test_listing_without_a_cost_is_not_repriced_every_minute() -> None:
    logic, _ = a_logic_without_a_cost()
    at_ms = START_MS + 2 * MINUTE_MS
    assert not list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms)))


def test_listing_gets_its_first_table_when_its_cost_comes() -> None:
    logic, _ = a_logic_without_a_cost()
    entry, at_ms = a_catalog_entry(at_ms=START_MS + 2 * MINUTE_MS), START_MS + 3 * MINUTE_MS
    assert list(of_stream(list(logic.on_batch(Batch(0, at_ms, catalog=(entry,), now_ms=at_ms))), "tables"))


# -- evidence -----------------------------------------------------------------------------------


def run_market(
    logic: RepricingLogic, market: SmallMarket, minutes: int, break_at: int, restart_every: int = 0
) -> list[Output]:
    """Run a market whose demand halves at a minute; return the logic's outputs.

    Parameters
    ----------
    restart_every : minutes between two restarts of the logic; 0: none.
    """
    outputs: list[Output] = []
    for number in range(minutes):
        got = list(logic.on_batch(market.minute(number, 0.5 if number >= break_at else 1.0)))
        market.take(got)
        outputs += got
        if restart_every and number % restart_every == restart_every - 1:
            logic = restarted(logic)
    return outputs


@pytest.fixture(scope="module")
def falling_demand() -> list[Output]:
    """The outputs of a listing whose demand halves after 150 of 260 minutes."""
    return run_market(RepricingLogic(), SmallMarket(1, 60.0), 260, 150)


def test_fall_of_demand_reprices_the_listing(falling_demand: list[Output]) -> None:
    decisions = list(of_stream(falling_demand, "decisions"))
    evidence = [d["event_time_ms"] for d in decisions if d["cause"] == Cause.EVIDENCE]
    assert evidence and min(evidence) > START_MS + 150 * MINUTE_MS


def test_evidence_that_triggered_is_published(falling_demand: list[Output]) -> None:
    assert any(record["triggered"] for record in of_stream(falling_demand, "evidence"))


def test_evidence_is_not_published_every_minute(falling_demand: list[Output]) -> None:
    assert len(list(of_stream(falling_demand, "evidence"))) < 200


@pytest.mark.parametrize("restart_every", [7, 97])
def test_restarts_change_no_output(falling_demand: list[Output], restart_every: int) -> None:
    assert run_market(RepricingLogic(), SmallMarket(1, 60.0), 260, 150, restart_every) == falling_demand


def test_every_decision_of_a_run_recomputes_and_is_explained(falling_demand: list[Output]) -> None:
    for decision in of_stream(falling_demand, "decisions"):
        record = orjson.loads(orjson.dumps(decision))
        assert recompute(record, catalog_of()) == record["result"]
        assert record["decision_id"] in explain(record, catalog_of())


class SlowSellers(SmallMarket):
    """Listings that sell slowly, in one price group."""

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """Return the listings' catalog entries."""
        return tuple(a_catalog_entry(sku, price_group="g") for sku in self.skus)

    def minute(self, number: int, factor: float = 1.0) -> Batch:
        """Return the batch of one minute."""
        batch = super().minute(number, factor)
        return replace(batch, cells=tuple(replace(cell, price_group="g") for cell in batch.cells))


def test_fall_of_demand_in_a_whole_price_group_reprices_its_listings() -> None:
    outputs = run_market(RepricingLogic(), SlowSellers(8, 6.0), 190, 110)
    causes = [
        d["cause"] for d in of_stream(outputs, "decisions") if d["event_time_ms"] > START_MS + 120 * MINUTE_MS
    ]
    assert causes.count(Cause.GROUP_EVIDENCE) >= 8


def test_effect_of_the_own_price_change_is_predicted_by_the_elasticity() -> None:
    logic, _ = a_running_logic()
    end_ms = NOON_MS
    for price in (2000, 1800):
        end_ms += MINUTE_MS
        list(logic.on_batch(Batch(0, end_ms, (a_cell(price, 100),), now_ms=end_ms)))
    settled = decision_of(list(logic.on_fact(a_fact("commands", a_command("settle"), end_ms, 1))))
    # The mean log price of half an hour's exposures: 97 old ones at 20.00 and 100 at 18.00.
    moved = settled["inputs"]["elasticity"]["mean"] * math.log(0.9) * 100 / 197
    assert state_value(logic, "log_price_factor") == pytest.approx(moved, rel=1e-6)


# -- counts -------------------------------------------------------------------------------------


def counted_for_an_hour(logic: RepricingLogic, exposures: int) -> list[dict[str, Any]]:
    """Count exposures in one minute and let an hour pass; return the decisions."""
    at_ms, end_ms = NOON_MS + MINUTE_MS, NOON_MS + 61 * MINUTE_MS
    outputs = list(logic.on_batch(Batch(0, at_ms, (a_cell(1999, exposures),), now_ms=at_ms)))
    return list(of_stream(outputs + list(logic.on_batch(Batch(0, end_ms, now_ms=end_ms))), "decisions"))


def test_counts_that_grew_request_a_repricing() -> None:
    [decision] = counted_for_an_hour(a_running_logic()[0], 500)
    assert decision["cause"] == Cause.BELIEFS_MOVED
    assert decision["cause_detail"] == {"requests": pytest.approx(500, rel=0.01), "before": 0.0}


def test_counts_too_few_to_change_a_price_request_no_repricing() -> None:
    assert not counted_for_an_hour(a_running_logic()[0], 99)


def test_counts_of_a_listing_without_a_table_request_no_repricing() -> None:
    assert not counted_for_an_hour(a_running_logic(cost_minor=None)[0], 500)


@pytest.mark.parametrize("list_minor", [0, -5])
def test_unusable_list_price_is_not_the_usual_price(list_minor: int) -> None:
    logic, _ = a_running_logic(list_minor=list_minor)
    at_ms = START_MS + DAY_MS
    list(logic.on_batch(Batch(0, at_ms, cells=(a_cell(2000, 5),), now_ms=at_ms)))
    assert state_value(logic, "usual_log") == pytest.approx(math.log(2000))


def after_a_deal() -> dict[str, Any]:
    """Return the inputs of a decision after a minute at a deal and two at about the usual price."""
    logic, _ = a_running_logic()
    at_ms = NOON_MS
    for price, orders, units in ((1999, 10, 11), (1700, 6, 18), (1950, 4, 4)):
        at_ms += MINUTE_MS
        logic.on_batch(Batch(0, at_ms, (a_cell(price, 100, orders, units),), now_ms=at_ms))
    offer = a_fact("offers", an_offer(1800, at_ms + 1), at_ms + 1, 1)
    inputs: dict[str, Any] = decision_of(list(restarted(logic).on_fact(offer)))["inputs"]
    return inputs


def test_orders_and_units_at_deals_are_counted_apart() -> None:
    assert after_a_deal()["bought"] == [6, 18, 14, 15]


def test_usual_price_follows_quoted_prices_slowly() -> None:
    assert 1995 < after_a_deal()["usual_minor"] < 1999


def test_minute_taken_twice_changes_nothing() -> None:
    logic, market = RepricingLogic(), SmallMarket(1)
    first = market.minute(0)
    logic.on_batch(first)
    before = snapshot_bytes(logic)
    assert not list(logic.on_batch(first))
    assert snapshot_bytes(logic) == before


@pytest.mark.parametrize("change", [{"sku": "unknown"}, {"currency": "EUR"}])
def test_cells_of_unknown_listings_and_other_currencies_are_left_out(change: dict[str, Any]) -> None:
    logic, market = RepricingLogic(), SmallMarket(1)
    logic.on_batch(market.minute(0))
    batch = market.minute(1)
    odd = tuple(replace(cell, **change) for cell in batch.cells)
    other = restarted(logic)
    assert list(logic.on_batch(batch)) == list(other.on_batch(replace(batch, cells=batch.cells + odd)))
    assert logic.snapshot()["demand"]["listings"] == other.snapshot()["demand"]["listings"]


# -- renewals -----------------------------------------------------------------------------------


def a_renewal() -> tuple[PriceTable, PriceTable]:
    """Return a table, and its renewal six hours before it expires."""
    logic, outputs = a_running_logic()
    table = PriceTable.from_record(list(of_stream(outputs, "tables"))[-1])
    at_ms = table.expires_ms - 6 * 3_600_000
    [record] = of_stream(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))), "tables")
    return table, PriceTable.from_record(record)


def test_table_near_its_expiry_is_renewed_under_the_same_table_id() -> None:
    table, renewed = a_renewal()
    assert renewed.table_id == table.table_id and renewed.table == table.table
    assert renewed.expires_ms == table.expires_ms - 6 * 3_600_000 + DAY_MS


def test_renewal_has_a_higher_version_and_is_accepted() -> None:
    table, renewed = a_renewal()
    port = InMemoryPriceTables()
    port.publish(table)
    assert renewed.version > table.version and port.publish(renewed).accepted
