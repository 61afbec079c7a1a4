"""``make chaos``: one recorded input, given to an undisturbed platform and to one whose parts are killed.

``python -m infra.reports.chaos.drill [--seed 1-3] [--kills 10] [--quick]``. Once both runs are quiet: cells,
features and raw estimates are equal, every decision recomputes from its record, versions only rose, both ledgers
balance, no new price lies outside its hard bands, prices are equal after ``settle``; and the live edge answered
throughout, never with a version older than one it had served. The pure logic, without Kafka and Flink
(:mod:`jobs.hosting.chain`), must come to the undisturbed run's cells, estimates and settled prices. What was
killed when, and what was compared, stands in ``infra/reports/results/chaos.json`` and ``chaos.md``. The exit code
is 1 when anything differs. (Over 300 lines: both runs, their comparison and its report.)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.parts import PARTS, TASK_MANAGERS
from infra.local.platform import Platform
from infra.reports.arena.arena import seeds_of
from infra.reports.benchmarks.figures import machine
from infra.reports.chaos.capture import Capture, capture, differences, thought_through
from infra.reports.chaos.disturb import Disturber, plan
from infra.reports.chaos.prober import SLOW_S, Prober
from infra.reports.chaos.recording import KINDS_OF_POISON, TENANT, Sent, record, ticks
from infra.reports.waiting import until
from jobs.connectors.kafka.commands import Target, make_command, publish_command
from jobs.connectors.kafka.offsets import SILENT, consumer_lag
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_values
from jobs.registry import JOBS
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.events import CommandKind, Listing
from schemas.topics import MINUTE_MS, TOPICS

REPORT = Path(__file__).parents[1] / "results" / "chaos.json"
RUNNING = ("broker", "redis", "jobmanager", *TASK_MANAGERS, "edge", "keeper")
EDGE = replace(PARTS["edge"], command=lambda _: [sys.executable, "-m", "infra.reports.chaos.edge"])
"""One part among the others, as a shop's is, whose quotes are not logged."""
BUCKETS = 4


@dataclass(frozen=True, slots=True)
class Size:
    """How much a drill does.

    ``up_s``: wall seconds from the choice of the clock to the first record. The platform starts meanwhile; what is
    late when it has started comes all at once.
    """

    minutes: int = 130
    skus: int = 20
    events_per_minute: float = 1500.0
    feed_s: float = 180.0
    quiet_s: float = 600.0
    up_s: float = 120.0


QUICK = Size(minutes=20, skus=4, events_per_minute=400.0, feed_s=60.0, up_s=75.0)


def _send(out: Publisher, sent: Sent) -> None:
    out.send_bytes(
        TOPICS[sent.topic].topic, sent.value, timestamp_ms=sent.at_ms, key=sent.key, partition=sent.partition
    )


def feed(settings: Settings, records: Sequence[Sent]) -> None:
    """Send each record when the run's clock shows its time; a broker that is away is waited for."""
    clock, pause = settings.run_clock, threading.Event()
    with Publisher(settings.kafka, **{"message.timeout.ms": 600_000, "logger": SILENT}) as out:
        for sent in records:
            wait = clock.wall_seconds_until(sent.at_ms)
            if wait > 0.02:
                pause.wait(wait)
            _send(out, sent)
        out.flush(600)


def quiet(settings: Settings, platform: Platform, timeout_s: float) -> None:
    """Wait until every job runs and all there is lies in a completed checkpoint of each of its readers."""
    platform.wait(RUNNING, JOBS, timeout_s)
    calm = [0]

    def taken() -> bool:
        calm[0] = calm[0] + 1 if not any(consumer_lag(settings.kafka).values()) else 0
        return calm[0] >= 5

    until("every record taken by every job", taken, timeout_s)


