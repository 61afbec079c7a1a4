"""The buckets of catalog entries in Flink, on a cluster inside the test's process, equal those of DuckDB."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.config import ROOT
from infra.local.machine.java import find_java_home
from jobs.hosting.cell_query import CellQuery
from tests.jobs.hosting.catalog_builders import BUCKETS, START_MS, Arrival, an_entry, lines

pytestmark = pytest.mark.platform

PRINT_BATCHES = """
import sys
from features.cells.query import FLINK, GROUP_KEY_SQL, bucket_sql, facts_sql, rt_ms_sql, views
from jobs.connectors.flink.environment import job_environment
from jobs.demand_job import configure
from schemas.topics import INPUTS, TOPICS
path, buckets = sys.argv[1], int(sys.argv[2])
topic = TOPICS["catalog"]
_, table_env = job_environment("catalog", 2)
configure(table_env)
fields = ", ".join(f"`{check.field}` {check.type}" for check in topic.checks)
table_env.execute_sql(f'''CREATE TEMPORARY TABLE in_catalog (
    {fields}, `tick` BOOLEAN, line_verdict STRING, p INT, o BIGINT, kafka_ts_ms BIGINT,
    rt AS TO_TIMESTAMP_LTZ({rt_ms_sql(topic)}, 3),
    WATERMARK FOR rt AS TO_TIMESTAMP_LTZ(kafka_ts_ms - {topic.lateness_ms + 1}, 3)
) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')''')
for name, text in views(FLINK, INPUTS):
    if "catalog" in name:
        table_env.create_temporary_view(name, table_env.sql_query(text))
facts = f"SELECT rt, {bucket_sql(GROUP_KEY_SQL, buckets)} AS bucket, o, sku, price_group, active"
table_env.create_temporary_view("facts", table_env.sql_query(f"{facts} {facts_sql('catalog', buckets)}"))
batches = table_env.execute_sql('''
SELECT CAST(EXTRACT(EPOCH FROM window_end) AS BIGINT) * 1000, bucket, o, sku, price_group, active
FROM TABLE(TUMBLE(TABLE facts, DESCRIPTOR(rt), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, bucket, o, sku, price_group, active''')
for row in batches.collect():
    print("ROW", *row, sep="|")
"""


def arrivals() -> list[Arrival]:
    """Return entries of four listings that change their group often, some out of order and some late."""
    draw = random.Random(7)
    drawn = [(draw.randint(0, 900), draw.choice((0, 0, 3, 8, 40, 200))) for _ in range(120)]
    return [
        an_entry(
            at := START_MS + 1000 * second, f"g{draw.randint(0, 5)}", sku=f"s{draw.randint(1, 4)}",
            kafka_ts_ms=at + 1000 * delay,
        )
        for second, delay in drawn
    ]  # fmt: skip


def test_flink_and_duckdb_place_catalog_entries_in_the_same_batches(tmp_path: Path) -> None:
    given = lines(arrivals())
    (of_catalog,) = given.values()
    source = tmp_path / "catalog.json"
    source.write_text(
        "".join(
            json.dumps(json.loads(line or b"") | {"p": p, "o": o, "kafka_ts_ms": at}) + "\n"
            for p, o, at, line in of_catalog
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", PRINT_BATCHES, str(source), str(BUCKETS)],
        env=os.environ | {"JAVA_HOME": str(find_java_home()), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    in_flink = sorted(line.split("|")[1:] for line in done.stdout.splitlines() if line.startswith("ROW|"))
    expected = sorted(
        [str(value) for value in (end_ms, bucket, row["o"], row["sku"], row["price_group"], row["active"])]
        for end_ms, bucket, rows in CellQuery(given).batches(BUCKETS)
        for row in rows
    )
    assert in_flink == expected, done.stderr[-2000:]
    assert sum(row[-1] == "False" for row in in_flink) > 20, "listings moved"
    assert len({row[2] for row in in_flink}) < len(of_catalog), "older entries of other groups are left out"
