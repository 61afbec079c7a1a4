"""A line read as strictly as demand_job reads it: bytes in, verdict and fields out.

Why: Flink reads lines with the format ``walras-line`` (jobs/connectors/flink/java/LineFormat.java). A backfill,
and a job that reads a topic raw, must come to the same verdict on every byte; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from schemas.codes import RejectCode
from schemas.topics import MAX_LINE_BYTES, Topic

MAX_DEPTH = 64
"""Deepest nesting of objects and arrays."""


def read_line(line: bytes | None) -> tuple[str | None, dict[str, Any]]:
    """Verdict on a line (None: fine) and its top-level fields, of whatever type they are.

    The line must be there, hold at most ``MAX_LINE_BYTES``, be valid UTF-8 and be one JSON object of
    depth ≤ 64 with nothing after it. The last of equal keys counts. A tombstone is no object: what
    leaves the catalog says ``active: false``.

    Examples
    --------
    >>> read_line(b'{"a": 1}')
    (None, {'a': 1})
    >>> read_line(b'[1]')[0], read_line(b'{"a": "\\xff"}')[0], read_line(b'{"a": NaN}')[0]
    ('NOT_JSON_OBJECT', 'INVALID_UTF8', 'NOT_JSON_OBJECT')
    """
    if line is None:
        return RejectCode.NOT_JSON_OBJECT.value, {}
    if len(line) > MAX_LINE_BYTES:
        return RejectCode.TOO_LARGE.value, {}
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return RejectCode.INVALID_UTF8.value, {}
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return RejectCode.NOT_JSON_OBJECT.value, {}
    deep = line.count(b"{") + line.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH
    if not isinstance(value, dict) or deep:
        return RejectCode.NOT_JSON_OBJECT.value, {}
    return None, value


def typed(value: Any, type_: str) -> Any:
    """The value as a column of that type, None if it is of another type: a string is no number, 1.0 no integer.

    >>> typed("5", "BIGINT"), typed(5.0, "BIGINT"), typed(5, "DOUBLE"), typed(True, "BIGINT")
    (None, None, 5.0, None)
    """
    match type_:
        case "STRING":
            return value if isinstance(value, str) else None
        case "BOOLEAN":
            return value if isinstance(value, bool) else None
        case "BIGINT":
            whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
            return value if whole else None
        case "DOUBLE":
            return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    raise ValueError(f"a column is STRING, BIGINT, DOUBLE or BOOLEAN, got {type_!r}")


def record_values(topic: Topic, record: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a judged record, by field: what demand_job's columns hold, NULL left out.

    An optional field of another type reads as missing, so that a fact taken at once is the fact that comes with
    its minute's batch.

    >>> from schemas.topics import TOPICS
    >>> record_values(TOPICS["ticks"], {"event_time_ms": 5, "bucket": "seven", "extra": 1})
    {'event_time_ms': 5}
    """
    values = ((check.field, typed(record.get(check.field), check.type)) for check in topic.checks)
    return {name: value for name, value in values if value is not None}


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while any(isinstance(v, dict | list) for v in level):
        deepest += 1
        level = [
            child
            for v in level
            if isinstance(v, dict | list)
            for child in (v.values() if isinstance(v, dict) else v)
        ]
    return deepest
