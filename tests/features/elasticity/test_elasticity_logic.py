"""Stage 1 and stage 2 together: what they learn depends on event time alone, not on arrival or restarts."""

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
from features.elasticity import ElasticitySettings
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling_logic import PoolingLogic
from schemas.events import CatalogEntry, Cell, Estimate, Offer, Stock

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
    """Three batches an hour: two markets, four SKUs, two segments, rivals, stock-outs, cancellations."""
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


def carried(snapshot: dict[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY))


def kept(snapshot: dict[str, Any]) -> Any:
    """As the host keeps it."""
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
            fresh.restore(kept(logic.snapshot()))
            assert carried(fresh.snapshot()) == carried(logic.snapshot())
            logics[batch.bucket] = fresh
    return outputs


def stage_two(
    sums: list[Output], settings: ElasticitySettings, restart_every: int = 0
) -> dict[str, dict[str, Any]]:
    pool, told = PoolingLogic(settings), {}
    for at, output in enumerate(sums):
        fact = Fact("sums", carried(output.value), output.event_time_ms, "", 0)
        for got in pool.on_fact(fact):
            assert got.stream == "estimates"
            told[got.key] = got.value
        if restart_every and at % restart_every == 0:
            fresh = PoolingLogic(settings)
            fresh.restore(kept(pool.snapshot()))
            pool = fresh
    return told


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
    straight = stage_one(batches, settings)
    assert straight
    assert stage_one(batches, settings, restart_every=5) == straight
    assert stage_one(batches, settings, repeat=True) == straight
    estimates = stage_two(straight, settings)
    assert stage_two(straight, settings, restart_every=3) == estimates
    assert stage_two([*straight, *straight[:7]], settings) == estimates


def test_raw_estimates_do_not_depend_on_how_buckets_are_interleaved() -> None:
    settings = ElasticitySettings()
    sums = stage_one(a_market(2, buckets=3), settings)
    shuffled = [sums[i] for i in np.random.default_rng(0).permutation(len(sums))]
    raw = [
        {key: (e["raw_mean"], e["raw_se"], e["n"]) for key, e in stage_two(order, settings).items()}
        for order in (sums, shuffled)
    ]
    assert raw[0] == raw[1]
    assert all(b is not None for b, _, _ in raw[0].values())


def test_what_a_category_gets_together_tells_the_same_as_one_by_one() -> None:
    settings = ElasticitySettings()
    sums = stage_one(a_market(2, buckets=3), settings)
    pool, together = PoolingLogic(settings), {}
    for first in range(0, len(sums), 7):
        packet = {"rows": [carried(output.value) for output in sums[first : first + 7]]}
        together |= {got.key: got.value for got in pool.on_fact(Fact("sums", packet, 0, "", 0))}
    one_by_one = stage_two(sums, settings)
    names = ("mean", "sd", "raw_mean", "raw_se", "n", "sufficient")
    assert {key: [e[name] for name in names] for key, e in together.items()} == {
        key: [e[name] for name in names] for key, e in one_by_one.items()
    }


def test_an_estimate_has_the_fields_of_its_record() -> None:
    estimates = stage_two(stage_one(a_market(3), ElasticitySettings()), ElasticitySettings())
    assert len(estimates) == 8
    got = estimates["acme/web-us-usd/s1|own_price_elasticity|all"]
    estimate = Estimate(**got)
    assert (estimate.scope, estimate.segment, estimate.sku) == ("listing", "all", "s1")
    assert estimate.n > 100
    assert estimate.active_periods >= 12
    assert estimate.sd > 0
    assert {"rival_elasticity", "rival_elasticity_sd", "mean_log_offer"} <= set(estimate.extra)
    # A product is its SKU over markets: both say the same.
    assert got["raw_mean"] == estimates["acme/web-eu-usd/s1|own_price_elasticity|all"]["raw_mean"]


def test_a_listing_that_never_sold_is_told_the_prior_of_its_category() -> None:
    settings = ElasticitySettings()
    logic = ElasticityLogic(settings)
    outputs = list(logic.on_batch(Batch(0, START + HOUR, catalog=(an_entry(),))))
    told = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert (told["mean"], told["raw_mean"], told["n"], told["sufficient"]) == (-2.0, None, 0, "prior")


