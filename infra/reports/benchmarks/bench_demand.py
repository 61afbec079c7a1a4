"""Rate of demand_job over a backlog, beside Kafka → JSON → blackhole on the same topics (a, b).

The detail of the figures holds a second peer: counts per minute, the least that SQL must do for cells and
refusals.

Progress is the sum of the offsets that a job commits with its checkpoints, every ten seconds (by default every
twenty; the peers every second). The rate is taken between 20 % and 80 % of the backlog: before, the job starts and
its code is compiled; afterwards partitions run empty, and a reader without records commits some seconds later. The
detail also holds the processor time per record over the whole run, which varies less.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from infra.local import jobs as cluster_jobs
from infra.local.platform import Platform
from infra.reports.benchmarks import flink_peer
from infra.reports.benchmarks.figures import benchmark_figure
from infra.reports.inputs import market_file
from infra.reports.report import Figure
from jobs.connectors.flink.environment import CHECKPOINT_INTERVAL_FACTOR
from jobs.connectors.kafka.offsets import SILENT, TopicEnds
from schemas.time_units import MINUTE_MS
from schemas.topics import INPUTS, TOPICS

PARTS = ("broker", "redis", "jobmanager", "taskmanager")
LISTINGS, BUCKETS, EVENTS_PER_MINUTE = 1_000, 32, 60_000
DEMAND = "demand_job"
CHECKPOINT_S = 10.0 / CHECKPOINT_INTERVAL_FACTOR
FROM, UPTO = 0.2, 0.8
"""Shares of the backlog between which the rate is taken."""


@lru_cache(maxsize=1)
def _admin(bootstrap: str) -> AdminClient:
    # Cached, since the offsets are read ten times a second.
    return AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]


def committed(bootstrap: str, group: str) -> int:
    """Return the sum of the offsets that a group has committed on the input topics."""
    admin = _admin(bootstrap)
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=10)
    with contextlib.suppress(KafkaException):
        return sum(max(0, tp.offset) for tp in answer[group].result().topic_partitions)
    return 0


def delete_group(bootstrap: str, group: str) -> None:
    """Delete a group's offsets, so that the next run starts at 0."""
    admin = _admin(bootstrap)
    with contextlib.suppress(KafkaException):
        admin.delete_consumer_groups([group], request_timeout=10)[group].result()


def rate(bootstrap: str, group: str, total: int, timeout_s: float = 600.0) -> dict[str, Any]:
    """Return the records per second of a job over the backlog, and how many points were measured."""
    seen: list[tuple[float, int]] = []
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not seen or seen[-1][1] < total:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{group}: {seen[-1:]} of {total} records within {timeout_s:.0f} s")
        now = committed(bootstrap, group)
        if not seen or now != seen[-1][1]:
            seen.append((time.monotonic(), now))
        pause.wait(0.1)
    times, counts = np.array(seen, dtype=float).T
    began, ended = np.interp([FROM * total, UPTO * total], np.maximum.accumulate(counts), times)
    return {
        "per_second": float((UPTO - FROM) * total / (ended - began)),
        "points": len(seen),
        "seconds": round(seen[-1][0] - seen[0][0], 1),
    }


def processor_s(platform: Platform) -> float:
    """Return the processor seconds of the task manager's JVM."""
    processes = (psutil.Process(pid) for pid in platform.pids("taskmanager"))
    times = [process.cpu_times() for process in processes if process.name().startswith("java")]
    return sum(each.user + each.system for each in times)


def measure(home: Path, *, events: int) -> list[Figure]:
    """Start a platform, fill the topics, and run the jobs one after another."""
    minutes = max(1, round(events / EVENTS_PER_MINUTE))
    start_ms = (round(time.time() * 1000) // MINUTE_MS - minutes - 5) * MINUTE_MS
    home.mkdir(parents=True, exist_ok=True)
    path = home / "input.bin"
    market_file.write(
        path, listings=LISTINGS, events_per_minute=EVENTS_PER_MINUTE, start_ms=start_ms, minutes=minutes
    )
    platform = Platform(home)
    platform.clean()
    found: dict[str, dict[str, Any]] = {}
    try:
        platform.up(
            PARTS, job_names=[], speed=1, checkpoint_interval_s=CHECKPOINT_S, extra={"BUCKETS": str(BUCKETS)}
        )
        kafka = platform.env["WALRAS_KAFKA"]
        market_file.send(kafka, market_file.read(path))
        market_file.closing_ticks(kafka, start_ms + minutes * MINUTE_MS, BUCKETS)
        path.unlink()
        ends = TopicEnds(kafka, [topic.topic for topic in INPUTS]).now()
        total = sum(ends.values())
        print(f"    {total} records in {len(ends)} partitions", flush=True)
        for name, job, group, module, archive in (
            *((name, name, flink_peer.group(name), flink_peer.__name__, "false") for name in flink_peer.JOBS),
            ("demand_job", DEMAND, f"walras.{DEMAND}", "jobs.registry", "false"),
            ("demand_job_archived", DEMAND, f"walras.{DEMAND}", "jobs.registry", "true"),
        ):
            os.environ["WALRAS_ARCHIVE"], before_s = archive, processor_s(platform)
            try:
                platform.submit([job], resume=False, module=module)
            finally:
                del os.environ["WALRAS_ARCHIVE"]
            found[name] = rate(kafka, group, total)
            found[name]["processor_us"] = round((processor_s(platform) - before_s) / total * 1e6, 1)
            print(f"    {name}: {found[name]}", flush=True)
            for running in cluster_jobs.all_jobs(platform.env):
                if running.state in cluster_jobs.ACTIVE:
                    cluster_jobs.cancel(platform.env, running)
            _until_idle(platform)
            delete_group(kafka, group)
    finally:
        platform.down()
    raw = found[flink_peer.RAW]["per_second"]
    detail = {
        "records": total,
        "listings": LISTINGS,
        "topics": sorted(TOPICS[t.name].name for t in INPUTS),
        "peers": {name: found[name] for name in flink_peer.JOBS},
    }
    return [
        benchmark_figure(name, found[name]["per_second"], "events/s", raw, found[name] | detail)
        for name in ("demand_job", "demand_job_archived")
    ]


def _until_idle(platform: Platform) -> None:
    pause = threading.Event()
    while any(job.state in cluster_jobs.ACTIVE for job in cluster_jobs.all_jobs(platform.env)):
        pause.wait(0.5)
