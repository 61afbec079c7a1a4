"""feature_job: a bucket's minutes → features, online in Feast and offline as Parquet; segments to Redis.

Topology only. The logics are :class:`features.feature_logic.FeatureLogic` per bucket, on batches and estimates,
and :class:`features.segments.customers.SegmentLogic` on customers' purchases, which are buffered for a second, so
that an order does not cost a Python call of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import BucketAssigner, FileSink, OutputFileConfig, RollingPolicy
from pyflink.datastream.formats.parquet import ParquetBulkWriters
from pyflink.table import StatementSet, StreamTableEnvironment

from features.cells.query import bucket_sql
from features.feature_logic import FeatureLogic
from features.segments.customers import SegmentLogic
from jobs.connectors.feast.features import PARQUET_COLUMNS, FeastOnlineWriter, flink_row_type
from jobs.connectors.flink.bucket_function import TypedSideOutput, host_in_flink
from jobs.connectors.flink.bucket_tables import (
    batch_rows,
    buffer_facts,
    estimate_rows,
    output_view,
    outputs_to_topics,
    text_source,
    union_rows,
)
from jobs.connectors.flink.environment import configure_for_throughput
from jobs.connectors.redis.output_sinks import RedisSegmentSink
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.hosting.host import Host
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import feature_settings, segment_settings
from jobs.runtime.settings import Settings

JOB = "feature_job"
SEGMENT_SHARDS = 16
_TYPES = {"STRING": Types.STRING(), "BIGINT": Types.LONG(), "DOUBLE": Types.DOUBLE(), "TIMESTAMP_MS": Types.LONG()}


def feature_host(settings: Settings) -> Host:
    """Return a host of feature logics, which writes rows to Feast's online store inside the call."""
    make_logic = partial(FeatureLogic, feature_settings(Policy.load(settings.policy)))
    return Host(make_logic, settings.host_clock, [FeastOnlineWriter(settings)], settings.live_buckets)


def segment_host(settings: Settings) -> Host:
    """Return a host of segment logics, which writes updates to Redis inside the call."""
    tables = RedisPriceTables(settings.redis.get_secret_value())
    how = segment_settings(Policy.load(settings.policy))
    sink = RedisSegmentSink(tables, how, settings.segments_waiting)
    return Host(partial(SegmentLogic, how), settings.host_clock, [sink])


def parquet_values(value: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a feature row's values in the order of the Parquet columns."""
    return tuple(value[name] for name, _ in PARQUET_COLUMNS)


def build(env: StreamExecutionEnvironment, table_env: StreamTableEnvironment, settings: Settings) -> StatementSet:
    """Declare the topology; execute nothing."""
    configure_for_throughput(env)
    statements = table_env.create_statement_set()
    rows = union_rows(table_env, [batch_rows(table_env, JOB, settings), estimate_rows(table_env, JOB, settings)])
    typed = TypedSideOutput("features", {name: _TYPES[kind] for name, kind in PARQUET_COLUMNS}, parquet_values)
    features = host_in_flink(rows, partial(feature_host, settings), f"{JOB}.features", typed)
    view = output_view(table_env, features, "feature_outputs")
    outputs_to_topics(statements, table_env, view, ("features", "rejected_cells"), settings)
    # Independent of the archive setting: a side output without a reader fails in the Python worker.
    _to_parquet(table_env, features.get_side_output(typed.tag), settings)

    purchases = union_rows(table_env, [_purchases(table_env, settings)])
    segments = host_in_flink(purchases, partial(segment_host, settings), f"{JOB}.segments")
    # The sink writes segments to Redis inside the call; only quarantine records leave as rows.
    outputs_to_topics(statements, table_env, output_view(table_env, segments, "segment_outputs"), (), settings)
    return statements


def _purchases(table_env: StreamTableEnvironment, settings: Settings) -> str:
    table = text_source(table_env, JOB, "segments", settings)
    # Sharded by customer, without the key's period: a customer belongs to one shard's sample.
    shard = bucket_sql("JSON_VALUE(v, '$.tenant') || ':' || JSON_VALUE(v, '$.customer')", SEGMENT_SHARDS)
    rows = (
        f"SELECT CAST({shard} AS STRING) AS `key`, 'segments' AS kind, '' AS address, v AS payload "
        f"FROM {table} WHERE v IS NOT NULL"
    )
    return buffer_facts(table_env, "purchases", rows, seconds=1, as_one=True)


def _to_parquet(table_env: StreamTableEnvironment, rows: object, settings: Settings) -> None:
    """Write Feast's offline store: files that end in .parquet, which the SQL connector cannot write."""
    table_env.create_temporary_view("feature_rows", table_env.from_data_stream(rows))
    columns = ", ".join(
        f"CAST(TO_TIMESTAMP_LTZ(`{name}`, 3) AS TIMESTAMP(3)) AS `{name}`"
        if kind == "TIMESTAMP_MS"
        else f"`{name}`"
        for name, kind in PARQUET_COLUMNS
    )
    typed = table_env.to_data_stream(table_env.sql_query(f"SELECT {columns} FROM feature_rows"))
    sink = (
        FileSink.for_bulk_format(
            (settings.archive_dir / "features").as_uri(),
            ParquetBulkWriters.for_row_type(flink_row_type(), utc_timestamp=True),
        )
        .with_bucket_assigner(
            BucketAssigner.date_time_bucket_assigner("'written_day='yyyy-MM-dd/'written_hour='HH")
        )
        .with_output_file_config(
            OutputFileConfig.builder().with_part_prefix("features").with_part_suffix(".parquet").build()
        )
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .build()
    )
    typed.sink_to(sink).uid(f"{JOB}.parquet").name(f"{JOB}.parquet")
