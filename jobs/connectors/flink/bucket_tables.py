"""What goes into a hosted logic and where its outputs go, as tables of Flink.

Rows for a host are ``(key, kind, address, payload)``. Batches and estimates are read
as text, since only Python looks into them; the bucket of a fact is computed where it is decoded. A
logic's outputs leave through one statement a stream, each to its own topic, keyed by the output's
key and stamped with its event time.
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
"""Wall seconds for which a bucket's estimates gather among very many listings; a period's end takes as long."""
ROW_COLUMNS = ("key", "kind", "address", "payload")
"""Of what goes into a host, each a text."""
_ADDRESS = "'{name}-' || CAST(p AS STRING) || '-' || CAST(o AS STRING)"


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which facts go ahead of the minute's batch, for a topic whose records that batch brings in any case.

    Parameters
    ----------
    subject : the columns (SQL) that name a fact's subject.
    says : texts (SQL): only a fact that says something else than the one before it of its subject goes ahead.
    """

    subject: str
    compared: str


def text_source(table_env: StreamTableEnvironment, job: str, name: str, settings: Settings) -> str:
    """Declare a topic as keyed text: columns ``k``, ``v``, ``address``; answers the table's name."""
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
    """Query of the `cells` batches as rows for a host.

    With ``at_least``, blanks behind a batch make it that many characters long. Flink takes one buffer of each
    input in turn: of a quiet minute's batches, a hundred bytes each, it holds all, and a fact waits for all.
    """
    table = text_source(table_env, job, "cells", settings)
    payload = f"CASE WHEN CHAR_LENGTH(v) < {at_least} THEN RPAD(v, {at_least}, ' ') ELSE v END"
    return f"SELECT k AS `key`, 'batch' AS kind, address, {payload if at_least else 'v'} AS payload FROM {table}"


def estimate_rows(table_env: StreamTableEnvironment, job: str, settings: Settings) -> str:
    """Query of the estimates as facts for the buckets of their listings, in packets.

    They come in bursts when a period closes, category by category, and nobody waits for them: in packets of a
    second, and of :data:`SLOW_ESTIMATE_BUFFER_S` where a worker cannot keep all of its buckets and would read and
    write each of them for each category.
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
    """Query of the same facts, but all of one kind that a bucket gets within some wall seconds as one row.

    A packet costs one call and one commit, and where a bucket's object is not kept, one reading. It is a list of
    address and record, which are taken one by one; or with ``as_one`` a single record ``{"rows": [...]}``, for a
    logic whose answer to many costs as much as to one.
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
    """Query of an input's good records as facts, judged by the same predicates as demand_job's.

    A record with a price group goes to its bucket; one without (calendar, commands) to every bucket. With
    ``changes`` only what is new; of that, with ``within_s``, only what was read within so many wall seconds of its
    Kafka time.
    """
    topic = TOPICS[name]
    table_env.execute_sql(lines_table(f"in_{name}", topic, settings, group=job))
    payload = f"{_ADDRESS.format(name=name)} AS address, DECODE(line_bytes, 'UTF-8') AS payload"
    judged = f"(SELECT *, {verdict_sql(topic)} AS verdict FROM in_{name})"
    facts = f"(SELECT * FROM {judged} WHERE {GOOD})"
    if changes is not None:
        fresh = "TRUE" if within_s is None else f"kafka_ts_ms >= {_ago_sql(settings.run_clock, within_s)}"
        facts = _news_sql(changes, facts, fresh)
    if any(check.field == "price_group" for check in topic.checks):
        key = f"CAST({bucket_sql(GROUP_KEY_SQL, settings.buckets)} AS STRING)"
        return f"SELECT {key} AS `key`, '{name}' AS kind, {payload} FROM {facts}"
    buckets = ",".join(map(str, range(settings.buckets)))
    return (
        f"SELECT bucket AS `key`, '{name}' AS kind, {payload} FROM {facts} "
        f"CROSS JOIN UNNEST(SPLIT('{buckets}', ',')) AS each_bucket (bucket)"
    )


def _news_sql(changes: ChangeFilter, facts: str, fresh: str) -> str:
    """Query of the fresh facts that are changes.

    A scrape brings every offer again, changed or not: most of its burst would go before what did change, and
    among very many listings have buckets read and written, for nothing.
    """
    told = f"SELECT *, PROCTIME() AS arrived, CONCAT_WS('/', {changes.compared}) AS says FROM {facts}"
    before = f"SELECT *, LAG(says) OVER (PARTITION BY {changes.subject} ORDER BY arrived) AS said FROM ({told})"
    return f"(SELECT * FROM ({before}) WHERE {fresh} AND says IS DISTINCT FROM said)"


def _ago_sql(clock: Clock, seconds: int) -> str:
    """SQL of what the run's clock showed some wall seconds ago, as epoch milliseconds.

    >>> _ago_sql(Clock(5_000, 7_000, 60), 2)
    '(5000 + (UNIX_TIMESTAMP() * 1000 - 7000 - 2000) * 60)'
    """
    since = f"UNIX_TIMESTAMP() * 1000 - {clock.wall_start_ms} - {seconds * 1000}"
    return f"({clock.start_ms} + ({since}) * {clock.speed:g})"


def union_rows(table_env: StreamTableEnvironment, queries: Iterable[str]) -> DataStream:
    """The union of queries as a stream of rows for a host."""
    return table_env.to_data_stream(table_env.sql_query(" UNION ALL ".join(queries)))


def separate_rows(table_env: StreamTableEnvironment, queries: Iterable[str]) -> list[DataStream]:
    """Return each query's rows as a stream of its own, for :func:`.bucket_function.union_keyed_streams`."""
    # Streams meet only if their types are the same to the letter: every column a STRING that may be NULL.
    columns = ", ".join(f"NULLIF(CAST(`{name}` AS STRING), '-') AS `{name}`" for name in ROW_COLUMNS)
    return [table_env.to_data_stream(table_env.sql_query(f"SELECT {columns} FROM ({query})")) for query in queries]


def output_view(table_env: StreamTableEnvironment, outputs: DataStream, view: str) -> str:
    """Name a host's outputs, so that statements can take from them; answers the name."""
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
    """One statement a stream from a host's outputs to the stream's topic; quarantined records always."""
    for stream in (*streams, QUARANTINE):
        if f"out_{stream}" not in table_env.list_temporary_tables():
            table_env.execute_sql(text_sink(f"out_{stream}", TOPICS[stream], settings))
        statements.add_insert_sql(
            f"INSERT INTO out_{stream} SELECT `key`, `value`, TO_TIMESTAMP_LTZ(event_time_ms, 3) "
            f"FROM {view} WHERE `stream` = '{stream}'"
        )
