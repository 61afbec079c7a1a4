"""Snapshots of all versions can be restored.

A golden file is never changed: a new version of a logic adds a file.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from features.bucket_logic import Batch, Fact
from features.feature_logic import FeatureLogic
from features.segments.customers import SegmentLogic
from features.settings import FeatureSettings
from schemas.events import CatalogEntry, Offer, Stock
from schemas.records.counts import Cell

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"
T0 = 1_790_000_040_000


def a_history() -> list[Batch]:
    entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 600, 999)
    offer = Offer("e", T0 - 1, "acme", "web", "s1", "s1", "r1", 950, 10, True, "USD", 1, "t", 1.0)
    stock = Stock("e", T0 - 1, "acme", "web", "s1", "s1", 40, 5, 3.0)
    facts = Batch(0, T0, catalog=(entry,), offers=(offer,), stock=(stock,))
    cells = [
        Cell(
            "acme",
            "web",
            "s1",
            "s1",
            "base",
            k,
            1000,
            "USD",
            exposures=3 + i,
            orders=1,
            units=1,
            revenue_minor=1000,
        )
        for i, k in enumerate(("myopic", "strategic", "all"))
    ]
    return [facts, *(Batch(0, T0 + 60_000 * (1 + i), cells=(cell,)) for i, cell in enumerate(cells))]


def an_estimate() -> Fact:
    value = {
        "tenant": "acme", "market": "web", "sku": "s1", "name": "own_price_elasticity", "segment": "all",
        "mean": -2.0, "sd": 0.25, "n": 9, "sufficient": "provisional", "window_end_ms": T0 - 3_600_000,
    }  # fmt: skip
    return Fact("estimates", value, T0, "estimates-0-0", T0)


def a_feature_snapshot() -> bytes:
    logic = FeatureLogic(FeatureSettings(emit_every_minutes=1))
    logic.on_fact(an_estimate())
    for batch in a_history():
        list(logic.on_batch(batch))
    return orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)


def a_segment_snapshot() -> bytes:
    logic = SegmentLogic()
    rows = [
        {"tenant": "acme", "customer": f"c{i}", "purchases": i, "above_offer": i // 4, "event_time_ms": 1}
        for i in range(1, 9)
    ]
    logic.on_fact(Fact("segments", {"rows": rows}, 1, "segments-0-0", 1))
    return orjson.dumps(logic.snapshot())


def test_feature_snapshot_of_version_1_is_restored():
    logic, saved = FeatureLogic(FeatureSettings(emit_every_minutes=1)), (GOLDEN / "features.v1.json").read_bytes()
    logic.restore(orjson.loads(saved))
    assert orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY) == saved
    (row,) = logic.on_batch(Batch(0, T0 + 240_000, cells=a_history()[1].cells))
    assert (row.value["exposures_1h"], row.value["inventory_level"]) == (15, 40)
    assert (row.value["price_elasticity_coefficient"], row.value["competitor_price_avg_7d"]) == (-2.0, 960.0)


def test_segment_snapshot_of_version_1_has_one_period_without_a_date():
    logic, saved = SegmentLogic(), orjson.loads((GOLDEN / "segments.v1.json").read_bytes())
    logic.restore(saved)
    rows = saved["samples"]["acme"]
    assert logic.snapshot()["samples"]["acme"] == [[name, [-1, n, a]] for name, n, a in rows]
    before = logic.prior("acme")
    logic.restore(orjson.loads(orjson.dumps(logic.snapshot())))
    assert logic.prior("acme") == before == pytest.approx((20 * 0.09 + 6) / (20 + 36))


def test_current_snapshots_equal_the_golden_files():
    assert a_feature_snapshot() == (GOLDEN / "features.v1.json").read_bytes()
    assert a_segment_snapshot() == (GOLDEN / "segments.v2.json").read_bytes()
