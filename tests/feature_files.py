"""Feature rows as Parquet files, in the columns of Feast's offline store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.registry import EVENT_TIMESTAMP, KEY
from jobs.connectors.feast.features import PARQUET_COLUMNS

TYPES = {"STRING": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "TIMESTAMP_MS": pa.timestamp("ms")}
SCHEMA = pa.schema([pa.field(name, TYPES[kind]) for name, kind in PARQUET_COLUMNS])


def write_feature_rows(values: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write ``features`` values as one Parquet file; event times are naive UTC, as Flink's sink writes them."""
    rows = [
        (
            value[KEY],
            datetime.fromtimestamp(value[EVENT_TIMESTAMP] / 1000, UTC).replace(tzinfo=None),
            *(value[name] for name, _ in PARQUET_COLUMNS[2:]),
        )
        for value in values
    ]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path)
