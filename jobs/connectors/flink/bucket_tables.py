"""Inputs and outputs of a hosted logic as Flink tables.

Rows for a host are ``(key, kind, address, payload)``. Batches and estimates are read as text, because only Python
parses them. The bucket of a fact is computed in SQL, where its line is decoded. A logic's outputs leave through
one INSERT per stream, each into the stream's topic, with the output's key and its event time as the record's
timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyflink.datastream import DataStream
from pyflink.table import Schema, StatementSet, StreamTableEnvironment

from features.cells.query import GOOD, GROUP_KEY_SQL, bucket_sql, verdict_sql
from jobs.connectors.flink.sinks import text_sink
from jobs.connectors.flink.sources import create_table, lines_table, source_options
from jobs.hosting.containment import QUARANTINE
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS

SLOW_ESTIMATE_BUFFER_S = 30
"""Wall seconds for which a bucket's estimates are buffered when a worker cannot keep all its buckets in memory.

The estimates of a period take about as long to arrive.
"""
ROW_COLUMNS = ("key", "kind", "address", "payload")
"""Columns of a host's input rows, each a text."""
_ADDRESS = "'{name}-' || CAST(p AS STRING) || '-' || CAST(o AS STRING)"


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which facts are sent ahead of their minute's batch: those that differ from their subject's previous fact.

    For topics whose records the batch contains in any case.

    Parameters
    ----------
    subject : columns (SQL) that identify a fact's subject.
    compared : texts (SQL); a fact is sent ahead if they differ from those of its subject's previous fact.
    """

    subject: str
    compared: str


def text_source(table_env: StreamTableEnvironment, job: str, name: str, settings: Settings) -> str:
    """Declare a topic as keyed text with columns ``k``, ``v``, ``address``; return the table's name."""
    table = f"{name}_text"
    columns = [
        "k STRING",
        "v STRING",
        "p INT METADATA FROM 'partition' VIRTUAL",
        "o BIGINT METADATA FROM 'offset' VIRTUAL",
        f"address AS {_ADDRESS.format(name=name)}",
    ]
    options = source_options(TOPICS[name], settings, group=job) | {
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    table_env.execute_sql(create_table(table, columns, options))
    return table


def batch_rows(table_env: StreamTableEnvironment, job: str, settings: Settings, *, at_least: int = 0) -> str:
    """Return the query of the `cells` batches as rows for a host.

    With ``at_least``, a batch is padded with blanks to that many characters. Flink takes one network buffer of
    each input in turn. A buffer would hold all batches of a quiet minute, about a hundred bytes each, and a fact
    would wait for all of them.
    """
    table = text_source(table_env, job, "cells", settings)
    payload = f"CASE WHEN CHAR_LENGTH(v) < {at_least} THEN RPAD(v, {at_least}, ' ') ELSE v END"
    return f"SELECT k AS `key`, 'batch' AS kind, address, {payload if at_least else 'v'} AS payload FROM {table}"


def estimate_rows(table_env: StreamTableEnvironment, job: str, settings: Settings) -> str:
    """Return the query of the estimates as facts for the buckets of their listings, buffered into lists.

    Estimates arrive in bursts when a period closes, category by category, and are not urgent. They are buffered
    for a second, or for :data:`SLOW_ESTIMATE_BUFFER_S` where a worker cannot keep all its buckets in memory and
    would restore and save each of them once per category.
    """
    table = text_source(table_env, job, "estimates", settings)
    group = " || '/' || ".join(f"JSON_VALUE(v, '$.{field}')" for field in ("tenant", "market", "price_group"))
    rows = (
        f"SELECT CAST({bucket_sql(group, settings.buckets)} AS STRING) AS `key`, 'estimates' AS kind, "
        f"'' AS address, v AS payload FROM {table} WHERE v IS NOT NULL"
    )
    return buffer_facts(
        table_env, "estimates", rows, seconds=1 if settings.all_buckets_live else SLOW_ESTIMATE_BUFFER_S
    )


def buffer_facts(
    table_env: StreamTableEnvironment, name: str, rows: str, *, seconds: float, as_one: bool = False
) -> str:
    """Return a query of the same facts, with all facts of one kind, bucket and time window in one row.

    The window is tumbling, of so many wall seconds. A row of several facts costs one call and one state update,
    and one restore if the bucket's object was evicted. Its payload is a list of address and record, processed one
    by one; with ``as_one`` it is a single record ``{"rows": [...]}``, for a logic whose cost does not depend on
    the number of rows.
    """
    table_env.execute_sql(f"CREATE TEMPORARY VIEW arrived_{name} AS SELECT *, PROCTIME() AS arrived FROM ({rows})")
    one = "payload" if as_one else "'[\"' || address || '\",' || payload || ']'"
    first, last = ('{"rows":[', "]}") if as_one else ("[", "]")
    return (
        f"SELECT `key`, kind, '' AS address, '{first}' || LISTAGG({one}, ',') || '{last}' AS payload "
        f"FROM TABLE(TUMBLE(TABLE arrived_{name}, DESCRIPTOR(arrived), INTERVAL '{seconds:g}' SECOND)) "
        "GROUP BY `key`, kind, window_start, window_end"
    )


def fact_rows(
    table_env: StreamTableEnvironment,
    job: str,
    name: str,
    settings: Settings,
    *,
    changes: ChangeFilter | None = None,
    within_s: int | None = None,
) -> str:
    """Return the query of an input's valid records as facts, judged by the same predicates as in demand_job.

    A record with a price group goes to its bucket; one without (calendar, commands) to every bucket.

    Parameters
    ----------
    changes : send only facts that differ from their subject's previous one; None: all.
    within_s : with ``changes``, send only facts that were read within so many wall seconds of their Kafka
        timestamp; None: all.
    """
    topic = TOPICS[name]
    table_env.execute_sql(lines_table(f"in_{name}", topic, settings, group=job))
    payload = f"{_ADDRESS.format(name=name)} AS address, DECODE(line_bytes, 'UTF-8') AS payload"
    judged = f"(SELECT *, {verdict_sql(topic)} AS verdict FROM in_{name})"
    facts = f"(SELECT * FROM {judged} WHERE {GOOD})"
    if changes is not None:
        fresh = "TRUE" if within_s is None else f"kafka_ts_ms >= {_run_time_ago_sql(settings.run_clock, within_s)}"
        facts = _changes_sql(changes, facts, fresh)
    if any(check.field == "price_group" for check in topic.checks):
        key = f"CAST({bucket_sql(GROUP_KEY_SQL, settings.buckets)} AS STRING)"
        return f"SELECT {key} AS `key`, '{name}' AS kind, {payload} FROM {facts}"
    buckets = ",".join(map(str, range(settings.buckets)))
    return (
        f"SELECT bucket AS `key`, '{name}' AS kind, {payload} FROM {facts} "
        f"CROSS JOIN UNNEST(SPLIT('{buckets}', ',')) AS each_bucket (bucket)"
    )


def _changes_sql(changes: ChangeFilter, facts: str, fresh: str) -> str:
    """Return the query of the fresh facts that differ from their subject's previous fact.

    A scrape repeats every offer, changed or not. Without the filter the unchanged offers of its burst would be
    processed before the changed ones, and where buckets are evicted each of them would cost a restore and a save.
    """
    timed = f"SELECT *, PROCTIME() AS arrived, CONCAT_WS('/', {changes.compared}) AS says FROM {facts}"
    previous = f"SELECT *, LAG(says) OVER (PARTITION BY {changes.subject} ORDER BY arrived) AS said FROM ({timed})"
    return f"(SELECT * FROM ({previous}) WHERE {fresh} AND says IS DISTINCT FROM said)"


def _run_time_ago_sql(clock: Clock, seconds: int) -> str:
    """Return SQL of the run's time some wall seconds ago, epoch milliseconds.

    >>> _run_time_ago_sql(Clock(5_000, 7_000, 60), 2)
    '(5000 + (UNIX_TIMESTAMP() * 1000 - 7000 - 2000) * 60)'
    """
    since = f"UNIX_TIMESTAMP() * 1000 - {clock.wall_start_ms} - {seconds * 1000}"
    return f"({clock.start_ms} + ({since}) * {clock.speed:g})"


def union_rows(table_env: StreamTableEnvironment, queries: Iterable[str]) -> DataStream:
    """Return the union of queries as a stream of rows for a host."""
    return table_env.to_data_stream(table_env.sql_query(" UNION ALL ".join(queries)))


def separate_rows(table_env: StreamTableEnvironment, queries: Iterable[str]) -> list[DataStream]:
    """Return each query's rows as a stream of its own, for :func:`.bucket_function.union_keyed_streams`."""
    # A union needs identical types: every column is a nullable STRING.
    columns = ", ".join(f"NULLIF(CAST(`{name}` AS STRING), '-') AS `{name}`" for name in ROW_COLUMNS)
    return [table_env.to_data_stream(table_env.sql_query(f"SELECT {columns} FROM ({query})")) for query in queries]


def output_view(table_env: StreamTableEnvironment, outputs: DataStream, view: str) -> str:
    """Declare a view of a host's outputs, from which statements can select; return its name."""
    schema = Schema.new_builder()
    for column in ("stream", "key", "value"):
        schema.column(column, "STRING")
    schema.column("event_time_ms", "BIGINT")
    table_env.create_temporary_view(view, table_env.from_data_stream(outputs, schema.build()))
    return view


def outputs_to_topics(
    statements: StatementSet,
    table_env: StreamTableEnvironment,
    view: str,
    streams: Iterable[str],
    settings: Settings,
) -> None:
    """Add an INSERT per stream from a host's outputs into the stream's topic.

    Quarantine records are always included.
    """
    for stream in (*streams, QUARANTINE):
        if f"out_{stream}" not in table_env.list_temporary_tables():
            table_env.execute_sql(text_sink(f"out_{stream}", TOPICS[stream], settings))
        statements.add_insert_sql(
            f"INSERT INTO out_{stream} SELECT `key`, `value`, TO_TIMESTAMP_LTZ(event_time_ms, 3) "
            f"FROM {view} WHERE `stream` = '{stream}'"
        )
