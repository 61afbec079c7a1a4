"""Kafka for plain processes: topics and an idempotent publisher.

Flink's jobs have their own connectors (:mod:`jobs.connectors.flink`); this and ``reading``
are for the edge, the ticker, the simulator, replays and people's commands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from jobs.connectors.kafka.offsets import SILENT
from schemas.topics import TOPICS, kafka_key


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
    admin = AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]
    there = admin.list_topics(timeout=30).topics
    wanted = [TOPICS[name] for name in (names or TOPICS)]
    has = {
        t.name: len(there[t.topic].partitions) if t.topic in there else partitions or t.partitions for t in wanted
    }
    if narrow := too_few_partitions(has, parallelism):
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


def too_few_partitions(partitions: Mapping[str, int], parallelism: int) -> dict[str, int]:
    """Of inputs by short name and number of partitions, those with fewer than the subtasks that may read them.

    >>> too_few_partitions({"clicks": 1, "stock": 4, "ticks": 1, "cells": 1}, 2)
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
