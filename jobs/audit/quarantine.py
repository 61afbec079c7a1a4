"""The `quarantine` topic read back: its records, the failing buckets, and facts that are sent again.

A record in the topic is a fact or a batch on which a logic raised (:mod:`jobs.hosting.containment`). Its id is its
partition and offset in the topic, as in ``2-17``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from jobs.connectors.kafka.publisher import Publisher
from jobs.connectors.kafka.reading import Record, read_at, read_newest_first, read_topic
from jobs.hosting.containment import FAILING_AFTER_MINUTES, RECOVERED
from jobs.hosting.host import BATCH
from schemas.topics import TOPICS, kafka_key

_TOPIC = TOPICS["quarantine"].topic


class QuarantineRecord(NamedTuple):
    """A quarantine record with its id."""

    id: str
    record: Mapping[str, Any]

    @property
    def resendable(self) -> bool:
        """Whether the record is a fact of an input stream; other records cannot be sent again."""
        kind = self.record["kind"]
        return kind in TOPICS and TOPICS[kind].input


class FailingBucket(NamedTuple):
    """A bucket whose minutes fail: its logic, how many failed in a row, the newest one, and its error."""

    logic: str
    bucket: str
    minutes: int
    newest_ms: int
    error: str


class FailedMinutes(NamedTuple):
    """Minutes that failed, of all logics: their number, that of their buckets, and the end of the newest."""

    minutes: int
    buckets: int
    newest_ms: int


def read_quarantine(bootstrap: str) -> list[QuarantineRecord]:
    """Return every quarantine record, oldest first, without ``recovered`` records."""
    found = [_with_id(record) for record in read_topic(bootstrap, _TOPIC) if record.value]
    wanted = [each for each in found if each.record["kind"] != RECOVERED]
    return sorted(wanted, key=lambda each: (each.record["event_time_ms"], each.id))


def find_quarantined(bootstrap: str, name: str) -> QuarantineRecord | None:
    """Return the record of an id, or None."""
    partition, _, offset = name.partition("-")
    if not (partition.isdigit() and offset.isdigit()):
        return None
    record = read_at(bootstrap, _TOPIC, int(partition), int(offset))
    return _with_id(record) if record is not None and record.value else None


def batch_of(bootstrap: str, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the batch that failed, read from the `cells` topic at its address; None if it is not there."""
    stream, _, where = record["address"].partition("-")
    partition, _, offset = where.partition("-")
    if record["kind"] != BATCH or stream not in TOPICS or not (partition.isdigit() and offset.isdigit()):
        return None
    found = read_at(bootstrap, TOPICS[stream].topic, int(partition), int(offset))
    return found.json() if found is not None else None


def resend(bootstrap: str, facts: Iterable[QuarantineRecord], now_ms: int) -> int:
    """Send facts to their input streams again, with the run's time as timestamp; return their number.

    Raises
    ------
    jobs.connectors.kafka.publisher.PublishError
        If the broker does not take them.
    """
    sent = 0
    with Publisher(bootstrap) as publisher:
        for fact in facts:
            topic = TOPICS[fact.record["kind"]]
            value = fact.record["payload"].encode()
            publisher.send_bytes(topic.topic, value, timestamp_ms=now_ms, key=_key(topic.name, value))
            sent += 1
    return sent


def newest_records(bootstrap: str) -> list[dict[str, Any]]:
    """Return the newest few hundred records of each partition.

    A failing bucket writes a record every minute, so they name all of them.
    """
    newest = next(iter(read_newest_first(bootstrap, _TOPIC)), [])
    return [record.json() for record in newest if record.value]


def failing_among(records: Iterable[Mapping[str, Any]]) -> list[FailingBucket]:
    """Return the buckets whose newest minute among ``records`` is at least the third failed one in a row.

    Examples
    --------
    >>> failed = {"logic": "features", "bucket": "3", "kind": "batch", "event_time_ms": 60_000,
    ...           "failing_minutes": 3, "error": "KeyError: 'web'"}
    >>> failing_among([failed])
    [FailingBucket(logic='features', bucket='3', minutes=3, newest_ms=60000, error="KeyError: 'web'")]
    >>> failing_among([failed, failed | {"kind": "recovered", "event_time_ms": 120_000, "failing_minutes": 0}])
    []
    """
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for record in records:
        if record["kind"] not in (BATCH, RECOVERED):
            continue
        bucket = (record["logic"], record["bucket"])
        if bucket not in newest or newest[bucket]["event_time_ms"] <= record["event_time_ms"]:
            newest[bucket] = record
    return [
        FailingBucket(*bucket, record["failing_minutes"], record["event_time_ms"], record["error"])
        for bucket, record in sorted(newest.items())
        if record["failing_minutes"] >= FAILING_AFTER_MINUTES
    ]


def failed_minutes(records: Iterable[Mapping[str, Any]], since_ms: int) -> FailedMinutes:
    """Return how many minutes failed since a time.

    >>> failed = {"logic": "features", "bucket": "3", "kind": "batch", "event_time_ms": 60_000}
    >>> failed_minutes([failed, failed | {"event_time_ms": 120_000}, failed | {"kind": "recovered"}], since_ms=0)
    FailedMinutes(minutes=2, buckets=1, newest_ms=120000)
    """
    failed = {
        (record["logic"], record["bucket"], record["event_time_ms"])
        for record in records
        if record["kind"] == BATCH and record["event_time_ms"] >= since_ms
    }
    buckets = {each[:2] for each in failed}
    return FailedMinutes(len(failed), len(buckets), max((each[2] for each in failed), default=-1))


def _with_id(record: Record) -> QuarantineRecord:
    return QuarantineRecord(f"{record.partition}-{record.offset}", record.json())


def _key(name: str, value: bytes) -> str | None:
    try:
        return kafka_key(name, orjson.loads(value))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
