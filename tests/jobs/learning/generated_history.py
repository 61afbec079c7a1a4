"""Generated files of sales with known rules, and the mappings that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs.replay.mapping import Mapping

START_MS = 1_767_225_600_000 // 604_800_000 * 604_800_000
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
CONSTANTS: dict[str, Any] = {
    "tenant": "shop", "currency": "USD", "segment": "all", "arm": "base", "discount_minor": 0, "role": "margin",
    "active": True, "pack_size": 1, "shipping_minor": 0, "in_stock": True, "match_confidence": 1.0,
    "competitor": "rival", "source": "list", "propensity": 1.0, "version": 0, "inbound": 0, "lead_time_days": 1.0,
}  # fmt: skip
COVARIATES = ("promotion", "display")
LISTING = {"market": "market", "sku": "sku", "price_group": "sku", "event_time_ms": "at_ms"}


def stream(name: str, where: str, /, primary: bool = True, **fields: str) -> dict[str, Any]:
    """Return an entry of the source ``rows``."""
    given = {"event_id": f"'{name}-' || row_number", **LISTING, **fields}
    return {"stream": name, "from": "rows", "primary": primary, "where": where, "fields": given}


def mapping(policy: dict[str, Any], **changes: Any) -> Mapping:
    """Return the mapping of ``rows.csv``, whose column ``what`` names the kind of a row."""
    order = {
        "kind": "kind", "order_id": "order_id", "line": "0", "customer": "'c' || row_number",
        "session": "'s' || row_number", "quantity": "quantity", "quoted_price_minor": "price",
        "price_paid_minor": "price",
    }  # fmt: skip
    quote = {
        "customer": "'c' || row_number", "session": "'s' || row_number", "price_minor": "price",
        "table_id": "'recorded'", "source": "'list'",
    }  # fmt: skip
    return Mapping.model_validate(
        {
            "name": "generated", "description": "generated sales",
            "sources": {"rows": {"file": "rows.csv"}}, "constants": CONSTANTS, "tick_minutes": 1, "buckets": 1,
            "policy": policy,
            "streams": [
                stream("catalog", "what = 'catalog'", category="category", cost_minor="price * 6 // 10"),
                stream("orders", "what = 'order'", **order),
                stream("quotes", "what = 'quote'", **quote),
                stream("offers", "what = 'offer'", price_minor="price", source="'crawler'"),
                stream("stock", "what = 'stock'", on_hand="quantity"),
                *(stream("covariates", f"what = '{name}'", name=f"'{name}'", value="quantity", source="'shelf'")
                  for name in COVARIATES),
            ],
        } | changes
    )  # fmt: skip


def write(
    folder: Path, *, exposures: bool, hours: int = 30, items: int = 5, seed: int = 1, covariates: bool = False
) -> None:
    """Write ``rows.csv``: sales of items in two markets, with offers, stock-outs, returns and late orders.

    With ``covariates`` the third item has promotions and displays.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []

    def add(what: str, at_ms: int, market: str, item: int, price: int, quantity: int = 1, kind: str = "") -> None:
        rows.append(
            {"what": what, "at_ms": at_ms, "market": market, "sku": f"item {item}", "category": f"c{item % 2}",
             "price": price, "quantity": quantity, "kind": kind, "order_id": f"o{len(rows)}"}
        )  # fmt: skip

    for market in ("north", "south"):
        for item in range(items):
            regular = int(rng.integers(800, 1200))
            add("catalog", START_MS - MINUTE_MS, market, item, regular)
            for hour in range(hours):
                at = START_MS + hour * HOUR_MS
                price = int(regular * rng.choice([0.8, 0.9, 1.0])) if item < items - 1 else regular
                if item == 0 and rng.random() < 0.5:
                    add(
                        "offer",
                        at + int(rng.integers(HOUR_MS)),
                        market,
                        item,
                        int(regular * rng.uniform(0.7, 1.2)),
                    )
                if item == 2 and covariates:
                    shown = int(rng.random() < 0.5)
                    for name in COVARIATES:
                        add(name, at + int(rng.integers(HOUR_MS)), market, item, price, shown)
                if item == 1 and rng.random() < 0.3:
                    add("stock", at + int(rng.integers(HOUR_MS // 2)), market, item, price, 0)
                    add("stock", at + int(rng.integers(HOUR_MS // 2, HOUR_MS)), market, item, price, 9)
                mean = 6 * (price / regular) ** -2.5
                for _ in range(int(rng.integers(10, 30)) if exposures else 0):
                    add("quote", at + int(rng.integers(HOUR_MS)), market, item, price)
                for _ in range(int(rng.poisson(mean / (3 if exposures else 1)))):
                    late = int(rng.random() < 0.1) * HOUR_MS
                    add("order", at + late + int(rng.integers(HOUR_MS)), market, item, price,
                        int(rng.integers(1, 4)), "placed")  # fmt: skip
                if rng.random() < 0.1:
                    add("order", at + int(rng.integers(HOUR_MS)), market, item, price, 1, "returned")
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
