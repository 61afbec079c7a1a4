"""A real decision of the repricing logic: explained, recomputed, and converted back to its table."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from features.bucket_logic import Batch
from features.feature_logic import FeatureLogic
from features.settings import FeatureSettings
from jobs.audit.explanation import explain_price, explanation_text, learned_state
from jobs.audit.recompute import same_bytes
from jobs.connectors.redis.rebuild import table_of_decision
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.reprice import recompute
from schemas.events import CatalogEntry, Offer
from schemas.price_table import PriceTable
from schemas.records.counts import Cell
from tests.jobs.pricing.pricing_builders import catalog_of

START_MS = 1_767_225_600_000
WHERE = ("acme", "web-us-usd", "sku-1", "sku-1")


def a_first_decision() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a listing's first decision, with one rival, and its table, both decoded from JSON."""
    entry = CatalogEntry("e1", START_MS, *WHERE, "shoes", "margin", "USD", 1, True, 1200, 1999)
    offer = Offer("e2", START_MS, *WHERE, "shop-b", 1650, 0, True, "USD", 1, "feed", 1.0)
    batch = Batch(0, START_MS + 60_000, catalog=(entry,), offers=(offer,), now_ms=START_MS + 61_000)
    found = {
        output.stream: orjson.loads(orjson.dumps(output.value)) for output in RepricingLogic().on_batch(batch)
    }
    return found["decisions"], found["tables"]


def test_explanation_has_the_price_and_its_decision() -> None:
    decision, table = a_first_decision()
    text = explanation_text(explain_price("acme/web-us-usd/sku-1", decision, table, policies=catalog_of()))
    price = int(table["default_minor"]) / 100
    for word in (
        f"costs {price:.2f} USD",
        "first price of the listing",
        decision["decision_id"],
        "12.00 USD a unit",
    ):
        assert word in text
    assert "note" not in explain_price("acme/web-us-usd/sku-1", decision, table, policies=catalog_of())


def test_explanation_has_the_requests_missing_per_estimate() -> None:
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
    learned = learned_state(orjson.loads(orjson.dumps(row)))
    text = explanation_text(explain_price(row["listing"], None, None, learned))
    # 2.706 (1 − .06) / (.06 · .15²) = 1,884 requests are needed; 100 were counted.
    assert "sale probability at this price: first estimate; 1,784 more price requests make it sufficient" in text
    assert "share of myopic shoppers: first estimate; 81 more price requests make it sufficient" in text
    assert "elasticity: assumed, no data yet" in text


def a_feature_row() -> dict[str, Any]:
    logic = FeatureLogic(FeatureSettings(emit_every_minutes=1))
    entry = CatalogEntry("e1", START_MS, *WHERE, "shoes", "margin", "USD", 1, True, 1200, 1999)
    [row, *_] = [output.value for output in logic.on_batch(Batch(0, START_MS + 60_000, catalog=(entry,)))]
    return dict(orjson.loads(orjson.dumps(row)))


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (
            {"sufficient": "not_identified", "reason": "moved_with_covariates", "warning": ""},
            "elasticity: not identified by the price changes so far (the price changed only with a promotion",
        ),
        (
            {"sufficient": "sufficient", "reason": "", "warning": "prices_followed_demand"},
            "elasticity: warning: prices of the category followed the demand of the period before",
        ),
        ({"sufficient": "provisional"}, "elasticity: first estimate"),
    ],
)
def test_explanation_has_reason_and_warning_of_the_elasticity(estimate: dict[str, str], expected: str) -> None:
    row = a_feature_row()
    text = explanation_text(explain_price(row["listing"], None, None, learned_state(row, estimate)))
    assert expected in text


def test_unpublished_newer_decision_is_noted() -> None:
    decision, table = a_first_decision()
    explanation = explain_price(
        "acme/web-us-usd/sku-1", decision | {"decision_id": "newer"}, table, policies=catalog_of()
    )
    assert "published none" in explanation["note"] and "published none" in explanation_text(explanation)


def test_table_of_a_decision_is_the_published_one() -> None:
    decision, table = a_first_decision()
    assert table_of_decision(decision, catalog_of()) == PriceTable.from_record(table)


def test_decision_is_recomputed_bit_for_bit() -> None:
    decision, _ = a_first_decision()
    assert same_bytes(recompute(decision, catalog_of()), decision["result"])
    decision["inputs"]["catalog"]["cost_minor"] = 1300
    assert not same_bytes(recompute(decision, catalog_of()), decision["result"])
