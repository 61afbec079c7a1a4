"""Outputs of a run as Parquet files, one per stream, written while the run goes on."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.registry import FEATURES
from jobs.replay.records import Refused
from schemas.records.counts import Cell
from schemas.topics import TOPICS

STREAMS = (
    "cells",
    "features",
    "estimates",
    "models",
    "drift",
    "evidence",
    "decisions",
    "tables",
    "policies",
    "policy_changes",
    "rejected_cells",
)
"""Streams of which a run in one process has outputs."""
_ROWS, _TEXT = 20_000, 8_000_000
"""Rows, and characters of JSON, after which a row group ends."""
_PLAIN = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
_OF_FEATURE = {"int": pa.int64(), "float": pa.float64(), "string": pa.string()}


class OutputFolderError(ValueError):
    """A folder that cannot take a run's outputs."""


class ParquetOutputs:
    """Writes ``<folder>/<stream>.parquet`` for every output stream, and ``refused.parquet``.

    Each field of a record is a column of its type; a nested field (a decision's inputs) is JSON text. ``cells``
    has a row per cell. A file is complete after :meth:`close`; a stream without outputs gets a file without rows.

    Parameters
    ----------
    folder : created if missing; must hold no Parquet file, so that the files of two runs are not mixed.

    Raises
    ------
    OutputFolderError
        If it holds one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if found := sorted(folder.glob("*.parquet")):
            raise OutputFolderError(
                f"{folder}: expected an empty or new folder, found {found[0].name}; name another"
            )
        self.folder = folder
        self._files = {name: _File(folder / f"{name}.parquet", _schema(name)) for name in (*STREAMS, "refused")}

    def write(self, stream: str, value: Mapping[str, Any]) -> None:
        """Write one output; streams internal to a job (``sums``) are skipped."""
        if stream == "cells":
            for row in value["rows"]:
                if row["kind"] == "cell":
                    placed = {"window_end_ms": value["window_end_ms"], "bucket": value["bucket"]}
                    self._files[stream].write(placed | row)
        elif stream in self._files:
            self._files[stream].write(value)

    def refuse(self, refusal: Refused) -> None:
        """Write a refused row to ``refused.parquet``."""
        self._files["refused"].write(refusal._asdict())

    def close(self) -> None:
        """Finish every file."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> ParquetOutputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _File:
    """One Parquet file, written in row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._nested = {field.name for field in schema if (field.metadata or {}).get(b"json")}
        self._empty()

    def _empty(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._rows = self._text = 0

    def write(self, value: Mapping[str, Any]) -> None:
        for name, column in self._columns.items():
            item = value.get(name)
            if name in self._nested and item is not None:
                item = orjson.dumps(item, option=orjson.OPT_SERIALIZE_NUMPY).decode()
                self._text += len(item)
            column.append(item)
        self._rows += 1
        if self._rows >= _ROWS or self._text >= _TEXT:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pydict(self._columns, self._schema))
        self._empty()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


def _schema(stream: str) -> pa.Schema:
    if stream == "refused":
        record: type = Refused
    elif stream == "cells":
        record = Cell
    else:
        record = TOPICS[stream].record
    fields = [_field(name, hint) for name, hint in get_type_hints(record).items()]
    if stream == "cells":
        fields = [pa.field("window_end_ms", pa.int64()), pa.field("bucket", pa.int64()), *fields]
    if stream == "features":
        fields += [pa.field(spec.public, _OF_FEATURE[spec.dtype]) for spec in FEATURES]
    return pa.schema(fields)


def _field(name: str, hint: Any) -> pa.Field:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if hint in _PLAIN:
        return pa.field(name, _PLAIN[hint])
    return pa.field(name, pa.string(), metadata={"json": "true"})
