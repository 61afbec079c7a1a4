"""Generated ``cells`` batches of one bucket, in the form that demand_job writes.

Every minute, each listing is shown at four prices to two segments, and a share is bought. The data serve
measurements of time and size, not of statistical models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from schemas.time_units import MINUTE_MS

START_MS = 1_790_000_040_000 // MINUTE_MS * MINUTE_MS
PRICES = (1899, 1949, 1999, 2049)
SEGMENTS = ("all", "myopic")


def _listing(i: int) -> dict[str, str]:
    return {"tenant": "bench", "market": "web-us-usd", "sku": f"sku-{i}", "price_group": f"sku-{i}"}


def opening(listings: int, at_ms: int) -> list[dict[str, Any]]:
    """Return catalog entry, stock and two rivals' offers per listing, as rows of a batch."""
    rows: list[dict[str, Any]] = []
    for i in range(listings):
        common = _listing(i) | {"event_id": f"e{i}", "event_time_ms": at_ms, "p": 0, "o": i}
        rows.append(common | {
            "kind": "catalog", "category": f"category-{i % 4}", "role": "margin", "currency": "USD",
            "pack_size": 1, "active": True, "cost_minor": 1200, "list_minor": 1999,
        })  # fmt: skip
        rows.append(common | {"kind": "stock", "on_hand": 100_000, "inbound": 0, "lead_time_days": 2.0})
        rows += offers(i, at_ms, 1990)
    return rows


def offers(i: int, at_ms: int, price: int) -> list[dict[str, Any]]:
    """Return the offers of two rivals for a listing."""
    return [
        _listing(i) | {
            "kind": "offers", "p": 0, "o": at_ms // MINUTE_MS * 100 + i, "event_id": f"o{i}-{at_ms}-{rival}",
            "event_time_ms": at_ms, "competitor": rival, "price_minor": price + 10 * k, "shipping_minor": 0,
            "in_stock": True, "currency": "USD", "pack_size": 1, "source": "feed", "match_confidence": 1.0,
            "validity_ms": None,
        }
        for k, rival in enumerate(("shop-a", "shop-b"))
    ]  # fmt: skip


def batches(listings: int, ends_ms: list[int], *, seed: int = 3, bucket: int = 0) -> Iterator[bytes]:
    """Yield one ``cells`` value per window end; the first contains the opening of the market."""
    rng = np.random.default_rng(seed)
    for n, end in enumerate(ends_ms):
        rows = opening(listings, end - MINUTE_MS + 1) if n == 0 else []
        if n and n % 60 == 0:
            rows += [row for i in range(listings) for row in offers(i, end - 1, int(rng.integers(1900, 2100)))]
        shape = (listings, len(SEGMENTS), len(PRICES))
        shown = rng.poisson(6.0, shape)
        bought = rng.binomial(shown, 0.08)
        for i in range(listings):
            for k, segment in enumerate(SEGMENTS):
                for t, price in enumerate(PRICES):
                    n_shown, y = int(shown[i, k, t]), int(bought[i, k, t])
                    if n_shown:
                        rows.append(_listing(i) | {
                            "kind": "cell", "arm": "base", "segment": segment, "price_minor": price,
                            "currency": "USD", "exposures": n_shown, "views": n_shown, "searches": n_shown,
                            "searches_matured": n_shown, "searches_abandoned": n_shown - y, "carts": y,
                            "carts_matured": y, "carts_abandoned": 0, "orders": y, "units": y,
                            "revenue_minor": y * price, "returns": 0,
                        })  # fmt: skip
        yield orjson.dumps({"bucket": bucket, "window_end_ms": end, "rows": rows})
