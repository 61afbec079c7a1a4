"""Kafka topics as Flink tables: typed lines with their address, and plain bytes.

Every source starts at the earliest offset (a restart continues from its checkpoint). Watermarks follow from
Kafka's timestamp: ``WATERMARK FOR rt AS kafka_ts − lateness``.
"""

from __future__ import annotations

from collections.abc import Mapping

from features.cells.query import rt_ms_sql
from jobs.connectors.flink.java_functions import FORMAT
from jobs.runtime.settings import Settings
from schemas.time_units import MINUTE_MS
from schemas.topics import Topic

KAFKA_TS_MS = "(EXTRACT(EPOCH FROM kafka_ts) * 1000 + EXTRACT(MILLISECOND FROM kafka_ts))"
"""Kafka's timestamp as epoch milliseconds (Flink 2.3 cannot cast TIMESTAMP_LTZ to a number)."""

_ADDRESS = """  p INT METADATA FROM 'partition' VIRTUAL,
  o BIGINT METADATA FROM 'offset' VIRTUAL,
  kafka_ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL"""


def source_options(
    topic: Topic, settings: Settings, *, group: str, parallelism: int | None = None, batch_fetches: bool = False
) -> dict[str, str]:
    """Return the connector options of one topic, without its format.

    A topic with fewer partitions than subtasks is read by as many subtasks as it has partitions: a reader without
    a partition would hold back the watermark.

    Parameters
    ----------
    batch_fetches : let the broker collect records for a tenth of a second, for jobs whose results are due once a
        minute.
    """
    gather = (
        {"properties.fetch.min.bytes": "65536", "properties.fetch.max.wait.ms": "100"} if batch_fetches else {}
    )
    return {
        "connector": "kafka",
        "topic": topic.topic,
        "properties.bootstrap.servers": settings.kafka,
        "properties.group.id": group,
        "properties.max.partition.fetch.bytes": "4194304",
        **gather,
        "scan.startup.mode": "earliest-offset",
        "scan.parallelism": str(min(parallelism or settings.parallelism, topic.partitions)),
    }


def lines_table(
    name: str,
    topic: Topic,
    settings: Settings,
    *,
    group: str,
    parallelism: int | None = None,
    key: bool = False,
    batch_fetches: bool = False,
) -> str:
    """Return DDL of a typed table with one row per offset, whatever the line holds.

    Columns: the fields of the contract; ``tick``; ``line_verdict`` (NULL: a JSON object); ``line_bytes``; with
    ``key`` also ``key_bytes``; the address ``p``, ``o``, ``kafka_ts``, ``kafka_ts_ms``; and ``rt``, the rowtime of
    rule (3) in features.cells.query.
    """
    fields = [f"  `{check.field}` {check.type}" for check in topic.checks]
    rt = rt_ms_sql(topic, KAFKA_TS_MS)
    # Flink counts a row at the watermark as late, rule (2) does not: hence one millisecond more.
    minutes, ms = divmod(topic.lateness_ms + 1, MINUTE_MS)
    wait = f"INTERVAL '{minutes}:{ms // 1000:02}.{ms % 1000:03}' MINUTE TO SECOND"
    columns = [
        *fields,
        "  `tick` BOOLEAN",
        "  line_verdict STRING",
        "  line_bytes BYTES",
        *(["  key_bytes BYTES"] if key else []),
        _ADDRESS,
        f"  kafka_ts_ms AS {KAFKA_TS_MS}",
        f"  rt AS TO_TIMESTAMP_LTZ({rt}, 3)",
        f"  WATERMARK FOR rt AS kafka_ts - {wait}",
    ]
    options = source_options(topic, settings, group=group, parallelism=parallelism, batch_fetches=batch_fetches)
    options |= {"value.format": FORMAT}
    if key:
        options |= {"key.format": "raw", "key.fields": "key_bytes", "value.fields-include": "EXCEPT_KEY"}
    return create_table(name, columns, options)


def raw_table(name: str, topic: Topic, settings: Settings, *, group: str) -> str:
    """Return DDL of a table of bytes with their address, for jobs that decode in Python."""
    columns = ["  line_bytes BYTES", "  topic STRING METADATA VIRTUAL", _ADDRESS]
    return create_table(name, columns, source_options(topic, settings, group=group) | {"value.format": "raw"})


def create_table(name: str, columns: list[str], options: Mapping[str, str], *, partitioned_by: str = "") -> str:
    """Return the text of a CREATE TEMPORARY TABLE."""
    listed = ",\n".join(columns)
    settings = ",\n".join(f"  '{key}' = '{value}'" for key, value in options.items())
    by = f" PARTITIONED BY ({partitioned_by})" if partitioned_by else ""
    return f"CREATE TEMPORARY TABLE `{name}` (\n{listed}\n){by} WITH (\n{settings}\n)"
