"""The platform recovers when one of its parts is killed with SIGKILL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from infra.local import jobs as cluster_jobs
from infra.local.parts import TASK_MANAGERS, broker_ready, redis_ready, taskmanager_ready
from infra.reports.chaos.disturbances import kill
from infra.reports.waiting import until
from jobs.registry import JOBS

if TYPE_CHECKING:
    from infra.local.platform import Platform

pytestmark = pytest.mark.platform


def all_jobs_run(platform: Platform) -> bool:
    return all(cluster_jobs.not_fully_running(platform.env, name) is None for name in JOBS)


@pytest.mark.parametrize("part", TASK_MANAGERS)
def test_killed_task_manager_restarts_with_its_jobs_and_leaves_no_worker(
    part: str, local_platform: Platform, running_jobs: object, record_property: Callable[[str, object], None]
) -> None:
    processes, began = local_platform.pids(part), time.monotonic()
    kill(local_platform, part)
    until("old workers gone", lambda: not any(psutil.pid_exists(pid) for pid in processes), 30)
    until("a task manager", lambda: taskmanager_ready(part)(local_platform.env) is None, 120)
    until("every job running", lambda: all_jobs_run(local_platform), 240)
    record_property("recovery_s", round(time.monotonic() - began, 1))


def test_jobs_resume_once_from_checkpoints_after_a_kill_of_the_job_manager(
    local_platform: Platform, running_jobs: object
) -> None:
    folder = local_platform.layout.checkpoints
    until("a checkpoint of every job", lambda: all(cluster_jobs.latest_checkpoint(folder, n) for n in JOBS), 120)
    local_platform.start("keeper")
    try:
        before = {job.id for job in cluster_jobs.all_jobs(local_platform.env)}
        kill(local_platform, "jobmanager")
        until("jobs of new ids", lambda: _new_ids(local_platform, before), 300)
        until("every job running", lambda: all_jobs_run(local_platform), 240)
        active = [
            job.name for job in cluster_jobs.all_jobs(local_platform.env) if job.state in cluster_jobs.ACTIVE
        ]
        assert sorted(active) == sorted(JOBS)
        assert "from file:" in local_platform.supervision.log_tail("keeper", 200)
    finally:
        local_platform.stop("keeper")


def _new_ids(platform: Platform, before: set[str]) -> bool:
    active = [job for job in cluster_jobs.all_jobs(platform.env) if job.state in cluster_jobs.ACTIVE]
    return len(active) == len(JOBS) and not before & {job.id for job in active}


def test_killed_redis_is_refilled_before_it_is_marked_ready(local_platform: Platform) -> None:
    from jobs.connectors.redis.price_tables import RedisPriceTables

    kill(local_platform, "redis")
    until("Redis responds", lambda: redis_ready(local_platform.env) is None, 60)
    tables = RedisPriceTables(local_platform.env["WALRAS_REDIS"])
    assert tables.ready() is None
    local_platform.start("keeper")
    try:
        until("Redis is ready", lambda: tables.ready() is not None, 60)
    finally:
        local_platform.stop("keeper")
        tables.close()


def test_killed_broker_restarts_with_its_topics(local_platform: Platform) -> None:
    from jobs.connectors.kafka.publisher import ensure_topics

    kill(local_platform, "broker")
    until("the broker responds", lambda: broker_ready(local_platform.env) is None, 120)
    assert ensure_topics(local_platform.env["WALRAS_KAFKA"]) == []
