"""Flink jobs on the cluster: their states, their checkpoints, and their submission by one client."""

from __future__ import annotations

import contextlib
import fcntl
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.config import DEDICATED_RESOURCES, SHARED_RESOURCE, Layout, flink_home
from infra.local.errors import PlatformError
from infra.local.parts import flink_get

ACTIVE = frozenset({"CREATED", "INITIALIZING", "RUNNING", "FAILING", "RESTARTING", "RECONCILING", "CANCELLING"})
"""States in which a job occupies its name; a second job of the same name must not be submitted."""


SUBMITTED = re.compile(r"^submitted (\S+) ([0-9a-f]{32})\s*$", re.MULTILINE)
"""Line that the registry prints for each submitted job."""


class JobState(NamedTuple):
    """One job on the cluster."""

    id: str
    name: str
    state: str
    since_ms: int


def parse_overview(answer: Mapping[str, Any]) -> list[JobState]:
    """Return the jobs in a response of ``/jobs/overview``, the oldest first.

    >>> parse_overview({"jobs": [{"jid": "a", "name": "demand_job", "state": "RUNNING", "start-time": 5}]})
    [JobState(id='a', name='demand_job', state='RUNNING', since_ms=5)]
    """
    jobs = [JobState(j["jid"], j["name"], j["state"], j["start-time"]) for j in answer["jobs"]]
    return sorted(jobs, key=lambda job: (job.since_ms, job.id))


def all_jobs(env: Mapping[str, str]) -> list[JobState]:
    """Return every job that the cluster knows.

    Raises
    ------
    OSError
        If the cluster does not respond.
    """
    return parse_overview(flink_get(env, "/jobs/overview"))


def lost(wanted: Iterable[str], jobs: Iterable[JobState]) -> list[str]:
    """Return the names among ``wanted`` that have no active job."""
    active = {job.name for job in jobs if job.state in ACTIVE}
    return [name for name in wanted if name not in active]


def duplicates(jobs: Iterable[JobState]) -> list[JobState]:
    """Return the active jobs that have the name of an older active job."""
    seen: set[str] = set()
    found = []
    for job in jobs:
        if job.state in ACTIVE:
            if job.name in seen:
                found.append(job)
            seen.add(job.name)
    return found


def not_fully_running(env: Mapping[str, str], name: str) -> str | None:
    """Return None when the job and all its tasks run, and otherwise the condition that is not met."""
    jobs = [job for job in all_jobs(env) if job.name == name and job.state in ACTIVE]
    if not jobs:
        return f"{name} is not on the cluster"
    detail: Any = flink_get(env, f"/jobs/{jobs[-1].id}")
    waiting = [v for v in detail["vertices"] if v["status"] not in ("RUNNING", "FINISHED")]
    if detail["state"] == "RUNNING" and not waiting:
        return None
    return f"{name} is {detail['state']}, {len(waiting)} of {len(detail['vertices'])} tasks not running"


def not_warmed_up(
    env: Mapping[str, str], names: Iterable[str], lag_ms: Callable[[], int], max_lag_ms: float
) -> str | None:
    """Return None when every job has read records and minutes close in time, and otherwise the unmet condition.

    Parameters
    ----------
    lag_ms : returns the run time since the end of the newest closed minute.
    max_lag_ms : largest lag that counts as in time.
    """
    for name in names:
        job = next((job for job in all_jobs(env) if job.name == name and job.state in ACTIVE), None)
        detail: Any = flink_get(env, f"/jobs/{job.id}") if job else {"vertices": []}
        if not any(vertex["metrics"]["read-records"] for vertex in detail["vertices"]):
            return f"{name} has read no records yet"
    lag = lag_ms()
    return None if lag <= max_lag_ms else f"the newest closed minute ended {lag / 60_000:.0f} run minutes ago"


