"""Quotes at a fixed rate while servers fail: their times, the edge's memory, and the log of the quotes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.reports.edge_drill.disturbances.base import Disturbance
from infra.reports.edge_drill.load import LoadGenerator, LoadPlan
from infra.reports.edge_drill.market import LISTINGS, TABLES
from infra.reports.edge_drill.process_sampler import ProcessSampler
from infra.reports.edge_drill.replies import Reply, between, older_versions, statuses, timing, without_origin
from infra.reports.edge_drill.servers import EDGE, Servers
from infra.reports.report import Figure, Limit
from jobs.connectors.kafka.reading import read_topic
from schemas.events import QuoteSource
from schemas.topics import TOPICS

RATE = 500.0
"""Quotes per second."""
FIRST_S = 0.5
"""Seconds from the beginning of a failure in which a quote may take longer: the timeout of a read of Redis."""
CONFIRMED_S = 1.5
"""Seconds after which a table that another listing's invalid table delayed would have been read again."""
P99_MS = 100.0
GROWTH_MB = 100.0
"""Most memory that the failures may add: a spool's batches and librdkafka's queue, not the outage's quotes."""


@dataclass(frozen=True, slots=True)
class Times:
    """Wall seconds of warming, of the undisturbed time before the disturbances, and of the time after each one."""

    warm_s: float
    undisturbed_s: float
    after_s: float


FULL_TIMES, QUICK_TIMES = Times(10.0, 30.0, 10.0), Times(3.0, 3.0, 1.5)


@dataclass(frozen=True, slots=True)
class Window:
    """A disturbance: when it began, when its end began, and when its observation ended, monotonic seconds.

    ``machine`` has the load average, and shares of the time in which the edge used or waited for a processor.
    """

    name: str
    what: str
    began_s: float
    ending_s: float
    ended_s: float
    affected: frozenset[str]
    machine: dict[str, Any]


@dataclass
class Failures:
    """What was observed under the disturbances."""

    undisturbed: Window
    windows: list[Window]
    replies: list[Reply]
    memory: dict[str, Any]
    restarted: bool
    logged: Counter[str]
    spooled: int


def pause(seconds: float) -> None:
    """Wait."""
    threading.Event().wait(max(0.0, seconds))


def run_failures(
    servers: Servers, disturbances: Sequence[Disturbance], times: Times, folder: Path, *, quick: bool
) -> Failures:
    """Request quotes at :data:`RATE` from the edge while one disturbance after another happens."""
    key = servers.issue_key("drill", EDGE)
    plan = LoadPlan(servers.port(), [(key, RATE)], [listing.key for listing in LISTINGS])
    with ProcessSampler(servers.process_id()) as edge:
        with LoadGenerator(plan, folder / "failures.jsonl") as load:
            pause(times.warm_s)
            began_s = time.monotonic()
            pause(times.undisturbed_s)
            undisturbed = _window(edge, "undisturbed", "no disturbance", began_s, time.monotonic())
            windows = [_disturb(servers, edge, each, times, quick=quick) for each in disturbances]
        servers.wait_until_logged()
    found = {reply.quote_id for reply in load.replies if reply.quote_id}
    return Failures(
        undisturbed, windows, load.replies, edge.memory(undisturbed.ended_s), not edge.still_runs,
        logged_quotes(servers, found), servers.health()["quotes_spooled"],
    )  # fmt: skip


def _disturb(
    servers: Servers, edge: ProcessSampler, disturbance: Disturbance, times: Times, *, quick: bool
) -> Window:
    print(f"{disturbance.name}: {disturbance.what}", flush=True)
    began_s = time.monotonic()
    try:
        disturbance.begin(servers)
        lasts_s = disturbance.quick_seconds if quick else disturbance.seconds
        pause(began_s + lasts_s - time.monotonic())
    finally:
        ending_s = time.monotonic()
        disturbance.end(servers)
    pause(times.after_s)
    return _window(edge, disturbance.name, disturbance.what, began_s, ending_s, disturbance.affected())


