"""Backfill: the cells, verdicts and segments of an archive of raw lines, by the same SQL in DuckDB.

    python -m jobs.backfill --archive .walras/archive --out cells/

reads ``<archive>/raw`` (what demand_job archived, or any Parquet files with its columns), decodes every line as
strictly as the stream did, runs features/cells.py in DuckDB and writes ``cells.parquet``, ``ledger.parquet``,
``rejected.parquet`` and ``segments.parquet``. Flink is not needed. With ``--check`` the cells are compared
with the archive of the stream's own batches; the exit code counts the differences (at most 100).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features import cells
from features.cells import DUCKDB
from features.lines import read_line, typed
from schemas.events import Cell
from schemas.topics import INPUTS, Topic

RAW_COLUMNS = ("topic", "p", "o", "kafka_ts_ms", "line_bytes")
OUTPUTS = ("cells", "ledger", "rejected", "segments")
_ARROW = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
_ROWS = 100_000


class ArchiveError(FileNotFoundError):
    """A folder in which there is nothing to read."""


def parquet_files(folder: Path) -> list[Path]:
    """Finished files of a Flink file sink: no hidden ones, no markers; they carry no extension."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    if not found:
        raise ArchiveError(f"{folder}: expected Parquet files written by demand_job, found none")
    return found


def raw_lines(archive: Path) -> Iterator[dict[str, list[Any]]]:
    """Columns of the raw archive in pieces: topic, p, o, kafka_ts_ms, line_bytes."""
    for path in parquet_files(archive / "raw"):
        # One file at a time: hive folder names would clash with the columns of a data set.
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=list(RAW_COLUMNS)):
                yield batch.to_pydict()


class Backfill:
    """A DuckDB connection with the views of features/cells.py over given lines.

    Examples
    --------
    >>> line = b'{"event_time_ms": 1700000000000, "bucket": 3}'
    >>> backfill = Backfill({"pricing.ticks.v1": [(0, 0, 1700000000000, line)]})
    >>> backfill.rows("ledger")[0]["ticks"]
    1
    """

    def __init__(self, lines: Mapping[str, Iterable[tuple[int, int, int, bytes | None]]]) -> None:
        self._duck = duckdb.connect()
        for topic in INPUTS:
            _load(self._duck, topic, lines.get(topic.topic, ()))
            rt = DUCKDB.text(cells.rt_ms_sql(topic))
            self._duck.execute(f"CREATE VIEW in_{topic.name} AS SELECT *, {rt} AS rt FROM lines_{topic.name}")
        for name, text in cells.views(DUCKDB):
            # A table where the stream shares a view too: what is read twice is computed once.
            kind = "TABLE" if name.startswith("judged_") or name == "orders_first" else "VIEW"
            self._duck.execute(f"CREATE {kind} {name} AS {text}")

    @classmethod
    def of_archive(cls, archive: Path) -> Backfill:
        """Over ``<archive>/raw``.

        Raises
        ------
        ArchiveError
            If there is nothing.
        """
        by_topic: dict[str, list[tuple[int, int, int, bytes | None]]] = {}
        for columns in raw_lines(archive):
            for topic, *line in zip(*(columns[name] for name in RAW_COLUMNS), strict=True):
                by_topic.setdefault(topic, []).append((line[0], line[1], line[2], line[3]))
        return cls(by_topic)

    def arrow(self, output: str) -> pa.Table:
        """One of ``OUTPUTS``."""
        return self._duck.sql(_query(output)).to_arrow_table()

    def rows(self, output: str) -> list[dict[str, Any]]:
        """One of ``OUTPUTS`` as a list of records."""
        return self.arrow(output).to_pylist()


def _query(output: str) -> str:
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
                f"FROM ({cells.segments_sql(DUCKDB)}) ORDER BY ALL"
            )
    raise ValueError(f"expected one of {', '.join(OUTPUTS)}, got {output!r}")


def _load(
    duck: duckdb.DuckDBPyConnection, topic: Topic, lines: Iterable[tuple[int, int, int, bytes | None]]
) -> None:
    """Fill ``lines_<topic>`` with typed lines."""
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


_CELL = tuple(Cell.__dataclass_fields__)


def stream_cells(batches: Iterable[bytes | str]) -> dict[tuple[int, int], list[tuple[Any, ...]]]:
    """Cells of the stream's batches by (bucket, window end); a repeated batch counts once.

    Raises
    ------
    ValueError
        If two batches of the same bucket and minute differ: then the stream did not give the same answer twice.
    """
    found: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for value in batches:
        batch = orjson.loads(value)
        key = (batch["bucket"], batch["window_end_ms"])
        rows = sorted(tuple(row[name] for name in _CELL) for row in batch["rows"] if row["kind"] == "cell")
        if found.setdefault(key, rows) != rows:
            raise ValueError(f"bucket {key[0]}, minute ending {key[1]}: two batches that differ")
    return found


def compare(stream: Iterable[bytes | str], backfill: Backfill, *, until_ms: int | None = None) -> list[str]:
    """Differences between the stream's batches and a backfill, in words; empty when every cell is equal.

    Parameters
    ----------
    stream : values of the cells topic, or of its archive.
    until_ms : last window end to compare; default: the last that the stream has closed.
    """
    batches = stream_cells(stream)
    last = until_ms if until_ms is not None else max((window for _, window in batches), default=0)
    of_stream = {(w, *row) for (_, w), rows in batches.items() for row in rows if w <= last}
    of_backfill = {
        (row["window_end_ms"], *(row[name] for name in _CELL))
        for row in backfill.rows("cells")
        if row["window_end_ms"] <= last
    }
    words = [f"only in the stream: {row}" for row in sorted(of_stream - of_backfill)]
    return words + [f"only in the backfill: {row}" for row in sorted(of_backfill - of_stream)]


def archived_batches(archive: Path) -> Iterator[str]:
    """Values of ``<archive>/cells``."""
    for path in parquet_files(archive / "cells"):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["v"]):
                yield from batch.column("v").to_pylist()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; answers the number of differences found with ``--check``."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.backfill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, required=True, help="folder with raw/ (and cells/ for --check)")
    parser.add_argument("--out", type=Path, help="folder for the four Parquet files; made if missing")
    parser.add_argument("--check", action="store_true", help="compare with the archived batches of the stream")
    args = parser.parse_args(argv)
    backfill = Backfill.of_archive(args.archive)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for output in OUTPUTS:
            table = backfill.arrow(output)
            pq.write_table(table, args.out / f"{output}.parquet")
            print(f"{output}: {table.num_rows} rows")
    if not args.check:
        return 0
    differences = compare(archived_batches(args.archive), backfill)
    print("\n".join(differences[:20]) or "every cell is equal")
    return min(len(differences), 100)


if __name__ == "__main__":
    sys.exit(main())