def test_a_price_that_never_moved_is_not_identified_rather_than_minus_two() -> None:
    settings, logic = ElasticitySettings(), ElasticityLogic()
    outputs = []
    for hour in range(30):
        catalog = (an_entry(),) if hour == 0 else ()
        cells = (a_cell(exposures=100, orders=5, units=5),)
        outputs += logic.on_batch(Batch(0, START + (hour + 1) * HOUR, cells, catalog=catalog))
    told = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert told["sufficient"] == "not_identified"
    assert told["raw_mean"] is None


def test_orders_that_come_after_their_price_is_gone_are_put_beside_its_exposures() -> None:
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
    learned = logic.snapshot()["model"]
    # Two rows: 900 with its nine orders, 1100 with its four.
    assert learned["sums"][0][0] == pytest.approx(2, abs=1e-3)
    assert np.exp(learned["m"][0][0]) == pytest.approx(0.085, abs=0.02)


def test_exposures_in_a_stock_out_do_not_count() -> None:
    logic = ElasticityLogic()
    end = START + MINUTE
    out = Stock("e", end - 45_000, *a_name(), 0, 0, 1.0)
    logic.on_batch(Batch(0, end, (a_cell(exposures=100),), stock=(out,), catalog=(an_entry(),)))
    logic.on_batch(Batch(0, end + MINUTE, (a_cell(exposures=100),)))
    back = Stock("e", end + MINUTE, *a_name(), 5, 0, 1.0)
    logic.on_batch(Batch(0, end + 2 * MINUTE, (a_cell(exposures=100),), stock=(back,)))
    assert logic.snapshot()["open"][0][3] == 125.0


def test_a_cancellation_is_set_against_later_orders() -> None:
    logic = ElasticityLogic(ElasticitySettings(order_lag_periods=0))
    steps = [a_cell(exposures=50, orders=-3), a_cell(exposures=50, orders=2), a_cell(exposures=50, orders=4)]
    for hour, cell in enumerate(steps, start=1):
        logic.on_batch(Batch(0, START + hour * HOUR, (cell,), catalog=(an_entry(),) if hour == 1 else ()))
    assert logic.snapshot()["debt"] == [0.0]


def test_cells_that_the_catalog_refuses_teach_nothing() -> None:
    logic = ElasticityLogic()
    wrong = (a_cell(exposures=10, currency="EUR"), a_cell("s9", exposures=10))
    logic.on_batch(Batch(0, START + MINUTE, wrong, catalog=(an_entry(),)))
    assert logic.snapshot()["open"] == []


def test_told_only_when_it_moved_an_estimate_is_told_less_often_and_stays_near() -> None:
    sums = stage_one(a_market(5), ElasticitySettings())
    facts = [Fact("sums", carried(output.value), output.event_time_ms, "", 0) for output in sums]
    always, seldom = PoolingLogic(), PoolingLogic(ElasticitySettings(emit="moved", emit_shift=0.2))
    told_always = [got for fact in facts for got in always.on_fact(fact)]
    told_seldom = [got for fact in facts for got in seldom.on_fact(fact)]
    assert len(told_seldom) < len(told_always) * 0.7
    newest, kept = ({got.key: got.value for got in told} for told in (told_always, told_seldom))
    assert newest.keys() == kept.keys()
    for key, told in kept.items():
        assert told["mean"] == pytest.approx(newest[key]["mean"], abs=0.2 * newest[key]["sd"] + 1e-9)


def test_a_listing_that_moves_house_leaves_its_old_category() -> None:
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


def test_the_stages_refuse_snapshots_and_sums_of_another_kind() -> None:
    for logic in (ElasticityLogic(), PoolingLogic()):
        with pytest.raises(SnapshotError, match="expected snapshot version 1, got 9"):
            logic.restore(carried(logic.snapshot()) | {"v": 9})
    output = next(iter(ElasticityLogic().on_batch(Batch(0, START + HOUR, catalog=(an_entry(),)))))
    with pytest.raises(ValueError, match="same settings"):
        list(PoolingLogic(ElasticitySettings(kind="within")).on_fact(Fact("sums", output.value, 0, "", 0)))


def test_a_wrong_setting_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="period_ms: expected a whole number of minutes"):
        ElasticitySettings(period_ms=90_001)


