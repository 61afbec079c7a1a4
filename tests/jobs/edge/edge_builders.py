"""Tables, catalog entries and a quote log for tests of the edge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.price_cache import PriceCache
from jobs.edge.quoting import Quoting
from jobs.runtime.clock import Clock
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable

NOW = 1_795_000_000_000
KEY = "a key"
UNREACHABLE = "redis://127.0.0.1:1/0"


def a_table(
    sku: str = "sku-1", version: int = 1, *, expires_ms: int = NOW + 1000, price: int = 1999
) -> PriceTable:
    lists = {
        "all": PriceList.from_propensities([price, price + 100], [0.7, 0.3]),
        "myopic": PriceList.from_propensities([price + 200, price + 300], [0.5, 0.5]),
    }
    return PriceTable(
        Listing("acme", "web-us-usd", sku), sku, version, f"t-{sku}-{version}", NOW - 500, expires_ms, "USD",
        {"base": lists}, 2999, 1950, "EVIDENCE orders ×0.7: PUBLISHED shadow 3.2", f"d-{sku}-{version}",
    )  # fmt: skip


def an_entry(sku: str = "sku-1", **more: Any) -> CatalogEntry:
    return CatalogEntry(
        "e", NOW - 700, "acme", "web-us-usd", sku, "g-1", "shoes", "margin", "USD", 1,
        **{"active": True, "cost_minor": 700, "list_minor": 2999} | more,
    )  # fmt: skip


class KeptQuotes(QuoteLog):
    """A quote log in memory."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept: list[Mapping[str, Any]] = []

    def offer(self, group: str, quote: bytes, at_ms: int) -> bool:
        self.kept.append(json.loads(quote))
        assert at_ms == self.kept[-1]["event_time_ms"]
        return True


class FixedClock(Clock):
    """A clock that always shows ``NOW``."""

    def now_ms(self) -> int:
        return NOW


async def ask(cache: PriceCache, quotes: QuoteLog, sku: str = "sku-1", customer: str = "c1") -> Any:
    """Return the decoded reply to a price request."""
    quoting = Quoting(cache, quotes, FixedClock(), "secret")
    return json.loads(await quoting.answer(f"/v1/quotes/acme/web-us-usd/{sku}", f"customer={customer}".encode()))
