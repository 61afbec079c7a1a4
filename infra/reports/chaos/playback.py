"""One run of the drill: start a platform, send the recording, disturb the platform, and capture the outputs."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra.local.parts import PARTS, TASK_MANAGERS
from infra.local.platform import Platform
from infra.reports.chaos.capture import Capture, capture, computed_in_process
from infra.reports.chaos.disturbances import Disturber
from infra.reports.chaos.prober import Prober
from infra.reports.chaos.recording import TENANT, RecordToSend, ticks
from infra.reports.waiting import until
from jobs.access.key_files import ADMIN, read_key
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import make_command, publish_command
from jobs.connectors.kafka.offsets import SILENT, consumer_lag
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_values
from jobs.registry import JOBS
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.listings import Listing
from schemas.records.operator_events import CommandKind
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

RUNNING = ("broker", "redis", "jobmanager", *TASK_MANAGERS, "edge", "keeper")
EDGE = replace(PARTS["edge"], command=lambda _: [sys.executable, "-m", "infra.reports.chaos.unlogged_edge"])
"""The part ``edge`` of the drill, which does not log its quotes."""
BUCKETS = 4


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a drill.

    Parameters
    ----------
    minutes, skus, events_per_minute : of the recorded market.
    feed_s : wall seconds over which the recording is sent.
    quiet_s : timeout of each wait for the jobs.
    up_s : wall seconds between the choice of the clock and the first record. The platform starts in this time;
        records that are late when it has started are sent at once.
    """

    minutes: int = 130
    skus: int = 20
    events_per_minute: float = 1500.0
    feed_s: float = 180.0
    quiet_s: float = 600.0
    up_s: float = 120.0


QUICK = Size(minutes=20, skus=4, events_per_minute=400.0, feed_s=60.0, up_s=75.0)


def _send(out: Publisher, sent: RecordToSend) -> None:
    out.send_bytes(
        TOPICS[sent.topic].topic, sent.value, timestamp_ms=sent.at_ms, key=sent.key, partition=sent.partition
    )


def feed(settings: Settings, records: Sequence[RecordToSend]) -> None:
    """Send each record at its time on the run's clock; a broker that is down delays it."""
    clock, pause = settings.run_clock, threading.Event()
    with Publisher(settings.kafka, **{"message.timeout.ms": 600_000, "logger": SILENT}) as out:
        for sent in records:
            wait = clock.wall_seconds_until(sent.at_ms)
            if wait > 0.02:
                pause.wait(wait)
            _send(out, sent)
        out.flush(600)


def wait_until_processed(settings: Settings, platform: Platform, timeout_s: float) -> None:
    """Wait until every job runs and a completed checkpoint of each reader contains all records."""
    platform.wait(RUNNING, JOBS, timeout_s)
    polls = [0]

    def processed() -> bool:
        polls[0] = polls[0] + 1 if not any(consumer_lag(settings.kafka).values()) else 0
        return polls[0] >= 5

    until("every record processed by every job", processed, timeout_s)


def run(
    home: Path, records: Sequence[RecordToSend], size: Size, speed: float, steps: list[tuple[float, str]] | None
) -> tuple[Capture, dict[str, Any]]:
    """Run the recording once, disturbed by ``steps`` if given; return the outputs and a log of the run."""
    end_ms = records[-1].at_ms // MINUTE_MS * MINUTE_MS
    start_ms = records[0].at_ms
    listings = [Listing(**{k: v[k] for k in ("tenant", "market", "sku")}) for v in _catalog(records)]
    platform = Platform(home, known_parts={**PARTS, EDGE.name: EDGE})
    platform.clean()
    clock = Clock(start_ms, round((time.time() + size.up_s) * 1000), speed)
    try:
        platform.up(
            RUNNING, speed=speed, checkpoint_interval_s=2.0, extra={"CLOCK": str(clock), "BUCKETS": str(BUCKETS)}
        )
        settings = platform.settings()
        # Of every tenant, since the recording's tenant is not the platform's.
        key = read_key(settings.keys_folder / f"{ADMIN}.json").text
        prober = Prober(int(platform.env["WALRAS_EDGE_PORT"]), key, listings)
        # Both count from one start, so that slow responses can be compared with the kills.
        disturber = Disturber(platform, steps or [], prober.began)
        probing = threading.Thread(target=prober.run, name="prober")

        def disturb() -> None:
            # Versions and stale tables exist only after the first prices.
            until("the first prices", lambda: prober.sources["table"] > 0, size.quiet_s)
            disturber.run()

        disturbing = threading.Thread(target=disturb, name="disturber")
        probing.start()
        try:
            disturbing.start()
            feed(settings, records)
            disturbing.join()
            wait_until_processed(settings, platform, size.quiet_s)
            settle(settings, platform, end_ms, len(listings), size)
        finally:
            prober.stop()
            disturber.stop()
            probing.join()
        log: dict[str, Any] = {
            "killed": disturber.done, "stale_tables_taken": disturber.admitted, "edge_answers": prober.answered,
            "edge_sources": dict(prober.sources), "edge_failures": prober.failures,
            "edge_versions_fallen": prober.decreased, "edge_slowest_s": round(prober.slowest_s, 3),
            "edge_slow": prober.slow,
        }  # fmt: skip
        if steps is None:
            log["in_process"] = computed_in_process(settings)
        return capture(settings), log
    finally:
        platform.down()


def _catalog(records: Sequence[RecordToSend]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for sent in records:
        if sent.topic == "catalog" and sent.key != "tick":
            with contextlib.suppress(ValueError, AttributeError):
                value = json.loads(sent.value)
                if value.get("tenant") == TENANT and TOPICS["catalog"].validate(value) is None:
                    found.setdefault(f"{value['market']}/{value['sku']}", value)
    return list(found.values())


def settle(settings: Settings, platform: Platform, end_ms: int, listings: int, size: Size) -> None:
    """Close the last minutes and reprice every listing with the command ``settle``.

    The command has the same time in both runs, since the age of an offer and the expected number of customers
    depend on it.
    """
    at_ms = end_ms + 3 * MINUTE_MS
    feed(settings, list(ticks(end_ms, at_ms, BUCKETS)))
    wait_until_processed(settings, platform, size.quiet_s)
    threading.Event().wait(max(0.0, settings.run_clock.wall_seconds_until(at_ms)))
    publish_command(settings, make_command(CommandKind.SETTLE, Target(TENANT), operator="drill", now_ms=at_ms))
    until("a decision of settle for every listing", lambda: _settled(settings) >= listings, size.quiet_s)
    wait_until_processed(settings, platform, size.quiet_s)


def _settled(settings: Settings) -> int:
    decisions = read_values(settings.kafka, "decisions")
    return len({(d["tenant"], d["market"], d["sku"]) for d in decisions if d["cause"] == "SETTLE"})
