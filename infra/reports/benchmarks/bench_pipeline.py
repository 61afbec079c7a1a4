"""Sustained rate of the pipeline (c), time from an offer to its table (d), and both with more listings (h).

Event time is wall time, the archive is on, and the input is generated in advance. Phases of one run: the opening
of the market (each listing's catalog entry, stock, rivals' offers and first price); half the full rate as a
warm-up of the JVM, which is not judged; the full rate; half of it with probes; no load with probes. A phase starts
when the records of the previous one are processed.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from infra.local import jobs as cluster_jobs
from infra.local.parts import TASK_MANAGERS, flink_get
from infra.local.platform import Platform
from infra.reports.benchmarks.figures import benchmark_figure
from infra.reports.benchmarks.pipeline_probes import MinuteDelays, Probes, as_json, checkpoints, quantiles
from infra.reports.inputs import market_file
from infra.reports.report import Figure
from jobs.connectors.kafka.offsets import TopicEnds, consumer_lag
from jobs.registry import JOBS
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

PARTS = ("broker", "redis", "jobmanager", *TASK_MANAGERS, "ticker")
RATE = 20_000
"""Events per second that two cores must sustain."""
PROBE_EVERY_S = 1.37
MEMORY = "8g"
"""Task manager memory for (c) and (d), whose heap holds open sessions and a day's exposures."""
GROWTH_MEMORY = "2720m"
"""Task manager memory for (h), where all processes must fit into 4 GB."""
GROWING_S = 5.0
"""Largest increase of a minute's delay from the middle to the end of a phase that is not a growing lag."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Minutes of each phase, and the full rates, which are tried from the highest until one is sustained.

    ``warm``: minutes of the warm-up at half the highest rate.
    """

    full: int
    half: int
    idle: int
    rates: tuple[int, ...] = (RATE + RATE // 20, RATE // 2, RATE // 4)
    warm: int = 0


def run(home: Path, listings: int, phases: Phases, parallelism: int = 2) -> dict[str, Any]:
    """Run all phases with one platform and one market and return the measurements."""
    buckets = max(4, listings // 32)
    home.mkdir(parents=True, exist_ok=True)
    platform = Platform(home)
    platform.clean()
    seen: dict[str, Any] = {"listings": listings, "buckets": buckets}
    try:
        platform.up(
            PARTS, speed=1, checkpoint_interval_s=20.0, parallelism=parallelism,
            extra={"BUCKETS": str(buckets), "ARCHIVE": "true"},
        )  # fmt: skip
        settings = platform.settings()
        probes, minutes = Probes(settings), MinuteDelays(settings)
        follower = threading.Thread(target=minutes.run, name="minutes", daemon=True)
        follower.start()
        probes.open()
        path = home / "input.bin"
        seen["opening_s"] = round(_open(path, platform, listings), 1)
        print(f"    {listings} listings open after {seen['opening_s']} s", flush=True)
        _until_taken(platform)
        seen["tried"] = []
        if phases.warm:
            _phase(path, platform, probes, minutes, listings, phases.warm, phases.rates[0] // 2)
            _until_taken(platform)
        for rate in phases.rates:
            seen["rate"], seen["full"] = rate, _phase(path, platform, probes, minutes, listings, phases.full, rate)
            print(f"    {rate} per second: {as_json(seen['full'])}", flush=True)
            seen["full"]["taken_after_s"] = round(_until_taken(platform), 1)
            if not seen["full"]["growing"]:
                break
            seen["tried"].append(seen["full"])
        if phases.half:
            rate = seen["rate"] // 2
            seen["half"] = _phase(path, platform, probes, minutes, listings, phases.half, rate)
            print(f"    half of that: {as_json(seen['half'])}", flush=True)
            _until_taken(platform)
        if phases.idle:
            seen["idle"] = {"offer_to_table": quantiles(probes.run(phases.idle * 60, PROBE_EVERY_S))}
            print(f"    idle: {as_json(seen['idle'])}", flush=True)
        seen["memory_mb"] = _memory_mb(platform)
        seen["checkpoints"] = _checkpoints(platform)
        minutes.stop.set()
        probes.close()
        follower.join(5)
    finally:
        platform.down()
    return seen


def _next_minute_ms(after_s: float) -> int:
    """Return the first full minute that is more than ``after_s`` away."""
    return round((time.time() + after_s) * 1000) // MINUTE_MS * MINUTE_MS + MINUTE_MS


def _open(path: Path, platform: Platform, listings: int, timeout_s: float = 1200.0) -> float:
    """Send the opening of the market and return the seconds until every listing has a decision."""
    settings, pause = platform.settings(), threading.Event()
    start_ms = round((time.time() + 5 + listings / 2_000) * 1000)
    market_file.write(path, listings=listings, events_per_minute=60.0, start_ms=start_ms, minutes=0)
    pause.wait(max(0.0, start_ms / 1000 - time.time()))
    began = time.monotonic()
    market_file.send_on_time(settings.kafka, market_file.read(path), pause, lambda n, late: None)
    path.unlink()
    decisions = TopicEnds(settings.kafka, [TOPICS["decisions"].topic])
    while (took := time.monotonic() - began) < timeout_s:
        if sum(decisions.now().values()) >= listings:
            return took
        pause.wait(1.0)
    raise TimeoutError(f"expected a decision on each of {listings} listings within {timeout_s:g} s")


def _phase(
    path: Path, platform: Platform, probes: Probes, minutes: MinuteDelays, listings: int, length: int, rate: int
) -> dict[str, Any]:
    """Generate a phase's input, send it in time, and measure; the first minute is a warm-up and is not judged."""
    settings = platform.settings()
    share = market_file.generated_share(listings=listings, start_ms=_next_minute_ms(60), minutes=length + 1)
    # Start after the generation, which writes at least 40,000 records per second on one core.
    start_ms = _next_minute_ms((length + 1) * 60 * rate / 40_000 + 40)
    _, written = market_file.write(
        path, listings=listings, events_per_minute=60.0 * rate / share, start_ms=start_ms, minutes=length + 1,
        with_opening=False,
    )  # fmt: skip
    late_ms: list[int] = []
    sent: list[int] = []
    stop = threading.Event()

    def send() -> None:
        sent.append(
            market_file.send_on_time(
                settings.kafka, market_file.read(path), stop, lambda n, late: late_ms.append(late)
            )
        )

    sender = threading.Thread(target=send, name="market")
    sender.start()
    pause = threading.Event()
    pause.wait(max(0.0, start_ms / 1000 + 60 - time.time()))
    judged_from = start_ms + MINUTE_MS
    latencies = probes.run(length * 60, PROBE_EVERY_S) if probes.ready() else []
    sender.join()
    path.unlink()
    end_ms = start_ms + (length + 1) * MINUTE_MS
    pause.wait(max(0.0, end_ms / 1000 + 45 - time.time()))
    delays = minutes.delays(judged_from, end_ms)
    middle = sorted(delays)[len(delays) // 2] if delays else float("inf")
    left = consumer_lag(settings.kafka)
    return {
        "minutes": length, "events_per_second": sent[0] / (60 * (length + 1)) if sent else 0.0, "made": written,
        "sender_behind_ms": max(late_ms, default=0), "minutes_seen": len(delays),
        "minute_delay_s": [round(d, 1) for d in delays],
        "growing": not delays or len(delays) < length or delays[-1] > middle + GROWING_S,
        "left_in_kafka": left, "offer_to_table": quantiles(latencies),
    }  # fmt: skip


def _until_taken(platform: Platform, timeout_s: float = 600.0) -> float:
    """Wait until the jobs have read every record and return the seconds that this took."""
    settings, pause, began = platform.settings(), threading.Event(), time.monotonic()
    # Offsets are committed with a checkpoint, so that without load some minutes' batches seem unread.
    enough = 1_000 + 2 * settings.buckets
    while (took := time.monotonic() - began) < timeout_s and max(consumer_lag(settings.kafka).values()) > enough:
        pause.wait(2.0)
    return took


def _memory_mb(platform: Platform) -> dict[str, int]:
    """Return the resident memory in MB of the task managers and of their Python workers."""
    java = workers = 0
    for pid in (pid for part in TASK_MANAGERS for pid in platform.pids(part)):
        process = psutil.Process(pid)
        rss = process.memory_info().rss >> 20
        if process.name().startswith("java"):
            java += rss
        else:
            workers += rss
    return {"taskmanager": java, "python_workers": workers, "together": java + workers}


def _checkpoints(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for job in cluster_jobs.all_jobs(platform.env):
        if job.name in JOBS and job.state in cluster_jobs.ACTIVE:
            found[job.name] = checkpoints(dict(flink_get(platform.env, f"/jobs/{job.id}/checkpoints")))
    return found


def measure(home: Path, *, listings: int, minutes: int) -> list[Figure]:
    """Return the figures (c) and (d)."""
    os.environ["WALRAS_TASKMANAGER_MEMORY"] = MEMORY
    try:
        seen = run(home, listings, Phases(full=max(2, minutes // 3), half=minutes, idle=minutes, warm=1))
    finally:
        del os.environ["WALRAS_TASKMANAGER_MEMORY"]
    full, half, idle = seen["full"], seen["half"], seen["idle"]
    sustained = full["events_per_second"] if not full["growing"] else None
    loaded = half["offer_to_table"] | {"events_per_second": round(half["events_per_second"])}
    return [
        benchmark_figure("pipeline_events_per_s", sustained, "events/s", None, seen),
        benchmark_figure(
            "offer_to_table_p99_idle", idle["offer_to_table"]["p99_ms"], "ms", None, idle["offer_to_table"]
        ),
        benchmark_figure("offer_to_table_p99_loaded", loaded["p99_ms"], "ms", None, loaded),
    ]


def growth(home: Path, *, sizes: tuple[int, ...], rate: int = RATE // 4) -> list[Figure]:
    """Return the figure (h): a quarter of the full rate with more and more listings.

    It runs with parallelism 1, since every subtask has a Python worker of its own and the figure is memory.
    """
    os.environ["WALRAS_TASKMANAGER_MEMORY"] = GROWTH_MEMORY
    phases = Phases(full=3, half=0, idle=3, rates=(rate, rate // 4))
    try:
        found = [run(home, size, phases, parallelism=1) for size in sizes]
    finally:
        del os.environ["WALRAS_TASKMANAGER_MEMORY"]
    largest = found[-1]
    return [benchmark_figure("taskmanager_100k", largest["memory_mb"]["together"], "MB", None, {"sizes": found})]
