"""Stage 1 and stage 2 of learning elasticities.

The file exceeds 300 lines because all tests share one simulated market and the two stages that run on it. A split
would duplicate these helpers.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Fact, Output, SnapshotError
from features.elasticity import ElasticitySettings, competing_models
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import PoolingLogic
from schemas.events import CatalogEntry, Offer, Stock
from schemas.records.counts import Cell
from schemas.records.results import Estimate

HOUR = 3_600_000
MINUTE = 60_000
START = 1_760_000_400_000 // HOUR * HOUR


def a_name(sku: str = "s1", market: str = "web-us-usd") -> tuple[str, str, str, str]:
    return ("acme", market, sku, sku)


def an_entry(sku: str = "s1", market: str = "web-us-usd", category: str = "toys", at: int = START) -> CatalogEntry:
    return CatalogEntry("e", at, *a_name(sku, market), category, "margin", "USD", 1, True)


def a_cell(sku: str = "s1", market: str = "web-us-usd", price: int = 1000, **counts: Any) -> Cell:
    counts = {"currency": "USD", "exposures": 0, "orders": 0} | counts
    return Cell(*a_name(sku, market), counts.pop("arm", "base"), counts.pop("segment", "all"), price, **counts)


def an_offer(price: int, at: int, sku: str = "s1", market: str = "web-us-usd") -> Offer:
    return Offer("e", at, *a_name(sku, market), "rival", price, 0, True, "USD", 1, "t", 1.0)


def a_market(seed: int, buckets: int = 2, hours: int = 30) -> list[Batch]:
    """Return three batches per hour: two markets, four SKUs, two segments, rivals, stock-outs, cancellations."""
    rng = np.random.default_rng(seed)
    listings = [(f"s{i}", market) for i in range(4) for market in ("web-us-usd", "web-eu-usd")]
    batches = []
    for step in range(hours * 3):
        end = START + (step + 1) * 20 * MINUTE
        rows: list[dict[str, list[Any]]] = [
            {"cells": [], "offers": [], "stock": [], "catalog": []} for _ in range(buckets)
        ]
        for at, (sku, market) in enumerate(listings):
            into = rows[at % buckets]
            if step == 0:
                into["catalog"].append(an_entry(sku, market))
            if rng.random() < 0.3:
                into["offers"].append(an_offer(int(rng.integers(900, 1100)), end - 9, sku, market))
            if rng.random() < 0.1:
                level = Stock("e", end - 30_000, *a_name(sku, market), int(rng.integers(0, 2)), 0, 1.0)
                into["stock"].append(level)
            for segment in ("myopic", "strategic"):
                price = int(rng.choice([900, 1000, 1100]))
                shown = int(rng.integers(5, 60))
                sold = int(rng.poisson(shown * 0.08 * (price / 1000) ** -2)) - int(rng.random() < 0.05)
                into["cells"].append(
                    a_cell(sku, market, price, segment=segment, exposures=shown, orders=sold, units=sold)
                )
        batches += [
            Batch(b, end, tuple(r["cells"]), tuple(r["offers"]), tuple(r["stock"]), tuple(r["catalog"]))
            for b, r in enumerate(rows)
        ]
    return batches


def through_json(snapshot: dict[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY))


def stored(snapshot: dict[str, Any]) -> Any:
    """Return a snapshot as restored from the host's serialization."""
    return orjson.loads(orjson.dumps(snapshot, default=array_text))


def stage_one(
    batches: list[Batch], settings: ElasticitySettings, restart_every: int = 0, repeat: bool = False
) -> list[Output]:
    logics: dict[int, ElasticityLogic] = {}
    outputs: list[Output] = []
    for at, batch in enumerate(batches):
        logic = logics.setdefault(batch.bucket, ElasticityLogic(settings))
        outputs += logic.on_batch(batch)
        if repeat:
            assert list(logic.on_batch(batch)) == []
        if restart_every and at % restart_every == 0:
            fresh = ElasticityLogic(settings)
            fresh.restore(stored(logic.snapshot()))
            assert through_json(fresh.snapshot()) == through_json(logic.snapshot())
            logics[batch.bucket] = fresh
    return outputs


def stage_two(
    sums: list[Output], settings: ElasticitySettings, restart_every: int = 0
) -> dict[str, dict[str, Any]]:
    pool, published = PoolingLogic(settings), {}
    for at, output in enumerate(sums):
        fact = Fact("sums", through_json(output.value), output.event_time_ms, "", 0)
        for got in pool.on_fact(fact):
            if got.stream == "estimates":
                published[got.key] = got.value
        if restart_every and at % restart_every == 0:
            fresh = PoolingLogic(settings)
            fresh.restore(stored(pool.snapshot()))
            pool = fresh
    return published


