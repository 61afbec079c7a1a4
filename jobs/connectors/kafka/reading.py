"""Kafka read by processes outside Flink: whole topics, topics from their ends, and new records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from features.cells.lines import record_values
from jobs.connectors.kafka.offsets import SILENT
from schemas.topics import TOPICS, Topic

WHOLE_TOPIC = 1 << 62
"""A backlog longer than any topic."""


class Record(NamedTuple):
    """A record with its address and Kafka timestamp."""

    topic: str
    partition: int
    offset: int
    kafka_ts_ms: int
    key: str | None
    value: bytes | None

    def json(self) -> dict[str, Any]:
        """Return the decoded value; an empty dict for a tombstone."""
        return orjson.loads(self.value) if self.value else {}


def _record(message: Any) -> Record:
    key = message.key()
    return Record(
        message.topic(), message.partition(), message.offset(), message.timestamp()[1],
        key.decode(errors="replace") if key is not None else None, message.value(),
    )  # fmt: skip


def read_topic(bootstrap: str, topic: str, *, timeout_s: float = 30.0) -> Iterator[Record]:
    """Yield every record of a topic from its beginning to its current end; each partition is in order.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(_reader(bootstrap)) as consumer:
        yield from _between(consumer, topic, _extent(consumer, topic, timeout_s), timeout_s)


def read_values(bootstrap: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the decoded values of a whole stream by its short name, without tombstones.

    Raises as :func:`read_topic`.
    """
    return (record.json() for record in read_topic(bootstrap, TOPICS[name].topic) if record.value)


def read_accepted(bootstrap: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the values of a whole input stream that demand_job accepts, by field; anyone may write to an input.

    Raises as :func:`read_topic`.
    """
    records = read_topic(bootstrap, TOPICS[name].topic)
    return (value for record in records if (value := accepted_value(record, TOPICS[name])) is not None)


def accepted_value(record: Record, topic: Topic) -> dict[str, Any] | None:
    """Return an input record's values by field; None where demand_job refuses it. Duplicates are not noticed.

    >>> entry = b'{"event_id": "e1", "event_time_ms": 60000, "bucket": 3}'
    >>> lines = (entry, b"{", b"[]", b"{}", None)
    >>> [accepted_value(Record("t", 0, 0, 60_000, None, line), TOPICS["ticks"]) for line in lines]
    [{'event_time_ms': 60000, 'bucket': 3}, None, None, None, None]
    """
    try:
        value = record.json()
    except ValueError:
        return None
    if not isinstance(value, dict) or not value or topic.validate(value) is not None:
        return None
    return record_values(topic, value)


def read_newest_first(
    bootstrap: str, topic: str, *, stretch: int = 500, timeout_s: float = 30.0
) -> Iterator[list[Record]]:
    """Yield a topic's records from its end backwards, in chunks that cover all partitions.

    Each chunk is twice as long as the one before. Finding a recent record in a topic with unlimited retention
    therefore costs in proportion to the record's age, not to the topic's length.

    Parameters
    ----------
    stretch : offsets per partition in the first chunk. Within a chunk, each partition's records are in order.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(_reader(bootstrap)) as consumer:
        left = _extent(consumer, topic, timeout_s)
    while left:
        spans = {p: (max(low, end - stretch), end) for p, (low, end) in left.items()}
        # A new consumer per chunk: a paused partition stays paused when it is assigned again.
        with closing(_reader(bootstrap)) as consumer:
            records = list(_between(consumer, topic, spans, timeout_s))
        yield records
        left = {p: (left[p][0], start) for p, (start, _) in spans.items() if start > left[p][0]}
        stretch *= 2


def newest(bootstrap: str, topic: str, wanted: Callable[[Record], bool], order: str) -> dict[str, Any] | None:
    """Return the newest value whose record is wanted; None if there is none.

    Reads from the topic's end and skips tombstones.

    Parameters
    ----------
    wanted : whether a record is a candidate.
    order : an integer field that rises with the time of writing; it decides between records of different
        partitions. Records without such a field are skipped, since anyone may write to an input.
    """
    for stretch in read_newest_first(bootstrap, topic):
        found = [_ordered(record, order) for record in stretch if record.value and wanted(record)]
        if known := [each for each in found if each is not None]:
            return max(known, key=lambda each: each[0])[1]
    return None


def _ordered(record: Record, order: str) -> tuple[int, dict[str, Any]] | None:
    """Return a record's value of the ordering field and its decoded value; None if it has none.

    >>> lines = (b'{"version": "7"}', b"{", b"[]", b"{}")
    >>> [_ordered(Record("t", 0, 0, 0, None, line), "version") for line in lines]
    [(7, {'version': '7'}), None, None, None]
    """
    try:
        value = record.json()
        return int(value[order]), value
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def read_at(bootstrap: str, topic: str, partition: int, offset: int, *, timeout_s: float = 30.0) -> Record | None:
    """Return the record at an address; None if the topic does not hold it.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(_reader(bootstrap)) as consumer:
        low, end = _extent(consumer, topic, timeout_s).get(partition, (0, 0))
        if not low <= offset < end:
            return None
        found = list(_between(consumer, topic, {partition: (offset, offset + 1)}, timeout_s))
    return found[0] if found and found[0].offset == offset else None


Spans = Mapping[int, tuple[int, int]]
"""First offset and the offset after the last, by partition."""


def _reader(bootstrap: str, group: str = "walras-reader") -> Consumer:
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "enable.partition.eof": True, "queued.max.messages.kbytes": 16_384,
        "logger": SILENT,
    })  # fmt: skip