def run(
    home: Path, records: Sequence[Sent], size: Size, speed: float, steps: list[tuple[float, str]] | None
) -> tuple[Capture, dict[str, Any]]:
    """One run of the recording, disturbed by ``steps`` if given; answers what it left and what was done to it."""
    end_ms = records[-1].at_ms // MINUTE_MS * MINUTE_MS
    start_ms = records[0].at_ms
    listings = [Listing(**{k: v[k] for k in ("tenant", "market", "sku")}) for v in _catalog(records)]
    platform = Platform(home, known={**PARTS, EDGE.name: EDGE})
    platform.clean()
    clock = Clock(start_ms, round((time.time() + size.up_s) * 1000), speed)
    try:
        platform.up(
            RUNNING, speed=speed, checkpoint_interval_s=2.0, extra={"CLOCK": str(clock), "BUCKETS": str(BUCKETS)}
        )
        settings = platform.settings()
        prober = Prober(int(platform.env["WALRAS_EDGE_PORT"]), listings)
        # From one start, so that a slow answer can be laid beside what was killed just then.
        disturber = Disturber(platform, steps or [], prober.began)
        asking = threading.Thread(target=prober.run, name="prober")

        def break_things() -> None:
            # Before there are prices there is little to break: no version to fall, no table to be stale.
            until("the first prices", lambda: prober.sources["table"] > 0, size.quiet_s)
            disturber.run()

        breaking = threading.Thread(target=break_things, name="disturber")
        asking.start()
        try:
            breaking.start()
            feed(settings, records)
            breaking.join()
            quiet(settings, platform, size.quiet_s)
            settle(settings, platform, end_ms, len(listings), size)
        finally:
            prober.stop()
            disturber.stop()
            asking.join()
        told: dict[str, Any] = {
            "killed": disturber.done, "stale_tables_taken": disturber.admitted, "edge_answers": prober.asked,
            "edge_sources": dict(prober.sources), "edge_failures": prober.failures,
            "edge_versions_fallen": prober.fallen, "edge_slowest_s": round(prober.slowest_s, 3),
            "edge_slow": prober.slow,
        }  # fmt: skip
        if steps is None:
            told["alone"] = thought_through(settings)
        return capture(settings), told
    finally:
        platform.down()