KINDS = (
    ElasticitySettings(),
    ElasticitySettings(kind="within"),
    ElasticitySettings(kind="within", host="sums"),
    ElasticitySettings(order_lag_periods=0),
    ElasticitySettings(kind="within", category_effects=True),
)


@pytest.mark.parametrize("settings", KINDS)
def test_restarts_and_repeats_change_nothing(settings: ElasticitySettings) -> None:
    batches = a_market(1, hours=10)
    reference = stage_one(batches, settings)
    assert reference
    assert stage_one(batches, settings, restart_every=5) == reference
    assert stage_one(batches, settings, repeat=True) == reference
    estimates = stage_two(reference, settings)
    assert stage_two(reference, settings, restart_every=3) == estimates
    assert stage_two([*reference, *reference[:7]], settings) == estimates


def test_raw_estimates_do_not_depend_on_the_order_of_buckets() -> None:
    settings = ElasticitySettings(emit="changed")
    sums = stage_one(a_market(2, buckets=3), settings)
    shuffled = [sums[i] for i in np.random.default_rng(0).permutation(len(sums))]
    raw = [
        {key: (e["raw_mean"], e["raw_se"], e["n"]) for key, e in stage_two(order, settings).items()}
        for order in (sums, shuffled)
    ]
    assert raw[0] == raw[1]
    assert all(b is not None for b, _, _ in raw[0].values())


def test_packets_give_the_same_estimates_as_single_messages() -> None:
    settings = ElasticitySettings(emit="changed")
    sums = stage_one(a_market(2, buckets=3), settings)
    pool, together = PoolingLogic(settings), {}
    for first in range(0, len(sums), 7):
        packet = {"rows": [through_json(output.value) for output in sums[first : first + 7]]}
        outputs = pool.on_fact(Fact("sums", packet, 0, "", 0))
        together |= {got.key: got.value for got in outputs if got.stream == "estimates"}
    one_by_one = stage_two(sums, settings)
    names = ("mean", "sd", "raw_mean", "raw_se", "n", "sufficient")
    assert {key: [e[name] for name in names] for key, e in together.items()} == {
        key: [e[name] for name in names] for key, e in one_by_one.items()
    }


def test_estimate_has_the_fields_of_its_record() -> None:
    estimates = stage_two(stage_one(a_market(3), ElasticitySettings()), ElasticitySettings())
    assert len(estimates) == 8
    got = estimates["acme/web-us-usd/s1|own_price_elasticity|all"]
    estimate = Estimate(**got)
    assert (estimate.scope, estimate.segment, estimate.sku) == ("listing", "all", "s1")
    assert estimate.n > 100
    assert estimate.active_periods >= 12
    assert estimate.sd > 0
    assert {"rival_elasticity", "rival_elasticity_sd", "mean_log_offer"} <= set(estimate.extra)
    # A product is a SKU over its markets, so both listings have the same raw estimate.
    assert got["raw_mean"] == estimates["acme/web-eu-usd/s1|own_price_elasticity|all"]["raw_mean"]


def test_estimate_without_data_is_the_prior_of_the_category() -> None:
    settings = ElasticitySettings()
    logic = ElasticityLogic(settings)
    outputs = list(logic.on_batch(Batch(0, START + HOUR, catalog=(an_entry(),))))
    published = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert (published["mean"], published["raw_mean"], published["n"], published["sufficient"]) == (
        -2.0,
        None,
        0,
        "prior",
    )


def test_constant_price_is_not_identified() -> None:
    settings, logic = ElasticitySettings(), ElasticityLogic()
    outputs = []
    for hour in range(30):
        catalog = (an_entry(),) if hour == 0 else ()
        cells = (a_cell(exposures=100, orders=5, units=5),)
        outputs += logic.on_batch(Batch(0, START + (hour + 1) * HOUR, cells, catalog=catalog))
    published = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert published["sufficient"] == "not_identified"
    assert published["raw_mean"] is None


def test_orders_after_a_price_change_are_added_to_the_previous_exposures() -> None:
    logic = ElasticityLogic()
    late = [
        ([a_cell(price=900, exposures=100)], 1),
        ([a_cell(price=900, orders=9), a_cell(price=1100, exposures=100)], 2),
        ([a_cell(price=1100, orders=4), a_cell(price=900, exposures=100)], 3),
    ]
    for cells, hour in late:
        catalog = (an_entry(),) if hour == 1 else ()
        logic.on_batch(Batch(0, START + hour * HOUR, tuple(cells), catalog=catalog))
    pending = {row[2]: row[3:5] for row in logic.snapshot()["pending"]}
    assert pending[900] == [100.0, 0.0]
    learned = logic.snapshot()["models"]["poisson"]
    # Two rows: price 900 with nine orders, price 1100 with four.
    assert learned["sums"][0][0] == pytest.approx(2, abs=1e-3)
    assert np.exp(learned["m"][0][0]) == pytest.approx(0.085, abs=0.02)


