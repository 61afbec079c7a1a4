"""The edge's quote log: every price shown goes to Kafka, and no reply waits for it.

A quote is the only source of exposures, so a lost one makes demand look higher than it is. What
cannot be kept (the broker away for long, the queue full) is therefore counted and shown, never
waited for: a shopper's reply must not hang on the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from itertools import count
from typing import Any

import orjson
from confluent_kafka import KafkaError, Producer

from jobs.runtime.kafka_offsets import SILENT
from schemas.events import group_key
from schemas.topics import TOPICS


class QuoteLog:
    """Non-blocking, idempotent writer of the quotes topic.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers; None keeps no log at all (tests of the reply alone).
    capacity : quotes that may wait for the broker; beyond that they are dropped and counted.

    Notes
    -----
    librdkafka's own queue and thread do the work: :meth:`offer` costs a few microseconds and is
    called on the event loop; :meth:`poll` must be called now and then to hear of failures.
    """

    def __init__(self, bootstrap: str | None, *, capacity: int = 100_000) -> None:
        self.logged = 0
        self.dropped = 0
        self.last_error = ""
        self._topic = TOPICS["quotes"].topic
        # The start's random prefix and a counter: unique without a system call per quote.
        self._prefix = secrets.token_hex(8)
        self._number = count()
        self._producer = bootstrap and Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": capacity,
                "delivery.report.only.error": True,
                "error_cb": self._broker_error,
                "logger": SILENT,
            }
        )

    def next_id(self) -> str:
        """A new event id."""
        return f"q-{self._prefix}-{next(self._number):x}"

    def offer(self, quote: Mapping[str, Any]) -> bool:
        """Queue a quote; False if there was no room (counted)."""
        if not self._producer:
            return True
        key = group_key(quote["tenant"], quote["market"], quote["price_group"])
        try:
            self._producer.produce(
                self._topic,
                orjson.dumps(quote),
                key=key,
                timestamp=quote["event_time_ms"],
                on_delivery=self._failed,
            )
        except BufferError:
            self.dropped += 1
            self.last_error = "queue full"
            return False
        self.logged += 1
        return True

    @property
    def waiting(self) -> int:
        """Quotes not yet taken by the broker."""
        return len(self._producer) if self._producer else 0

    def poll(self) -> None:
        """Hear what the broker refused."""
        if self._producer:
            self._producer.poll(0)

    def close(self, timeout_s: float = 10.0) -> int:
        """Flush; answers how many quotes are lost after ``timeout_s`` (counted as dropped)."""
        left = self._producer.flush(timeout_s) if self._producer else 0
        self.dropped += left
        return left

    def _failed(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self.dropped += 1
            self.last_error = error.str()

    def _broker_error(self, error: KafkaError) -> None:
        self.last_error = error.str()
