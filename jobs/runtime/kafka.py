"""Kafka for plain processes: topics, an idempotent publisher, and readers.

Flink's jobs have their own connectors (:mod:`jobs.runtime.sources`); this is for the edge, the
ticker, the simulator, replays and people's commands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.topics import TOPICS, kafka_key


class Record(NamedTuple):
    """A record read back, with its address and Kafka timestamp."""

    topic: str
    partition: int
    offset: int
    kafka_ts_ms: int
    key: str | None
    value: bytes | None

    def json(self) -> dict[str, Any]:
        """The decoded value; an empty dict for a tombstone."""
        return orjson.loads(self.value) if self.value else {}


class PublishError(RuntimeError):
    """Records that the broker did not take; says how many and why."""


def ensure_topics(
    bootstrap: str, names: Iterable[str] | None = None, *, partitions: int | None = None, parallelism: int = 1
) -> list[str]:
    """Create the topics that are missing, with their settings; answers the names created.

    Parameters
    ----------
    partitions : of new topics; None: as :data:`TOPICS` says.
    parallelism : subtasks that will read a topic, if it is to have as many partitions.

    Raises
    ------
    ValueError
        If an input has, or would get, fewer partitions than subtasks read it: one without a partition would hold
        time back for ever. Nothing is created then.
    KafkaException
        If the broker refuses a topic or does not answer within 30 s.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    there = admin.list_topics(timeout=30).topics
    wanted = [TOPICS[name] for name in (names or TOPICS)]
    has = {
        t.name: len(there[t.topic].partitions) if t.topic in there else partitions or t.partitions for t in wanted
    }
    if narrow := too_narrow(has, parallelism):
        told = ", ".join(f"{TOPICS[name].topic} {count}" for name, count in narrow.items())
        raise ValueError(
            f"expected inputs of at least {parallelism} partitions, the jobs' parallelism; got {told}. "
            "Add partitions with kafka-topics.sh --alter --partitions N, or lower WALRAS_PARALLELISM"
        )
    new = [
        NewTopic(t.topic, num_partitions=partitions or t.partitions, replication_factor=1, config=t.settings)
        for t in wanted
        if t.topic not in there
    ]
    created = []
    for topic, future in (admin.create_topics(new) if new else {}).items():
        try:
            future.result(timeout=30)
            created.append(topic)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return sorted(created)


def too_narrow(partitions: Mapping[str, int], parallelism: int) -> dict[str, int]:
    """Of inputs by short name and number of partitions, those with fewer than the subtasks that may read them.

    >>> too_narrow({"clicks": 1, "stock": 4, "ticks": 1, "cells": 1}, 2)
    {'clicks': 1}
    """
    return {
        name: count
        for name, count in partitions.items()
        if TOPICS[name].input and count < min(parallelism, TOPICS[name].partitions)
    }


class Publisher:
    """Idempotent JSON producer that stamps records with the run's Clock.

    ``send`` queues and applies back-pressure; ``flush`` waits for the broker and raises if anything
    was refused, so that nothing is lost without a word. Use as a context manager.
    """

    def __init__(self, bootstrap: str, **config: Any) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 10,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                "message.max.bytes": 16 * 1024 * 1024,
            }
            | config
        )
        self._failed: list[str] = []
        self._partitions: dict[str, int] = {}

    def send(
        self, name: str, record: Any, *, timestamp_ms: int, partition: int = -1, key: str | None = None
    ) -> None:
        """Queue one record (dataclass or mapping) for the topic of that short name."""
        value = dataclasses.asdict(record) if dataclasses.is_dataclass(record) else record  # type: ignore[arg-type]
        if key is None and TOPICS[name].input and isinstance(value, Mapping) and not value.get("tick"):
            key = kafka_key(name, value)
        self.send_bytes(
            TOPICS[name].topic, orjson.dumps(value), timestamp_ms=timestamp_ms, partition=partition, key=key
        )

    def send_bytes(
        self,
        topic: str,
        value: bytes | None,
        *,
        timestamp_ms: int,
        partition: int = -1,
        key: str | bytes | None = None,
    ) -> None:
        """Queue raw bytes for a full topic name; ``None`` is a tombstone."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key=key, partition=partition, timestamp=timestamp_ms, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(0.5)
        self._producer.poll(0)

    def partitions(self, topic: str, *, again: bool = False) -> int:
        """How many partitions a topic has; looked up once, or ``again``."""
        if again or topic not in self._partitions:
            self._partitions[topic] = len(self._producer.list_topics(topic, timeout=30).topics[topic].partitions)
        return self._partitions[topic]

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until all that was queued is taken.

        Raises
        ------
        PublishError
            If a record was refused or is still queued after ``timeout_s``.
        """
        left = self._producer.flush(timeout_s)
        failed, self._failed = self._failed, []
        if left or failed:
            raise PublishError(
                f"{left} records still queued, {len(failed)} refused: {'; '.join(sorted(set(failed))[:3])}"
            )

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error.str()}")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.flush()


def _record(message: Any) -> Record:
    key = message.key()
    return Record(
        message.topic(), message.partition(), message.offset(), message.timestamp()[1],
        key.decode(errors="replace") if key is not None else None, message.value(),
    )  # fmt: skip


def read_topic(bootstrap: str, topic: str, *, timeout_s: float = 30.0) -> Iterator[Record]:
    """Every record of a topic from its beginning to the end it has now; each partition's in order.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(_reader(bootstrap)) as consumer:
        yield from _between(consumer, topic, _extent(consumer, topic, timeout_s), timeout_s)


def read_newest_first(
    bootstrap: str, topic: str, *, stretch: int = 500, timeout_s: float = 30.0
) -> Iterator[list[Record]]:
    """A topic's records, the newest first: stretches of all partitions, each twice as long as the one before.

    For who looks for something recent in a topic that is kept for ever: what it costs is how long ago it was
    written, not how long the topic is.

    Parameters
    ----------
    stretch : offsets of each partition in the first list; a list holds each partition's records in order.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    with closing(_reader(bootstrap)) as consumer:
        left = _extent(consumer, topic, timeout_s)
    while left:
        spans = {p: (max(low, end - stretch), end) for p, (low, end) in left.items()}
        # A consumer for each: one that has paused a partition keeps it paused when it is assigned anew.
        with closing(_reader(bootstrap)) as consumer:
            records = list(_between(consumer, topic, spans, timeout_s))
        yield records
        left = {p: (left[p][0], start) for p, (start, _) in spans.items() if start > left[p][0]}
        stretch *= 2


Spans = Mapping[int, tuple[int, int]]
"""First offset and the one after the last, by partition."""


def _reader(bootstrap: str) -> Consumer:
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "walras-reader", "enable.auto.commit": False,
         "auto.offset.reset": "earliest", "enable.partition.eof": True}
    )  # fmt: skip


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
            # A span's last offset may be gone or a transaction's marker: what comes after it ends the span too.
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
    """Records as they come, and ``None`` when none came for ``poll_s`` (so a caller can do something else)."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "walras-follower", "enable.auto.commit": False}
    )  # fmt: skip
    try:
        where = []
        for topic in topics:
            for p in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)
                where.append(TopicPartition(topic, p, low if from_start else high))
        consumer.assign(where)
        while True:
            message = consumer.poll(poll_s)
            if message is None:
                yield None
            elif message.error() is None:
                yield _record(message)
    finally:
        consumer.close()
