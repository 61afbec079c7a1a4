"""Records that make a logic raise are quarantined on the platform, and no job restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.local import jobs as cluster_jobs
from infra.local.platform import Platform
from infra.reports.waiting import until
from jobs import cli
from jobs.audit.quarantine import failing_among, newest_records
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import read_topic
from jobs.registry import JOBS
from jobs.runtime.settings import Settings
from schemas.listings import bucket_of, group_key
from schemas.records.results import Quarantined
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

pytestmark = pytest.mark.platform
LOGICS = {"features", "elasticity", "repricing"}
STOCK = {
    "event_id": "s1", "event_time_ms": 1_780_000_000_000, "tenant": "quarantined", "market": "web", "sku": "s1",
    "price_group": "s1", "on_hand": 5, "inbound": 0, "lead_time_days": 1.0,
}  # fmt: skip


def walras(*words: str) -> Any:
    return CliRunner().invoke(cli.commands, ["quarantine", *words])


def listed(logic: str, kind: str) -> list[dict[str, Any]]:
    found = json.loads(walras("list", "--most", "0", "--json").stdout)
    return [each for each in found if (each["logic"], each["kind"]) == (logic, kind)]


@pytest.fixture
def out(running_jobs: Settings) -> Iterator[Publisher]:
    with Publisher(running_jobs.kafka) as publisher:
        yield publisher


def test_bucket_is_failing_until_a_batch_succeeds_and_no_job_restarts(
    running_jobs: Settings, local_platform: Platform, out: Publisher
) -> None:
    bucket = running_jobs.buckets - 1
    restarts = _job_ids(local_platform)
    for n in range(3):
        batch = {"bucket": bucket, "window_end_ms": MINUTE_MS + n, "rows": [{"kind": "nonsense"}]}
        out.send("cells", batch, timestamp_ms=1, key=str(bucket))
    out.flush()
    until("every logic's bucket FAILING", lambda: _failing(running_jobs) == {(x, str(bucket)) for x in LOGICS})
    (newest, *_) = reversed(listed("repricing", "batch"))
    shown = walras("show", newest["id"]).stdout
    assert "expected kind cell, offers, stock, catalog, covariates; got 'nonsense'" in shown
    assert '"kind": "nonsense"' in shown
    assert walras("replay", newest["id"]).exit_code == 1

    cells = (record.json() for record in read_topic(running_jobs.kafka, TOPICS["cells"].topic))
    end_ms = max(batch["window_end_ms"] for batch in cells if batch["bucket"] == bucket) + MINUTE_MS
    good = {"bucket": bucket, "window_end_ms": end_ms, "rows": []}
    out.send("cells", good, timestamp_ms=end_ms, key=str(bucket))
    out.flush()
    until("no bucket FAILING", lambda: not failing_among(newest_records(running_jobs.kafka)))
    assert _job_ids(local_platform) == restarts


def test_failing_estimate_is_quarantined_with_its_record(running_jobs: Settings, out: Publisher) -> None:
    estimate = {"tenant": "quarantined", "market": "web", "price_group": "s1", "window_end_ms": MINUTE_MS}
    out.send("estimates", estimate, timestamp_ms=1, key="quarantined")
    out.flush()
    (found,) = until("the estimate in quarantine", lambda: listed("repricing", "estimates"))
    assert found["error"] == "KeyError: 'name'"
    assert json.loads(found["payload"]) == estimate
    assert found["bucket"] == str(bucket_of(group_key("quarantined", "web", "s1"), running_jobs.buckets))


def test_replayed_fact_equals_the_original(running_jobs: Settings, out: Publisher) -> None:
    record = Quarantined("repricing", "1", "stock", "stock-0-1", 1, "E", "", "repricing v1", 0, json.dumps(STOCK))
    out.send("quarantine", record, timestamp_ms=1, key="repricing/1")
    out.flush()
    (found,) = until("the fact in quarantine", lambda: listed("repricing", "stock"))
    assert walras("replay", found["id"]).exit_code == 0
    sent = [
        r for r in read_topic(running_jobs.kafka, TOPICS["stock"].topic) if b'"quarantined"' in (r.value or b"")
    ]
    assert [(r.key, r.json()) for r in sent] == [("quarantined/web/s1", STOCK)]


def _failing(settings: Settings) -> set[tuple[str, str]]:
    return {(each.logic, each.bucket) for each in failing_among(newest_records(settings.kafka))}


def _job_ids(platform: Platform) -> dict[str, str]:
    """Return the id of every job, and check that all its tasks run."""
    jobs = {job.name: job.id for job in cluster_jobs.all_jobs(platform.env)}
    assert all(cluster_jobs.not_fully_running(platform.env, name) is None for name in JOBS)
    return jobs
