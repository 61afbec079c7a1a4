"""Which jobs run, from which checkpoint a lost one goes on, and their submission by one client."""

from __future__ import annotations

import contextlib
import fcntl
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.config import LANES, SHARED, Layout, flink_home
from infra.local.errors import PlatformError
from infra.local.parts import flink_get
from schemas.time_units import MINUTE_MS

ACTIVE = frozenset({"CREATED", "INITIALIZING", "RUNNING", "FAILING", "RESTARTING", "RECONCILING", "CANCELLING"})
"""States of a job that holds its place: another of the same name must not be started."""


SUBMITTED = re.compile(r"^submitted (\S+) ([0-9a-f]{32})\s*$", re.MULTILINE)
"""The registry's line for each job that the cluster took."""


class JobState(NamedTuple):
    """One job on the cluster."""

    id: str
    name: str
    state: str
    since_ms: int


def parse_overview(answer: Mapping[str, Any]) -> list[JobState]:
    """Jobs in an answer of ``/jobs/overview``, the oldest first.

    >>> parse_overview({"jobs": [{"jid": "a", "name": "demand_job", "state": "RUNNING", "start-time": 5}]})
    [JobState(id='a', name='demand_job', state='RUNNING', since_ms=5)]
    """
    jobs = [JobState(j["jid"], j["name"], j["state"], j["start-time"]) for j in answer["jobs"]]
    return sorted(jobs, key=lambda job: (job.since_ms, job.id))


def all_jobs(env: Mapping[str, str]) -> list[JobState]:
    """Every job that the cluster remembers.

    Raises
    ------
    OSError
        If the cluster does not answer.
    """
    return parse_overview(flink_get(env, "/jobs/overview"))


def lost(wanted: Iterable[str], jobs: Iterable[JobState]) -> list[str]:
    """Names among ``wanted`` of which no job is active."""
    active = {job.name for job in jobs if job.state in ACTIVE}
    return [name for name in wanted if name not in active]


def doubled(jobs: Iterable[JobState]) -> list[JobState]:
    """Active jobs whose name an older active job bears already."""
    seen: set[str] = set()
    twice = []
    for job in jobs:
        if job.state in ACTIVE:
            if job.name in seen:
                twice.append(job)
            seen.add(job.name)
    return twice


def not_fully_running(env: Mapping[str, str], name: str) -> str | None:
    """None when the job and every one of its tasks run, else what is missing."""
    jobs = [job for job in all_jobs(env) if job.name == name and job.state in ACTIVE]
    if not jobs:
        return f"{name} is not on the cluster"
    detail: Any = flink_get(env, f"/jobs/{jobs[-1].id}")
    waiting = [v for v in detail["vertices"] if v["status"] not in ("RUNNING", "FINISHED")]
    if detail["state"] == "RUNNING" and not waiting:
        return None
    return f"{name} is {detail['state']}, {len(waiting)} of {len(detail['vertices'])} steps not running"


def not_warm(
    env: Mapping[str, str], names: Iterable[str], lag_ms: Callable[[], int], most_ms: float
) -> str | None:
    """None when every job has taken records and minutes close in time, else what is missing.

    Parameters
    ----------
    lag_ms : how much run time ago the newest closed minute ended.
    most_ms : what that may be.
    """
    for name in names:
        job = next((job for job in all_jobs(env) if job.name == name and job.state in ACTIVE), None)
        detail: Any = flink_get(env, f"/jobs/{job.id}") if job else {"vertices": []}
        if not any(vertex["metrics"]["read-records"] for vertex in detail["vertices"]):
            return f"{name} has taken no records yet"
    behind = lag_ms()
    return (
        None if behind <= most_ms else f"the newest closed minute ended {behind / MINUTE_MS:.0f} run minutes ago"
    )


def latest_checkpoint(folder: Path, name: str) -> str | None:
    """URI of a job's newest complete checkpoint; a folder without ``_metadata`` is none.

    The newest by time, since numbers start again with a new job id only when there was no checkpoint.
    """
    complete = [path for path in (folder / name).glob("*/chk-*/_metadata") if path.stat().st_size > 0]
    if not complete:
        return None
    newest = max(complete, key=lambda p: (p.stat().st_mtime_ns, int(p.parent.name.removeprefix("chk-"))))
    return newest.parent.absolute().as_uri()


@contextlib.contextmanager
def submission_lock(layout: Layout) -> Iterator[None]:
    """Held while jobs are submitted, so that keeper and person never start one job twice."""
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
    """Submit those of ``names`` that are not active, with one client; answers name → job id.

    Parameters
    ----------
    resume : start from the newest complete checkpoint where there is one.
    new_cluster : the cluster is just starting and has no jobs, so it is not asked; the client, which takes
        longer to start, waits for it.
    local_cluster : False for a cluster of the user's, whose own checkpoint folder counts.

    Raises
    ------
    PlatformError
        With the client's last words, when a job was refused.
    """
    with submission_lock(layout):
        wanted = list(names) if new_cluster else lost(names, all_jobs(env))
        if not wanted:
            return {}
        command = [str(flink_home() / "bin" / "flink"), "run", "-d", "-m", env["WALRAS_FLINK"], "-pym", module]
        if local_cluster:
            command += ["--checkpoints", layout.checkpoints.absolute().as_uri()]
            command += ["--resource", SHARED]
            for name in sorted(set(wanted) & set(LANES)):
                command += ["--resource", f"{name}={LANES[name]}"]
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
            printed = f"the client did not end within {timeout_s:.0f} s; {error}"
            failed = True
        with (layout.run / "submit.log").open("a") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(wanted)}\n{printed}\n")
        submitted = dict(SUBMITTED.findall(printed))
        if failed or set(submitted) != set(wanted):
            refused = [name for name in wanted if name not in submitted]
            raise PlatformError(
                f"not submitted: {', '.join(refused) or 'none, but the client failed'}. The client's last words "
                f"(all of them in {layout.run / 'submit.log'}):\n{last_words(printed)}"
            )
        return submitted


def last_words(printed: str, lines: int = 25) -> str:
    """What a client said, without Java's stack: the refusals if there are any, else the last lines.

    >>> print(last_words("a\\n\\tat x.y\\nrefused demand_job: why\\nCaused by: z"))
        refused demand_job: why
    """
    said = [
        line for line in printed.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))
    ]
    refused = list(dict.fromkeys(line for line in said if line.startswith("refused ")))
    return "\n".join(f"    {line}" for line in (refused or said[-lines:]))


def cancel(env: Mapping[str, str], job: JobState) -> None:
    """Cancel a job; its checkpoints stay."""
    import requests

    requests.patch(f"http://{env['WALRAS_FLINK']}/jobs/{job.id}?mode=cancel", timeout=10).raise_for_status()
