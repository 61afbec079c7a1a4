"""States and checkpoints of jobs, the decisions of the keeper, and process groups."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.local import jobs
from infra.local.__main__ import parser
from infra.local.job_supervisor import SupervisionState
from infra.local.jobs import JobState
from infra.local.machine import process_group
from infra.local.parts import PARTS
from infra.local.platform import Platform
from tests.platform_report import describe


def a_job(name: str = "demand_job", state: str = "RUNNING", job_id: str = "a", since_ms: int = 0) -> JobState:
    return JobState(job_id, name, state, since_ms)


def test_latest_checkpoint_is_the_newest_complete_one(tmp_path: Path) -> None:
    for age, (job_id, number, complete) in enumerate([("x", 41, True), ("y", 7, True), ("y", 8, False)]):
        folder = tmp_path / "demand_job" / job_id / f"chk-{number}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "_metadata").write_bytes(b"m")
            os.utime(folder / "_metadata", (age, age))
    found = jobs.latest_checkpoint(tmp_path, "demand_job")
    assert found is not None
    assert found.endswith("/demand_job/y/chk-7")
    assert jobs.latest_checkpoint(tmp_path, "feature_job") is None


def test_failed_job_is_lost_and_restarting_job_is_not() -> None:
    seen = [a_job(state="RESTARTING"), a_job("feature_job", "FAILED")]
    assert jobs.lost(["demand_job", "feature_job"], seen) == ["feature_job"]


@pytest.mark.parametrize(
    ("read_records", "lag_ms", "waits_for"),
    [
        ([0, 0], 0, "demand_job has read no records yet"),
        ([0, 7], 600_001, "the newest closed minute ended 10 run minutes ago"),
        ([0, 7], 60_000, None),
    ],
)
def test_warm_up_requires_read_records_and_minutes_closed_in_time(
    monkeypatch: pytest.MonkeyPatch, read_records: list[int], lag_ms: int, waits_for: str | None
) -> None:
    answers = {
        "/jobs/overview": {"jobs": [{"jid": "a", "name": "demand_job", "state": "RUNNING", "start-time": 0}]},
        "/jobs/a": {"vertices": [{"metrics": {"read-records": count}} for count in read_records]},
    }
    monkeypatch.setattr(jobs, "flink_get", lambda env, path: answers[path])
    assert jobs.not_warmed_up({}, ["demand_job"], lambda: lag_ms, max_lag_ms=120_000) == waits_for


def test_younger_of_two_jobs_with_one_name_is_a_duplicate() -> None:
    old, young = a_job(job_id="a", since_ms=1), a_job(job_id="b", since_ms=2)
    assert jobs.duplicates([old, young]) == [young]
    assert jobs.duplicates([a_job(state="CANCELED"), young]) == []


def test_job_is_lost_after_two_polls_without_it() -> None:
    state = SupervisionState(["demand_job"])
    assert state.due([], 0.0) == []
    assert state.due([a_job()], 1.0) == []
    assert state.due([], 2.0) == []
    assert state.due([], 3.0) == ["demand_job"]


def test_backoff_doubles_up_to_one_minute() -> None:
    state = SupervisionState(["demand_job"])
    waits = []
    for _ in range(6):
        state.failed(0.0)
        waits.append(state.not_before_s)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_only_changed_job_states_are_reported() -> None:
    state = SupervisionState(["demand_job"])
    assert state.changes([a_job()]) == ["demand_job: absent -> RUNNING"]
    assert state.changes([a_job()]) == []
    assert state.changes([]) == ["demand_job: RUNNING -> absent"]


def test_unknown_part_is_refused_with_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["up", "--only", "brokr"])
    output = capsys.readouterr().err
    assert "brokr" in output
    assert all(name in output for name in PARTS)


def test_process_group_ends_with_its_command(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    wrapper = Path(process_group.__file__)
    script = f"sleep 600 & echo $! > {pid_file}; exit 7"
    done = subprocess.run([sys.executable, str(wrapper), "sh", "-c", script], timeout=30, check=False)
    assert done.returncode == 7
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid_file.read_text())).wait(10)  # it has been killed and ends when it is reaped


def test_platform_that_never_started_can_be_described(tmp_path: Path) -> None:
    text = describe(Platform(tmp_path / "home"))
    assert "records in no checkpoint yet" in text
