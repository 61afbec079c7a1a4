"""Flink sinks: Kafka topics of JSON text, and Parquet folders.

A Kafka sink takes key and JSON as strings and the record's timestamp as a column, so that the topics carry the
run's time and not the machine's.
"""

from __future__ import annotations

from pathlib import Path

from jobs.connectors.flink.sources import create_table
from jobs.runtime.settings import Settings
from schemas.topics import Topic

_PRODUCER = {
    "properties.compression.type": "lz4",
    "properties.linger.ms": "20",
    "properties.max.request.size": str(16 * 1024 * 1024),
}


def text_sink(name: str, topic: Topic, settings: Settings, *, upsert: bool = False) -> str:
    """Return DDL of a Kafka sink ``(k STRING, v STRING, ts TIMESTAMP_LTZ(3))``: key, JSON, timestamp.

    Delivery is at least once; readers recognise a repeated record by its content (a batch by bucket and minute).

    Parameters
    ----------
    upsert : keep the last value per key (for compacted topics).
    """
    columns = ["  k STRING", "  v STRING", "  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'"]
    options = {
        "topic": topic.topic,
        "properties.bootstrap.servers": settings.kafka,
        "key.format": "raw",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **_PRODUCER,
    }
    if upsert:
        columns[0] = "  k STRING NOT NULL"
        columns.append("  PRIMARY KEY (k) NOT ENFORCED")
        return create_table(name, columns, {"connector": "upsert-kafka", **options})
    return create_table(name, columns, {"connector": "kafka", "key.fields": "k", **options})


def parquet_sink(
    name: str, folder: Path, columns: list[str], *, partitioned_by: str, file_size: str = "64MB"
) -> str:
    """Return DDL of a Parquet folder: exactly once, hive partitions, small files compacted at each checkpoint.

    The connector gives part files no extension: read them as ``<folder>/**/compacted-*`` and ``part-*``, as
    jobs.replay.backfill does.
    """
    options = {
        "connector": "filesystem",
        "path": folder.absolute().as_uri(),
        "format": "parquet",
        "parquet.compression": "SNAPPY",
        "parquet.utc-timezone": "true",
        "auto-compaction": "true",
        "compaction.file-size": file_size,
        "sink.rolling-policy.file-size": file_size,
        "sink.partition-commit.trigger": "process-time",
        "sink.partition-commit.delay": "1 h",
        "sink.partition-commit.policy.kind": "success-file",
    }
    return create_table(name, columns, options, partitioned_by=partitioned_by)
