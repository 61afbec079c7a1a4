"""More buckets than a worker keeps: facts gather, and what waited for long waits for its minute.

On a platform of its own: it needs more buckets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.local import jobs as cluster_jobs
from infra.local.parts import TASK_MANAGERS, flink_get
from infra.local.platform import Platform
from infra.reports.benchmarks.minutes import offers, opening
from infra.reports.chaos.disturb import kill
from infra.reports.waiting import until
from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.settings import Settings
from schemas.events import Listing, bucket_of
from schemas.topics import MINUTE_MS

pytestmark = pytest.mark.platform
BUCKETS = Settings().live_buckets + 1
LATE, FRESH = (Listing("bench", "web-us-usd", f"sku-{i}") for i in range(2))


@pytest.fixture
def many_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """repricing_job alone, its state in RocksDB."""
    for name in [name for name in os.environ if name.startswith("WALRAS_") and name != "WALRAS_JARS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WALRAS_HOME", str(tmp_path))
    platform = Platform(tmp_path)
    try:
        platform.up(
            ["broker", "redis", "jobmanager", *TASK_MANAGERS], job_names=["repricing_job"], speed=1,
            checkpoint_interval_s=1.0, parallelism=1, extra={"BUCKETS": str(BUCKETS)},
        )  # fmt: skip
        yield platform
    finally:
        platform.down()


def test_fresh_news_move_a_table_what_is_old_or_said_before_waits_for_its_minute_and_a_kill_loses_nothing(
    many_buckets: Platform,
) -> None:
    settings = many_buckets.settings()
    assert not settings.all_buckets_live
    # A barrier overtakes rows only where they are spread: what meets before the host waits for each other.
    assert _ways_into_the_host(many_buckets) == ["HASH"] * 3
    tables = RedisPriceTables(settings.redis.get_secret_value())
    now_ms = settings.run_clock.now_ms()
    end_ms = now_ms - now_ms % MINUTE_MS
    rows = opening(2, end_ms - MINUTE_MS)
    with Publisher(settings.kafka) as out:
        for listing in (LATE, FRESH):
            bucket = bucket_of(listing.key, BUCKETS)
            mine = [
                row | {"role": "kvi"} if row["kind"] == "catalog" else row
                for row in rows
                if row["sku"] == listing.sku
            ]
            batch = {"bucket": bucket, "window_end_ms": end_ms, "rows": mine}
            out.send("cells", batch, timestamp_ms=end_ms, key=str(bucket))
        out.flush(30)
        opened = until("the first tables", lambda: len(found := tables.get_many([LATE, FRESH])) == 2 and found)
        _offer(out, settings, LATE, 1800, waited_ms=30_000)
        _offer(out, settings, FRESH, 1800)
        until("the fresh offer's table", lambda: tables.get_many([FRESH])[FRESH].offer_minor == 1805)
        assert tables.get_many([LATE])[LATE] == opened[LATE]
        assert opened[FRESH].offer_minor == 1995
        # A wild price counts when it is seen twice; the second says nothing that the first did not.
        for _ in range(2):
            _offer(out, settings, FRESH, 800)
        _offer(out, settings, LATE, 1700)
        until("the later offer's table", lambda: tables.get_many([LATE])[LATE].offer_minor == 1705)
        moved = tables.get_many([FRESH])[FRESH]
        assert moved.offer_minor == 1805
        kill(many_buckets, "taskmanager_prices")
        running = partial(cluster_jobs.not_fully_running, many_buckets.env, "repricing_job")
        until("the kill noticed", lambda: running() is not None)
        until("repricing_job running again", lambda: running() is None)
        # Only a bucket that came back with its listing can take it.
        _offer(out, settings, FRESH, 1750)
        until("the table after the kill", lambda: tables.get_many([FRESH])[FRESH].offer_minor == 1755)
        assert tables.get_many([FRESH])[FRESH].version > moved.version
    tables.close()


def _ways_into_the_host(platform: Platform) -> list[str]:
    job = next(job for job in cluster_jobs.all_jobs(platform.env) if job.name == "repricing_job")
    nodes = dict(flink_get(platform.env, f"/jobs/{job.id}/plan"))["plan"]["nodes"]
    host = next(node for node in nodes if node["description"].startswith("repricing_job.listings"))
    return [way["ship_strategy"] for way in host["inputs"]]


def _offer(out: Publisher, settings: Settings, listing: Listing, price: int, *, waited_ms: int = 0) -> None:
    now_ms = settings.run_clock.now_ms()
    for row in offers(int(listing.sku[-1]), now_ms, price):
        offer = {name: value for name, value in row.items() if name not in ("kind", "p", "o")}
        out.send("offers", offer, timestamp_ms=now_ms - waited_ms)
    out.flush(30)
