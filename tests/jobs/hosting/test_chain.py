"""All jobs in one process: run straight, with restarts, with duplicates and in another order.

The equality is promised in architecture, "Guarantees".
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

import orjson
import pytest

from features.bucket_logic import Output
from jobs.audit.recompute import Audit
from jobs.hosting.cell_query import Line
from jobs.hosting.chain import Chain
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy
from jobs.simulation.config import MARKETS, CalendarPlan, CostChange, MarketConfig, RivalMove, Shock
from jobs.simulation.market import Market
from jobs.simulation.prices import ListPrices
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

START_MS = 1_767_571_200_000
MINUTES, QUIET, BUCKETS = 90, 45, 2
"""Minutes with traffic; then minutes without, until every session has ended; buckets."""
WEB = MARKETS[0].name
CONFIG = MarketConfig(
    markets=MARKETS[:1],
    skus=6,
    categories=("coffee", "audio"),
    events_per_minute=120.0,
    customers=2_000,
    rival_check_min=15,
    late_share=0.01,
    dirty_share=0.01,
    shocks=(Shock(40, WEB, 0, 3.0, "arrivals"),),
    rival_moves=(RivalMove(25, WEB, 1, 0.85), RivalMove(50, WEB, 2, 1.1)),
    cost_changes=(CostChange(35, WEB, 3, 1.1),),
    calendar=(CalendarPlan(20, 60, "campaign", "audio week", "", "audio", 1.5, 1.4),),
)
POLICY = Policy().overridden(
    {
        "elasticity": {"period_minutes": 10},
        "features": {"estimate_lag_minutes": 2},
        "limits": {"min_gap_minutes": 5},
        "watch": {"false_alarm_every": 60.0},
    }
)
BELIEFS = ("cells", "features", "sums", "estimates", "rejected_cells")
"""Streams that must not depend on the order of arrival."""


@cache
def events() -> tuple[tuple[int, str, bytes], ...]:
    """Return recorded traffic (Kafka time, stream, bytes) with ticks, and a settle command at its end."""
    market = Market(CONFIG, seed=11, start_ms=START_MS)
    shown = ListPrices(market.list_minor)
    found = [(at, name, value) for at, _, name, _, value in market.opening(START_MS)]
    for minute in range(MINUTES):
        at = START_MS + minute * MINUTE_MS
        found += [(ts, name, value) for ts, _, name, _, value in market.step(at, at + MINUTE_MS, shown)]
    end_ms = START_MS + (MINUTES + QUIET) * MINUTE_MS
    for at in range(START_MS + 10_000, end_ms, MINUTE_MS):
        for bucket in range(BUCKETS):
            found.append((at, "ticks", orjson.dumps({"event_time_ms": at, "bucket": bucket, "tick": True})))
    settle = {
        "event_id": "settle", "event_time_ms": end_ms, "tenant": "demo", "kind": "settle",
        "operator": "ann",
    }  # fmt: skip
    return (*found, (end_ms, "commands", orjson.dumps(settle)))


def lines(arriving: Iterable[tuple[int, str, bytes]]) -> dict[str, list[Line]]:
    kept: dict[str, list[Line]] = defaultdict(list)
    for at, name, value in sorted(arriving, key=lambda event: event[0]):
        of_topic = kept[TOPICS[name].topic]
        of_topic.append((0, len(of_topic), at, value))
    return kept


def shuffled() -> Iterator[tuple[int, str, bytes]]:
    """Yield the same events, each delayed by up to its topic's lateness; events of one time keep their order.

    A record that is late already is not delayed: its time of arrival decides when it counts.
    """
    for at, name, value in events():
        topic = TOPICS[name]
        try:
            is_on_time = orjson.loads(value)[topic.event_time] == at
        except (orjson.JSONDecodeError, KeyError, TypeError):
            is_on_time = False
        draw = int(hashlib.md5(f"{name}{at}".encode()).hexdigest(), 16)
        yield (at + draw % topic.lateness_ms if is_on_time and name != "ticks" else at), name, value


def ran(chain: Chain, arriving: Iterable[tuple[int, str, bytes]]) -> dict[str, list[Output]]:
    streams: dict[str, list[Output]] = defaultdict(list)
    for output in chain.run(lines(arriving)):
        streams[output.stream].append(output)
    return streams


@pytest.fixture(scope="module")
def straight() -> dict[str, list[Output]]:
    return ran(Chain(POLICY, BUCKETS), events())


def written(outputs: Iterable[Output]) -> list[bytes]:
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS
    return [orjson.dumps(list(output), option=option) for output in outputs]


def believed(outputs: Iterable[Output]) -> list[bytes]:
    """Return outputs as :func:`written`, without the offsets of a batch's facts, which depend on arrival."""
    return written(
        output._replace(
            value=output.value
            | {"rows": sorted([sorted({**row, "o": 0}.items()) for row in output.value["rows"]], key=repr)}
        )
        if output.stream == "cells"
        else output
        for output in outputs
    )


