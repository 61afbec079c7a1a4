"""Builders of tests of price groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from features.bucket_logic import Batch, Output
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.policy import Policy
from schemas.listings import Listing
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_current, some_inputs

GROUP = "shirt"


def a_member(sku: str, policy: Policy | None = None, **changes: Any) -> PricingInputs:
    """Return inputs of one listing of a group; the values are those of ``some_inputs``."""
    table, table_id = changes.pop("table", 1999), changes.pop("table_id", "t1")
    current = None if table is None else a_current(table, table_id=table_id)
    current = changes.pop("current", current)
    return replace(some_inputs(policy, current=current, **changes), listing=Listing("acme", "web-us-usd", sku))


def a_group_logic(
    skus: tuple[str, ...] = ("s1", "s2", "s3"), policy: Policy | None = None, **changes: Any
) -> tuple[RepricingLogic, list[Output]]:
    """Return a logic whose listings are one price group, with the outputs of its first minute."""
    logic = RepricingLogic(policy)
    entries = tuple(
        a_catalog_entry(sku, price_group=GROUP, cost_minor=1100 + 50 * i, **changes) for i, sku in enumerate(skus)
    )
    at_ms = START_MS + MINUTE_MS
    return logic, list(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms)))


def in_force(inputs: PricingInputs, result: PricingDecision) -> dict[str, Any] | None:
    """Return the price lists that a member has after a decision."""
    table = result.table if result.table is not None else inputs.current.prices if inputs.current else None
    return None if table is None else {name: (each.prices, each.cumulative) for name, each in table.items()}