def _extent(consumer: Consumer, topic: str, timeout_s: float) -> Spans:
    found = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    spans = {
        p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=timeout_s)
        for p in sorted(found.partitions)
    }
    return {p: (low, end) for p, (low, end) in spans.items() if end > low}


def _between(consumer: Consumer, topic: str, spans: Spans, timeout_s: float) -> Iterator[Record]:
    consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in spans.items()])
    unread = set(spans)
    while unread:
        message = consumer.poll(timeout_s)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic}: no answer within {timeout_s} s"))
        error = message.error()
        if error is None:
            record = _record(message)
            p, end = record.partition, spans[record.partition][1]
            if record.offset < end:
                yield record
            # A span's last offset may be deleted or a transaction marker: a later record ends the span too.
            if p in unread and record.offset + 1 >= end:
                unread.remove(p)
                consumer.pause([TopicPartition(topic, p)])
        elif error.code() == KafkaError._PARTITION_EOF:
            unread -= {message.partition()}
        else:
            raise KafkaException(error)


def follow(
    bootstrap: str, topics: Iterable[str], *, from_start: bool = False, poll_s: float = 0.5
) -> Iterator[Record | None]:
    """Yield new records, and ``None`` after ``poll_s`` seconds without one."""
    backlogs = dict.fromkeys(topics, WHOLE_TOPIC if from_start else 0)
    for records, _ in tail(bootstrap, backlogs, poll_s=poll_s, most=1):
        yield records[0] if records else None


def tail(
    bootstrap: str, backlogs: Mapping[str, int], *, poll_s: float = 0.2, most: int = 500, timeout_s: float = 30.0
) -> Iterator[tuple[list[Record], bool]]:
    """Follow topics from near their ends, without end.

    Parameters
    ----------
    backlogs : by topic, how many offsets before its current end are read first, per partition.
    poll_s : seconds to wait for a record.
    most : most records yielded at once.
    timeout_s : seconds within which the broker must answer each question about a topic.

    Yields
    ------
    Records (an empty list after ``poll_s`` without one), and whether the backlog has been read.

    Raises
    ------
    KafkaException, KeyError
        If the broker does not answer or has no such topic.
    """
    with closing(_reader(bootstrap, "walras-follower")) as consumer:
        where: list[TopicPartition] = []
        unread: dict[tuple[str, int], int] = {}
        for topic, backlog in backlogs.items():
            found = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            for p in found.partitions:
                low, end = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=timeout_s)
                start = max(low, end - backlog)
                where.append(TopicPartition(topic, p, start))
                if end > start:
                    unread[topic, p] = end
        consumer.assign(where)
        read_all, quiet_since = False, time.monotonic()
        while True:
            records = [_record(m) for m in consumer.consume(most, timeout=poll_s) if m.error() is None]
            for record in records:
                if unread.get((record.topic, record.partition), WHOLE_TOPIC) <= record.offset + 1:
                    del unread[record.topic, record.partition]
            if records:
                quiet_since = time.monotonic()
            yield records, read_all
            # The last offset may be a transaction marker, for which no message is delivered.
            read_all = read_all or not unread or time.monotonic() > quiet_since + 5
