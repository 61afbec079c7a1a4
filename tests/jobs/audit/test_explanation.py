"""A real decision, from the logic's own hand: told, recomputed, and turned back into its table."""

from __future__ import annotations

from typing import Any

import orjson

from features.bucket_logic import Batch
from features.feature_logic import FeatureLogic
from features.settings import FeatureSettings
from jobs.audit.explanation import explain, learned_of, text
from jobs.audit.recompute import same_bytes
from jobs.connectors.redis.rebuild import table_of_decision
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from schemas.events import CatalogEntry, Cell, Offer
from schemas.price_table import PriceTable

START_MS = 1_767_225_600_000
WHERE = ("acme", "web-us-usd", "sku-1", "sku-1")


def a_first_decision() -> tuple[dict[str, Any], dict[str, Any]]:
    """A decision and its table as they come back from Kafka: a listing's first price, beside one rival."""
    entry = CatalogEntry("e1", START_MS, *WHERE, "shoes", "margin", "USD", 1, True, 1200, 1999)
    offer = Offer("e2", START_MS, *WHERE, "shop-b", 1650, 0, True, "USD", 1, "feed", 1.0)
    batch = Batch(0, START_MS + 60_000, catalog=(entry,), offers=(offer,), now_ms=START_MS + 61_000)
    found = {
        output.stream: orjson.loads(orjson.dumps(output.value)) for output in RepricingLogic().on_batch(batch)
    }
    return found["decisions"], found["tables"]


def test_an_explanation_tells_the_price_and_the_story_of_its_decision() -> None:
    decision, table = a_first_decision()
    told = text(explain("acme/web-us-usd/sku-1", decision, table))
    price = int(table["default_minor"]) / 100
    for word in (
        f"costs {price:.2f} USD",
        "first price of the listing",
        decision["decision_id"],
        "12.00 USD a unit",
    ):
        assert word in told
    assert "note" not in explain("acme/web-us-usd/sku-1", decision, table)


def test_what_is_missing_until_a_figure_suffices_is_told() -> None:
    entry = CatalogEntry("e1", START_MS, *WHERE, "shoes", "margin", "USD", 1, True, 1200, 1999)
    cells = tuple(
        Cell(*WHERE, "base", segment, 1999, "USD", exposures=exposures, orders=orders)
        for segment, exposures, orders in (("myopic", 40, 4), ("strategic", 60, 2))
    )
    logic, rows = FeatureLogic(FeatureSettings(emit_every_minutes=1)), []
    for minute in (1, 2):
        batch = Batch(0, START_MS + minute * 60_000, cells=cells if minute == 2 else (), catalog=(entry,))
        rows += [output.value for output in logic.on_batch(batch) if output.stream == "features"]
    row = rows[-1]
    learned = learned_of(orjson.loads(orjson.dumps(row)))
    told = text(explain(row["listing"], None, None, learned))
    # 2.706 (1 − .06) / (.06 · .15²) = 1,884 requests are needed; a hundred were counted.
    assert "sale probability at this price: first estimate; 1,784 more price requests make it sufficient" in told
    assert "share of myopic shoppers: first estimate; 81 more price requests make it sufficient" in told
    assert "elasticity: assumed, no data yet" in told


def test_a_decision_newer_than_the_price_is_told_apart_from_it() -> None:
    decision, table = a_first_decision()
    said = explain("acme/web-us-usd/sku-1", decision | {"decision_id": "newer"}, table)
    assert "published none" in said["note"] and "published none" in text(said)


def test_a_decision_alone_gives_the_very_table_it_published() -> None:
    decision, table = a_first_decision()
    assert table_of_decision(decision) == PriceTable.from_record(table)


def test_a_decision_recomputes_from_its_record_to_the_last_bit() -> None:
    decision, _ = a_first_decision()
    assert same_bytes(recompute(decision), decision["result"])
    decision["inputs"]["catalog"]["cost_minor"] = 1300
    assert not same_bytes(recompute(decision), decision["result"])
