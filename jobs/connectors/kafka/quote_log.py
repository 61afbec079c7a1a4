"""The edge's quote log: every quoted price goes to Kafka, and no reply waits for it.

Quotes are the only source of exposures, so a lost quote biases demand upwards. A quote that cannot be logged
(broker unreachable for long, queue full) is counted and reported. A reply never waits for the log.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, Producer

from jobs.connectors.kafka.offsets import SILENT
from schemas.topics import TOPICS


class QuoteLog:
    """Non-blocking, idempotent writer of the quotes topic.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers; None: log nothing (tests of the reply alone).
    capacity : most quotes that wait for the broker; further ones are dropped and counted.
    config : further settings of librdkafka, which override the defaults here.

    Attributes
    ----------
    logged, dropped : quotes handed to librdkafka, and quotes lost.
    last_error : the newest error, empty if there was none.

    Notes
    -----
    librdkafka's queue and thread do the work. :meth:`offer` only appends to a list; :meth:`poll`, called every few
    milliseconds, produces the whole list. Producing each quote by itself would wake librdkafka's thread for every
    quote,
    which costs more than the quote.
    """

    def __init__(self, bootstrap: str | None, *, capacity: int = 100_000, **config: Any) -> None:
        self.logged = 0
        self.dropped = 0
        self.last_error = ""
        self._topic = TOPICS["quotes"].topic
        # A random prefix per process and a counter are unique without a system call per quote.
        self._prefix = secrets.token_hex(8)
        self._number = count()
        self._batch: list[tuple[str, bytes, int]] = []
        self._capacity = capacity
        self._producer = (
            Producer(
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
                | config
            )
            if bootstrap is not None
            else None
        )

    def next_id(self) -> str:
        """Return a new event id."""
        return f"q-{self._prefix}-{next(self._number):x}"

    def offer(self, group: str, quote: bytes, at_ms: int) -> bool:
        """Queue a quote of a price group; return False, and count it as dropped, if the queue is full."""
        if self._producer is None:
            return True
        if len(self._batch) >= self._capacity:
            self.dropped += 1
            self.last_error = "queue full"
            return False
        self._batch.append((group, quote, at_ms))
        return True

    @property
    def waiting(self) -> int:
        """Quotes that the broker has not taken yet."""
        return len(self._batch) + len(self._producer) if self._producer is not None else 0

    def poll(self) -> None:
        """Produce the quotes offered since the last call, and collect delivery errors."""
        if self._producer is None:
            return
        batch, self._batch = self._batch, []
        produce, topic, on_delivery = self._producer.produce, self._topic, self._failed
        for i, (key, quote, at_ms) in enumerate(batch):
            try:
                produce(topic, quote, key=key, timestamp=at_ms, on_delivery=on_delivery)
            except BufferError:
                self.dropped += len(batch) - i
                self.last_error = "queue full"
                break
            self.logged += 1
        self._producer.poll(0)

    def close(self, timeout_s: float = 10.0) -> int:
        """Flush; return how many quotes are lost after ``timeout_s`` (also counted as dropped)."""
        self.poll()
        left = self._producer.flush(timeout_s) if self._producer is not None else 0
        self.dropped += left
        return left

    def _failed(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self.dropped += 1
            self.last_error = error.str()

    def _broker_error(self, error: KafkaError) -> None:
        self.last_error = error.str()
