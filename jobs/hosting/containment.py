"""Quarantine of failing facts and batches: lenient parsing of input rows, and quarantine records."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping
from typing import Any

import orjson

from features.bucket_logic import BucketLogic, Output
from schemas.records.results import Quarantined
from schemas.topics import MAX_LINE_BYTES, TOPICS

QUARANTINE = "quarantine"
RECOVERED = "recovered"
"""Kind of the quarantine record that a bucket emits with its first successful minute after it was FAILING."""
FAILING_AFTER_MINUTES = 3
"""Failed minutes in a row after which a bucket counts as FAILING."""
_TRACEBACK_FRAMES, _TRACEBACK_CHARACTERS, MAX_ERROR_CHARACTERS = 8, 4_000, 1_000


_INTERNAL_TIMES = {"sums": "period_end_ms"}
"""Event-time field of streams that exist inside a job only."""


def event_time_of(kind: str, value: Mapping[str, Any]) -> int:
    """Return the event time of a fact; for a record of several rows, the latest.

    >>> event_time_of("stock", {"event_time_ms": 5}), event_time_of("segments", {"rows": [{"event_time_ms": 7}]})
    (5, 7)
    """
    field = TOPICS[kind].event_time if kind in TOPICS else _INTERNAL_TIMES[kind]
    rows = [value] if field in value else value["rows"]
    return max(int(row[field]) for row in rows)


def parse_facts(address: str, payload: Any) -> list[tuple[str, Any]]:
    """Return address and record of every fact of a row."""
    read = orjson.loads(payload)
    return [(where, value) for where, value in read] if isinstance(read, list) else [(address, read)]


def split_rows(facts: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the same facts with one row each, where a record holds several as ``rows``.

    >>> split_rows([("", {"rows": [1, 2]}), ("stock-0-1", {"sku": "s"})])
    [('', {'rows': [1]}), ('', {'rows': [2]}), ('stock-0-1', {'sku': 's'})]
    """
    single: list[tuple[str, Any]] = []
    for address, value in facts:
        if isinstance(value, dict) and isinstance(value.get("rows"), list):
            single += [(address, {"rows": [row]}) for row in value["rows"]]
        else:
            single.append((address, value))
    return single


def parse_window_end(payload: Any) -> int:
    """Return a batch's window end, ms; 0 if it cannot be read."""
    try:
        return int(orjson.loads(payload)["window_end_ms"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0


def parse_event_time(kind: str, value: Any) -> int:
    """Return a fact's event time, ms; 0 if it cannot be read."""
    try:
        return event_time_of(kind, value)
    except (KeyError, TypeError, ValueError):
        return 0


def quarantine_output(
    logic: BucketLogic,
    bucket: str,
    kind: str,
    address: str,
    event_time_ms: int,
    error: Exception | None = None,
    *,
    payload: str = "",
    failing_minutes: int = 0,
) -> Output:
    """Return the quarantine record of a fact or a batch as an output of its logic."""
    record = Quarantined(
        logic=logic.name,
        bucket=bucket,
        kind=kind,
        address=address,
        event_time_ms=event_time_ms,
        error=error_text(error) if error else "",
        trace=_trace(error) if error else "",
        version=f"{logic.name} v{logic.version}",
        failing_minutes=failing_minutes,
        payload=payload[:MAX_LINE_BYTES],
    )
    return Output(QUARANTINE, f"{logic.name}/{bucket}", dataclasses.asdict(record), event_time_ms)


def error_text(error: Exception) -> str:
    """Return type and message of an error, truncated.

    >>> error_text(KeyError("web"))
    "KeyError: 'web'"
    """
    return _encodable(f"{type(error).__name__}: {error}")[:MAX_ERROR_CHARACTERS]


def _trace(error: Exception) -> str:
    lines = traceback.format_exception(error, limit=-_TRACEBACK_FRAMES, chain=False)
    return _encodable("".join(lines))[-_TRACEBACK_CHARACTERS:]


def record_text(record: Any) -> str:
    """Return any record as text that UTF-8 can encode.

    >>> record_text({"a": 1}), record_text(b"\\xff"), record_text("plain")
    ('{"a":1}', '\ufffd', 'plain')
    """
    text = record if isinstance(record, str) else repr(record)
    if isinstance(record, bytes):
        text = record.decode(errors="replace")
    elif isinstance(record, dict):
        text = orjson.dumps(record, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    return _encodable(text)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced, which UTF-8 cannot encode."""
    return text.encode(errors="replace").decode()
