"""FeatureLogic: rows compared with a recount of the cells, restarts, and the rules for facts.

The file exceeds 300 lines because all tests share one history of cells and facts. A split would duplicate these
helpers.
"""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from features.array_text import array_text
from features.books.offers import RivalSettings
from features.bucket_logic import Batch, Fact, Output, SnapshotError, parse_batch
from features.feature_logic import FeatureLogic
from features.listing_counts import ListingCounts
from features.registry import FEATURES, PUBLIC_NAMES, SOURCE_001
from features.settings import FeatureSettings
from features.windows import LocalTime, local_time
from schemas.events import CatalogEntry, Offer, Stock
from schemas.records.counts import Cell

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_790_000_040_000
EVERY_MINUTE = FeatureSettings(emit_every_minutes=1)


def an_entry(sku: str = "s1", market: str = "web", **more: Any) -> CatalogEntry:
    base: dict[str, Any] = {"cost_minor": 600, "list_minor": 999}
    return CatalogEntry("e", 1, "acme", market, sku, sku, "shoes", "margin", "USD", 1, True, **(base | more))


def a_cell(sku: str = "s1", price: int = 1000, market: str = "web", segment: str = "all", **counts: int) -> Cell:
    return Cell("acme", market, sku, sku, "base", segment, price, "USD", **counts)


def an_offer(price: int, rival: str = "r1", at: int = T0 - 1) -> Offer:
    return Offer("e", at, "acme", "web", "s1", "s1", rival, price, 0, True, "USD", 1, "t", 1.0)


def a_stock(on_hand: int = 40) -> Stock:
    return Stock("e", 1, "acme", "web", "s1", "s1", on_hand, 7, 4.0)


def an_estimate(mean: float, window_end_ms: int, segment: str = "all") -> Fact:
    value = {
        "tenant": "acme", "market": "web", "sku": "s1", "name": "own_price_elasticity", "segment": segment,
        "mean": mean, "sd": 0.2, "n": 9, "sufficient": "sufficient", "window_end_ms": window_end_ms,
    }  # fmt: skip
    return Fact("estimates", value, window_end_ms, "a", window_end_ms)


def a_batch(minute: int, *cells: Cell, **facts: Any) -> Batch:
    return Batch(0, T0 + minute * MINUTE, cells=cells, **facts)


def rows(outputs: Any) -> dict[str, dict[str, Any]]:
    return {output.key: output.value for output in outputs if output.stream == "features"}


def a_logic(*entries: CatalogEntry, settings: FeatureSettings | None = None) -> FeatureLogic:
    """Return a logic with its listings in the catalog since the minute before the first."""
    logic = FeatureLogic(settings or EVERY_MINUTE)
    list(logic.on_batch(a_batch(-1, catalog=entries or (an_entry(),))))
    return logic


def a_history(minutes: int, seed: int = 1, step: int = 1) -> list[Batch]:
    rng, batches = random.Random(seed), []
    for minute in range(0, minutes, step):
        cells = [
            a_cell(
                sku, rng.choice([950, 1000, 1050]), segment=rng.choice(["myopic", "strategic", "all"]),
                exposures=rng.randint(0, 9), views=rng.randint(0, 9), orders=rng.randint(-1, 2),
                units=rng.randint(-1, 3), revenue_minor=rng.randint(0, 5000),
                searches_matured=rng.randint(3, 5), searches_abandoned=rng.randint(0, 3),
            )
            for sku in ("s1", "s2", "s3") if rng.random() < 0.6
        ]  # fmt: skip
        at = T0 + minute * MINUTE
        offers = (
            (an_offer(rng.randint(800, 1200), rng.choice(["r1", "r2"]), at - 5),) if rng.random() < 0.1 else ()
        )
        stock = (replace(a_stock(rng.randint(0, 50)), event_time_ms=at),) if rng.random() < 0.05 else ()
        batches.append(a_batch(minute, *cells, offers=offers, stock=stock))
    return batches


def run(logic: FeatureLogic, batches: list[Batch]) -> list[Output]:
    return [output for batch in batches for output in logic.on_batch(batch)]


def test_row_contains_all_features_in_order_with_their_types():
    logic = a_logic()
    logic.on_fact(an_estimate(-2.0, T0 - HOUR))
    outputs = run(logic, [a_batch(0, a_cell(exposures=9, orders=1), offers=(an_offer(900),), stock=(a_stock(),))])
    row = rows(outputs)["acme/web/s1"]
    assert list(row) == ["listing", "event_timestamp", "created_ms", *PUBLIC_NAMES]
    types = {"int": int, "float": float, "string": str}
    for spec in FEATURES:
        value = row[spec.public]
        assert value is None if value is None and spec.nullable else type(value) is types[spec.dtype], spec.name
        if value is not None and spec.dtype != "string":
            assert (spec.low is None or value >= spec.low) and (spec.high is None or value <= spec.high), spec.name
        if spec.values:
            assert value in spec.values


