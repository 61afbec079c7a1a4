"""RepricingLogic: a bucket's minutes and facts in, evidence, decisions and tables out."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Fact, Output, SnapshotError
from jobs.pricing.bucket.listing_state import ROW, ListingState
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.explain import explain
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.policy import Policy
from jobs.pricing.ports import InMemoryPriceTables
from schemas.codes import Cause, OutcomeCode
from schemas.events import CalendarEvent, CatalogEntry, Cell, Command, Estimate, Stock
from schemas.price_table import PriceTable
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    SmallMarket,
    a_catalog_entry,
    a_fact,
    an_offer,
    of_stream,
    restarted,
)

KEY = "acme/web-us-usd/s1"
RECORDS = Path(__file__).parents[3] / "golden" / "snapshots"
DAY_MS = 86_400_000


def a_running_logic(policy: Policy | None = None, **entry: Any) -> tuple[RepricingLogic, list[Output]]:
    """A logic with one listing and its first table, half a day old."""
    logic = RepricingLogic(policy)
    first = Batch(0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(**entry),), now_ms=START_MS + MINUTE_MS)
    outputs = list(logic.on_batch(first))
    later = START_MS + DAY_MS // 2
    return logic, outputs + list(logic.on_batch(Batch(0, later, now_ms=later)))


def a_command(kind: str, **more: Any) -> Command:
    return Command("cmd", START_MS + DAY_MS // 2 + 1000, "acme", kind, "ann", **more)


def an_estimate(mean: float, sd: float = 0.05, at_ms: int = START_MS + MINUTE_MS, **extra: float) -> Estimate:
    return Estimate(
        "listing", "acme", "web-us-usd", "s1", "s1", "own_price_elasticity", "all", mean, sd, 500, mean, sd, 30,
        "sufficient", at_ms, extra,
    )  # fmt: skip


class Teller:
    """Hands facts to a logic, each with the next offset."""

    def __init__(self, logic: RepricingLogic) -> None:
        self.logic, self.offset = logic, 0
        self.at_ms = START_MS + DAY_MS // 2 + 1000

    def tell(self, kind: str, value: Any, later_ms: int = 1000) -> list[Output]:
        self.offset += 1
        self.at_ms += later_ms
        return list(self.logic.on_fact(a_fact(kind, value, self.at_ms, self.offset)))


def decision_of(outputs: list[Output]) -> dict[str, Any]:
    decisions = list(of_stream(outputs, "decisions"))
    assert len(decisions) == 1, [d["cause"] for d in decisions]
    return decisions[0]


def price_of(outputs: list[Output]) -> int:
    return int(list(of_stream(outputs, "tables"))[-1]["default_minor"])


# -- a minute ---------------------------------------------------------------------------------


def test_a_listing_starts_by_rule_within_a_step_of_its_list_price() -> None:
    _, outputs = a_running_logic()
    decision = decision_of(outputs)
    assert decision["cause"] == Cause.COLD_START and decision["result"]["outcome"] == OutcomeCode.COLD_START
    assert price_of(outputs) == 1999, "what shoppers see already, unless cost or rivals say otherwise"
    assert all(len(v["p"]) > 1 for v in decision["result"]["table"].values()), "with bounded exploration"


def test_a_start_is_met_with_the_rivals_mean() -> None:
    logic = RepricingLogic()
    offer = an_offer(1710, START_MS)
    batch = Batch(
        0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(),), offers=(offer,), now_ms=START_MS + MINUTE_MS
    )
    decision = decision_of(list(logic.on_batch(batch)))
    # One look for both: the rival moved, and nothing was shown yet.
    assert decision["cause"] == Cause.COLD_START and decision["result"]["candidate_minor"] == 1699
    assert 1999 * 0.9 <= decision["result"]["default_minor"] <= 1999 * 0.95


def test_a_listing_without_a_cost_gets_no_table_until_the_cost_comes() -> None:
    logic = RepricingLogic()
    at = [START_MS + k * MINUTE_MS for k in range(1, 5)]
    held = list(logic.on_batch(Batch(0, at[0], catalog=(a_catalog_entry(cost_minor=None),), now_ms=at[0])))
    assert decision_of(held)["result"]["bands"][0]["code"] == "COST_MISSING" and not list(
        of_stream(held, "tables")
    )
    assert not list(logic.on_batch(Batch(0, at[1], now_ms=at[1]))), "it does not ask every minute"
    priced = logic.on_batch(Batch(0, at[2], catalog=(a_catalog_entry(at_ms=at[1]),), now_ms=at[2]))
    assert list(of_stream(list(priced), "tables"))


def run_market(
    logic: RepricingLogic, market: SmallMarket, minutes: int, break_at: int, every: int = 0
) -> list[Output]:
    """Play a market whose demand falls by half at a minute; a restart every so many minutes."""
    outputs: list[Output] = []
    for number in range(minutes):
        got = list(logic.on_batch(market.minute(number, 0.5 if number >= break_at else 1.0)))
        market.take(got)
        outputs += got
        if every and number % every == every - 1:
            logic = restarted(logic)
    return outputs


def test_demand_that_falls_is_seen_and_repriced_and_a_restart_changes_nothing() -> None:
    straight = run_market(RepricingLogic(), SmallMarket(1, 60.0), 260, 150)
    causes = [(d["cause"], d["event_time_ms"]) for d in of_stream(straight, "decisions")]
    evidence = [at for cause, at in causes if cause == Cause.EVIDENCE]
    assert evidence and min(evidence) > START_MS + 150 * MINUTE_MS
    assert any(e["triggered"] for e in of_stream(straight, "evidence"))
    assert len(list(of_stream(straight, "evidence"))) < 200, "not one per listing and minute"
    for every in (7, 97):
        assert run_market(RepricingLogic(), SmallMarket(1, 60.0), 260, 150, every) == straight
    for decision in of_stream(straight, "decisions"):
        record = orjson.loads(orjson.dumps(decision))
        assert recompute(record) == record["result"]
        assert record["decision_id"] in explain(record)


def counted_for_an_hour(logic: RepricingLogic, exposures: int) -> list[dict[str, Any]]:
    """Count exposures in one minute and let an hour pass; return the decisions."""
    start = START_MS + DAY_MS // 2
    cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", 1999, "USD", exposures)
    outputs = list(logic.on_batch(Batch(0, start + MINUTE_MS, (cell,), now_ms=start + MINUTE_MS)))
    end = start + 61 * MINUTE_MS
    return list(of_stream(outputs + list(logic.on_batch(Batch(0, end, now_ms=end))), "decisions"))


def test_counts_that_grew_request_a_repricing() -> None:
    [decision] = counted_for_an_hour(a_running_logic()[0], 500)
    assert decision["cause"] == Cause.BELIEFS_MOVED
    assert decision["cause_detail"] == {"requests": pytest.approx(500, rel=0.01), "before": 0.0}


def test_counts_too_few_to_teach_a_price_request_no_repricing() -> None:
    assert not counted_for_an_hour(a_running_logic()[0], 99)


def test_counts_of_a_listing_without_a_table_request_no_repricing() -> None:
    assert not counted_for_an_hour(a_running_logic(cost_minor=None)[0], 500)


def test_fact_with_an_optional_field_of_another_type_is_taken_without_it() -> None:
    logic, _ = a_running_logic()
    at_ms = START_MS + DAY_MS
    command = asdict(a_command("freeze")) | {"until_ms": "tomorrow"}
    logic.on_fact(Fact("commands", command, at_ms, "commands-0-1", at_ms))
    list(logic.on_batch(Batch(0, at_ms + MINUTE_MS, now_ms=at_ms + MINUTE_MS)))
    assert logic.snapshot()["control"]["freezes"][0]["until_ms"] is None


@pytest.mark.parametrize("list_minor", [0, -5])
def test_senseless_list_price_is_no_price_that_shoppers_are_used_to(list_minor: int) -> None:
    logic, _ = a_running_logic(list_minor=list_minor)
    at_ms = START_MS + DAY_MS
    cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", 2000, "USD", exposures=5)
    list(logic.on_batch(Batch(0, at_ms, cells=(cell,), now_ms=at_ms)))
    [row] = logic.snapshot()["bucket"]["states"]
    assert row[ROW.index("usual_log")] == pytest.approx(math.log(2000))


def test_a_minute_again_changes_nothing() -> None:
    logic, market = RepricingLogic(), SmallMarket(1)
    first = market.minute(0)
    logic.on_batch(first)
    before = orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)
    assert not list(logic.on_batch(first))
    assert orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY) == before


def test_cells_of_unknown_listings_and_wrong_currencies_are_left_out() -> None:
    logic, market = RepricingLogic(), SmallMarket(1)
    logic.on_batch(market.minute(0))
    batch = market.minute(1)
    odd = tuple(replace(c, sku="nobody") for c in batch.cells) + tuple(
        replace(c, currency="EUR") for c in batch.cells
    )
    other = restarted(logic)
    assert list(logic.on_batch(batch)) == list(other.on_batch(replace(batch, cells=batch.cells + odd)))
    assert logic.snapshot()["demand"]["listings"] == other.snapshot()["demand"]["listings"]


def test_a_table_near_its_end_is_renewed_under_the_same_table_id() -> None:
    logic, outputs = a_running_logic()
    table = PriceTable.from_record(list(of_stream(outputs, "tables"))[-1])
    port = InMemoryPriceTables()
    port.publish(table)
    at_ms = table.expires_ms - 6 * 3_600_000
    renewed = [
        PriceTable.from_record(r) for r in of_stream(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))), "tables")
    ]
    assert len(renewed) == 1 and renewed[0].table_id == table.table_id and renewed[0].table == table.table
    assert renewed[0].version > table.version and renewed[0].expires_ms == at_ms + DAY_MS
    assert port.publish(renewed[0]).accepted


def test_versions_rise_even_when_the_clock_stands_still() -> None:
    logic, outputs = a_running_logic()
    teller = Teller(logic)
    teller.at_ms = START_MS
    more = [teller.tell("commands", a_command("manual_price", price_minor=p), 0) for p in (1899, 1949)]
    versions = [int(r["version"]) for r in of_stream([*outputs, *more[0], *more[1]], "tables")]
    assert versions == sorted(set(versions))


def test_a_snapshot_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(SnapshotError, match="repricing: expected snapshot version 1, got 9"):
        RepricingLogic().restore({"v": 9})


# -- facts -------------------------------------------------------------------------------------


def test_a_rivals_move_is_looked_at_at_once_with_its_cause() -> None:
    logic, _ = a_running_logic(role="kvi")
    outputs = Teller(logic).tell("offers", an_offer(1700, START_MS + DAY_MS // 2))
    decision = decision_of(outputs)
    assert decision["cause"] == Cause.RIVAL_MOVED and decision["cause_detail"]["competitor"] == "rival"
    assert decision["published"] and price_of(outputs) < 1999
    assert list(of_stream(outputs, "tables"))[-1]["offer_minor"] == "1700"


@pytest.mark.parametrize("alone", [True, False])
def test_a_rival_that_changes_nothing_to_do_still_reaches_the_quotes(alone: bool) -> None:
    logic, _ = a_running_logic(Policy.from_dict({"materiality": {"min_gain_share": 1.0}}), role="long_tail")
    offer, at_ms = an_offer(1900, START_MS + DAY_MS // 2), START_MS + DAY_MS // 2 + MINUTE_MS
    if alone:
        outputs = Teller(logic).tell("offers", offer)
    else:
        # After a restart an offer may be on record in its minute's batch before it comes alone.
        outputs = list(logic.on_batch(Batch(0, at_ms, offers=(offer,), now_ms=at_ms)))
    assert decision_of(outputs)["result"]["outcome"] == OutcomeCode.NOT_MATERIAL
    tables = list(of_stream(outputs, "tables"))
    assert len(tables) == 1 and tables[0]["offer_minor"] == "1900"


class RivalFeed:
    """Sends one rival's offers to a logic, each alone or as its minute's batch; the first is at 131.38."""

    def __init__(self, *, alone: bool = True) -> None:
        self.logic, _ = a_running_logic(cost_minor=8000, list_minor=12999)
        self.alone, self.offset, self.at_ms = alone, 0, START_MS + DAY_MS // 2
        self.send(13138)

    def send(self, price_minor: int, **changes: Any) -> list[Output]:
        self.offset += 1
        self.at_ms += MINUTE_MS
        offer = an_offer(price_minor, self.at_ms - 1, **changes)
        if self.alone:
            return list(self.logic.on_fact(a_fact("offers", offer, self.at_ms - 1, self.offset)))
        return list(self.logic.on_batch(Batch(0, self.at_ms, offers=(offer,), now_ms=self.at_ms)))

    def requests(self, price_minor: int, **changes: Any) -> bool:
        """Send an offer; return whether it requested a repricing."""
        return bool(list(of_stream(self.send(price_minor, **changes), "decisions")))

    @property
    def start_mass(self) -> float:
        return float(sum(self.logic.snapshot()["watch"]["watcher"]["facts"]["columns"]["waiting"]))


@pytest.mark.parametrize("alone", [True, False])
def test_rival_move_of_a_thousandth_requests_no_repricing(alone: bool) -> None:
    assert not RivalFeed(alone=alone).requests(13125)


def test_rival_move_of_one_per_cent_requests_a_repricing() -> None:
    assert RivalFeed().requests(13007)


@pytest.mark.parametrize("alone", [True, False])
def test_small_steps_of_a_rival_add_up_to_a_request(alone: bool) -> None:
    feed = RivalFeed(alone=alone)
    assert [feed.requests(price) for price in (13115, 13092, 13069, 13046, 13023)] == [
        False, False, True, False, False,
    ]  # fmt: skip


def test_repricing_request_names_the_price_that_the_last_one_rested_on() -> None:
    feed = RivalFeed()
    feed.send(13115)
    [decision] = of_stream(feed.send(13000), "decisions")
    assert decision["cause_detail"]["before_minor"] == 13138


def test_rival_that_usually_moves_far_requests_less_for_small_moves() -> None:
    feed = RivalFeed()
    for price in (11800, 13100, 11800, 13100, 11800, 13100):
        assert feed.requests(price)
    assert not feed.requests(13000)


@pytest.mark.parametrize("change", [{"in_stock": False}, {"competitor": "other"}])
def test_new_rival_and_stock_change_request_a_repricing(change: dict[str, Any]) -> None:
    assert RivalFeed().requests(13138, **change)


def test_small_move_of_a_rival_reaches_the_next_decision() -> None:
    feed = RivalFeed()
    feed.send(13125)
    settle = a_fact("commands", a_command("settle"), feed.at_ms, 99)
    decision = decision_of(list(feed.logic.on_fact(settle)))
    assert decision["inputs"]["offers"][0]["price_minor"] == 13125


def test_small_move_of_a_rival_reaches_the_quotes_with_the_next_renewal() -> None:
    feed = RivalFeed(alone=False)
    feed.send(13125)
    at_ms = feed.at_ms + 20 * 3_600_000
    [renewed] = of_stream(list(feed.logic.on_batch(Batch(0, at_ms, now_ms=at_ms))), "tables")
    assert renewed["offer_minor"] == "13125"


def test_small_move_of_a_rival_adds_no_start_mass_to_the_watcher() -> None:
    feed = RivalFeed()
    before = feed.start_mass
    feed.send(13125)
    assert feed.start_mass == before
    feed.send(12800)
    assert feed.start_mass > before


def test_offer_told_alone_requests_nothing_again_with_its_minute() -> None:
    feed = RivalFeed()
    offer = an_offer(12800, feed.at_ms + 1)
    assert feed.logic.on_fact(a_fact("offers", offer, feed.at_ms + 1, 50))
    end_ms = feed.at_ms + MINUTE_MS
    outputs = list(restarted(feed.logic).on_batch(Batch(0, end_ms, offers=(offer,), now_ms=end_ms)))
    assert not list(of_stream(outputs, "decisions"))


@pytest.mark.parametrize("alone", [True, False])
def test_offer_becomes_a_reference_when_its_kind_changes(alone: bool) -> None:
    feed = RivalFeed(alone=alone)
    [decision] = of_stream(feed.send(13138, offer_kind="reference"), "decisions")
    assert decision["inputs"]["offers"][0]["offer_kind"] == "reference"
    assert "MARKET_CAP" not in {band["code"] for band in decision["result"]["bands"]}


def test_the_same_fact_again_and_the_same_offer_again_change_nothing() -> None:
    logic, _ = a_running_logic()
    fact = a_fact("offers", an_offer(1700, START_MS + DAY_MS // 2), START_MS + DAY_MS // 2, 7)
    assert logic.on_fact(fact)
    before = logic.snapshot()
    assert not logic.on_fact(fact)
    assert str(logic.snapshot()) == str(before)
    assert not logic.on_fact(a_fact("offers", an_offer(1700, START_MS + DAY_MS // 2), START_MS + DAY_MS // 2, 8))


@pytest.mark.parametrize(
    "odd",
    [{"currency": "EUR"}, {"pack_size": 6}, {"match_confidence": 0.2}, {"sku": "nobody"}, {"price_minor": -5}],
)
def test_an_offer_that_is_not_comparable_is_set_aside(odd: dict[str, Any]) -> None:
    logic, _ = a_running_logic()
    offer = replace(an_offer(1700, START_MS + DAY_MS // 2), **odd)
    assert not Teller(logic).tell("offers", offer)


def test_a_wild_offer_counts_only_when_it_is_seen_twice() -> None:
    logic, _ = a_running_logic()
    teller, at = Teller(logic), START_MS + DAY_MS // 2
    teller.tell("offers", an_offer(1900, at))
    assert not teller.tell("offers", an_offer(190, at + 1000))
    assert teller.tell("offers", an_offer(190, at + 2000))


WEEK_MS = 7 * DAY_MS


class CostFeed:
    """Sends catalog entries with one cost after another to a logic that trusts 10.00."""

    def __init__(self) -> None:
        self.logic, _ = a_running_logic(cost_minor=1000, list_minor=1999)
        self.at_ms, self.offset = START_MS + DAY_MS // 2, 0

    def send(self, cost_minor: int, later_ms: int = WEEK_MS) -> list[Output]:
        self.at_ms += later_ms
        self.offset += 1
        entry = a_catalog_entry(at_ms=self.at_ms, cost_minor=cost_minor)
        return list(self.logic.on_fact(a_fact("catalog", entry, self.at_ms, self.offset)))

    @property
    def trusted(self) -> int:
        [row] = self.logic.snapshot()["bucket"]["states"]
        return int(row[ROW.index("trusted_cost_minor")])


def test_cost_beyond_the_jump_holds_the_price() -> None:
    held = decision_of(CostFeed().send(120))
    assert held["result"]["outcome"] == OutcomeCode.HELD and not held["published"]


@pytest.mark.parametrize(("cost", "trusted"), [(666, 1000), (667, 667), (1500, 1500), (1501, 1000)])
def test_cost_jump_is_symmetric_in_logs(cost: int, trusted: int) -> None:
    feed = CostFeed()
    feed.send(cost)
    assert feed.trusted == trusted


def test_cost_that_varies_within_the_tolerance_is_confirmed() -> None:
    feed = CostFeed()
    for cost in (523, 531):
        outputs = feed.send(cost)
    assert feed.trusted == 531
    assert decision_of(outputs)["result"]["bands"][0]["kind"] != "hold"


def test_cost_that_rises_back_after_a_confirmed_fall_is_confirmed() -> None:
    feed = CostFeed()
    for cost in (523, 523, 990, 1005):
        feed.send(cost)
    assert feed.trusted == 1005


def test_cost_that_drifts_from_one_agreeing_value_to_the_next_is_confirmed() -> None:
    feed = CostFeed()
    for cost in (1900, 1970, 2040):
        feed.send(cost, later_ms=20 * MINUTE_MS)
    assert feed.trusted == 1000
    feed.send(2110, later_ms=20 * MINUTE_MS)
    assert feed.trusted == 2110


def test_cost_outside_the_tolerance_starts_the_confirmation_again() -> None:
    feed = CostFeed()
    for cost in (1900, 2100):
        feed.send(cost, later_ms=DAY_MS)
    assert feed.trusted == 1000


def test_costs_that_never_agree_are_trusted_in_the_end() -> None:
    feed = CostFeed()
    for cost in (1900, 2100, 1800):
        feed.send(cost)
    assert feed.trusted == 1800


def test_costs_that_jump_up_and_down_are_never_trusted() -> None:
    feed = CostFeed()
    for cost in (1900, 100, 2100, 110, 1900, 100):
        feed.send(cost)
    assert feed.trusted == 1000


def test_identical_cost_that_confirms_requests_a_repricing() -> None:
    feed = CostFeed()
    feed.send(1700)
    confirmed = decision_of(feed.send(1700, later_ms=60 * MINUTE_MS))
    assert confirmed["cause"] == Cause.COST_CHANGED and confirmed["published"]
    assert confirmed["cause_detail"] == {"trusted_cost_minor": [1000, 1700]}


def test_a_cost_jump_is_trusted_at_once_when_people_approve_it() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    held = decision_of(teller.tell("catalog", a_catalog_entry(at_ms=START_MS + DAY_MS // 2, cost_minor=400)))
    answered = decision_of(teller.tell("commands", a_command("approve", decision_id=held["decision_id"])))
    assert answered["inputs"]["catalog"]["trusted_cost_minor"] == 400


def test_a_cost_rise_goes_over_pace_at_once() -> None:
    logic, _ = a_running_logic(cost_minor=1400)
    outputs = Teller(logic).tell("catalog", a_catalog_entry(at_ms=START_MS + DAY_MS // 2, cost_minor=2050))
    decision = decision_of(outputs)
    assert decision["result"]["outcome"] == OutcomeCode.HARD_OVER_PACE and decision["result"]["alert"]
    assert (price_of(outputs) - 2050) / price_of(outputs) >= 0.10


def test_running_out_and_coming_back_are_looked_at() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)

    def stock(units: int) -> list[Output]:
        return teller.tell("stock", Stock("e", teller.at_ms, "acme", "web-us-usd", "s1", "s1", units, 0, 3.0))

    assert not stock(5)
    assert decision_of(stock(0))["cause"] == Cause.STOCK_OUT
    assert decision_of(stock(50))["cause"] == Cause.RESTOCKED


def test_an_estimate_becomes_the_belief_even_when_it_comes_before_the_listing() -> None:
    logic = RepricingLogic()
    logic.on_fact(a_fact("estimates", an_estimate(-3.3, rival_elasticity=0.7), START_MS, 1))
    logic = restarted(logic)
    at_ms = START_MS + MINUTE_MS
    decision = decision_of(list(logic.on_batch(Batch(0, at_ms, catalog=(a_catalog_entry(),), now_ms=at_ms))))
    assert decision["inputs"]["elasticity"]["mean"] == pytest.approx(-3.3, abs=0.01), "the list price says little"
    assert decision["inputs"]["elasticity"]["sd"] == pytest.approx(0.05, abs=0.001)
    assert decision["inputs"]["rival_elasticity"]["mean"] == 0.7
    logic.on_fact(a_fact("estimates", an_estimate(-9.0, at_ms=START_MS), START_MS, 2))
    settled = decision_of(Teller(logic).tell("commands", a_command("settle")))
    assert settled["inputs"]["elasticity"] == decision["inputs"]["elasticity"], "an older estimate changes nothing"


def test_an_event_is_looked_at_when_it_starts_and_an_emergency_bans_increases() -> None:
    logic, _ = a_running_logic()
    at_ms = START_MS + DAY_MS // 2
    storm = CalendarEvent(
        "ev", at_ms, "acme", "emergency", "storm", "us", "", at_ms + MINUTE_MS, at_ms + DAY_MS, 2.0
    )
    assert not logic.on_fact(a_fact("calendar", storm, at_ms, 1))
    decision = decision_of(list(logic.on_batch(Batch(0, at_ms + MINUTE_MS, now_ms=at_ms + MINUTE_MS))))
    assert decision["cause"] == Cause.EVENT_STARTED and decision["inputs"]["surge_ban"] == "storm"
    assert decision["result"]["hard"][1] == decision["inputs"]["current"]["default_minor"]


# -- commands ----------------------------------------------------------------------------------


def test_a_manual_price_is_published_at_once_and_stays() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    assert price_of(teller.tell("commands", a_command("manual_price", sku="s1", price_minor=2500))) == 2500
    settled = decision_of(teller.tell("commands", a_command("settle")))
    assert settled["result"]["outcome"] == OutcomeCode.HELD and settled["inputs"]["frozen"] == "price set by ann"
    teller.tell("commands", a_command("unfreeze"))
    assert decision_of(teller.tell("commands", a_command("settle")))["published"]


def test_a_manual_price_below_the_margin_is_not_published() -> None:
    logic, _ = a_running_logic()
    outputs = Teller(logic).tell("commands", a_command("manual_price", price_minor=1))
    assert price_of(outputs) >= 1334


def test_a_freeze_holds_and_renews_while_a_kill_switch_lets_tables_run_out() -> None:
    logic, outputs = a_running_logic()
    end_ms = int(list(of_stream(outputs, "tables"))[-1]["expires_ms"])
    teller = Teller(logic)
    assert not teller.tell("commands", a_command("freeze"))
    assert decision_of(teller.tell("commands", a_command("settle")))["result"]["outcome"] == OutcomeCode.HELD
    other = restarted(logic)
    assert list(of_stream(list(logic.on_batch(Batch(0, end_ms - MINUTE_MS, now_ms=end_ms - MINUTE_MS))), "tables"))
    other.on_fact(a_fact("commands", a_command("kill_switch"), teller.at_ms, 99))
    assert not list(other.on_batch(Batch(0, end_ms - MINUTE_MS, now_ms=end_ms - MINUTE_MS)))
    other.on_fact(a_fact("commands", a_command("resume"), teller.at_ms, 100))
    assert list(of_stream(list(other.on_batch(Batch(0, end_ms, now_ms=end_ms))), "tables"))


def test_a_rollback_goes_back_to_the_price_before() -> None:
    logic, outputs = a_running_logic()
    first, teller = price_of(outputs), Teller(logic)
    assert price_of(teller.tell("commands", a_command("manual_price", price_minor=2100))) == 2100
    assert price_of(teller.tell("commands", a_command("rollback"))) == first


def test_a_sale_target_limits_what_is_sold_and_says_so() -> None:
    logic, _ = a_running_logic()
    until_ms = START_MS + 3 * DAY_MS
    decision = decision_of(Teller(logic).tell("commands", a_command("sale_target", units=2, until_ms=until_ms)))
    assert decision["inputs"]["target_from"] == "sale_target" and 0 < decision["inputs"]["target_units"] < 2


def test_what_waits_for_approval_jumps_when_approved_and_stays_when_rejected() -> None:
    for answer, jumps in (("approve", True), ("reject", False)):
        logic, _ = a_running_logic(Policy.from_dict({"limits": {"min_confidence": 0.0}}))
        teller = Teller(logic)
        asked = decision_of(teller.tell("estimates", an_estimate(-1.6)))
        assert asked["result"]["approval_until_ms"] is not None
        outputs = teller.tell("commands", a_command(answer, decision_id=asked["decision_id"]))
        assert bool(outputs) is jumps
        if jumps:
            assert price_of(outputs) == asked["result"]["candidate_minor"]


def test_approval_of_another_decision_approves_nothing() -> None:
    logic, _ = a_running_logic(Policy.from_dict({"limits": {"min_confidence": 0.0}}))
    teller = Teller(logic)
    assert decision_of(teller.tell("estimates", an_estimate(-1.6)))["result"]["approval_until_ms"] is not None
    assert not teller.tell("commands", a_command("approve", decision_id="another"))


def test_settling_gives_the_same_prices_after_different_paths() -> None:
    market = SmallMarket(2, 40.0)
    calm, moved = RepricingLogic(), RepricingLogic()
    for number in range(50):
        batch = market.minute(number)
        market.take(list(calm.on_batch(batch)))
        list(moved.on_batch(batch))
        if number == 25:
            moved.on_fact(a_fact("commands", a_command("manual_price", price_minor=2300), batch.window_end_ms, 1))
            moved.on_fact(a_fact("commands", a_command("unfreeze"), batch.window_end_ms, 2))
    tables = []
    for logic in (calm, moved):
        settle = a_fact("commands", a_command("settle"), START_MS + 51 * MINUTE_MS, 9)
        logic.on_fact(settle)
        tables.append([state[ROW.index("table")]["table"] for state in logic.snapshot()["bucket"]["states"]])
    assert tables[0] == tables[1]


def test_a_change_cut_short_by_pace_goes_on_by_itself() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    first = decision_of(teller.tell("estimates", an_estimate(-2.1, 0.02)))
    assert first["cause"] == Cause.BELIEFS_MOVED
    assert first["published"] and first["result"]["continue_at_ms"] is not None
    at_ms = first["result"]["continue_at_ms"]
    assert not list(of_stream(list(logic.on_batch(Batch(0, at_ms - MINUTE_MS, now_ms=at_ms))), "decisions"))
    logic = restarted(logic)
    then = decision_of(list(logic.on_batch(Batch(0, at_ms, now_ms=at_ms))))
    assert then["cause"] == Cause.CONTINUED and then["inputs"]["current"]["default_minor"] != 1999
    assert then["cause_detail"]["after"] == Cause.BELIEFS_MOVED
    assert then["result"]["reason"].startswith("CONTINUED after BELIEFS_MOVED: ")


def test_a_bucket_of_32_listings_fits_its_budget() -> None:
    market, logic = SmallMarket(32, 40.0), RepricingLogic()
    for number in range(30):
        market.take(list(logic.on_batch(market.minute(number))))
    size = len(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert size / 32 < 4096


def test_a_snapshot_from_before_rows_had_names_is_read() -> None:
    logic, _ = a_running_logic()
    snapshot = orjson.loads(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    names = snapshot["bucket"].pop("state_row")
    snapshot["bucket"]["states"] = [dict(zip(names, row, strict=True)) for row in snapshot["bucket"]["states"]]
    old = RepricingLogic()
    old.restore(snapshot)
    assert orjson.dumps(old.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY) == orjson.dumps(
        logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY
    )


def test_what_is_bought_at_deals_is_counted_beside_what_shoppers_are_used_to() -> None:
    logic, _ = a_running_logic()
    minute = START_MS + DAY_MS // 2
    for price, orders, units in ((1999, 10, 11), (1700, 6, 18), (1950, 4, 4)):
        minute += MINUTE_MS
        cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", price, "USD", 100, orders=orders, units=units)
        logic.on_batch(Batch(0, minute, (cell,), now_ms=minute))
    decided = decision_of(
        list(restarted(logic).on_fact(a_fact("offers", an_offer(1800, minute + 1), minute + 1, 1)))
    )
    assert decided["inputs"]["bought"] == [6, 18, 14, 15]
    assert 1995 < decided["inputs"]["usual_minor"] < 1999


def test_a_table_that_came_back_is_the_same_whether_or_not_it_was_asked_for() -> None:
    _, outputs = a_running_logic()
    state = ListingState("g")
    state.table = PriceTable.from_record(next(of_stream(outputs, "tables")))
    row = state.to_row()
    again = ListingState(*orjson.loads(orjson.dumps(row)))
    assert again.has_table and again.table_expires_ms == state.table.expires_ms
    assert again.to_row() == row
    assert again.table == state.table and again.table_expires_ms == state.table.expires_ms
    assert again.to_row() == row


def test_snapshot_written_before_costs_could_vary_is_restored() -> None:
    logic = RepricingLogic()
    logic.restore(orjson.loads((RECORDS / "repricing_snapshot_before_0042.json").read_bytes()))
    [row] = logic.snapshot()["bucket"]["states"]
    assert row[ROW.index("odd_cost")][0] == 2500
    at_ms = START_MS + DAY_MS
    logic.on_fact(a_fact("catalog", a_catalog_entry(at_ms=at_ms, cost_minor=2480), at_ms, 2))
    [row] = logic.snapshot()["bucket"]["states"]
    assert row[ROW.index("trusted_cost_minor")] == 2480


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
    ],
)
def test_changes_are_counted_in_the_markets_day_when_the_clocks_change(zone: str, day: str, hours: int) -> None:
    midnight = round(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    logic = RepricingLogic(Policy.from_dict({"local_time": {"time_zones": {"web-us-usd": zone}}}))
    start = midnight - MINUTE_MS
    list(logic.on_batch(Batch(0, start, catalog=(a_catalog_entry(at_ms=start),), now_ms=start)))

    def ends(at_ms: int, offset: int) -> int:
        command = Command("cmd", at_ms, "acme", "settle", "ann")
        return decision_of(list(logic.on_fact(a_fact("commands", command, at_ms, offset))))["inputs"]["current"][
            "day_ends_ms"
        ]

    last = midnight + hours * 60 * MINUTE_MS - 1
    assert [ends(midnight - 1, 1), ends(midnight, 2), ends(last, 3)] == [midnight, last + 1, last + 1]
    assert ends(last + 1, 4) == last + 1 + DAY_MS


def test_a_snapshot_with_daily_profiles_in_utc_is_brought_to_local_time() -> None:
    before, _ = a_running_logic()
    at = START_MS + DAY_MS // 2
    saved = orjson.loads(orjson.dumps(before.snapshot(), default=array_text))
    del saved["watch"]["local_time"]
    zones = {"local_time": {"time_zones": {"web-us-usd": "Asia/Tokyo"}}}
    after = RepricingLogic(Policy.from_dict(zones))
    after.restore(saved)
    seen, moved = (np.flatnonzero(x._watch._watcher.null.daily.exposure[0]) for x in (before, after))
    assert len(seen) and set(moved) == {(hour + 9) % 24 for hour in seen}
    again = RepricingLogic(Policy.from_dict(zones))
    again.restore(orjson.loads(orjson.dumps(after.snapshot(), default=array_text)))
    assert np.flatnonzero(again._watch._watcher.null.daily.exposure[0]).tolist() == moved.tolist(), "once only"
    assert list(again.on_batch(Batch(0, at + MINUTE_MS, now_ms=at + MINUTE_MS))) == []


def test_a_decision_recorded_with_the_former_keys_of_a_day_recomputes() -> None:
    decision = orjson.loads(orjson.dumps(decision_of(a_running_logic()[1]), option=orjson.OPT_SERIALIZE_NUMPY))
    policy = decision["inputs"]["policy"]
    del policy["local_time"], policy["segments"]["memory_days"]
    policy["limits"]["day_offset_minutes"] = {"web-us-usd": -300}
    policy["features"]["time_zones"] = {"web-us-usd": "America/New_York"}
    assert recompute(decision) == decision["result"]


def test_rival_of_a_snapshot_without_requests_is_compared_with_its_held_price() -> None:
    feed = RivalFeed()
    saved = orjson.loads(orjson.dumps(feed.logic.snapshot(), default=array_text))
    for row in saved["bucket"]["states"]:
        row[ROW.index("requested_on")] = {}
    feed.logic = RepricingLogic()
    feed.logic.restore(saved)
    assert not feed.requests(13125)


def test_first_change_of_a_day_is_counted_as_one() -> None:
    logic, _ = a_running_logic()
    settled = decision_of(Teller(logic).tell("commands", a_command("settle")))
    assert settled["inputs"]["current"]["changes_today"] == 1


def test_event_that_ends_now_does_not_start() -> None:
    logic, _ = a_running_logic()
    at_ms = START_MS + DAY_MS // 2
    over = CalendarEvent("ev", at_ms, "acme", "campaign", "sale", "us", "", START_MS, at_ms, 2.0)
    assert not list(logic.on_fact(a_fact("calendar", over, at_ms, 1)))
    running = replace(over, event_id="ev2", end_ms=at_ms + 1)
    assert decision_of(list(logic.on_fact(a_fact("calendar", running, at_ms, 2))))["cause"] == Cause.EVENT_STARTED


def test_sale_target_without_units_sets_the_target_off() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    teller.tell("commands", a_command("sale_target", units=2, until_ms=START_MS + 3 * DAY_MS))
    decision = decision_of(teller.tell("commands", a_command("sale_target")))
    assert decision["inputs"]["target_from"] is None


def test_units_sold_are_taken_off_the_sale_target() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    teller.tell("commands", a_command("sale_target", units=40, until_ms=START_MS + 3 * DAY_MS))
    end_ms = teller.at_ms + MINUTE_MS
    cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", 1999, "USD", 50, orders=4, units=6)
    list(logic.on_batch(Batch(0, end_ms, (cell,), now_ms=end_ms)))
    [row] = logic.snapshot()["bucket"]["states"]
    assert row[ROW.index("target")][0] == 34


def test_manual_price_of_a_market_is_pinned_listing_by_listing() -> None:
    logic, _ = a_running_logic()
    teller = Teller(logic)
    teller.tell("catalog", a_catalog_entry("s2", at_ms=teller.at_ms))
    teller.tell("commands", a_command("manual_price", price_minor=2100))
    teller.tell("commands", a_command("unfreeze", market="web-us-usd", sku="s1"))
    settled = list(of_stream(teller.tell("commands", a_command("settle")), "decisions"))
    assert {d["sku"]: d["inputs"]["frozen"] for d in settled} == {"s1": None, "s2": "price set by ann"}


def test_decision_carries_the_rivals_price_that_counts_are_centred_on() -> None:
    logic, _ = a_running_logic()
    end_ms = START_MS + DAY_MS // 2 + MINUTE_MS
    cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", 1999, "USD", 50)
    offer = an_offer(1900, end_ms - 1)
    list(logic.on_batch(Batch(0, end_ms, (cell,), offers=(offer,), now_ms=end_ms)))
    decision = decision_of(Teller(logic).tell("commands", a_command("settle"), 2 * MINUTE_MS))
    assert decision["inputs"]["offer_centre"] == pytest.approx(math.log(1900))


def test_own_price_change_is_predicted_by_the_elasticity() -> None:
    logic, _ = a_running_logic()
    end_ms = START_MS + DAY_MS // 2
    for price in (2000, 1800):
        end_ms += MINUTE_MS
        cell = Cell("acme", "web-us-usd", "s1", "s1", "base", "all", price, "USD", 100)
        list(logic.on_batch(Batch(0, end_ms, (cell,), now_ms=end_ms)))
    [row] = logic.snapshot()["bucket"]["states"]
    settled = decision_of(list(logic.on_fact(a_fact("commands", a_command("settle"), end_ms, 1))))
    # The mean log price of half an hour's exposures: 97 old ones at 20.00 and 100 at 18.00.
    moved = settled["inputs"]["elasticity"]["mean"] * math.log(0.9) * 100 / 197
    assert row[ROW.index("log_price_factor")] == pytest.approx(moved, rel=1e-6)


def test_restart_changes_nothing_for_a_listing_just_added_in_a_market_with_a_time_zone() -> None:
    zones = {"local_time": {"time_zones": {"web-us-usd": "Asia/Tokyo"}}}
    straight, market = RepricingLogic(Policy.from_dict(zones)), SmallMarket(1)
    straight.on_batch(market.minute(0))
    again = restarted(straight)
    for number in range(1, 30):
        for logic in (straight, again):
            list(logic.on_batch(market.minute(number)))
    assert orjson.dumps(again.snapshot(), default=array_text) == orjson.dumps(
        straight.snapshot(), default=array_text
    )


class SlowSellers(SmallMarket):
    """Listings that sell slowly, in one price group."""

    def catalog(self) -> tuple[CatalogEntry, ...]:
        return tuple(a_catalog_entry(sku, price_group="g") for sku in self.skus)

    def minute(self, number: int, factor: float = 1.0) -> Batch:
        batch = super().minute(number, factor)
        return replace(batch, cells=tuple(replace(cell, price_group="g") for cell in batch.cells))


def test_demand_that_falls_in_a_whole_price_group_reprices_its_listings() -> None:
    outputs = run_market(RepricingLogic(), SlowSellers(8, 6.0), 170, 110)
    causes = [
        d["cause"] for d in of_stream(outputs, "decisions") if d["event_time_ms"] > START_MS + 120 * MINUTE_MS
    ]
    assert causes.count(Cause.GROUP_EVIDENCE) >= 8