def latest_checkpoint(folder: Path, name: str) -> str | None:
    """Return the URI of a job's newest complete checkpoint, which contains ``_metadata``, or None.

    Checkpoints are ordered by time, since their numbers start again when a job starts without one.
    """
    complete = [path for path in (folder / name).glob("*/chk-*/_metadata") if path.stat().st_size > 0]
    if not complete:
        return None
    newest = max(complete, key=lambda p: (p.stat().st_mtime_ns, int(p.parent.name.removeprefix("chk-"))))
    return newest.parent.absolute().as_uri()


@contextlib.contextmanager
def submission_lock(layout: Layout) -> Iterator[None]:
    """Hold a lock while jobs are submitted, so that the keeper and a user never submit one job twice."""
    with (layout.run / "submit.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def submit(
    layout: Layout,
    env: Mapping[str, str],
    names: Iterable[str],
    environment: Mapping[str, str],
    *,
    resume: bool = True,
    new_cluster: bool = False,
    local_cluster: bool = True,
    timeout_s: float = 240,
    module: str = "jobs.registry",
) -> dict[str, str]:
    """Submit the jobs of ``names`` that are not active with one client, and return the job ids by name.

    Parameters
    ----------
    resume : start from the newest complete checkpoint if there is one.
    new_cluster : the cluster is starting and has no jobs, so its jobs are not listed; the client waits for it.
    local_cluster : False for a cluster of the user, which has its own checkpoint folder.
    module : module that the client runs, ``jobs.registry`` or a compatible one.

    Raises
    ------
    PlatformError
        When a job was refused, with the end of the client's output.
    """
    with submission_lock(layout):
        wanted = list(names) if new_cluster else lost(names, all_jobs(env))
        if not wanted:
            return {}
        command = [str(flink_home() / "bin" / "flink"), "run", "-d", "-m", env["WALRAS_FLINK"], "-pym", module]
        if local_cluster:
            command += ["--checkpoints", layout.checkpoints.absolute().as_uri()]
            command += ["--resource", SHARED_RESOURCE]
            for name in sorted(set(wanted) & set(DEDICATED_RESOURCES)):
                command += ["--resource", f"{name}={DEDICATED_RESOURCES[name]}"]
        for name in wanted:
            checkpoint = latest_checkpoint(layout.checkpoints, name) if resume and local_cluster else None
            command += ["--job", f"{name}={checkpoint}" if checkpoint else name]
        try:
            done = subprocess.run(
                command, env=dict(environment), capture_output=True, text=True, timeout=timeout_s, check=False
            )
            printed = done.stdout + done.stderr
            failed = done.returncode != 0
        except subprocess.TimeoutExpired as error:
            printed = f"the client did not finish within {timeout_s:.0f} s; {error}"
            failed = True
        with (layout.run / "submit.log").open("a") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(wanted)}\n{printed}\n")
        submitted = dict(SUBMITTED.findall(printed))
        if failed or set(submitted) != set(wanted):
            refused = [name for name in wanted if name not in submitted]
            raise PlatformError(
                f"not submitted: {', '.join(refused) or 'none, but the client failed'}. End of the client's "
                f"output (complete in {layout.run / 'submit.log'}):\n{error_summary(printed)}"
            )
        return submitted


def error_summary(printed: str, lines: int = 25) -> str:
    """Return the refusals in a client's output or, if there are none, its last lines, without Java stack frames.

    >>> print(error_summary("a\\n\\tat x.y\\nrefused demand_job: why\\nCaused by: z"))
        refused demand_job: why
    """
    relevant = [
        line for line in printed.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))
    ]
    refused = list(dict.fromkeys(line for line in relevant if line.startswith("refused ")))
    return "\n".join(f"    {line}" for line in (refused or relevant[-lines:]))


def cancel(env: Mapping[str, str], job: JobState) -> None:
    """Cancel a job; its checkpoints are retained."""
    import requests

    requests.patch(f"http://{env['WALRAS_FLINK']}/jobs/{job.id}?mode=cancel", timeout=10).raise_for_status()
