"""The part ``keeper``: submit lost jobs again, refill Redis, and record the run's progress.

Flink restarts failed tasks, and supervisord restarts dead processes. A job manager that is killed loses its jobs,
since high availability would need ZooKeeper. Every two seconds the keeper therefore

- submits a lost job again from its newest complete checkpoint,
- cancels the younger of two jobs of one name,
- restarts a task manager that runs but does not register,
- refills Redis when it has lost its tables,
- records the run's clock, so that the next run continues from it even after a crash, and the newest closed minute,
  from which ``walras status`` estimates when a run that is behind will have caught up.

Its log, ``run/keeper.json`` and its metrics report what it observes and does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from infra.local import jobs
from infra.local.continuity import fill_redis, record_clock
from infra.local.errors import PlatformError
from infra.local.parts import TASK_MANAGERS, flink_get, registered
from infra.local.platform import Platform
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.connectors.redis.redemptions import RedemptionStore
from jobs.monitoring import minute_progress
from jobs.monitoring.minutes import newest_minute
from jobs.registry import JOBS
from jobs.runtime.metrics import Metrics

log = logging.getLogger("keeper")

POLL_S = 2.0
MISSES_BEFORE_LOST = 2
"""Consecutive polls without the job after which it counts as lost, since one poll may fall between two states."""
UNREGISTERED_S = 60.0
"""Time after which a task manager that runs without being registered is restarted."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 5.0, 60.0


@dataclass
class SupervisionState:
    """State between two polls; it has no side effects, so that the decisions can be tested.

    Examples
    --------
    >>> state = SupervisionState(["demand_job"])
    >>> state.due([], now_s=0.0), state.due([], now_s=2.0)
    ([], ['demand_job'])
    >>> state.failed(now_s=2.0); state.due([], now_s=4.0), state.due([], now_s=8.0)
    ([], ['demand_job'])
    """

    wanted: list[str]
    misses: dict[str, int] = field(default_factory=dict)
    backoff_s: float = FIRST_BACKOFF_S
    not_before_s: float = 0.0
    states: dict[str, str] = field(default_factory=dict)
    known_s: dict[str, float] = field(default_factory=dict)

    def is_stuck(self, part: str, info: Mapping[str, Any], known: bool, now_s: float) -> bool:
        """Return whether a task manager has run for ``UNREGISTERED_S`` without being registered at any poll.

        Parameters
        ----------
        info : supervisord's process info. A process that is killed repeatedly is always young and never stuck.
        known : whether the task manager is registered now.

        >>> state = SupervisionState([])
        >>> old, young = {"statename": "RUNNING", "now": 900, "start": 1}, {"start": 890}
        >>> state.is_stuck("tm", old, known=True, now_s=0.0), state.is_stuck("tm", old, known=False, now_s=59.0)
        (False, False)
        >>> state.is_stuck("tm", old | young, known=False, now_s=61.0)
        False
        >>> state.is_stuck("tm", old, known=False, now_s=61.0)
        True
        """
        if known or info.get("statename") != "RUNNING":
            self.known_s[part] = now_s
        unregistered_s = now_s - self.known_s.setdefault(part, now_s)
        return unregistered_s > UNREGISTERED_S and info["now"] - info["start"] > UNREGISTERED_S

    def due(self, seen: list[jobs.JobState], now_s: float) -> list[str]:
        """Return the names to submit now: missing in ``MISSES_BEFORE_LOST`` polls in a row, and not in backoff."""
        missing = set(jobs.lost(self.wanted, seen))
        self.misses = {name: self.misses.get(name, 0) + 1 for name in missing}
        lost = [n for n in self.wanted if self.misses.get(n, 0) >= MISSES_BEFORE_LOST]
        return lost if now_s >= self.not_before_s else []

    def failed(self, now_s: float) -> None:
        """Record a failed submission and double the backoff."""
        self.not_before_s = now_s + self.backoff_s
        self.backoff_s = min(2 * self.backoff_s, LAST_BACKOFF_S)

    def succeeded(self) -> None:
        """Record a successful submission and reset the backoff."""
        self.backoff_s, self.not_before_s, self.misses = FIRST_BACKOFF_S, 0.0, {}

    def changes(self, seen: list[jobs.JobState]) -> list[str]:
        """Return a line for each job whose state has changed since the last poll."""
        now = {job.name: job.state for job in seen if job.state in jobs.ACTIVE and job.name in self.wanted}
        lines = [
            f"{name}: {self.states.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in self.wanted
            if self.states.get(name) != now.get(name)
        ]
        self.states = now
        return lines


