"""Builders of pricing tests: inputs, events, and a market with known demand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from features.array_text import array_text
from features.books.sale_probability import PointCounts
from features.bucket_logic import Batch, Fact, Output
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import INPUTS_VERSION, decision_record, inputs_record, read_inputs
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry, Offer
from schemas.price_table import FULL, PriceTable
from schemas.records.counts import Cell

START_MS = 1_767_225_600_000  # 2026-01-01, midnight
MINUTE_MS = 60_000


def counts(*rows: tuple[int, float, float]) -> dict[str, Any]:
    """Return counts per price point; a row is price, exposures and orders."""
    prices, n, y = zip(*rows, strict=True) if rows else ((), (), ())
    arrays = (np.array(n, float), np.array(y, float), np.array(y, float), np.zeros(len(rows)))
    return PointCounts(np.array(prices, np.int64), *arrays).to_record()


def some_inputs(policy: Policy | None = None, **changes: Any) -> PricingInputs:
    """Return inputs of a listing at 19.99 with a cost of 12.00 and a rival at 19.00.

    Parameters
    ----------
    changes : values of the inputs' record; ``catalog_…`` changes a value of its ``catalog``.
    """
    policy = policy or Policy()
    at_ms = changes.pop("at_ms", START_MS)
    catalog = {
        "cost_minor": 1200, "trusted_cost_minor": 1200, "list_minor": 1999, "floor_minor": None,
        "ceiling_minor": None, "pack_size": 1, "role": "margin",
    }  # fmt: skip
    for name in [name for name in changes if name.startswith("catalog_")]:
        catalog[name.removeprefix("catalog_")] = changes.pop(name)
    seen = counts((1899, 3000, 180), (1949, 2000, 108), (1999, 20_000, 1000))
    record: dict[str, Any] = {
        "v": INPUTS_VERSION,
        "listing": "acme/web-us-usd/s1",
        "at_ms": at_ms,
        "cause": "EVIDENCE",
        "cause_detail": {},
        "seed": 1,
        "currency": "USD",
        "catalog": catalog,
        "current": a_current(1999),
        "offers": [an_offer_row(1900, at_ms - 1000)],
        "offer_centre": math.log(1900),
        "requests": 1000.0,
        "segments": {
            "all": {"share": 0.2, "units_per_order": 1.0, "counts": seen},
            "myopic": {"share": 0.4, "units_per_order": 1.0, "counts": seen},
            "strategic": {"share": 0.4, "units_per_order": 1.1, "counts": counts()},
        },
        "elasticity": {"mean": -2.5, "sd": 0.3},
        "rival_elasticity": {"mean": 0.5, "sd": 0.2},
        "target_units": None,
        "target_from": None,
        "frozen": None,
        "surge_ban": None,
        "approved_minor": None,
        "usual_minor": None,
        "bought": None,
        "experience": None,
        "attributes": None,
        "bandit": None,
        "group": None,
        "model": None,
        "policy_hash": policy.hash,
        "policy": policy.to_dict(),
    }
    unknown = changes.keys() - record.keys()
    if unknown:
        raise TypeError(f"expected values of the inputs' record, got {sorted(unknown)}")
    return read_inputs(record | changes, {})


def catalog_of(*policies: Policy) -> PolicyCatalog:
    """Return the policies by hash, the default one included."""
    return PolicyCatalog({policy.hash: policy for policy in (Policy(), *policies)})


def prices_of(result: PricingDecision) -> set[int]:
    """Return all prices of a decision's table."""
    return {p for price_list in (result.table or {}).values() for p in price_list.prices}


def a_record(inputs: PricingInputs) -> dict[str, Any]:
    """Return the decision on some inputs as it is read from the topic."""
    result = reprice(inputs)
    decision = {
        "decision_id": "d1",
        "event_time_ms": inputs.at_ms,
        "cause": inputs.cause.value,
        "cause_detail": dict(inputs.cause_detail),
        "published": result.published,
        "inputs": inputs_record(inputs),
        "result": decision_record(result),
        "version": 5,
        "table_id": "d1",
    }
    return orjson.loads(orjson.dumps(decision))


def a_current(default_minor: int, **changes: Any) -> dict[str, Any]:
    """Return the record of a table of one price, long unchanged."""
    return {
        "default_minor": default_minor,
        "segments": {"all": {"p": [default_minor], "c": [FULL]}},
        "last_change_ms": None,
        "changes_today": 0,
        "day_ends_ms": START_MS + 86_400_000,
    } | changes


def an_experience(low_minor: int | None, high_minor: int | None, **changes: Any) -> dict[str, Any]:
    """Return the record of a range of observed prices with an estimate that is not sufficient."""
    return {
        "sufficient": False, "start_minor": None, "low_minor": low_minor, "high_minor": high_minor, "step": None,
    } | changes  # fmt: skip


def a_model(refused: str = "", estimated_ms: int | None = START_MS) -> dict[str, Any]:
    """Return the record of the state of an estimate; ``refused``: why it is not identified."""
    return {"estimated_ms": estimated_ms, "refused": refused}


