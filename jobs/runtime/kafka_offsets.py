"""Ends of topics: how much is in Kafka now."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""For clients whose errors are shown elsewhere: librdkafka would write them to stderr."""


class TopicEnds:
    """Asks for the end offset of every partition of some topics, in one request.

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
        """End offset by topic and partition."""
        if not self._wanted:
            return {}
        found = self._admin.list_offsets(self._wanted, request_timeout=self._timeout_s)
        return {(tp.topic, tp.partition): future.result().offset for tp, future in found.items()}