def _catalog(records: Sequence[Sent]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for sent in records:
        if sent.topic == "catalog" and sent.key != "tick":
            with contextlib.suppress(ValueError, AttributeError):
                value = json.loads(sent.value)
                if value.get("tenant") == TENANT and TOPICS["catalog"].judge(value) is None:
                    found.setdefault(f"{value['market']}/{value['sku']}", value)
    return list(found.values())


def settle(settings: Settings, platform: Platform, end_ms: int, listings: int, size: Size) -> None:
    """Close the last minutes, then re-optimize everything from what is believed.

    The command's time is the same in both runs, whenever they came to it: how old an offer is and how many
    customers are expected depend on when it is asked.
    """
    at_ms = end_ms + 3 * MINUTE_MS
    feed(settings, list(ticks(end_ms, at_ms, BUCKETS)))
    quiet(settings, platform, size.quiet_s)
    threading.Event().wait(max(0.0, settings.run_clock.wall_seconds_until(at_ms)))
    publish_command(settings, make_command(CommandKind.SETTLE, Target(TENANT), operator="drill", now_ms=at_ms))
    until("a decision of settle for every listing", lambda: _settled(settings) >= listings, size.quiet_s)
    quiet(settings, platform, size.quiet_s)


def _settled(settings: Settings) -> int:
    decisions = read_values(settings.kafka, "decisions")
    return len({(d["tenant"], d["market"], d["sku"]) for d in decisions if d["cause"] == "SETTLE"})


def compare(calm: Capture, shaken: Capture, told: dict[str, Any]) -> dict[str, list[str]]:
    """Every broken promise by name; empty lists where it was kept."""
    found = {
        "cells differ": differences(calm.cells, shaken.cells),
        "features differ": differences(calm.features, shaken.features),
        "raw estimates differ": differences(calm.estimates, shaken.estimates),
        "known to settle differs": differences(calm.known, shaken.known),
        "prices after settle differ": differences(calm.prices, shaken.prices),
        "stale tables taken": list(told["stale_tables_taken"]),
        "the edge did not answer": list(told["edge_failures"]),
        "the edge went back to an older version": list(told["edge_versions_fallen"]),
    }
    for name, wrong in calm.wrong.items():
        found[f"undisturbed: {name}"] = wrong
    for name, wrong in shaken.wrong.items():
        found[f"disturbed: {name}"] = wrong
    return found


def agreement(alone: Capture, calm: Capture) -> dict[str, list[str]]:
    """Where the pure logic in one process and the whole platform disagree on the same lines."""
    return {
        "pure logic and platform: cells": differences(alone.cells, calm.cells),
        "pure logic and platform: raw estimates": differences(alone.estimates, calm.estimates),
        "pure logic and platform: known to settle": differences(alone.known, calm.known),
        "pure logic and platform: prices after settle": differences(alone.prices, calm.prices),
    }


def drill(home: Path, *, seed: int, kills: int, size: Size) -> dict[str, Any]:
    """Both runs and their comparison, as the report's data."""
    start_ms = (round(time.time() * 1000) // 3_600_000 - 6) * 3_600_000
    records = record(
        seed=seed, start_ms=start_ms, minutes=size.minutes, skus=size.skus,
        events_per_minute=size.events_per_minute, buckets=BUCKETS,
    )  # fmt: skip
    speed = size.minutes * 60 / size.feed_s
    print(f"{len(records)} records of {size.minutes} minutes, at {speed:.0f} times the wall's speed", flush=True)
    began = time.monotonic()
    steps = plan(seed, kills, size.feed_s * 0.8)
    calm, of_calm = run(home, records, size, speed, None)
    print(f"undisturbed: {calm.counts}", flush=True)
    shaken, told = run(home, records, size, speed, steps)
    print(f"disturbed: {shaken.counts}", flush=True)
    broken = compare(calm, shaken, told) | agreement(of_calm["alone"], calm)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine(), "seed": seed,
        "kills": kills,
        "size": asdict(size), "records": len(records), "kinds_of_poison": KINDS_OF_POISON,
        "seconds": round(time.monotonic() - began), **told, "undisturbed": calm.counts, "disturbed": shaken.counts,
        "compared": {name: len(wrong) for name, wrong in broken.items()},
        "differences": {name: wrong[:20] for name, wrong in broken.items() if wrong},
        "equal": not any(broken.values()),
    }  # fmt: skip


def markdown(reports: Sequence[dict[str, Any]]) -> str:
    """The report for people: what became of each drill, then one after another in full."""
    lines = [
        "# Chaos drills", "",
        "A recorded input, given to an undisturbed platform and to one whose parts are killed (`make chaos`).", "",
        "| seed | records | broken on purpose | task managers killed | other kills | promises compared | broken |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for report in reports:
        kills = [d["what"] for d in report["killed"] if d["note"].startswith("killed")]
        ours = sum(kills.count(part) for part in TASK_MANAGERS)
        lines.append(
            f"| {report['seed']} | {report['records']:,} | {report['undisturbed']['rejected']:,} | {ours} | "
            f"{len(kills) - ours} | {len(report['compared'])} | {sum(report['compared'].values())} |"
        )
    return "\n".join([*lines, "", *(_in_full(report) for report in reports)])


def _in_full(report: dict[str, Any]) -> str:
    size = report["size"]
    lines = [
        f"## Seed {report['seed']}: {'everything equal' if report['equal'] else 'DIFFERENCES'}", "",
        f"{report['date']}, {report['machine']}, {report['seconds']} s. {report['records']:,} records of "
        f"{size['minutes']} minutes of a market, one in a hundred broken in one of {report['kinds_of_poison']} "
        "ways, given to an undisturbed platform and to one whose parts were killed.", "",
        "| second | what | |", "|---|---|---|",
        *(f"| {d['second']} | {d['what']} | {d['note']} |" for d in report["killed"]), "",
        f"The edge answered {report['edge_answers']:,} questions ({report['edge_sources']}), the slowest in "
        f"{report['edge_slowest_s']} s; slower than {SLOW_S} s (second, seconds, of which the prober itself "
        f"waited for a processor): {report['edge_slow'] or 'none'}.", "",
        "| | undisturbed | disturbed |", "|---|---|---|",
        *(f"| {k} | {report['undisturbed'].get(k, 0):,} | {report['disturbed'].get(k, 0):,} |"
          for k in report["undisturbed"]), "",
        "| promise | broken |", "|---|---|", *(f"| {name} | {n} |" for name, n in report["compared"].items()), "",
        *(f"- {name}: {line}" for name, wrong in report["differences"].items() for line in wrong),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; answers 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.reports.chaos.drill", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=seeds_of, default=[1], help="one, or several like 1-3,7, one after another")
    parser.add_argument("--kills", type=int, default=10, help="of the task manager; the other parts once each")
    parser.add_argument("--quick", action="store_true", help="a small market and a short feed")
    parser.add_argument("--home", type=Path, default=Path(".walras/chaos"), help="folder of the drill's platform")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args(argv)
    for name in [name for name in os.environ if name.startswith("WALRAS_") and name != "WALRAS_JARS"]:
        del os.environ[name]
    reports: list[dict[str, Any]] = []
    for seed in args.seed:
        reports.append(drill(args.home, seed=seed, kills=args.kills, size=QUICK if args.quick else Size()))
        args.report.write_text(json.dumps(reports, indent=1, ensure_ascii=False) + "\n")
        args.report.with_suffix(".md").write_text(markdown(reports))
    print(markdown(reports))
    return 0 if all(report["equal"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