MODELS = (None, a_model(), a_model("no_exposures"), a_model("estimate_unusable"))
"""States of a listing's estimate: not on record, in use, refused, unusable."""


def an_offer_row(price_minor: int, at_ms: int, competitor: str = "rival", kind: str = "rival") -> dict[str, Any]:
    """Return an offer as inputs record it."""
    return {
        "competitor": competitor, "price_minor": price_minor, "shipping_minor": 0, "in_stock": True,
        "at_ms": at_ms, "validity_ms": None, "offer_kind": kind,
    }  # fmt: skip


def a_catalog_entry(sku: str = "s1", at_ms: int = START_MS, **changes: Any) -> CatalogEntry:
    """Return a catalog entry at 19.99 with a cost of 12.00."""
    fields = {
        "event_id": f"c-{sku}", "event_time_ms": at_ms, "tenant": "acme", "market": "web-us-usd", "sku": sku,
        "price_group": sku, "category": "shoes", "role": "margin", "currency": "USD", "pack_size": 1,
        "active": True, "cost_minor": 1200, "list_minor": 1999,
    }  # fmt: skip
    return CatalogEntry(**(fields | changes))


def an_offer(price_minor: int, at_ms: int, sku: str = "s1", competitor: str = "rival", **changes: Any) -> Offer:
    """Return a rival's offer, in stock and surely matched."""
    fields = {
        "event_id": f"o-{sku}-{at_ms}", "event_time_ms": at_ms, "tenant": "acme", "market": "web-us-usd",
        "sku": sku, "price_group": sku, "competitor": competitor, "price_minor": price_minor,
        "shipping_minor": 0, "in_stock": True, "currency": "USD", "pack_size": 1, "source": "test",
        "match_confidence": 1.0,
    }  # fmt: skip
    return Offer(**(fields | changes))


def a_fact(kind: str, value: Any, at_ms: int, offset: int) -> Fact:
    """Return a fact of the first partition of its topic."""
    record = value if isinstance(value, dict) else {n: getattr(value, n) for n in value.__dataclass_fields__}
    return Fact(kind, record, at_ms, f"{kind}-0-{offset}", at_ms)


class SmallMarket:
    """Listings of one bucket with known demand, quoted from the tables that the logic published.

    Conversion at price p is ``conversion * (p / list)^elasticity`` times the scenario's ``factor(minute)``.
    """

    def __init__(self, listings: int = 2, requests_per_minute: float = 20.0, elasticity: float = -3.0) -> None:
        self.skus = [f"s{i}" for i in range(listings)]
        self.rate, self.elasticity, self.conversion = requests_per_minute, elasticity, 0.05
        self.tables: dict[str, PriceTable] = {}

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """Return the listings' catalog entries."""
        return tuple(a_catalog_entry(sku) for sku in self.skus)

    def take(self, outputs: list[Output]) -> None:
        """Quote from the tables among some outputs from now on."""
        for output in outputs:
            if output.stream == "tables":
                self.tables[output.value["sku"]] = PriceTable.from_record(output.value)

    def minute(self, number: int, factor: float = 1.0) -> Batch:
        """Return the batch of one minute; its random numbers depend on the minute alone."""
        rng = np.random.default_rng(number)
        cells = []
        for sku in self.skus:
            table = self.tables.get(sku)
            for segment in ("myopic", "strategic"):
                lists = table.price_list("base", segment) if table else None
                prices = lists.prices if lists else (1999,)
                below = (-1, *lists.cumulative[:-1]) if lists else (-1,)
                ends = lists.cumulative if lists else (FULL,)
                for price, b, c in zip(prices, below, ends, strict=True):
                    n = int(rng.poisson(self.rate / 2 * (c - b) / (FULL + 1)))
                    chance = min(1.0, self.conversion * (price / 1999) ** self.elasticity * factor)
                    y = int(rng.binomial(n, chance))
                    if n:
                        cells.append(
                            Cell("acme", "web-us-usd", sku, sku, "base", segment, price, "USD", exposures=n,
                                 searches_matured=n, searches_abandoned=n - y, orders=y, units=y,
                                 revenue_minor=y * price)
                        )  # fmt: skip
        at_ms = START_MS + (number + 1) * MINUTE_MS
        return Batch(0, at_ms, tuple(cells), catalog=self.catalog() if number == 0 else (), now_ms=at_ms + 500)


def restarted(logic: RepricingLogic) -> RepricingLogic:
    """Return a logic restored from another one's snapshot, after a JSON round trip."""
    again = RepricingLogic(logic.policy)
    again.restore(orjson.loads(orjson.dumps(logic.snapshot(), default=array_text)))
    return again


def of_stream(outputs: list[Output], stream: str) -> Iterator[dict[str, Any]]:
    """Yield the values of one stream among some outputs."""
    return (output.value for output in outputs if output.stream == stream)
