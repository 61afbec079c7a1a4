"""keeper: every job of JOBS runs, once.

Flink restarts what fails inside a job, and supervisord what dies beside it. One thing neither does: a
job manager that is killed forgets its jobs, since remembering them would take a ZooKeeper. The keeper
looks at the cluster every two seconds and submits a lost job again from its newest complete
checkpoint; it cancels the younger of two jobs of one name; it fills Redis again when that has lost
its tables; it notes the run's Clock, so that the next run goes on from there even after a crash; and the newest
closed minute, so that a run that is behind can say when it will have caught up.
All it sees and does stands in its log, in ``run/keeper.json`` and in its metrics.
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
from jobs.monitoring import minute_progress
from jobs.monitoring.health import newest_minute
from jobs.registry import JOBS
from jobs.runtime.metrics import Metrics

log = logging.getLogger("keeper")

POLL_S = 2.0
MISSES_BEFORE_LOST = 2
"""Polls in a row without the job before it counts as lost: one may fall between two states."""
SILENT_TASKMANAGER_S = 60.0
"""A task manager that runs but has not registered for so long is stuck, and is started anew."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 5.0, 60.0


@dataclass
class Watch:
    """What the keeper remembers between two looks; pure, so that its judgement can be tested.

    Examples
    --------
    >>> watch = Watch(["demand_job"])
    >>> watch.due([], now_s=0.0), watch.due([], now_s=2.0)
    ([], ['demand_job'])
    >>> watch.failed(now_s=2.0); watch.due([], now_s=4.0), watch.due([], now_s=8.0)
    ([], ['demand_job'])
    """

    wanted: list[str]
    misses: dict[str, int] = field(default_factory=dict)
    backoff_s: float = FIRST_BACKOFF_S
    not_before_s: float = 0.0
    states: dict[str, str] = field(default_factory=dict)
    known_s: dict[str, float] = field(default_factory=dict)

    def is_silent(self, part: str, info: Mapping[str, Any], known: bool, now_s: float) -> bool:
        """Whether a task manager has lived for ``SILENT_TASKMANAGER_S`` and was known in none of them.

        Parameters
        ----------
        info : what supervisord says of it. A process that is killed over and over is always young, not silent.

        >>> watch, old, young = Watch([]), {"statename": "RUNNING", "now": 900, "start": 1}, {"start": 890}
        >>> watch.is_silent("tm", old, known=True, now_s=0.0), watch.is_silent("tm", old, known=False, now_s=59.0)
        (False, False)
        >>> watch.is_silent("tm", old | young, known=False, now_s=61.0)
        False
        >>> watch.is_silent("tm", old, known=False, now_s=61.0)
        True
        """
        if known or info.get("statename") != "RUNNING":
            self.known_s[part] = now_s
        silent_s = now_s - self.known_s.setdefault(part, now_s)
        return silent_s > SILENT_TASKMANAGER_S and info["now"] - info["start"] > SILENT_TASKMANAGER_S

    def due(self, seen: list[jobs.JobState], now_s: float) -> list[str]:
        """Names to submit now: lost at ``MISSES_BEFORE_LOST`` looks in a row, and not backing off."""
        gone = set(jobs.lost(self.wanted, seen))
        self.misses = {name: self.misses.get(name, 0) + 1 for name in gone}
        ripe = [n for n in self.wanted if self.misses.get(n, 0) >= MISSES_BEFORE_LOST]
        return ripe if now_s >= self.not_before_s else []

    def failed(self, now_s: float) -> None:
        """A submission failed: wait, twice as long each time."""
        self.not_before_s = now_s + self.backoff_s
        self.backoff_s = min(2 * self.backoff_s, LAST_BACKOFF_S)

    def succeeded(self) -> None:
        """A submission went through."""
        self.backoff_s, self.not_before_s, self.misses = FIRST_BACKOFF_S, 0.0, {}

    def changes(self, seen: list[jobs.JobState]) -> list[str]:
        """What has changed since the last look, in words."""
        now = {job.name: job.state for job in seen if job.state in jobs.ACTIVE and job.name in self.wanted}
        words = [
            f"{name}: {self.states.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in self.wanted
            if self.states.get(name) != now.get(name)
        ]
        self.states = now
        return words


