"""demand_job on the platform: cells, refusals, ledger and archive equal those of a backfill."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from features.cells.lines import read_line
from infra.reports.fuzz.records import HostileLines
from infra.reports.waiting import until
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_topic
from jobs.replay.backfill import CellQuery, compare, raw_lines
from jobs.runtime.settings import Settings
from schemas.listings import bucket_of
from schemas.ticks import closing_ticks, due_ticks
from schemas.topics import INPUTS, TOPICS
from tests.flink.demand_inputs import MINUTE, broken_inputs, encoded, good_inputs, odd_lines

pytestmark = pytest.mark.platform

MINUTES = 40
"""Longer than the gap of 30 minutes that ends a session."""
DEFAULT_START = 1_780_000_020_000


@pytest.fixture(scope="module")
def demand_job(local_platform: Any, platform: Settings) -> Iterator[Settings]:
    """Run demand_job on the shared platform, and cancel it afterwards unless it ran before."""
    jobs = httpx.get(f"http://{platform.flink}/jobs/overview").json()["jobs"]
    if any(job["name"] == "demand_job" and job["state"] == "RUNNING" for job in jobs):
        yield platform
        return
    local_platform.submit(["demand_job"])
    local_platform.wait(job_names=["demand_job"], timeout_s=180)
    yield platform
    for job in httpx.get(f"http://{platform.flink}/jobs/overview").json()["jobs"]:
        if job["name"] == "demand_job" and job["state"] == "RUNNING":
            httpx.patch(f"http://{platform.flink}/jobs/{job['jid']}?mode=cancel")
            at = f"http://{platform.flink}/jobs/{job['jid']}"
            until("demand_job cancelled", lambda at=at: httpx.get(at).json()["state"] == "CANCELED")


class Run:
    """Records that are sent in a span of time, and the outputs of that span."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka = settings.kafka
        newest = max((r.kafka_ts_ms for t in INPUTS for r in read_topic(self.kafka, t.topic)), default=0)
        # Other tests share the platform, and time must not move backwards: start after their records.
        self.start = max(DEFAULT_START, (newest // MINUTE + 30) * MINUTE)
        self.end = self.start + MINUTES * MINUTE
        self.t = self.start + MINUTE
        # A tenant of its own, since orders and exposures of earlier runs are in the state for days.
        self.tenant = f"shop-{self.start // MINUTE}"
        self.broken = broken_inputs(self.t)
        self.odd: list[tuple[str, Any, int]] = []
        for line in odd_lines(self.t):
            code, record = read_line(line)
            verdict = ("line", code) if code is not None else TOPICS["clicks"].validate(record, self.t + MINUTE)
            if verdict is None:
                self.odd.append(("clicks", line, self.t + MINUTE))
            else:
                self.broken.append(("clicks", line, *verdict))

    def inputs(self) -> list[tuple[str, Any, int]]:
        """Return topic, record or line, and Kafka timestamp."""
        broken = [(name, record, self.t + MINUTE) for name, record, *_ in self.broken]
        return good_inputs(self.t) + self.odd + broken

    def send(self, after_ms: int = 0, upto_ms: int = 2**62) -> None:
        """Send the records with timestamps in (after, upto]."""
        partitions = {t.name: t.partitions for t in INPUTS}
        ticks = due_ticks(self.start, self.end, buckets=self.settings.buckets, partitions=partitions)
        ticks += closing_ticks(self.end, buckets=self.settings.buckets, partitions=partitions)
        timed = [(at, 0, name, record, -1) for name, record, at in self.inputs()]
        timed += [(tick.at_ms, 1, tick.topic, tick.record(), tick.partition) for tick in ticks]
        with Publisher(self.kafka) as out:
            for at, is_tick, name, record, partition in sorted(timed, key=lambda e: e[:2]):
                if not after_ms < at <= upto_ms:
                    continue
                where = partition if is_tick else 0
                out.send_bytes(
                    TOPICS[name].topic, encoded(record, self.tenant), timestamp_ms=at, partition=where, key=b"k"
                )

    def send_ticks(self, at_ms: int) -> None:
        """Send a tick to every bucket and partition, which closes the minutes before."""
        partitions = {t.name: t.partitions for t in INPUTS}
        with Publisher(self.kafka) as out:
            for tick in closing_ticks(at_ms, buckets=self.settings.buckets, partitions=partitions):
                value = encoded(tick.record(), self.tenant)
                topic = TOPICS[tick.topic].topic
                out.send_bytes(topic, value, timestamp_ms=tick.at_ms, partition=tick.partition, key=b"k")

    def every_batch(self) -> list[bytes]:
        """Return the values of the cells topic, including batches that a restart wrote again."""
        found = read_topic(self.kafka, TOPICS["cells"].topic)
        return [r.value or b"" for r in found if self.start < r.kafka_ts_ms <= self.end]

    def batches(self) -> dict[tuple[int, int], bytes]:
        decoded = [(json.loads(value), value) for value in self.every_batch()]
        return {(batch["bucket"], batch["window_end_ms"]): value for batch, value in decoded}

    def closed(self) -> bool:
        return len(self.batches()) >= MINUTES * self.settings.buckets

    def lines(self) -> dict[str, list[tuple[int, int, int, bytes | None]]]:
        return {
            t.topic: [
                (r.partition, r.offset, r.kafka_ts_ms, r.value)
                for r in read_topic(self.kafka, t.topic)
                if r.kafka_ts_ms >= self.start
            ]
            for t in INPUTS
        }

    def records(self, name: str) -> list[dict[str, Any]]:
        return [r.json() for r in read_topic(self.kafka, TOPICS[name].topic) if r.kafka_ts_ms >= self.start]


class HostileRun(Run):
    """A run with hostile lines in every stream."""

    def inputs(self) -> list[tuple[str, Any, int]]:
        return HostileLines(3_000, self.settings.buckets, seed=2, minutes=20, start_ms=self.t).arrivals


@pytest.fixture(scope="module")
def run(demand_job: Settings) -> Run:
    run = Run(demand_job)
    run.send()
    until(f"{MINUTES} minutes of batches of every bucket; got {len(run.batches())}", run.closed, 180)
    return run


@pytest.fixture(scope="module")
def backfill(run: Run) -> CellQuery:
    return CellQuery(run.lines())


def test_every_bucket_gets_one_batch_per_minute(run: Run) -> None:
    minutes = {window_end for _, window_end in run.batches()}
    assert minutes == {run.start + MINUTE * (i + 1) for i in range(MINUTES)}
    assert set(run.batches()) == {(b, m) for b in range(run.settings.buckets) for m in minutes}


def test_cells_equal_those_of_a_backfill(run: Run, backfill: CellQuery) -> None:
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []
    assert sum(row["exposures"] for row in backfill.rows("cells")) == 40
    assert sum(row["searches_matured"] for row in backfill.rows("cells")) > 0


def test_batch_contains_the_facts_of_its_bucket(run: Run) -> None:
    bucket = bucket_of(f"{run.tenant}/web/s1", run.settings.buckets)
    batch = json.loads(run.batches()[bucket, run.t + MINUTE])
    facts = {row["kind"]: row for row in batch["rows"] if row["kind"] != "cell"}
    assert set(facts) == {"offers", "stock", "catalog", "covariates"}
    covariates = {row["name"]: row["value"] for row in batch["rows"] if row["kind"] == "covariates"}
    assert covariates == {"display": 0.75, "temperature": -3.0}
    assert (facts["offers"]["match_confidence"], facts["offers"]["in_stock"]) == (0.9, True)
    assert facts["catalog"]["cost_minor"] is None


def test_invalid_records_are_refused_with_code_and_address(run: Run, backfill: CellQuery) -> None:
    refused = {(r["topic"], r["partition"], r["offset"]): r for r in run.records("rejected")}
    expected = Counter((TOPICS[name].topic, field, code) for name, _, field, code in run.broken)
    assert Counter((r["topic"], r["field"], r["code"]) for r in refused.values()) == expected
    assert {(r["topic"], r["partition"], r["offset"]) for r in backfill.rows("rejected")} == set(refused)
    assert all(len(r["line"]) <= 1000 and r["detail"] for r in refused.values())


def test_ledger_balances_and_equals_that_of_a_backfill(run: Run, backfill: CellQuery) -> None:
    counts = ("offsets_read", "on_time", "late", "rejected", "ticks")
    stream = {
        (e["topic"], e["partition"], e["window_end_ms"]): tuple(e[k] for k in counts)
        for e in run.records("ledger")
        if e["window_end_ms"] <= run.end
    }
    of_backfill = {
        (e["topic"], e["partition"], e["window_end_ms"]): tuple(e[k] for k in counts)
        for e in backfill.rows("ledger")
        if e["window_end_ms"] <= run.end
    }
    assert stream == of_backfill
    assert all(entry[0] == sum(entry[1:]) for entry in stream.values())
    assert sum(entry[2] for entry in stream.values()) == 2 + len(run.odd)


def test_segments_equal_those_of_a_backfill(run: Run, backfill: CellQuery) -> None:
    mine = {r["customer"]: r for r in run.records("segments") if r["tenant"] == run.tenant}
    assert mine == {row["customer"]: row for row in backfill.rows("segments")}


def verdicts_of(rejected: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, int], tuple[str, str]]:
    return {(r["topic"], r["partition"], r["offset"]): (r["field"], r["code"]) for r in rejected}


def test_hostile_lines_get_the_verdicts_and_cells_of_a_backfill(demand_job: Settings) -> None:
    run = HostileRun(demand_job)
    run.send()
    until(f"{MINUTES} minutes of batches of every bucket; got {len(run.batches())}", run.closed, 180)
    backfill = CellQuery(run.lines())
    verdicts = verdicts_of(run.records("rejected"))
    assert verdicts == verdicts_of(backfill.rows("rejected"))
    assert len({code for _, code in verdicts.values()}) > 8
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []


def test_raw_archive_contains_every_line(run: Run) -> None:
    sent = {(topic, p, o): line for topic, lines in run.lines().items() for p, o, _, line in lines}

    def archived() -> bool:
        try:
            pieces = list(raw_lines(run.settings.archive_dir))
        except FileNotFoundError:
            return False
        found: dict[tuple[str, int, int], bytes | None] = {}
        for c in pieces:
            for topic, p, o, ts, line in zip(
                c["topic"], c["p"], c["o"], c["kafka_ts_ms"], c["line_bytes"], strict=True
            ):
                if ts >= run.start:
                    assert (topic, p, o) not in found, "a line is in the archive twice"
                    found[topic, p, o] = line
        return found == sent

    until("every line in Parquet", archived, 90)


def test_killed_task_manager_changes_no_cell(demand_job: Settings, local_platform: Any) -> None:
    run = Run(demand_job)
    middle = run.t + 20_000
    run.send(upto_ms=middle)
    until("the first batches", run.batches, 180)
    run.send(after_ms=middle)
    for pid in local_platform.pids("taskmanager"):
        os.kill(pid, signal.SIGKILL)
    local_platform.wait(["taskmanager"], timeout_s=120)
    # A restarted source has no watermark until its next record; on a deployment the ticker sends it.
    run.send_ticks(run.end + MINUTE)
    local_platform.wait(job_names=["demand_job"], timeout_s=180)
    run.send_ticks(run.end + 2 * MINUTE)
    until(f"{MINUTES} minutes of batches after a kill; got {len(run.batches())}", run.closed, 180)
    backfill = CellQuery(run.lines())
    assert compare(run.every_batch(), backfill, until_ms=run.end) == []
    refused = {(r["topic"], r["partition"], r["offset"]) for r in run.records("rejected")}
    assert refused == {(r["topic"], r["partition"], r["offset"]) for r in backfill.rows("rejected")}
