"""Strict parsing of an input line, with the same verdict as in demand_job.

Flink parses lines with the format ``walras-line`` (jobs/connectors/flink/java/LineFormat.java). A backfill, and a
job that reads a topic without that format, must reach the same verdict for all bytes; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from schemas.codes import RejectCode
from schemas.topics import MAX_LINE_BYTES, Topic

MAX_DEPTH = 64
"""Maximum nesting depth of objects and arrays."""


def read_line(line: bytes | None) -> tuple[str | None, dict[str, Any]]:
    r"""Return the verdict on a line (None if valid) and its top-level fields, of any type.

    The line must exist, have at most ``MAX_LINE_BYTES``, be valid UTF-8 and be one JSON object of depth ≤ 64 with
    nothing after it. Of equal keys the last one counts. A tombstone is not an object: a listing is removed from
    the catalog with ``active: false``.

    Examples
    --------
    >>> read_line(b'{"a": 1}')
    (None, {'a': 1})
    >>> read_line(b'[1]')[0], read_line(b'{"a": "\xff"}')[0], read_line(b'{"a": NaN}')[0]
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
    """Return the value as a value of a column type, or None if it has another type.

    A string is no number, and 1.0 is no integer.

    Raises
    ------
    ValueError
        If the column type is unknown.

    Examples
    --------
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
    raise ValueError(f"column type: expected STRING, BIGINT, DOUBLE or BOOLEAN, got {type_!r}")


def record_values(topic: Topic, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid record's values by field, as in demand_job's columns; NULL values are omitted.

    An optional field of another type counts as missing, so that a fact processed on arrival equals the same fact
    in its minute's batch.

    Examples
    --------
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