class Keeper:
    """The keeper of one platform."""

    def __init__(self, platform: Platform, metrics: Metrics, wanted: list[str]) -> None:
        self._platform = platform
        self._watch = Watch(wanted)
        self._resubmitted = metrics.counter("resubmissions", "Jobs submitted again", ["flink_job"])
        self._running = metrics.gauge("running", "count", "Jobs of JOBS that run")
        self._refills = metrics.counter("redis_refills", "Times that Redis was filled again from Kafka")
        self._counts = dict.fromkeys(wanted, 0)
        self._cluster_answers = True

    def look(self) -> None:
        """One look at everything, and what follows from it."""
        env = self._platform.env
        record_clock(self._platform.layout, env)
        self._look_at_jobs(env)
        self._look_at_redis(env)
        self._note_minutes()
        self._report()

    def _look_at_jobs(self, env: dict[str, str]) -> None:
        try:
            seen = jobs.all_jobs(env)
            overview = flink_get(env, "/overview")
            known = registered(env)
        except (OSError, ValueError) as error:
            if self._cluster_answers:
                log.warning("the cluster does not answer: %s", error)
            self._cluster_answers = False
            return
        if not self._cluster_answers:
            log.info("the cluster answers again")
        self._cluster_answers = True
        for words in self._watch.changes(seen):
            log.info(words)
        for job in jobs.doubled(seen):
            log.error("%s runs twice; cancelling the younger one, %s", job.name, job.id)
            jobs.cancel(env, job)
        for part in TASK_MANAGERS:
            self._look_at_taskmanager(part, part in known)
        due = self._watch.due(seen, time.monotonic())
        if due and not overview["slots-available"]:
            log.warning("%s lost, but no task slot is free yet", ", ".join(due))
        elif due:
            self._resubmit(due)
        self._running.set(sum(state == "RUNNING" for state in self._watch.states.values()))

    def _look_at_taskmanager(self, part: str, known: bool) -> None:
        """A process that lives and does nothing (a collector that never ends) is no task manager."""
        info = self._platform.supervision.states().get(part, {})
        if self._watch.is_silent(part, info, known, time.monotonic()):
            log.error("%s has run unregistered for %.0f s; starting it anew", part, SILENT_TASKMANAGER_S)
            self._platform.supervision.stop([part])
            self._platform.supervision.start(part)

    def _resubmit(self, due: list[str]) -> None:
        for name in due:
            log.warning(
                "%s is lost; submitting it from %s",
                name,
                jobs.latest_checkpoint(self._platform.layout.checkpoints, name) or "nothing: it has no checkpoint",
            )
        try:
            done = self._platform.submit(due)
        except PlatformError as error:
            self._watch.failed(time.monotonic())
            log.error("%s Trying again in %.0f s.", error, self._watch.not_before_s - time.monotonic())
            return
        self._watch.succeeded()
        for name, job_id in done.items():
            self._counts[name] += 1
            self._resubmitted.labels(name).inc()
            log.info("%s submitted as %s", name, job_id)

    def _look_at_redis(self, env: dict[str, str]) -> None:
        tables = RedisPriceTables(env["WALRAS_REDIS"])
        try:
            lost = tables.ready() is None
        except Exception as error:  # any way of not answering: supervisord restarts it, we look again
            log.warning("Redis does not answer: %s", error)
            return
        finally:
            tables.close()
        if lost:
            log.warning("Redis has lost its tables; filling it from Kafka")
            fill_redis(env, log.info)
            self._refills.inc()

    def _note_minutes(self) -> None:
        """Note the newest closed minute, so that ``walras status`` can say when a run will have caught up."""
        settings = self._platform.settings()
        if settings.host_clock is None:
            return
        try:
            newest = newest_minute(settings)
        except (KafkaException, KeyError) as error:
            log.info("minutes are not known: %s", error)
            return
        if newest >= 0:
            minute_progress.record_sample(
                settings.minute_progress_file, minute_progress.Sample(round(time.time() * 1000), newest)
            )

    def _report(self) -> None:
        path = self._platform.layout.run / "keeper.json"
        part = path.with_suffix(".part")
        part.write_text(
            json.dumps(
                {
                    "looked_at_ms": round(time.time() * 1000),
                    "cluster_answers": self._cluster_answers,
                    "jobs": {
                        name: {"state": self._watch.states.get(name, "absent"), "resubmitted": self._counts[name]}
                        for name in self._watch.wanted
                    },
                }
            )
        )
        part.rename(path)


def main() -> int:
    """Look, until told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    platform = Platform(Path(os.environ.get("WALRAS_HOME", ".walras")), say=log.info)
    metrics = Metrics("keeper")
    metrics.start(int(os.environ.get("WALRAS_METRICS_PORT", "0")))
    keeper = Keeper(platform, metrics, list(JOBS))
    log.info("keeping %s", ", ".join(JOBS))
    while True:
        try:
            keeper.look()
        except (OSError, PlatformError) as error:
            log.warning("%s", error)
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
