"""(c) the whole pipeline's sustained rate, (d) an offer's way to a table, (h) how both grow with the listings.

Event time is the wall's, the archive is on, the input was made beforehand. Phases of one run: the market's
opening, which is each listing's catalogue entry, stock, rivals' prices and first price of ours; half the full rate
to warm the JVM, unjudged; the full rate; half of it with probes; silence with probes. Each starts when the one
before it is worked through.
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
from infra.reports.benchmarks import made_input
from infra.reports.benchmarks.figures import Figure
from infra.reports.benchmarks.watched import Minutes, Probes, as_json, checkpoints, quantiles
from jobs.connectors.kafka.offsets import TopicEnds, consumer_lag
from jobs.registry import JOBS
from schemas.topics import MINUTE_MS, TOPICS

PARTS = ("broker", "redis", "jobmanager", *TASK_MANAGERS, "ticker")
RATE = 20_000
"""Events a second that are promised on two cores."""
PROBE_EVERY_S = 1.37
MEMORY = "8g"
"""Of the task manager for (c) and (d): open sessions and a day's exposures lie on its heap."""
GROWTH_MEMORY = "2720m"
"""For (h): the rate is the same for every size, and all shall fit into 4 GB."""
GROWING_S = 5.0
"""A minute's results may come so much later at a phase's end than in its middle; more is a growing lag."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Minutes of each phase, and the full rates tried, from the highest, until one is kept up.

    ``warm``: minutes at half the highest rate before anything is judged.
    """

    full: int
    half: int
    idle: int
    rates: tuple[int, ...] = (RATE + RATE // 20, RATE // 2, RATE // 4)
    warm: int = 0


def run(home: Path, listings: int, phases: Phases, parallelism: int = 2) -> dict[str, Any]:
    """One platform, one market, all phases; answers what was seen."""
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
        probes, minutes = Probes(settings), Minutes(settings)
        following = threading.Thread(target=minutes.run, name="minutes", daemon=True)
        following.start()
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
            print(f"    {rate} a second: {as_json(seen['full'])}", flush=True)
            seen["full"]["taken_after_s"] = round(_until_taken(platform), 1)
            if not seen["full"]["growing"]:
                break
            seen["tried"].append(seen["full"])
        if phases.half:
            rate = seen["rate"] // 2
            seen["half"] = _phase(path, platform, probes, minutes, listings, phases.half, rate)
            print(f"    half of it: {as_json(seen['half'])}", flush=True)
            _until_taken(platform)
        if phases.idle:
            seen["idle"] = {"offer_to_table": quantiles(probes.run(phases.idle * 60, PROBE_EVERY_S))}
            print(f"    idle: {as_json(seen['idle'])}", flush=True)
        seen["memory_mb"] = _memory_mb(platform)
        seen["checkpoints"] = _checkpoints(platform)
        minutes.stop.set()
        probes.close()
        following.join(5)
    finally:
        platform.down()
    return seen


def _next_minute_ms(after_s: float) -> int:
    """The first full minute that is more than so many seconds away."""
    return round((time.time() + after_s) * 1000) // MINUTE_MS * MINUTE_MS + MINUTE_MS


def _open(path: Path, platform: Platform, listings: int, timeout_s: float = 1200.0) -> float:
    """Send the market's opening and wait for a decision on every listing; answers the seconds from its time on."""
    settings, pause = platform.settings(), threading.Event()
    start_ms = round((time.time() + 5 + listings / 2_000) * 1000)
    made_input.write(path, listings=listings, events_per_minute=60.0, start_ms=start_ms, minutes=0)
    pause.wait(max(0.0, start_ms / 1000 - time.time()))
    began = time.monotonic()
    made_input.send_on_time(settings.kafka, made_input.read(path), pause, lambda n, late: None)
    path.unlink()
    decisions = TopicEnds(settings.kafka, [TOPICS["decisions"].topic])
    while (took := time.monotonic() - began) < timeout_s:
        if sum(decisions.now().values()) >= listings:
            return took
        pause.wait(1.0)
    raise TimeoutError(f"expected a decision on each of {listings} listings within {timeout_s:g} s")


def _phase(
    path: Path, platform: Platform, probes: Probes, minutes: Minutes, listings: int, length: int, rate: int
) -> dict[str, Any]:
    """Make the phase's input, then play it on time; one minute more than is judged comes first, to warm up."""
    settings = platform.settings()
    share = made_input.share_made(listings=listings, start_ms=_next_minute_ms(60), minutes=length + 1)
    # Made in its own future: at least 50,000 records a second are made on one core.
    start_ms = _next_minute_ms((length + 1) * 60 * rate / 40_000 + 40)
    _, written = made_input.write(
        path, listings=listings, events_per_minute=60.0 * rate / share, start_ms=start_ms, minutes=length + 1,
        with_opening=False,
    )  # fmt: skip
    late_ms: list[int] = []
    sent: list[int] = []
    stop = threading.Event()

    def play() -> None:
        sent.append(
            made_input.send_on_time(
                settings.kafka, made_input.read(path), stop, lambda n, late: late_ms.append(late)
            )
        )

    playing = threading.Thread(target=play, name="market")
    playing.start()
    pause = threading.Event()
    pause.wait(max(0.0, start_ms / 1000 + 60 - time.time()))
    judged_from = start_ms + MINUTE_MS
    latencies = probes.run(length * 60, PROBE_EVERY_S) if probes.ready() else []
    playing.join()
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
    """Wait until the jobs have caught up, so that the next phase starts at rest; answers the seconds it took."""
    settings, pause, began = platform.settings(), threading.Event(), time.monotonic()
    # Offsets are told with a checkpoint, so that at rest some minutes' batches seem to be left.
    enough = 1_000 + 2 * settings.buckets
    while (took := time.monotonic() - began) < timeout_s and max(consumer_lag(settings.kafka).values()) > enough:
        pause.wait(2.0)
    return took


def _memory_mb(platform: Platform) -> dict[str, int]:
    """Resident memory of the task managers and of their Python workers, MB."""
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
    """(c) and (d)."""
    os.environ["WALRAS_TASKMANAGER_MEMORY"] = MEMORY
    try:
        seen = run(home, listings, Phases(full=max(2, minutes // 3), half=minutes, idle=minutes, warm=1))
    finally:
        del os.environ["WALRAS_TASKMANAGER_MEMORY"]
    full, half, idle = seen["full"], seen["half"], seen["idle"]
    kept_up = full["events_per_second"] if not full["growing"] else None
    loaded = half["offer_to_table"] | {"events_per_second": round(half["events_per_second"])}
    return [
        Figure("pipeline_events_per_s", kept_up, "events/s", RATE, seen),
        Figure("offer_to_table_p99_idle", idle["offer_to_table"]["p99_ms"], "ms", 100, idle["offer_to_table"]),
        Figure("offer_to_table_p99_loaded", loaded["p99_ms"], "ms", 250, loaded),
    ]


def growth(home: Path, *, sizes: tuple[int, ...], rate: int = RATE // 4) -> list[Figure]:
    """(h): the same quarter of the full rate over more and more listings, with the parallelism of `make run` here.

    Every subtask has a Python worker of its own, and what is judged is memory.
    """
    os.environ["WALRAS_TASKMANAGER_MEMORY"] = GROWTH_MEMORY
    phases = Phases(full=3, half=0, idle=3, rates=(rate, rate // 4))
    try:
        found = [run(home, size, phases, parallelism=1) for size in sizes]
    finally:
        del os.environ["WALRAS_TASKMANAGER_MEMORY"]
    largest = found[-1]
    return [Figure("taskmanager_100k", largest["memory_mb"]["together"], "MB", 4_000, {"sizes": found})]