def prices(outputs: Iterable[Output]) -> dict[str, tuple[object, object]]:
    """Return each listing's last prices, without version and times."""
    return {o.key: (o.value["table"], o.value["default_minor"]) for o in outputs}


def settled_on(outputs: Iterable[Output]) -> dict[str, object]:
    """Return the inputs of each listing's decision on the settle command, without the table shown until then.

    Of what its price group fixed, the best common price alone: the gain is that over the table shown until then.
    """
    return {
        o.key: {name: known for name, known in o.value["inputs"].items() if name not in ("current", "group")}
        | {"candidate_minor": (o.value["inputs"]["group"] or {}).get("candidate_minor")}
        for o in outputs
        if o.value["cause"] == "SETTLE"
    }


def test_scenario_covers_every_stream_and_cause(straight: dict[str, list[Output]]) -> None:
    causes = {o.value["cause"] for o in straight["decisions"]}
    assert {"COLD_START", "EVIDENCE", "RIVAL_MOVED", "COST_CHANGED", "EVENT_STARTED", "SETTLE"} <= causes
    assert len({(o.key, o.event_time_ms) for o in straight["cells"]}) == (MINUTES + QUIET) * BUCKETS
    assert straight["estimates"]
    assert straight["features"]
    assert straight["evidence"]
    assert len(prices(straight["tables"])) == CONFIG.listings


@pytest.mark.parametrize("every", [1, 7])
def test_restarts_change_no_byte_of_any_stream(straight: dict[str, list[Output]], every: int) -> None:
    restarted = ran(Chain(POLICY, BUCKETS, restart_every=every), events())
    assert restarted.keys() == straight.keys()
    for stream, outputs in straight.items():
        assert written(restarted[stream]) == written(outputs), stream


def test_duplicate_batches_and_facts_change_no_byte_of_any_stream(straight: dict[str, list[Output]]) -> None:
    repeated = ran(Chain(POLICY, BUCKETS, duplicate=True), events())
    for stream, outputs in straight.items():
        assert written(repeated[stream]) == written(outputs), stream


def test_order_of_arrival_within_lateness_changes_no_belief_and_no_settled_price(
    straight: dict[str, list[Output]],
) -> None:
    other = ran(Chain(POLICY, BUCKETS), shuffled())
    for stream in BELIEFS:
        assert believed(other[stream]) == believed(straight[stream]), stream
    assert prices(other["tables"]) == prices(straight["tables"])


@pytest.mark.parametrize("ahead_minutes", [5, -5])
def test_early_and_late_facts_change_no_belief_and_no_settled_price(
    straight: dict[str, list[Output]], ahead_minutes: int
) -> None:
    other = ran(Chain(POLICY, BUCKETS, fact_lead_ms=ahead_minutes * MINUTE_MS), events())
    for stream in BELIEFS:
        assert believed(other[stream]) == believed(straight[stream]), stream
    assert written(other["decisions"]) != written(straight["decisions"]), "intermediate decisions differ"
    assert settled_on(other["decisions"]) == settled_on(straight["decisions"])
    assert prices(other["tables"]) == prices(straight["tables"])


def test_every_decision_is_recomputed_from_its_record(straight: dict[str, list[Output]]) -> None:
    policies = PolicyCatalog.of(o.value for o in straight["policies"])
    decisions = (orjson.loads(orjson.dumps(o.value)) for o in straight["decisions"])
    audit = Audit.of(decisions, policies, without_offer=True)
    assert audit.recomputed == len(straight["decisions"])
    assert audit.differing == []
    assert audit.moved.total() > 0


LISTINGS = 700


def opening_and_settle() -> list[tuple[int, str, bytes]]:
    """Return catalog entries of many listings, and a settle command three minutes later."""
    found = []
    for i in range(LISTINGS):
        entry = {
            "event_id": f"c{i}", "event_time_ms": START_MS, "tenant": "demo", "market": WEB, "sku": f"s{i}",
            "price_group": f"s{i}", "category": f"category-{i}", "role": "margin", "currency": "USD",
            "pack_size": 1, "active": True, "cost_minor": 600, "list_minor": 1000,
        }  # fmt: skip
        found.append((START_MS, "catalog", orjson.dumps(entry)))
    at = START_MS + 3 * MINUTE_MS
    settle = {"event_id": "settle", "event_time_ms": at, "tenant": "demo", "kind": "settle", "operator": "ann"}
    return [*found, (at, "commands", orjson.dumps(settle))]


def test_unsaved_bucket_is_never_evicted() -> None:
    outputs = ran(Chain(POLICY, 600), opening_and_settle())
    assert len({o.key for o in outputs["cells"]}) > 400
    causes = Counter(o.value["cause"] for o in outputs["decisions"])
    assert causes == {"COLD_START": LISTINGS, "SETTLE": LISTINGS}