class JobSupervisor:
    """Poll one platform and act on lost jobs, stuck task managers and an empty Redis."""

    def __init__(self, platform: Platform, metrics: Metrics, wanted: list[str]) -> None:
        self._platform = platform
        self._state = SupervisionState(wanted)
        self._resubmitted = metrics.counter("resubmissions", "Jobs submitted again", ["flink_job"])
        self._running = metrics.gauge("running", "count", "Jobs of JOBS that run")
        self._refills = metrics.counter("redis_refills", "Refills of Redis from Kafka")
        self._counts = dict.fromkeys(wanted, 0)
        self._cluster_answers = True

    def poll(self) -> None:
        """Poll everything once and act on it."""
        env = self._platform.env
        record_clock(self._platform.layout, env)
        self._check_jobs(env)
        self._check_redis(env)
        self._record_minutes()
        self._report()

    def _check_jobs(self, env: dict[str, str]) -> None:
        try:
            seen = jobs.all_jobs(env)
            overview = flink_get(env, "/overview")
            known = registered(env)
        except (OSError, ValueError) as error:
            if self._cluster_answers:
                log.warning("the cluster does not respond: %s", error)
            self._cluster_answers = False
            return
        if not self._cluster_answers:
            log.info("the cluster responds again")
        self._cluster_answers = True
        for line in self._state.changes(seen):
            log.info(line)
        for job in jobs.duplicates(seen):
            log.error("%s runs twice; cancelling the younger one, %s", job.name, job.id)
            jobs.cancel(env, job)
        for part in TASK_MANAGERS:
            self._check_taskmanager(part, part in known)
        due = self._state.due(seen, time.monotonic())
        if due and not overview["slots-available"]:
            log.warning("%s lost; waiting for a free task slot", ", ".join(due))
        elif due:
            self._resubmit(due)
        self._running.set(sum(state == "RUNNING" for state in self._state.states.values()))

    def _check_taskmanager(self, part: str, known: bool) -> None:
        """Restart a task manager that runs but does not register, for example in an endless garbage collection."""
        info = self._platform.supervision.states().get(part, {})
        if self._state.is_stuck(part, info, known, time.monotonic()):
            log.error("%s has run unregistered for %.0f s; restarting it", part, UNREGISTERED_S)
            self._platform.supervision.stop([part])
            self._platform.supervision.start(part)

    def _resubmit(self, due: list[str]) -> None:
        for name in due:
            log.warning(
                "%s is lost; submitting it from %s",
                name,
                jobs.latest_checkpoint(self._platform.layout.checkpoints, name)
                or "an empty state, since it has no checkpoint",
            )
        try:
            done = self._platform.submit(due)
        except PlatformError as error:
            self._state.failed(time.monotonic())
            log.error("%s Retrying in %.0f s.", error, self._state.not_before_s - time.monotonic())
            return
        self._state.succeeded()
        for name, job_id in done.items():
            self._counts[name] += 1
            self._resubmitted.labels(name).inc()
            log.info("%s submitted as %s", name, job_id)

    def _check_redis(self, env: dict[str, str]) -> None:
        tables, redemptions = RedisPriceTables(env["WALRAS_REDIS"]), RedemptionStore(env["WALRAS_REDIS"])
        try:
            lost = tables.ready() is None or redemptions.ready() is None
        except Exception as error:  # whatever the error, supervisord restarts Redis and the next poll checks it
            log.warning("Redis does not respond: %s", error)
            return
        finally:
            tables.close()
            redemptions.close()
        if lost:
            log.warning("Redis has lost its tables or redemptions; refilling it from Kafka")
            fill_redis(env, log.info)
            self._refills.inc()

    def _record_minutes(self) -> None:
        """Record the newest closed minute, from which ``walras status`` estimates when a run catches up."""
        settings = self._platform.settings()
        if settings.host_clock is None:
            return
        try:
            newest = newest_minute(settings)
        except (KafkaException, KeyError) as error:
            log.info("the newest closed minute is unknown: %s", error)
            return
        if newest >= 0:
            minute_progress.record_sample(
                settings.minute_progress_file, minute_progress.Sample(round(time.time() * 1000), newest)
            )

    def _report(self) -> None:
        path = self._platform.layout.run / "keeper.json"
        temporary = path.with_suffix(".part")
        temporary.write_text(
            json.dumps(
                {
                    "looked_at_ms": round(time.time() * 1000),
                    "cluster_answers": self._cluster_answers,
                    "jobs": {
                        name: {"state": self._state.states.get(name, "absent"), "resubmitted": self._counts[name]}
                        for name in self._state.wanted
                    },
                }
            )
        )
        temporary.rename(path)


def main() -> int:
    """Poll until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    platform = Platform(Path(os.environ.get("WALRAS_HOME", ".walras")), progress=log.info)
    metrics = Metrics("keeper")
    metrics.start(int(os.environ.get("WALRAS_METRICS_PORT", "0")))
    supervisor = JobSupervisor(platform, metrics, list(JOBS))
    log.info("supervising %s", ", ".join(JOBS))
    while True:
        try:
            supervisor.poll()
        except (OSError, PlatformError) as error:
            log.warning("%s", error)
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