def test_exposures_during_a_stock_out_do_not_count() -> None:
    logic = ElasticityLogic()
    end = START + MINUTE
    out = Stock("e", end - 45_000, *a_name(), 0, 0, 1.0)
    logic.on_batch(Batch(0, end, (a_cell(exposures=100),), stock=(out,), catalog=(an_entry(),)))
    logic.on_batch(Batch(0, end + MINUTE, (a_cell(exposures=100),)))
    back = Stock("e", end + MINUTE, *a_name(), 5, 0, 1.0)
    logic.on_batch(Batch(0, end + 2 * MINUTE, (a_cell(exposures=100),), stock=(back,)))
    assert logic.snapshot()["open"][0][3] == 125.0


def test_cancellation_is_subtracted_from_later_orders() -> None:
    logic = ElasticityLogic(ElasticitySettings(order_lag_periods=0))
    steps = [a_cell(exposures=50, orders=-3), a_cell(exposures=50, orders=2), a_cell(exposures=50, orders=4)]
    for hour, cell in enumerate(steps, start=1):
        logic.on_batch(Batch(0, START + hour * HOUR, (cell,), catalog=(an_entry(),) if hour == 1 else ()))
    assert logic.snapshot()["debt"] == [0.0]


def test_cells_rejected_by_the_catalog_are_not_learned() -> None:
    logic = ElasticityLogic()
    wrong = (a_cell(exposures=10, currency="EUR"), a_cell("s9", exposures=10))
    logic.on_batch(Batch(0, START + MINUTE, wrong, catalog=(an_entry(),)))
    assert logic.snapshot()["open"] == []


def test_emit_moved_publishes_less_often_with_bounded_error() -> None:
    sums = stage_one(a_market(5), ElasticitySettings())
    facts = [Fact("sums", through_json(output.value), output.event_time_ms, "", 0) for output in sums]
    always = PoolingLogic(ElasticitySettings(emit="changed"))
    on_change = PoolingLogic(ElasticitySettings(emit_shift=0.2))
    published_always, published_on_change = (
        [got for fact in facts for got in pool.on_fact(fact) if got.stream == "estimates"]
        for pool in (always, on_change)
    )
    assert len(published_on_change) < len(published_always) * 0.7
    newest, last = (
        {got.key: got.value for got in published} for published in (published_always, published_on_change)
    )
    assert newest.keys() == last.keys()
    for key, published in last.items():
        assert published["mean"] == pytest.approx(newest[key]["mean"], abs=0.2 * newest[key]["sd"] + 1e-9)


def test_listing_that_changes_category_leaves_the_old_category() -> None:
    settings, logic = ElasticitySettings(), ElasticityLogic()
    first = list(logic.on_batch(Batch(0, START + HOUR, catalog=(an_entry(), an_entry("s2")))))
    moved = list(
        logic.on_batch(Batch(0, START + 2 * HOUR, catalog=(an_entry(category="games", at=START + HOUR + 1),)))
    )
    assert [o.key for o in first + moved] == ["acme/toys", "acme/games", "acme/toys"]
    toys = PoolingLogic(settings)
    for output in first + moved:
        if output.key == "acme/toys":
            list(toys.on_fact(Fact("sums", output.value, output.event_time_ms, "", 0)))
    assert list(toys.snapshot()["held"]) == ["acme/web-us-usd/s2"]


def test_snapshot_of_another_version_is_rejected() -> None:
    for logic in (ElasticityLogic(), PoolingLogic()):
        with pytest.raises(SnapshotError, match="expected snapshot version 1, got 9"):
            logic.restore(through_json(logic.snapshot()) | {"v": 9})


def test_sums_of_another_kind_are_rejected() -> None:
    output = next(iter(ElasticityLogic().on_batch(Batch(0, START + HOUR, catalog=(an_entry(),)))))
    with pytest.raises(ValueError, match="same settings"):
        list(PoolingLogic(ElasticitySettings(kind="within")).on_fact(Fact("sums", output.value, 0, "", 0)))


def test_error_of_an_invalid_setting_names_the_field() -> None:
    with pytest.raises(ValueError, match="period_ms: expected a whole number of minutes"):
        ElasticitySettings(period_ms=90_001)


def test_snapshot_has_at_most_1800_bytes_per_listing() -> None:
    logic = ElasticityLogic()
    for batch in a_market(4, buckets=1, hours=6):
        logic.on_batch(batch)
    assert len(orjson.dumps(logic.snapshot(), default=array_text)) / 8 < 1_800


