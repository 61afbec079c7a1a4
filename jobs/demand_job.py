"""demand_job: inputs → cells, segments, rejected, ledger and the Parquet archive, in Flink SQL.

Topology only. The queries are in features/cells/query.py, and a backfill runs the same text. Every input topic is
read once; a line is decoded and judged where it is read, and the views that all sinks share (`judged_…`) are
computed once. A second window groups the cells of a minute into one JSON batch per bucket, with the minute's
offers, stock and catalog rows. Ticks produce batches for buckets without data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.cells import query as cells
from features.cells.query import FACTS, FLINK, GROUP_KEY_SQL, bucket_sql, facts_sql
from jobs.connectors.flink.environment import configure_for_throughput, scale_checkpoint_interval
from jobs.connectors.flink.java_functions import add_java_jar, declare_functions
from jobs.connectors.flink.sinks import parquet_sink, text_sink
from jobs.connectors.flink.sources import lines_table, raw_table
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.topics import INPUTS, TOPICS

if TYPE_CHECKING:
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StatementSet, StreamTableEnvironment

GROUP_ID = "walras.demand_job"
PARALLEL_INPUTS = ("clicks", "quotes", "orders")
"""Inputs that are read with the job's parallelism; one subtask reads each of the others."""


def build(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> StatementSet:
    """Declare the job; execute nothing."""
    configure_for_throughput(env)
    scale_checkpoint_interval(env)
    add_java_jar(env, settings.home / "run" / "jars")
    declare_functions(table_env)
    configure(table_env)
    declare_inputs(table_env, settings)
    # Not CREATE VIEW: Flink 2.3 drops the brackets of SESSION … PARTITION BY (a, b) when it stores a view.
    for name, text in (
        *cells.views(FLINK, settings.inputs),
        ("batch_rows", batch_rows_sql(settings.buckets)),
        ("batches", BATCHES),
    ):
        table_env.create_temporary_view(name, table_env.sql_query(text))
    statements = table_env.create_statement_set()
    outputs = outputs_sql(Policy.load(settings.policy).segments.memory_days)
    for name, upsert in {"cells": False, "segments": True, "rejected": False, "ledger": False}.items():
        table_env.execute_sql(text_sink(f"to_{name}", TOPICS[name], settings, upsert=upsert))
        statements.add_insert_sql(f"INSERT INTO to_{name} {outputs[name]}")
    if settings.archive:
        _archive(table_env, statements, settings)
    return statements


def configure(table_env: StreamTableEnvironment) -> None:
    """Set the planner and runtime options of this job."""
    for key, value in {
        "table.local-time-zone": "UTC",
        "pipeline.object-reuse": "true",
        # Off: records of a partition that was marked idle would be behind the watermark, and Flink would drop
        # them. The ticker sends ticks to every partition, which advance the watermark (decision 33).
        "table.exec.source.idle-timeout": "0 s",
        # A sub-plan that several sinks read is computed once.
        "table.optimizer.reuse-sub-plan-enabled": "true",
        "table.optimizer.reuse-source-enabled": "true",
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
    }.items():
        table_env.get_config().set(key, value)


def declare_inputs(table_env: StreamTableEnvironment, settings: Settings) -> None:
    """Declare one table per input topic."""
    for topic in settings.inputs:
        table_env.execute_sql(
            lines_table(
                f"in_{topic.name}",
                topic,
                settings,
                group=GROUP_ID,
                parallelism=settings.parallelism if topic.name in PARALLEL_INPUTS else 1,
                key=settings.archive,
                batch_fetches=topic.name in PARALLEL_INPUTS,
            )
        )


def _json(pairs: dict[str, str]) -> str:
    return "JSON_OBJECT(" + ", ".join(f"KEY '{key}' VALUE {value}" for key, value in pairs.items()) + ")"


def batch_rows_sql(buckets: int) -> str:
    """Return the query of the second window's rows: (rt, bucket, JSON, or NULL for a tick)."""
    bucket = bucket_sql(GROUP_KEY_SQL, buckets)
    columns = {name: f"`{name}`" for name in (*cells.GROUP, *cells.COUNTS)}
    cell = _json({"kind": "'cell'", **columns})
    parts = [f"SELECT rt, {bucket} AS bucket, {cell} AS line FROM cells"]
    for name in FACTS:
        fields = {check.field: f"`{check.field}`" for check in TOPICS[name].checks}
        line = _json({"kind": f"'{name}'", "p": "p", "o": "o", **fields})
        parts.append(f"SELECT rt, {bucket} AS bucket, {line} AS line {facts_sql(name, buckets)}")
    parts.append(
        "SELECT rt, CAST(`bucket` AS INT) AS bucket, CAST(NULL AS STRING) AS line FROM judged_ticks "
        f"WHERE verdict = 'TICK' AND `bucket` >= 0 AND `bucket` < {buckets}"
    )
    return "\nUNION ALL\n".join(parts)


BATCHES = """SELECT bucket, window_end, LISTAGG(line, ',') AS lines
FROM TABLE(TUMBLE(TABLE batch_rows, DESCRIPTOR(rt), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, bucket"""

# A window's end is a TIMESTAMP without time zone, in the session's time zone, which is UTC.
_WINDOW_END_MS = "(EXTRACT(EPOCH FROM window_end) * 1000)"
_WINDOW_END = f"TO_TIMESTAMP_LTZ({_WINDOW_END_MS}, 3)"
_BATCH = (
    "'{\"bucket\":' || CAST(bucket AS STRING) || ',\"window_end_ms\":' || CAST("
    + _WINDOW_END_MS
    + " AS STRING) || ',\"rows\":[' || COALESCE(lines, '') || ']}'"
)


def outputs_sql(memory_days: int) -> dict[str, str]:
    """Return each output's query: key, JSON, Kafka timestamp.

    Parameters
    ----------
    memory_days : days of a period in which customers' purchases are counted.
    """
    return {
        "cells": f"SELECT CAST(bucket AS STRING), {_BATCH}, {_WINDOW_END} FROM batches",
        "segments": "SELECT k, "
        + _json({name: name for name in ("tenant", "customer", "purchases", "above_offer", "event_time_ms")})
        + f", TO_TIMESTAMP_LTZ(event_time_ms, 3) FROM ({cells.segments_sql(FLINK, memory_days)}) AS shares",
        "rejected": "SELECT topic || '-' || CAST(p AS STRING) || '-' || CAST(o AS STRING), "
        + _json(
            {
                "topic": "topic",
                "partition": "p",
                "offset": "o",
                "kafka_ts_ms": "kafka_ts_ms",
                "field": "SPLIT_INDEX(verdict, '|', 0)",
                "code": "SPLIT_INDEX(verdict, '|', 1)",
                "detail": "SPLIT_INDEX(verdict, '|', 2)",
                "line": "COALESCE(SUBSTRING(DECODE(line_bytes, 'UTF-8'), 1, 1000), '')",
            }
        )
        + ", TO_TIMESTAMP_LTZ(kafka_ts_ms, 3) FROM refused",
        "ledger": "SELECT topic || '-' || CAST(p AS STRING), "
        + _json(
            {
                "topic": "topic",
                "partition": "p",
                "window_end_ms": _WINDOW_END_MS,
                "offsets_read": "offsets_read",
                "on_time": "on_time",
                "late": "late",
                "rejected": "rejected",
                "ticks": "ticks",
            }
        )
        + f", {_WINDOW_END} FROM ({cells.ledger_sql(FLINK)}) AS counts",
    }


RAW_COLUMNS = ["topic STRING", "p INT", "o BIGINT", "kafka_ts_ms BIGINT", "key_bytes BYTES", "line_bytes BYTES"]
# Partitions by time of writing (UTC): by event time, a replay of years would open a Parquet writer for every hour.
_WRITTEN_COLUMNS = ["written_day STRING", "written_hour STRING"]
_WRITTEN = "DATE_FORMAT(CURRENT_TIMESTAMP, 'yyyy-MM-dd'), DATE_FORMAT(CURRENT_TIMESTAMP, 'HH')"


def _archive(table_env: StreamTableEnvironment, statements: StatementSet, settings: Settings) -> None:
    """Archive raw lines of every input, the cells batches and the decisions to Parquet, partitioned by time of
    writing.
    """
    root = settings.archive_dir
    table_env.execute_sql(
        parquet_sink(
            "archive_raw",
            root / "raw",
            [*RAW_COLUMNS, "`stream` STRING", *_WRITTEN_COLUMNS],
            partitioned_by="`stream`, written_day, written_hour",
        )
    )
    lines = "\nUNION ALL\n".join(
        f"SELECT '{topic.topic}', p, o, kafka_ts_ms, key_bytes, line_bytes, '{topic.name}', "
        f"{_WRITTEN} FROM in_{topic.name}"
        for topic in INPUTS
    )
    statements.add_insert_sql(f"INSERT INTO archive_raw {lines}")
    table_env.execute_sql(
        parquet_sink(
            "archive_cells",
            root / "cells",
            ["bucket INT", "window_end_ms BIGINT", "v STRING", *_WRITTEN_COLUMNS],
            partitioned_by="written_day, written_hour",
        )
    )
    statements.add_insert_sql(
        f"INSERT INTO archive_cells SELECT bucket, {_WINDOW_END_MS}, {_BATCH}, {_WRITTEN} FROM batches"
    )
    table_env.execute_sql(raw_table("in_decisions", TOPICS["decisions"], settings, group=GROUP_ID))
    table_env.execute_sql(
        parquet_sink(
            "archive_decisions",
            root / "decisions",
            ["p INT", "o BIGINT", "line_bytes BYTES", *_WRITTEN_COLUMNS],
            partitioned_by="written_day, written_hour",
        )
    )
    statements.add_insert_sql(
        f"INSERT INTO archive_decisions SELECT p, o, line_bytes, {_WRITTEN} FROM in_decisions"
    )