def test_features_of_source_001_equal_values_computed_by_hand():
    logic = a_logic()
    logic.on_fact(an_estimate(-2.0, T0 - HOUR))
    cells = [a_cell(exposures=40, orders=8, units=10, segment="myopic")]
    run(logic, [a_batch(0, *cells, offers=(an_offer(900), an_offer(1100, "r2")), stock=(a_stock(40),))])
    row = rows(run(logic, [a_batch(60, a_cell(exposures=10, orders=2, units=2, segment="myopic"))]))["acme/web/s1"]
    assert {name: row[name] for name in SOURCE_001} == {
        "competitor_price_avg_7d": 1000.0,
        "competitor_price_min_max": "[900,1100]",
        "historical_demand_30d": 12,
        "price_elasticity_coefficient": -2.0,
        "inventory_level": 40,
        "seasonality_factor": pytest.approx(1.0, abs=0.5),
        "customer_segment_willingness_to_pay": json.dumps({"myopic": 1000 * 2**0.5}, separators=(",", ":")),
        "conversion_rate_at_price_point": 0.2,
        "margin_percent": 40.0,
        "days_since_last_price_change": 60 / 1440,
    }


def test_windows_equal_a_recount_of_the_cells():
    batches = a_history(3 * 1440, step=7)
    outputs = run(a_logic(an_entry("s1"), an_entry("s2"), an_entry("s3")), batches)
    checked = 0
    for output in outputs[-40:]:
        at, sku = output.event_time_ms, output.key.rpartition("/")[2]
        # A batch that ends at t covers the minute before t.
        mine = [
            (b.window_end_ms - 1, c) for b in batches for c in b.cells if c.sku == sku and b.window_end_ms <= at
        ]
        now = at - 1
        hour = [c for t, c in mine if now // MINUTE - t // MINUTE < 60]
        day = [c for t, c in mine if now // HOUR - t // HOUR < 24]
        month = [c for t, c in mine if now // DAY - t // DAY < 30]
        row = output.value
        assert row["views_1h"] == sum(c.views for c in hour)
        assert row["orders_24h"] == sum(c.orders for c in day)
        assert row["revenue_minor_24h"] == sum(c.revenue_minor for c in day)
        assert row["historical_demand_30d"] == sum(c.units for c in month)
        exposed = sum(c.exposures for c in hour)
        orders = max(sum(c.orders for c in hour), 0)
        assert row["conversion_rate_1h"] == (orders / exposed if exposed else None)
        ended = sum(c.searches_matured for c in day)
        left = sum(c.searches_abandoned for c in day)
        assert row["abandonment_rate_24h"] == (left / ended if ended else None)
        by_segment = {k: sum(c.exposures for c in day if c.segment == k) for k in ("myopic", "strategic")}
        known = sum(by_segment.values())
        assert row["segment_share_myopic_24h"] == (by_segment["myopic"] / known if known else None)
        checked += bool(exposed)
    assert checked > 5


@pytest.mark.parametrize("every", [1, 13])
def test_restarts_change_nothing(every: int):
    batches = a_history(120)
    facts = {20: an_estimate(-1.5, T0 + 18 * MINUTE), 70: an_estimate(-1.8, T0 + 61 * MINUTE)}
    entries = (an_entry("s1"), an_entry("s2"), an_entry("s3"))

    def run_with_restarts(restart_every: int | None) -> tuple[list[Output], FeatureLogic]:
        logic, outputs = a_logic(*entries), []
        for i, batch in enumerate(batches):
            if i in facts:
                logic.on_fact(facts[i])
            outputs += logic.on_batch(batch)
            if restart_every and i % restart_every == 0:
                saved = orjson.dumps(logic.snapshot(), default=array_text)
                logic = FeatureLogic(EVERY_MINUTE)
                logic.restore(orjson.loads(saved))
        return outputs, logic

    reference, one = run_with_restarts(None)
    restarted, two = run_with_restarts(every)
    assert reference == restarted
    dumped = [orjson.dumps(x.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY) for x in (one, two)]
    assert dumped[0] == dumped[1]


def test_computation_does_not_modify_its_input():
    batches = a_history(60)
    before = copy.deepcopy(batches)
    entries = (an_entry("s1"), an_entry("s2"), an_entry("s3"))
    assert run(a_logic(*entries), batches) == run(a_logic(*entries), batches)
    assert batches == before


def test_repeated_batch_changes_nothing():
    entries = (an_entry("s1"), an_entry("s2"), an_entry("s3"))
    batches = a_history(40)
    twice = [batch for i, one in enumerate(batches) for batch in (one, one, batches[i // 2])]
    assert run(a_logic(*entries), twice) == run(a_logic(*entries), batches)


def test_rejected_cell_is_reported_and_not_counted():
    logic = a_logic()
    wrong = replace(a_cell(exposures=5), currency="EUR")
    outputs = run(logic, [a_batch(0, wrong, a_cell("unknown", exposures=3), a_cell(exposures=1))])
    rejected = [o.value for o in outputs if o.stream == "rejected_cells"]
    assert sorted((r["listing"], r["code"], r["exposures"]) for r in rejected) == [
        ("acme/web/s1", "WRONG_CURRENCY", 5),
        ("acme/web/unknown", "UNKNOWN_LISTING", 3),
    ]
    assert rows(outputs)["acme/web/s1"]["exposures_1h"] == 1 and len(rows(outputs)) == 1


def test_cells_in_the_minute_of_their_catalog_entry_are_counted():
    outputs = run(FeatureLogic(EVERY_MINUTE), [a_batch(0, a_cell(exposures=2), catalog=(an_entry(),))])
    assert rows(outputs)["acme/web/s1"]["exposures_1h"] == 2


def test_rows_are_written_after_events_and_at_every_refresh():
    logic = a_logic()
    quiet = [len(rows(logic.on_batch(a_batch(m)))) for m in range(31)]
    assert [m for m, n in enumerate(quiet) if n] == [14, 29], "15 minutes after the previous row"
    assert len(rows(logic.on_batch(a_batch(31, a_cell(exposures=1))))) == 1


def test_inactive_listing_is_not_refreshed():
    logic = a_logic(replace(an_entry(), active=False))
    assert not any(rows(logic.on_batch(a_batch(m))) for m in range(60))


def test_emit_every_minutes_limits_the_rows():
    logic = a_logic(settings=FeatureSettings(emit_every_minutes=5))
    written = [rows(logic.on_batch(a_batch(m, a_cell(exposures=1)))) for m in range(20)]
    assert [m for m, w in enumerate(written) if w] == [4, 9, 14, 19]
    assert written[19]["acme/web/s1"]["exposures_1h"] == 20


@pytest.mark.parametrize("arrives", [0, 3, 9])
def test_estimate_takes_effect_at_its_lag_for_any_time_of_arrival(arrives: int):
    logic, seen = a_logic(), []
    for minute in range(20):
        if minute == arrives:
            logic.on_fact(an_estimate(-2.5, T0))
        row = rows(logic.on_batch(a_batch(minute, a_cell(exposures=1))))["acme/web/s1"]
        seen.append(row["price_elasticity_coefficient"])
    assert seen == [None] * 10 + [-2.5] * 10
    assert logic.late_estimates == 0


def test_late_estimate_takes_effect_at_the_next_batch():
    logic = a_logic()
    run(logic, [a_batch(30)])
    logic.on_fact(an_estimate(-2.5, T0))
    row = rows(run(logic, [a_batch(31, a_cell(exposures=1))]))["acme/web/s1"]
    assert row["price_elasticity_coefficient"] == -2.5 and logic.late_estimates == 1


@pytest.mark.parametrize(("last_minute", "late"), [(9, 0), (10, 1)])
def test_estimate_is_late_after_the_batch_at_its_lag(last_minute: int, late: int):
    logic = a_logic()
    run(logic, [a_batch(last_minute)])
    logic.on_fact(an_estimate(-2.5, T0))
    assert logic.late_estimates == late


def test_older_or_repeated_estimate_changes_nothing():
    logic = a_logic()
    for fact in (an_estimate(-2.0, T0), an_estimate(-2.0, T0), an_estimate(-9.0, T0 - HOUR)):
        logic.on_fact(fact)
    row = rows(run(logic, [a_batch(15, a_cell(exposures=1))]))["acme/web/s1"]
    assert row["price_elasticity_coefficient"] == -2.0
    logic.on_fact(an_estimate(-9.0, T0 - 2 * HOUR))
    assert (
        rows(run(logic, [a_batch(16, a_cell(exposures=1))]))["acme/web/s1"]["price_elasticity_coefficient"] == -2.0
    )


def test_stale_rival_does_not_change_the_7_day_average():
    logic = a_logic()
    run(logic, [a_batch(0, offers=(an_offer(900),))])
    row = rows(run(logic, [a_batch(2 * 1440, a_cell(exposures=1))]))["acme/web/s1"]
    assert (row["rival_data_fresh"], row["rival_reference_minor"], row["competitor_price_avg_7d"]) == (
        0,
        900,
        900.0,
    )
    late = rows(run(logic, [a_batch(9 * 1440, a_cell(exposures=1))]))["acme/web/s1"]
    assert late["competitor_price_avg_7d"] is None


def test_days_are_local_days_of_the_market():
    zones = replace(EVERY_MINUTE, time_zones={"jp": "Asia/Tokyo", "us": "America/Los_Angeles"})
    logic = FeatureLogic(zones)
    entries = (an_entry(market="jp"), an_entry(market="us"), an_entry(market="web"))
    list(logic.on_batch(a_batch(-1, catalog=entries)))
    cells = [a_cell(market=m, units=1, exposures=1) for m in ("jp", "us", "web")]
    for hour in range(31 * 24):
        logic.on_batch(a_batch(0))
        answer = list(logic.on_batch(a_batch(1 + hour * 60, *cells)))
    last = T0 + (1 + 30 * 24 * 60 + 23 * 60) * MINUTE - 1
    for market, name in (("jp", "Asia/Tokyo"), ("us", "America/Los_Angeles"), ("web", "UTC")):
        zone = ZoneInfo(name)
        times = [T0 + (1 + hour * 60) * MINUTE - 1 for hour in range(31 * 24)]
        today = local_time(last, zone).day
        expected = sum(today - local_time(t, zone).day < 30 for t in times)
        assert rows(answer)[f"acme/{market}/s1"]["historical_demand_30d"] == expected


def test_snapshot_of_another_version_is_rejected():
    logic = a_logic()
    with pytest.raises(SnapshotError, match="version 1, got 5"):
        logic.restore({"v": 5})


def test_snapshot_has_at_most_two_kilobytes_per_listing():
    entries = tuple(an_entry(f"s{i}") for i in range(32))
    logic, rng = a_logic(*entries), random.Random(1)
    minutes = [*range(0, 30 * 1440, 180), *range(30 * 1440, 30 * 1440 + 60)]
    for minute in minutes:
        cells = [
            a_cell(f"s{i}", 1000, segment=rng.choice(["myopic", "all"]), exposures=3, views=rng.randint(0, 5),
                   orders=int(rng.random() < 0.3), units=1, revenue_minor=1000)
            for i in range(32)
        ]  # fmt: skip
        list(logic.on_batch(a_batch(minute, *cells)))
    size = len(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert size / len(entries) < 2048


def test_pending_estimate_takes_effect_after_an_earlier_one():
    logic = a_logic()
    logic.on_fact(an_estimate(-2.5, T0))
    logic.on_fact(an_estimate(-3.5, T0 + HOUR))
    lag = FeatureSettings().estimate_lag_ms // MINUTE
    elasticities = [
        rows(run(logic, [a_batch(minute, a_cell(exposures=1))]))["acme/web/s1"]["price_elasticity_coefficient"]
        for minute in (lag, lag + 60)
    ]
    assert elasticities == [-2.5, -3.5]


def test_rival_settings_apply_after_a_restart():
    settings = replace(EVERY_MINUTE, rivals=RivalSettings(min_match_confidence=0.99))
    again = a_logic(settings=settings)
    again.restore(orjson.loads(orjson.dumps(a_logic(settings=settings).snapshot(), default=array_text)))
    unmatched = replace(an_offer(900), match_confidence=0.9)
    row = rows(run(again, [a_batch(0, a_cell(exposures=1), offers=(unmatched,))]))["acme/web/s1"]
    assert row["competitor_price_min_max"] is None


def test_margin_of_a_listing_without_a_cost_is_null():
    logic = a_logic(an_entry(cost_minor=None))
    assert rows(run(logic, [a_batch(0, a_cell(exposures=1))]))["acme/web/s1"]["margin_percent"] is None


def test_complete_days_leave_out_the_first_day_and_today():
    counts = ListingCounts()
    counts.grow(1)
    for day in (100, 101, 102):
        counts.advance(day * DAY, {day})
        counts.add([a_cell(units=day - 95)], {"acme/web/s1": 0}, day * DAY, {"web": LocalTime(day, 0, 0, 0.0)})
    totals = counts.totals({102})
    assert counts.complete_days(totals, 0, first_day=100, today=102) == [6.0]
    assert counts.complete_days(totals, 0, first_day=101, today=102) == []


def test_batch_is_parsed_with_its_bucket_and_minute():
    batch = parse_batch('{"bucket": 7, "window_end_ms": 60000, "rows": []}', now_ms=61_000)
    assert batch == Batch(7, 60_000, now_ms=61_000)
