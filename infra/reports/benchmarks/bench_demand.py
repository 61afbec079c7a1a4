"""(a, b) demand_job's rate over a backlog, beside raw Kafka → JSON → blackhole on the same topics.

And, in the figures' detail, beside a plain count by the minute: the least that SQL does for cells and refusals.

A job's progress is what it has committed to Kafka with its checkpoints, every ten seconds (as shipped every
twenty; the peers every second); its rate is that between two and eight tenths of the backlog: before, it starts
and is compiled; after, partitions run out, and a reader that finds nothing more commits some seconds later.
The processor's time a record, of the whole run, stands beside it and varies less.
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
from infra.reports.benchmarks import flink_peer, made_input
from infra.reports.benchmarks.figures import Figure
from jobs.connectors.flink.environment import CHECKPOINT_INTERVAL_FACTOR
from jobs.connectors.kafka.offsets import SILENT, TopicEnds
from schemas.topics import INPUTS, MINUTE_MS, TOPICS

PARTS = ("broker", "redis", "jobmanager", "taskmanager")
LISTINGS, BUCKETS, EVENTS_PER_MINUTE = 1_000, 32, 60_000
DEMAND = "demand_job"
CHECKPOINT_S = 10.0 / CHECKPOINT_INTERVAL_FACTOR
FROM, UPTO = 0.2, 0.8
"""Between which parts of the backlog a rate is taken."""


@lru_cache(maxsize=1)
def _admin(bootstrap: str) -> AdminClient:
    # Kept: it is asked ten times a second.
    return AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]


def committed(bootstrap: str, group: str) -> int:
    """Offsets a group has committed over the input topics."""
    admin = _admin(bootstrap)
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=10)
    with contextlib.suppress(KafkaException):
        return sum(max(0, tp.offset) for tp in answer[group].result().topic_partitions)
    return 0


def forget(bootstrap: str, group: str) -> None:
    """Forget a group's offsets, so that the next run's progress starts at nothing."""
    admin = _admin(bootstrap)
    with contextlib.suppress(KafkaException):
        admin.delete_consumer_groups([group], request_timeout=10)[group].result()


def rate(bootstrap: str, group: str, total: int, timeout_s: float = 600.0) -> dict[str, Any]:
    """Watch a job take in the backlog; answers records a second and the curve's ends."""
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
    """Processor seconds that the task manager's Java has taken."""
    processes = (psutil.Process(pid) for pid in platform.pids("taskmanager"))
    taken = [process.cpu_times() for process in processes if process.name().startswith("java")]
    return sum(each.user + each.system for each in taken)


def measure(home: Path, *, events: int) -> list[Figure]:
    """Start a platform, fill the topics, run the three jobs one after the other."""
    minutes = max(1, round(events / EVENTS_PER_MINUTE))
    start_ms = (round(time.time() * 1000) // MINUTE_MS - minutes - 5) * MINUTE_MS
    home.mkdir(parents=True, exist_ok=True)
    path = home / "input.bin"
    made_input.write(
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
        made_input.send(kafka, made_input.read(path))
        made_input.closing_ticks(kafka, start_ms + minutes * MINUTE_MS, BUCKETS)
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
            forget(kafka, group)
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
        Figure(name, found[name]["per_second"], "events/s", raw, found[name] | detail)
        for name in ("demand_job", "demand_job_archived")
    ]


def _until_idle(platform: Platform) -> None:
    pause = threading.Event()
    while any(job.state in cluster_jobs.ACTIVE for job in cluster_jobs.all_jobs(platform.env)):
        pause.wait(0.5)