def _window(
    edge: ProcessSampler, name: str, what: str, began_s: float, ending_s: float, affected: Collection[str] = ()
) -> Window:
    ended_s, load_average = time.monotonic(), round(os.getloadavg()[0], 1)
    shares = edge.shares(began_s, ended_s)
    return Window(
        name, what, began_s, ending_s, ended_s, frozenset(affected), {"load_average": load_average} | shares
    )


def logged_quotes(servers: Servers, wanted: Collection[str]) -> Counter[str]:
    """Return how often the quotes topic holds each of the wanted ids."""
    topic, found = TOPICS["quotes"].topic, Counter[str]()
    for record in read_topic(servers.settings.kafka, topic):
        quote_id = record.json().get("event_id", "") if b'"event_id":"q-' in (record.value or b"") else ""
        if quote_id in wanted:
            found[quote_id] += 1
    return found


def figures(found: Failures) -> list[Figure]:
    """Return the figures of each disturbance, and those of the whole time."""
    lines = _timing(found, found.undisturbed, 0.0)
    for window in found.windows:
        lines += _timing(found, window, FIRST_S)
        if window.affected:
            lines.append(_unconfirmed(found, window))
    replied = {reply.quote_id for reply in found.replies if reply.quote_id}
    missing, repeated = replied - found.logged.keys(), sum(count - 1 for count in found.logged.values())
    growth = round(found.memory["peak_mb"] - found.memory["before_mb"], 1)
    none = Limit(at_most=0)
    lines += [
        Figure("without_source_or_age", len(without_origin(found.replies)), "quotes", none,
               claim="quotes without source or age"),
        Figure("older_version", len(older_versions(found.replies)), "quotes", none,
               claim="quotes of an older version than an earlier reply of the edge"),
        Figure("edge_restarts", int(found.restarted), "", none, claim="restarts of the edge"),
        Figure("memory_growth", growth, "MB", Limit(at_most=GROWTH_MB),
               claim="memory of the edge: peak above the undisturbed level", detail=found.memory),
        Figure("quotes_missing", len(missing), "quotes", none, claim="answered quotes missing in Kafka",
               detail={"answered": len(replied), "stored_on_disk": found.spooled}),
        Figure("quotes_repeated", repeated, "records",
               claim="quotes that Kafka has again under the same id (delivery is at least once)"),
    ]  # fmt: skip
    return lines


def _timing(found: Failures, window: Window, first_s: float) -> list[Figure]:
    replies = between(found.replies, window.began_s, window.ended_s)
    judged = between(replies, window.began_s + first_s, window.ended_s)
    first = between(replies, window.began_s, window.began_s + first_s)
    failed = [reply for reply in replies if reply.status != 200]
    times = timing(judged)
    sources = Counter(reply.source for reply in replies if reply.status == 200)
    detail = {
        "what": window.what, "seconds": round(window.ending_s - window.began_s, 1), **times,
        "statuses": statuses(replies), "sources": dict(sorted(sources.items())),
        **window.machine,
    }  # fmt: skip
    if first:
        detail |= {"first_half_second_max_ms": timing(first)["max_ms"]}
    return [
        Figure(f"{window.name}_failures", len(failed), "quotes", Limit(at_most=0),
               claim=f"{window.what}: quotes without a price"),
        Figure(f"{window.name}_p99", times["p99_ms"], "ms", Limit(at_most=P99_MS),
               claim=f"{window.what}: p99 of a quote", detail=detail),
    ]  # fmt: skip


def _unconfirmed(found: Failures, window: Window) -> Figure:
    """Return the quotes of other listings whose table was not confirmed while some tables were invalid."""
    tables = {listing.key for listing in LISTINGS[:TABLES]} - window.affected
    others = [
        reply
        for reply in between(found.replies, window.began_s + CONFIRMED_S, window.ending_s)
        if reply.status == 200 and reply.listing in tables and reply.source != QuoteSource.TABLE
    ]
    return Figure(
        f"{window.name}_others", len(others), "quotes", Limit(at_most=0),
        claim=f"{window.what}: quotes of other listings whose table was not confirmed",
    )  # fmt: skip
