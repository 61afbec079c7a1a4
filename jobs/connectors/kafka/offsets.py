"""Offsets: topics' ends, newest timestamps, and the jobs' consumer lag."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.topics import INPUTS, TOPICS

SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""Logger for clients whose errors are reported elsewhere: librdkafka would write them to stderr."""


KAFKA_UNREACHABLE: tuple[type[Exception], ...] = (KafkaException, KeyError)
"""What a call raises when the broker does not answer, or does not know a topic yet."""


def error_text(error: Exception) -> str:
    """Return the client's own message of an error of :data:`KAFKA_UNREACHABLE`."""
    return error.args[0].str() if isinstance(error, KafkaException) else str(error)


class TopicEnds:
    """Reads the end offset of every partition of some topics, in one request.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer within ``timeout_s``.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str], *, timeout_s: float = 5.0) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]
        self._timeout_s = timeout_s
        there = self._admin.list_topics(timeout=timeout_s).topics
        self._wanted = {
            TopicPartition(topic, partition): OffsetSpec.latest()
            for topic in topics
            if topic in there
            for partition in there[topic].partitions
        }

    def now(self) -> dict[tuple[str, int], int]:
        """Return the end offset by topic and partition."""
        if not self._wanted:
            return {}
        found = self._admin.list_offsets(self._wanted, request_timeout=self._timeout_s)
        return {(tp.topic, tp.partition): future.result().offset for tp, future in found.items()}


@lru_cache(maxsize=4)
def admin_client(bootstrap: str) -> AdminClient:
    """Return the shared admin client of an address; a new client each time would start and end threads."""
    return AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]


def topic_names(bootstrap: str, *, timeout_s: float = 5.0) -> list[str]:
    """Return the names of all topics; raises ``KafkaException`` if the broker does not answer."""
    return sorted(admin_client(bootstrap).list_topics(timeout=timeout_s).topics)


def newest_timestamp(bootstrap: str, topic: str, *, timeout_s: float = 5.0) -> int:
    """Return the highest Kafka timestamp of a topic, epoch milliseconds; -1 if it is empty.

    Raises
    ------
    confluent_kafka.KafkaException, KeyError
        If the broker does not answer or has no such topic.
    """
    admin = admin_client(bootstrap)
    there = admin.list_topics(topic, timeout=timeout_s).topics[topic].partitions
    asked = {TopicPartition(topic, number): OffsetSpec.max_timestamp() for number in there}
    found = admin.list_offsets(asked, request_timeout=timeout_s).values()
    return max((each.result().timestamp for each in found), default=-1)


READERS: dict[str, tuple[str, ...]] = {
    "walras.demand_job": tuple(topic.name for topic in INPUTS),
    "feature_job": ("cells", "estimates", "segments"),
    "elasticity_job": ("cells",),
    "repricing_job": ("cells", "estimates", "offers", "stock", "calendar", "commands"),
}
"""Consumer group of each job and the topics it reads.

A job commits offsets with the checkpoint that includes them.
"""

REPLAY_READERS = READERS | {"repricing_job": ("cells", "estimates", "calendar", "commands")}
"""The same in a replay, where rivals' prices and stock levels reach repricing_job inside the batches."""


def consumer_lag(
    bootstrap: str, readers: Mapping[str, Iterable[str]] = READERS, *, timeout_s: float = 10.0
) -> dict[str, int]:
    """Return, by consumer group, the records in Kafka that no completed checkpoint includes.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer within ``timeout_s``.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "logger": SILENT})  # type: ignore[dict-item]
    left = {}
    for group, names in readers.items():
        ends = TopicEnds(bootstrap, [TOPICS[name].topic for name in names], timeout_s=timeout_s).now()
        answer = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=timeout_s
        )
        committed = {(tp.topic, tp.partition): tp.offset for tp in answer[group].result().topic_partitions}
        left[group] = sum(max(0, end - max(0, committed.get(where, 0))) for where, end in ends.items())
    return left
