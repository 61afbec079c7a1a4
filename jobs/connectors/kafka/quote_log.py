"""The edge's quote log: every quoted price goes to Kafka, and no reply waits for it.

Quotes are the only source of exposures, so a lost quote biases demand upwards. Quotes that Kafka does not take go
to a spool on disk and are sent when Kafka is back. A quote that cannot be stored either is counted and reported.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from jobs.connectors.kafka.offsets import SILENT
from jobs.connectors.kafka.quote_spool import LoggedQuote, QuoteSpool
from jobs.connectors.kafka.spool_sender import SpoolSender, is_permanent
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS

log = logging.getLogger(__name__)

POLL_S = 0.2
"""Seconds that the thread of failed deliveries waits for one."""
HIGH_MARK = 0.5
"""Share of librdkafka's queue above which new quotes go to the spool."""
DELIVERY_SHARE = 0.8
"""Share of the topic's lateness within which librdkafka must deliver a quote.

A quote carries its event time as Kafka timestamp. If it arrived later than the lateness, its minute might be
closed. It fails before that and is sent from the spool with a new Kafka timestamp, by which demand_job knows it as
late.
"""


class QuoteLog:
    """Non-blocking, idempotent writer of the quotes topic.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers; None: log nothing (tests of the reply alone).
    capacity : most quotes that wait in memory for the broker, and as many for the disk; without a spool further
        ones are dropped and counted.
    spool : holds the quotes that Kafka does not take; None: they are dropped and counted.
    clock : the run's clock, which stamps the quotes that are sent from the spool.
    config : further settings of librdkafka, which override the defaults here.

    Attributes
    ----------
    logged : quotes handed to librdkafka or to the spool.

    Notes
    -----
    librdkafka's queue and thread do the work. :meth:`offer` only appends to a list; :meth:`poll`, called every few
    milliseconds, produces the whole list. Producing each quote by itself would wake librdkafka's thread for every
    quote, which costs more than the quote.

    The log is live until a delivery fails or half of librdkafka's queue waits. From then on new quotes go to the
    spool, behind those that failed. The spool is sent in order of event time. When all of it is sent, new quotes
    wait in memory for its last acknowledgements, and the log is live again. Kafka therefore receives the quotes of
    a price group in order. A quote whose acknowledgement is lost is sent again with the same event id.
    """

    def __init__(
        self,
        bootstrap: str | None,
        *,
        capacity: int = 100_000,
        spool: QuoteSpool | None = None,
        clock: Clock | None = None,
        **config: Any,
    ) -> None:
        self.logged = 0
        self._last_error = ""
        self._topic = TOPICS["quotes"].topic
        # A random prefix per process and a counter are unique without a system call per quote.
        self._prefix = secrets.token_hex(8)
        self._number = count()
        self._batch: list[LoggedQuote] = []
        self._failed_quotes: deque[LoggedQuote] = deque()
        self._dropped = 0
        self._capacity = capacity
        self._config = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": capacity,
            "error_cb": self._broker_error,
            "logger": SILENT,
        } | config
        self._producer = self._live_producer() if bootstrap is not None else None
        self._sender: SpoolSender | None = None
        if spool is not None and bootstrap is not None:
            now_ms = (clock or Clock()).now_ms
            self._sender = SpoolSender(spool, self._spool_producer, self._topic, now_ms, capacity)
        # Quotes of the previous process are sent before those of this one.
        self._spooling = self._sender is not None and not self._sender.is_empty
        self._closing = False
        # Thousands of deliveries may fail at once; in the event loop, every quote would wait for their callbacks.
        self._reports = threading.Thread(target=self._collect_failures, name="quote-deliveries", daemon=True)
        if self._sender is not None:
            self._reports.start()

    @classmethod
    def of(cls, settings: Settings) -> QuoteLog:
        """Return the log of a run, with a spool in its state folder.

        Without a spool, because its folder cannot be written, quotes are answered and logged all the same.
        """
        clock = settings.run_clock
        lateness_ms = next(topic.lateness_ms for topic in settings.inputs if topic.name == "quotes")
        timeout_ms = max(1, round(DELIVERY_SHARE * lateness_ms / clock.speed))
        try:
            spool = QuoteSpool(settings.quote_spool_dir, settings.edge_spool_mb * 1024 * 1024)
        except OSError as error:
            log.error("quote log: no spool, quotes that Kafka does not take are dropped: %s", error)
            return cls(settings.kafka, clock=clock)
        return cls(settings.kafka, spool=spool, clock=clock, **{"message.timeout.ms": timeout_ms})

    def next_id(self) -> str:
        """Return a new event id."""
        return f"q-{self._prefix}-{next(self._number):x}"

    def offer(self, group: str, quote: bytes, at_ms: int) -> bool:
        """Queue a quote of a price group; return False, and count it as dropped, if the queue is full."""
        if self._producer is None:
            return True
        if len(self._batch) >= self._capacity:
            self._dropped += 1
            self._last_error = "queue full"
            return False
        self._batch.append(LoggedQuote(group, quote, at_ms))
        return True

    @property
    def last_error(self) -> str:
        """The newest error, also of the spool; empty if there was none."""
        return (self._sender is not None and self._sender.last_error) or self._last_error

    @property
    def dropped(self) -> int:
        """Quotes lost."""
        return self._dropped + (self._sender.dropped if self._sender is not None else 0)

    @property
    def waiting(self) -> int:
        """Quotes that the broker has not taken yet, those on disk included."""
        if self._producer is None:
            return 0
        return len(self._batch) + len(self._producer) + (self._sender.waiting if self._sender is not None else 0)

    @property
    def stored(self) -> int:
        """Quotes on disk now."""
        return self._sender.stored if self._sender is not None else 0

    @property
    def spooled(self) -> int:
        """Quotes that were written to disk since the start."""
        return self._sender.spooled if self._sender is not None else 0

    @property
    def spool_bytes(self) -> int:
        """Bytes on disk that hold quotes."""
        return self._sender.bytes_used if self._sender is not None else 0

    @property
    def counts(self) -> dict[str, int]:
        """Return the counters by their name in ``/healthz``."""
        return {
            "quotes_logged": self.logged,
            "quotes_dropped": self.dropped,
            "quotes_waiting": self.waiting,
            "quotes_spooled": self.spooled,
            "quotes_stored": self.stored,
            "quotes_spool_bytes": self.spool_bytes,
        }

    def poll(self) -> None:
        """Hand the quotes offered since the last call to librdkafka or to the spool, and collect failed ones."""
        if self._producer is None:
            return
        if self._sender is None:
            self._producer.poll(0)
        else:
            crowded = self._spool_failed(self._sender, len(self._producer))
            if self._spooling and (crowded or not self._sender.is_empty):
                # All stored quotes are sent: their acknowledgements are a few milliseconds away.
                hold = self._sender.all_sent and not crowded and len(self._batch) <= HIGH_MARK * self._capacity
                if not hold:
                    self.logged += self._sender.put(self._take())
                return
            self._spooling = False
        self._produce(self._producer, self._take())

    def close(self, timeout_s: float = 10.0) -> int:
        """Flush; return how many quotes are lost after ``timeout_s`` (also counted as dropped).

        With a spool, what the broker has not taken until then is stored for the next start.
        """
        self.poll()
        self._closing = True
        if self._reports.is_alive():
            self._reports.join()
        left = self._producer.flush(timeout_s) if self._producer is not None else 0
        if self._sender is not None and self._producer is not None:
            is_away = bool(left or self._failed_quotes)
            if left:
                self._producer.purge()
                self._producer.poll(0)
            self._spool_failed(self._sender, 0)
            self.logged += self._sender.put(self._take())
            # The sender would wait as long again for a broker that has just not answered.
            left = self._sender.close(0.0 if is_away else timeout_s)
        self._dropped += left
        return left

    def _collect_failures(self) -> None:
        while not self._closing:
            assert self._producer is not None
            self._producer.poll(POLL_S)

    def _take(self) -> list[LoggedQuote]:
        batch, self._batch = self._batch, []
        return batch

    def _spool_failed(self, sender: SpoolSender, in_librdkafka: int) -> bool:
        """Hand failed quotes to the spool; return whether librdkafka's queue is above the high mark."""
        crowded = in_librdkafka > HIGH_MARK * self._capacity
        if self._failed_quotes:
            sender.put([self._failed_quotes.popleft() for _ in range(len(self._failed_quotes))])
            self._spooling = True
        self._spooling = self._spooling or crowded
        sender.may_send = not in_librdkafka
        return crowded

    def _produce(self, producer: Producer, batch: list[LoggedQuote]) -> None:
        produce, topic, on_delivery = producer.produce, self._topic, self._failed
        for i, (key, quote, at_ms) in enumerate(batch):
            try:
                produce(topic, quote, key=key, timestamp=at_ms, on_delivery=on_delivery)
            except (BufferError, KafkaException) as error:
                if isinstance(error, KafkaException) and is_permanent(error.args[0]):
                    self._failed(error.args[0], None)
                    continue
                self._refused(producer, batch[i:], error)
                break
            self.logged += 1

    def _refused(self, producer: Producer, rest: list[LoggedQuote], error: Exception) -> None:
        """Handle quotes that librdkafka did not take: its queue is full, or the producer has failed for good."""
        self._last_error = "queue full"
        if isinstance(error, KafkaException):
            self._last_error = str(error)
            producer.purge()
            producer.poll(0)
            producer = self._producer = self._live_producer()
        if self._sender is None:
            self._dropped += len(rest)
        else:
            self.logged += len(rest)
            self._failed_quotes += rest
            self._spool_failed(self._sender, len(producer))

    def _live_producer(self) -> Producer:
        return Producer({"delivery.report.only.error": True} | self._config)

    def _spool_producer(self) -> Producer:
        return Producer(self._config | {"delivery.report.only.error": False})

    def _failed(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            return
        self._last_error = error.str()
        if self._sender is None or is_permanent(error):
            self._dropped += 1
        else:
            self._failed_quotes.append(
                LoggedQuote(message.key().decode(), message.value(), message.timestamp()[1])
            )

    def _broker_error(self, error: KafkaError) -> None:
        self._last_error = error.str()