def test_state_stays_small() -> None:
    logic = ElasticityLogic()
    for batch in a_market(4, buckets=1, hours=6):
        logic.on_batch(batch)
    size = len(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert size / 8 < 1_700


SNAPSHOTS = Path(__file__).parents[2] / "golden" / "snapshots"


@pytest.mark.parametrize("name", ["elasticity_poisson.v1", "elasticity_river.v1", "elasticity_sums.v1"])
def test_a_snapshot_written_by_the_first_version_is_still_read(name: str) -> None:
    kept = orjson.loads((SNAPSHOTS / f"{name}.json").read_bytes())
    kind = "poisson" if "poisson" in name else "within"
    logic = ElasticityLogic(ElasticitySettings(kind=kind, host="sums" if "sums" in name else "river"))
    logic.restore(kept)
    assert carried(logic.snapshot()) == kept | {"local_time": True}
    assert list(logic.on_batch(Batch(0, kept["time_ms"] + 2 * HOUR)))


def test_a_pooling_snapshot_written_by_the_first_version_is_still_read() -> None:
    kept = orjson.loads((SNAPSHOTS / "pooling.v1.json").read_bytes())
    pool = PoolingLogic()
    pool.restore(kept)
    assert carried(pool.snapshot()) == kept


def an_evening_shop(zone: str) -> ElasticityLogic:
    """A market in which half of the shown buy from 18:00 to 19:00 local time, and one in twenty else."""
    logic = ElasticityLogic(ElasticitySettings(time_zones={"web-us-usd": zone}))
    logic.on_batch(Batch(0, START + MINUTE, catalog=(an_entry(),)))
    for hour in range(1, 24 * 8):
        end = START + hour * HOUR + MINUTE
        local = datetime.fromtimestamp((end - 1) / 1000, ZoneInfo(zone)).hour
        logic.on_batch(Batch(0, end, (a_cell(exposures=400, orders=200 if local == 18 else 20),)))
    return logic


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_factors_are_of_the_markets_hour(zone: str) -> None:
    factors = carried(an_evening_shop(zone).snapshot())["factors"]["toys"]
    ratio = {hour: orders / expected for hour, (orders, expected) in factors["hour"].items()}
    assert max(ratio, key=lambda hour: ratio[hour]) == "18"


def test_hours_learned_in_utc_are_forgotten_where_a_market_has_a_zone() -> None:
    saved = carried(an_evening_shop("UTC").snapshot())
    del saved["local_time"]
    here, there = ElasticityLogic(), ElasticityLogic(ElasticitySettings(time_zones={"web-us-usd": "Asia/Tokyo"}))
    for logic in (here, there):
        logic.restore(saved)
    factors = [carried(logic.snapshot())["factors"]["toys"] for logic in (here, there)]
    assert factors[0] == saved["factors"]["toys"]
    assert factors[1] == saved["factors"]["toys"] | {"hour": {}, "weekday": {}}


def test_empty_cell_keeps_no_later_cell_of_its_minute_from_counting() -> None:
    logic = ElasticityLogic()
    cells = (a_cell(price=900), a_cell(exposures=10, orders=1))
    logic.on_batch(Batch(0, START + MINUTE, cells, catalog=(an_entry(),)))
    assert [row[2:5] for row in logic.snapshot()["open"]] == [[1000, 10.0, 1.0]]


def test_scanner_data_teach_the_elasticity_of_their_units() -> None:
    settings = ElasticitySettings(kind="within", host="sums", forgetting_per_week=1.0)
    logic, outputs = ElasticityLogic(settings), []
    for hour in range(1, 61):
        price = (900, 1000, 1100)[hour % 3]
        # The rival moves too, so that its column is not taken for the units'.
        offers = (an_offer((950, 1050)[hour // 3 % 2], START + hour * HOUR - 9),)
        cells = (a_cell(price=price, units=round(10_000 * (price / 1000) ** -2)),)
        catalog = (an_entry(),) if hour == 1 else ()
        outputs += logic.on_batch(Batch(0, START + hour * HOUR, cells, offers, catalog=catalog))
    told = stage_two(outputs, settings)["acme/web-us-usd/s1|own_price_elasticity|all"]
    assert told["raw_mean"] == pytest.approx(-2.0, abs=0.01)
    assert told["n"] >= 59
