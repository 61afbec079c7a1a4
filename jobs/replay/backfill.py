"""Backfill: compute the cells, verdicts and segments of an archive of raw lines with DuckDB.

    python -m jobs.replay.backfill --archive .walras/archive --out cells/

reads ``<archive>/raw`` (written by demand_job, or any Parquet files with its columns), decodes every line as
strictly as the stream, runs the same cell query in DuckDB and writes ``cells.parquet``, ``ledger.parquet``,
``rejected.parquet`` and ``segments.parquet``. Flink is not needed. With ``--check`` the cells are compared with
the archive of the stream's own batches; the exit code is the number of differences (at most 100).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from jobs.hosting.cell_query import OUTPUTS, ArchiveError, CellQuery, parquet_files, raw_lines
from jobs.runtime.settings import Settings
from schemas.records.counts import Cell

__all__ = ["ArchiveError", "CellQuery", "archived_batches", "compare", "main", "raw_lines", "stream_cells"]

_CELL = tuple(Cell.__dataclass_fields__)


def stream_cells(batches: Iterable[bytes | str]) -> dict[tuple[int, int], list[tuple[Any, ...]]]:
    """Return the cells of the stream's batches by (bucket, window end); a repeated batch counts once.

    Raises
    ------
    ValueError
        If two batches of the same bucket and minute differ.
    """
    found: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for value in batches:
        batch = orjson.loads(value)
        key = (batch["bucket"], batch["window_end_ms"])
        rows = sorted(tuple(row[name] for name in _CELL) for row in batch["rows"] if row["kind"] == "cell")
        if found.setdefault(key, rows) != rows:
            raise ValueError(f"bucket {key[0]}, minute ending {key[1]}: two batches that differ")
    return found


def compare(stream: Iterable[bytes | str], backfill: CellQuery, *, until_ms: int | None = None) -> list[str]:
    """Return the differences between the stream's batches and a backfill in words; empty if all cells are equal.

    Parameters
    ----------
    stream : values of the cells topic, or of its archive.
    backfill : the backfill.
    until_ms : last window end to compare; None: the last that the stream has closed.
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
    """Yield the values of ``<archive>/cells``."""
    for path in parquet_files(archive / "cells"):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["v"]):
                yield from batch.column("v").to_pylist()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the number of differences found with ``--check``."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.replay.backfill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--archive", type=Path, required=True, help="folder with raw/ (and cells/ for --check)")
    parser.add_argument("--out", type=Path, help="folder for the four Parquet files; created if missing")
    parser.add_argument("--check", action="store_true", help="compare with the archived batches of the stream")
    args = parser.parse_args(argv)
    backfill = CellQuery.of_archive(args.archive, Settings.load().inputs)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for output in OUTPUTS:
            table = backfill.arrow(output)
            pq.write_table(table, args.out / f"{output}.parquet")
            print(f"{output}: {table.num_rows} rows")
    if not args.check:
        return 0
    differences = compare(archived_batches(args.archive), backfill)
    print("\n".join(differences[:20]) or "all cells are equal")
    return min(len(differences), 100)


if __name__ == "__main__":
    sys.exit(main())
