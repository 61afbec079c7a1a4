"""Fixed inputs of the behaviour record: recorded data sets, and a simulated market with fixed prices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from features.bucket_logic import Output
from jobs.hosting.cell_query import CellQuery, Line
from jobs.hosting.chain import Chain
from jobs.pricing.bucket.repricing_logic import REPLAY_FACTS
from jobs.pricing.policy import Policy
from jobs.replay.command import find_mapping
from jobs.replay.mapped_data import MappedData
from jobs.replay.mapping import Mapping
from jobs.runtime.settings import Settings
from jobs.simulation.config import MARKETS, CalendarPlan, CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.market import Market
from jobs.simulation.prices import TablePrices
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

DAY_MINUTES = 24 * 60
START_MS = 1_767_571_200_000
BUCKETS = 2


def replayed(folder: Path, scratch: Path, limit: int = 0) -> Iterator[Output]:
    """Yield the outputs of a recorded data set that runs through every job's logic in this process."""
    mapping = Mapping.load(find_mapping(folder))
    policy = mapping.policy_over(Policy())
    with MappedData(mapping, folder, limit=limit, memory=Settings.load().replay_memory, scratch=scratch) as mapped:
        mapped.fill_lines()
        chain = Chain(policy, mapping.buckets, facts=REPLAY_FACTS)
        yield from chain.run_query(CellQuery.of_tables(mapped.duck))


def simulated_config(skus: int, events_per_minute: float) -> MarketConfig:
    """Return a market with a shock, rivals' moves, a cost change and a campaign in its first three hours."""
    web = MARKETS[0].name
    return MarketConfig(
        markets=MARKETS[:1],
        skus=skus,
        categories=("coffee", "audio"),
        events_per_minute=events_per_minute,
        customers=2_000,
        rival_check_min=15,
        grouped_share=0.0,
        late_share=0.01,
        dirty_share=0.01,
        shocks=(Shock(70, web, 0, 3.0, "arrivals"),),
        rival_moves=(RivalMove(45, web, 1, 0.85), RivalMove(90, web, 2, 1.1)),
        cost_changes=(CostChange(100, web, 3, 1.1),),
        calendar=(CalendarPlan(60, 150, "campaign", "audio week", "", "audio", 1.5, 1.4),),
    )


def simulated(minutes: int, skus: int = 24, events_per_minute: float = 400.0) -> Iterator[Output]:
    """Yield the outputs of a simulated market whose shoppers see three prices around the list price."""
    market = Market(simulated_config(skus, events_per_minute), seed=20, start_ms=START_MS)
    prices = TablePrices(market.listings, market.list_minor)
    end_ms = START_MS + minutes * MINUTE_MS
    tables = {}
    for listing, list_minor in zip(market.listings, market.list_minor.tolist(), strict=True):
        points = [round(list_minor * share) for share in (0.93, 1.0, 1.05)]
        shown = {"base": {"all": PriceList.from_propensities(points, [0.25, 0.5, 0.25])}}
        tables[listing] = PriceTable(
            listing, listing.sku, 1, f"shown-{listing.sku}", START_MS, end_ms + MINUTE_MS, "EUR", shown,
            list_minor, None, "fixed prices of the behaviour record", "",
        )  # fmt: skip
    prices.take(tables)
    events = [(at, name, value) for at, _, name, _, value in market.opening(START_MS)]
    for at in range(START_MS, end_ms, MINUTE_MS):
        events += [(ts, name, value) for ts, _, name, _, value in market.step(at, at + MINUTE_MS, prices)]
    last_ms = end_ms + 45 * MINUTE_MS
    for at in range(START_MS + 10_000, last_ms, MINUTE_MS):
        ticks = ({"event_time_ms": at, "bucket": bucket, "tick": True} for bucket in range(BUCKETS))
        events += [(at, "ticks", orjson.dumps(tick)) for tick in ticks]
    for n, command in enumerate(_commands(market.listings[0].tenant, market.listings[1], end_ms)):
        events.append(
            (command["event_time_ms"], "commands", orjson.dumps({"event_id": f"command-{n}", **command}))
        )
    lines: dict[str, list[Line]] = {}
    for at, name, value in sorted(events, key=lambda event: event[0]):
        of_topic = lines.setdefault(TOPICS[name].topic, [])
        of_topic.append((0, len(of_topic), at, value))
    policy = Policy().overridden({"elasticity": {"period_minutes": 60}, "features": {"estimate_lag_minutes": 2}})
    yield from Chain(policy, BUCKETS, fact_lead_ms=20_000).run(lines)


def _commands(tenant: str, listing: Any, end_ms: int) -> list[dict[str, Any]]:
    """Return one command of each kind that needs no earlier decision, distributed over the run."""
    one = {"tenant": tenant, "market": listing.market, "sku": listing.sku, "operator": "ann", "reason": "recorded"}
    span = end_ms - START_MS
    kinds: list[dict[str, Any]] = [
        {"kind": "freeze"}, {"kind": "unfreeze"}, {"kind": "manual_price", "price_minor": 999},
        {"kind": "unfreeze"}, {"kind": "rollback"}, {"kind": "kill_switch"}, {"kind": "resume"},
        {"kind": "sale_target", "units": 200, "until_ms": end_ms}, {"kind": "settle"},
    ]  # fmt: skip
    step = span // (len(kinds) + 1)
    return [{**one, **kind, "event_time_ms": START_MS + (n + 1) * step} for n, kind in enumerate(kinds)]
