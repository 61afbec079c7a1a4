"""The cell query on given lines in DuckDB: cells, verdicts, segments, and the minutes' batches.

Runs the same SQL as Flink (features/cells/query.py) on files, with the same strict decoding of lines.
:mod:`jobs.replay.backfill` computes an archive's cells with it, :mod:`jobs.hosting.chain` its batches.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.cells import query as cells
from features.cells.lines import read_line, typed
from features.cells.query import DUCKDB, FACTS, GOOD, facts_sql
from features.segments.customers import SegmentSettings
from schemas.listings import bucket_of, group_key
from schemas.time_units import MINUTE_MS
from schemas.topics import INPUTS, TOPICS, Topic

Line = tuple[int, int, int, bytes | None]
"""Partition, offset, Kafka timestamp (ms), bytes."""
Lines = Mapping[str, Iterable[Line]]
"""Lines by topic (``pricing.…``)."""

RAW_COLUMNS = ("topic", "p", "o", "kafka_ts_ms", "line_bytes")
OUTPUTS = ("cells", "ledger", "rejected", "segments")
_ARROW = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
_ROWS, _STREAMED = 100_000, 5_000


class ArchiveError(FileNotFoundError):
    """A folder without Parquet files."""


def parquet_files(folder: Path) -> list[Path]:
    """Return the finished files of a Flink file sink, which have no extension.

    Hidden files and markers are left out.

    Raises
    ------
    ArchiveError
        If there is none.
    """
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    if not found:
        raise ArchiveError(f"{folder}: expected Parquet files written by demand_job, found none")
    return found


def raw_lines(archive: Path) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns topic, p, o, kafka_ts_ms, line_bytes of the raw archive, in pieces."""
    for path in parquet_files(archive / "raw"):
        # One file at a time: in a data set the hive folder names would clash with the columns.
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=list(RAW_COLUMNS)):
                yield batch.to_pydict()