SNAPSHOTS = Path(__file__).parents[2] / "golden" / "snapshots"


@pytest.mark.parametrize("name", ["elasticity_poisson.v1", "elasticity_river.v1", "elasticity_sums.v1"])
def test_elasticity_snapshot_of_version_1_is_restored(name: str) -> None:
    stored = orjson.loads((SNAPSHOTS / f"{name}.json").read_bytes())
    kind = "poisson" if "poisson" in name else "within"
    logic = ElasticityLogic(ElasticitySettings(kind=kind, host="sums" if "sums" in name else "river"))
    logic.restore(stored)
    settings = logic.settings
    model = competing_models(settings)[0]
    model.restore(stored["model"])
    for one, two in zip(logic._learning.models[0].statistics(), model.statistics(), strict=True):
        np.testing.assert_array_equal(one, two)
    again = through_json(logic.snapshot())
    kept = stored.keys() - {"model", "local_time"}
    assert {name: again[name] for name in kept} == {name: stored[name] for name in kept}
    assert list(logic.on_batch(Batch(0, stored["time_ms"] + 2 * HOUR)))


def test_pooling_snapshot_of_version_1_is_restored() -> None:
    stored = orjson.loads((SNAPSHOTS / "pooling.v1.json").read_bytes())
    pool = PoolingLogic()
    pool.restore(stored)
    held = through_json(pool.snapshot())["held"]
    assert held.keys() == stored["held"].keys()
    for key, (end_ms, group, offer_centre, _, statistics) in stored["held"].items():
        assert held[key][:3] == [end_ms, group, offer_centre]
        assert held[key][4] == {"poisson": statistics}


def a_market_with_evening_demand(zone: str) -> ElasticityLogic:
    """Return a logic of a market with a conversion of 1/2 from 18:00 to 19:00 local time and 1/20 otherwise."""
    logic = ElasticityLogic(ElasticitySettings(time_zones={"web-us-usd": zone}))
    logic.on_batch(Batch(0, START + MINUTE, catalog=(an_entry(),)))
    for hour in range(1, 24 * 8):
        end = START + hour * HOUR + MINUTE
        local = datetime.fromtimestamp((end - 1) / 1000, ZoneInfo(zone)).hour
        logic.on_batch(Batch(0, end, (a_cell(exposures=400, orders=200 if local == 18 else 20),)))
    return logic


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_seasonal_factors_use_the_markets_hour(zone: str) -> None:
    factors = through_json(a_market_with_evening_demand(zone).snapshot())["factors"]["toys"]
    ratio = {hour: orders / expected for hour, (orders, expected) in factors["hour"].items()}
    assert max(ratio, key=lambda hour: ratio[hour]) == "18"


def test_utc_factors_are_reset_for_markets_with_a_zone() -> None:
    saved = through_json(a_market_with_evening_demand("UTC").snapshot())
    del saved["local_time"]
    here, there = ElasticityLogic(), ElasticityLogic(ElasticitySettings(time_zones={"web-us-usd": "Asia/Tokyo"}))
    for logic in (here, there):
        logic.restore(saved)
    factors = [through_json(logic.snapshot())["factors"]["toys"] for logic in (here, there)]
    assert factors[0] == saved["factors"]["toys"]
    assert factors[1] == saved["factors"]["toys"] | {"hour": {}, "weekday": {}}


def test_cell_after_an_empty_cell_is_counted() -> None:
    logic = ElasticityLogic()
    cells = (a_cell(price=900), a_cell(exposures=10, orders=1))
    logic.on_batch(Batch(0, START + MINUTE, cells, catalog=(an_entry(),)))
    assert [row[2:5] for row in logic.snapshot()["open"]] == [[1000, 10.0, 1.0]]


def test_elasticity_of_scanner_data_is_estimated() -> None:
    settings = ElasticitySettings(kind="within", host="sums", forgetting_per_week=1.0, emit="changed")
    logic, outputs = ElasticityLogic(settings), []
    for hour in range(1, 61):
        price = (900, 1000, 1100)[hour % 3]
        # The rivals' price varies too, so that both slopes are identified.
        offers = (an_offer((950, 1050)[hour // 3 % 2], START + hour * HOUR - 9),)
        cells = (a_cell(price=price, units=round(10_000 * (price / 1000) ** -2)),)
        catalog = (an_entry(),) if hour == 1 else ()
        outputs += logic.on_batch(Batch(0, START + hour * HOUR, cells, offers, catalog=catalog))
    published = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert published["raw_mean"] == pytest.approx(-2.0, abs=0.01)
    assert published["n"] >= 59
