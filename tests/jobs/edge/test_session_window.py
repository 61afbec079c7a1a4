"""Random tables, sessions and limits on two edges: each quote is the one that the rule of the window gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.edge import session_quotes
from jobs.edge.price_cache import PriceCache
from jobs.edge.quoting import Quoting
from jobs.runtime.clock import Clock
from jobs.runtime.pseudonym import pseudonym
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS
from tests.jobs.edge.edge_builders import KEY, NOW, UNREACHABLE, KeptQuotes
from tests.jobs.edge.session_stand_in import SharedStandIn

SKUS = ("red", "blue")
"""Two listings of one price group."""
PRICES = (1000, 1100, 1200, 1300, 1400)
LISTINGS = {sku: Listing("acme", "web-us-usd", sku) for sku in SKUS}


@pytest.fixture(autouse=True)
def _write_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(session_quotes, "WRITE_AFTER_S", 0.0)
    yield


class MovingClock(Clock):
    """A clock that a test moves."""

    shown_ms: ClassVar[int] = NOW

    def now_ms(self) -> int:
        return MovingClock.shown_ms


@dataclass
class TwoEdges:
    """Two edges over one stand-in, and what the rule of the window says they quote."""

    joint: bool
    shared: SharedStandIn = field(default_factory=SharedStandIn)
    edges: list[Quoting] = field(default_factory=list)
    versions: Iterator[int] = field(default_factory=lambda: count(1))
    kept: dict[tuple[str, str], tuple[int, int, int, str]] = field(default_factory=dict)
    """Session and scope → price, end, version and table id."""

    def __post_init__(self) -> None:
        MovingClock.shown_ms = NOW
        for _ in range(2):
            ticks = count()
            cache = PriceCache(UNREACHABLE, reread_s=0.0, monotonic=lambda ticks=ticks: float(next(ticks)))
            cache._redis = cache.session_quotes._store = self.shared
            self.edges.append(Quoting(cache, KeptQuotes(), MovingClock(), KEY))

    def publish(self, prices: list[int], low: int, high: int, minutes: int, by_operator: bool) -> None:
        """Publish a table with these prices for both listings, or the same prices with other limits."""
        version = next(self.versions)
        for sku, listing in LISTINGS.items():
            before = self.shared.tables.get(listing)
            lists = PriceList.from_propensities(prices, [1.0] * len(prices))
            table_id = f"t-{version}" if self.joint else f"t-{sku}-{version}"
            decision_id = f"d-{sku}-{version}" if self.joint else table_id
            since = version if by_operator else (before.session_from_version if before else 0)
            self.shared.tables[listing] = PriceTable(
                listing, "g", version, table_id, MovingClock.shown_ms, NOW + 10**9, "USD",
                {"base": {"all": lists}}, 2999, None, "EVIDENCE", decision_id, minutes, since, low, high,
            )  # fmt: skip

    def limit(self, low: int, high: int) -> None:
        """Publish the same prices with other limits."""
        version = next(self.versions)
        for listing, table in self.shared.tables.items():
            self.shared.tables[listing] = replace(table, version=version, hard_low_minor=low, hard_high_minor=high)

    async def ask(self, edge: int, session: str, sku: str) -> None:
        """Quote, compare with the rule, and let the edge share what it keeps."""
        quoting = self.edges[edge]
        path = f"/v1/quotes/acme/web-us-usd/{sku}"
        reply = json.loads(await quoting.answer(path, f"customer=c-{session}&session={session}".encode()))
        table, now = self.shared.tables[LISTINGS[sku]], MovingClock.shown_ms
        logged = quoting.quotes.kept[-1]  # type: ignore[attr-defined]
        picked, propensity = table.pick(pseudonym(KEY, f"c-{session}"))
        price, version, table_id = picked, table.version, table.table_id
        scope = (session, "g" if self.joint else sku)
        if table.session_minutes:
            held = self.kept.get(scope)
            if held is not None and now < held[1] and self._stays(held, table):
                price, _, version, table_id = held
            else:
                end = now + table.session_minutes * MINUTE_MS
                self.kept[scope] = (picked, end, table.version, table.table_id)
        earlier = table_id != table.table_id
        assert reply["price_minor"] == logged["price_minor"] == price
        assert logged["table_id"] == table_id and logged.get("kept", False) is earlier
        assert reply["version"] == logged["version"] == (version if earlier else table.version)
        assert earlier or logged["propensity"] == propensity
        assert table.allows(price) or not earlier
        await asyncio.gather(*quoting.cache.session_quotes.tasks)

    @staticmethod
    def _stays(held: tuple[int, int, int, str], table: PriceTable) -> bool:
        price, _, version, table_id = held
        return table_id == table.table_id or (version >= table.session_from_version and table.allows(price))


LIMITS = st.tuples(st.sampled_from([1, 1050, 1150, 1250]), st.sampled_from([1250, 1350, 2000]))
PUBLISH = st.tuples(
    st.just("publish"), st.lists(st.sampled_from(PRICES), min_size=1, max_size=3, unique=True).map(sorted), LIMITS,
    st.sampled_from([0, 30, 30, 30]), st.sampled_from([False, False, False, True]),
)  # fmt: skip
ASK = st.tuples(st.just("ask"), st.integers(0, 1), st.sampled_from(["s1", "s2"]), st.sampled_from(SKUS))
STEPS = st.lists(
    st.one_of(
        ASK, ASK, ASK, PUBLISH, st.tuples(st.just("limit"), LIMITS),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 29, 31])),
        st.tuples(st.just("forget"), st.integers(0, 1)),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_two_edges_quote_what_the_rule_of_the_window_gives(steps: list[Any], joint: bool) -> None:
    async def scenario() -> None:
        both = TwoEdges(joint)
        both.publish([1000, 1200], 1, 2000, 30, False)
        for kind, *values in steps:
            if kind == "ask":
                await both.ask(*values)
            elif kind == "publish":
                prices, (low, high), minutes, by_operator = values
                both.publish(prices, low, high, minutes, by_operator)
            elif kind == "limit":
                both.limit(*values[0])
            elif kind == "wait":
                MovingClock.shown_ms += values[0] * MINUTE_MS
            else:
                both.edges[values[0]].age_shoppers()
                both.edges[values[0]].age_shoppers()
        for quoting in both.edges:
            await quoting.cache.close()

    asyncio.run(scenario())