class CellQuery:
    """A DuckDB connection with the views of features/cells/query.py over given lines.

    Parameters
    ----------
    lines : raw lines by topic.
    inputs : the input topics with this run's lateness.
    memory_days : days of a period in which customers' purchases are counted (``segments.memory_days``).

    Examples
    --------
    >>> line = b'{"event_time_ms": 1700000000000, "bucket": 3}'
    >>> backfill = CellQuery({"pricing.ticks.v1": [(0, 0, 1700000000000, line)]})
    >>> backfill.rows("ledger")[0]["ticks"]
    1
    """

    def __init__(
        self, lines: Lines, inputs: Sequence[Topic] = INPUTS, *, memory_days: int = SegmentSettings().memory_days
    ) -> None:
        self._memory_days = memory_days
        self._duck = duckdb.connect()
        for topic in inputs:
            _load(self._duck, topic, lines.get(topic.topic, ()))
        self._build(inputs)

    @classmethod
    def of_tables(
        cls,
        duck: duckdb.DuckDBPyConnection,
        inputs: Sequence[Topic] = INPUTS,
        *,
        memory_days: int = SegmentSettings().memory_days,
    ) -> CellQuery:
        """Return a query over a connection that holds every input's typed lines as tables ``lines_<topic>``.

        The tables are dropped once their lines are judged; their other columns remain in ``judged_<topic>``.
        """
        backfill = cls.__new__(cls)
        backfill._duck, backfill._memory_days = duck, memory_days
        backfill._build(inputs)
        for topic in inputs:
            duck.execute(f"DROP TABLE lines_{topic.name}")
        return backfill

    def _build(self, inputs: Sequence[Topic]) -> None:
        for topic in inputs:
            rt = DUCKDB.text(cells.rt_ms_sql(topic))
            self._duck.execute(f"CREATE VIEW in_{topic.name} AS SELECT *, {rt} AS rt FROM lines_{topic.name}")
        for name, text in cells.views(DUCKDB, inputs):
            # A table instead of a view where several views read the result, so that it is computed once.
            kind = "TABLE" if name.startswith("judged_") or name == "orders_first" else "VIEW"
            self._duck.execute(f"CREATE {kind} {name} AS {text}")

    @classmethod
    def of_archive(cls, archive: Path, inputs: Sequence[Topic] = INPUTS) -> CellQuery:
        """Return a query over ``<archive>/raw``, judged with the lateness of ``inputs``.

        Raises
        ------
        ArchiveError
            If the folder holds no Parquet file.
        """
        by_topic: dict[str, list[Line]] = {}
        for columns in raw_lines(archive):
            for topic, *line in zip(*(columns[name] for name in RAW_COLUMNS), strict=True):
                by_topic.setdefault(topic, []).append((line[0], line[1], line[2], line[3]))
        return cls(by_topic, inputs)

    def arrow(self, output: str) -> pa.Table:
        """Return one of ``OUTPUTS`` as an Arrow table."""
        return self._duck.sql(_query(output, self._memory_days)).to_arrow_table()

    def rows(self, output: str) -> list[dict[str, Any]]:
        """Return one of ``OUTPUTS`` as a list of records."""
        return self.arrow(output).to_pylist()

    def batches(self, buckets: int) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
        """Yield every batch as (window end, bucket, rows) in ascending order, as demand_job's second window groups
        them.

        A bucket has a batch in a minute in which it has cells, facts or a tick. Its rows are those of the
        ``cells`` topic, in any order (:func:`features.bucket_logic.parse_batch` sorts them).
        """
        of_group: dict[tuple[str, str, str], int] = {}

        def bucket(row: Mapping[str, Any]) -> int:
            group = (row["tenant"], row["market"], row["price_group"])
            found = of_group.get(group)
            if found is None:
                found = of_group[group] = bucket_of(group_key(*group), buckets)
            return found

        def placed(kind: str, text: str) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
            for row in self._stream(text):
                yield row.pop("window_end_ms"), bucket(row), {"kind": kind, **row}

        sources = [placed("cell", _query("cells", self._memory_days))]
        for name in FACTS:
            fields = ", ".join(f"`{check.field}`" for check in TOPICS[name].checks)
            text = f"SELECT {_MINUTE_END} AS window_end_ms, p, o, {fields} {facts_sql(name, buckets)}"
            sources.append(placed(name, DUCKDB.text(f"{text} ORDER BY 1, 2, 3")))
        ticks = (
            f"SELECT DISTINCT {_MINUTE_END} AS window_end_ms, bucket FROM judged_ticks "
            f"WHERE verdict = 'TICK' AND bucket >= 0 AND bucket < {buckets} ORDER BY ALL"
        )
        sources.append((row["window_end_ms"], row["bucket"], None) for row in self._stream(ticks))
        for window, rows in groupby(heapq.merge(*sources, key=itemgetter(0)), key=itemgetter(0)):
            found: dict[int, list[dict[str, Any]]] = {}
            for _, number, row in rows:
                of_bucket = found.setdefault(number, [])
                if row is not None:
                    of_bucket.append(row)
            for number, of_bucket in sorted(found.items()):
                yield window, number, of_bucket

    def _stream(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield a query's records, a few thousand in memory at a time."""
        cursor = self._duck.cursor().execute(text)
        names = [column[0] for column in cursor.description or []]
        while rows := cursor.fetchmany(_STREAMED):
            for row in rows:
                yield dict(zip(names, row, strict=True))

    def facts(self, name: str) -> Iterator[FactLine]:
        """Yield the valid lines of an input in order of arrival, as repricing_job processes them."""
        text = (
            f"SELECT kafka_ts_ms, p, o, {_MINUTE_END}, line_bytes FROM judged_{name} WHERE {GOOD} ORDER BY 1, 2, 3"
        )
        cursor = self._duck.cursor().execute(text)
        while rows := cursor.fetchmany(_STREAMED):
            for row in rows:
                yield FactLine(name, *row)


class FactLine(NamedTuple):
    """A fact's line: arrival time, address, end of the minute in which it counts, bytes."""

    stream: str
    kafka_ts_ms: int
    partition: int
    offset: int
    window_end_ms: int
    line: bytes

    @property
    def address(self) -> str:
        """Stream, partition and offset, which name and order a fact."""
        return f"{self.stream}-{self.partition}-{self.offset}"


_MINUTE_END = f"rt - rt % {MINUTE_MS} + {MINUTE_MS}"


def _query(output: str, memory_days: int) -> str:
    match output:
        case "cells":
            names = ", ".join(("window_end_ms", *cells.GROUP, *(f'"{name}"' for name in cells.COUNTS)))
            return f"SELECT {names} FROM cells ORDER BY ALL"
        case "ledger":
            return (
                "SELECT topic, p AS partition, window_end_ms, "
                "CAST(offsets_read AS BIGINT) AS offsets_read, on_time, late, rejected, ticks "
                f"FROM ({cells.ledger_sql(DUCKDB)}) ORDER BY ALL"
            )
        case "rejected":
            return (
                'SELECT topic, p AS partition, o AS "offset", kafka_ts_ms, '
                "split_part(verdict, '|', 1) AS field, split_part(verdict, '|', 2) AS code, "
                "split_part(verdict, '|', 3) AS detail, line_bytes "
                "FROM refused ORDER BY topic, p, o"
            )
        case "segments":
            return (
                "SELECT tenant, customer, purchases, CAST(above_offer AS BIGINT) AS above_offer, event_time_ms "
                f"FROM ({cells.segments_sql(DUCKDB, memory_days)}) ORDER BY ALL"
            )
    raise ValueError(f"expected one of {', '.join(OUTPUTS)}, got {output!r}")


def _load(duck: duckdb.DuckDBPyConnection, topic: Topic, lines: Iterable[Line]) -> None:
    """Create ``lines_<topic>`` with typed lines."""
    fields = {check.field: check.type for check in topic.checks} | {"tick": "BOOLEAN"}
    schema = pa.schema(
        [
            *((name, _ARROW[type_]) for name, type_ in fields.items()),
            ("line_verdict", pa.string()),
            ("line_bytes", pa.binary()),
            ("p", pa.int32()),
            ("o", pa.int64()),
            ("kafka_ts_ms", pa.int64()),
        ]
    )

    def batches() -> Iterator[pa.RecordBatch]:
        columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        for p, o, kafka_ts_ms, line in lines:
            verdict, record = read_line(line)
            for name, type_ in fields.items():
                columns[name].append(typed(record.get(name), type_))
            for name, value in (("line_verdict", verdict), ("line_bytes", line), ("p", p), ("o", o),
                                ("kafka_ts_ms", kafka_ts_ms)):  # fmt: skip
                columns[name].append(value)
            if len(columns["p"]) >= _ROWS:
                yield pa.RecordBatch.from_pydict(columns, schema)
                columns = {name: [] for name in schema.names}
        yield pa.RecordBatch.from_pydict(columns, schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    duck.register("arriving", reader)
    duck.execute(f"CREATE TABLE lines_{topic.name} AS SELECT * FROM arriving")
    duck.unregister("arriving")
