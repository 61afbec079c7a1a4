"""Kafka for processes outside Flink: topic creation and an idempotent publisher.

Flink's jobs have connectors of their own (:mod:`jobs.connectors.flink`). This module and ``reading`` serve the
edge, the ticker, the simulator, replays and operators' commands.
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
    """Records that the broker did not take; the message has their number and the reasons."""


def ensure_topics(
    bootstrap: str, names: Iterable[str] | None = None, *, partitions: int | None = None, parallelism: int = 1
) -> list[str]:
    """Create the topics that are missing, with their settings; return their names.

    Parameters
    ----------
    names : short names; None: all.
    partitions : of new topics; None: as :data:`TOPICS` says.
    parallelism : subtasks that will read an input, which must have as many partitions.

    Raises
    ------
    ValueError If an input has, or would get, fewer partitions than subtasks that read it: a subtask without a
    partition would hold back the watermark. No topic is created then.
    KafkaException
        If the broker refuses a topic or does not answer within 30 s.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]
    existing = admin.list_topics(timeout=30).topics
    wanted = [TOPICS[name] for name in (names or TOPICS)]
    has = {
        t.name: len(existing[t.topic].partitions) if t.topic in existing else partitions or t.partitions
        for t in wanted
    }
    if short_of_partitions := too_few_partitions(has, parallelism):
        described = ", ".join(f"{TOPICS[name].topic} {count}" for name, count in short_of_partitions.items())
        raise ValueError(
            f"expected inputs of at least {parallelism} partitions, the jobs' parallelism; got {described}. "
            "Add partitions with kafka-topics.sh --alter --partitions N, or lower WALRAS_PARALLELISM"
        )
    new = [
        NewTopic(t.topic, num_partitions=partitions or t.partitions, replication_factor=1, config=t.settings)
        for t in wanted
        if t.topic not in existing
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
    """Return those inputs that have fewer partitions than subtasks that may read them.

    Parameters
    ----------
    partitions : number of partitions by the topic's short name.
    parallelism : parallelism of the jobs.

    >>> too_few_partitions({"clicks": 1, "stock": 4, "ticks": 1, "cells": 1}, 2)
    {'clicks': 1}
    """
    return {
        name: count
        for name, count in partitions.items()
        if TOPICS[name].input and count < min(parallelism, TOPICS[name].partitions)
    }


class Publisher:
    """Idempotent JSON producer; records carry the timestamps that the caller gives.

    ``send`` queues a record and applies back-pressure. ``flush`` waits for the broker and raises if a record was
    refused, so that no loss goes unnoticed. Use it as a context manager.
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
        """Return a topic's number of partitions; read once and cached, or read ``again``."""
        if again or topic not in self._partitions:
            self._partitions[topic] = len(self._producer.list_topics(topic, timeout=30).topics[topic].partitions)
        return self._partitions[topic]

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until the broker has taken every queued record.

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
