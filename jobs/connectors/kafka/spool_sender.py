"""A thread that stores quotes on disk and sends them when Kafka takes records again.

The event loop hands over batches and reads counters; it never waits for the disk. A row of the spool is deleted
after the broker has acknowledged all of its quotes. A row that fails is sent again, so that a quote may arrive
twice, with the same event id.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from jobs.connectors.kafka.quote_spool import ROW_QUOTES, START, LoggedQuote, Place, QuoteSpool, StoredBatch

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 16_000
"""Most quotes that wait for the broker's acknowledgement, a row more or less.

After a failure one row is sent. The limit doubles with each row that is acknowledged.
"""
POLL_S = 0.02
"""Seconds that the thread waits for acknowledgements before it stores newer quotes."""
PAUSE_S = 0.5
"""Seconds between two attempts after the disk or the producer has failed."""
END_S = 10.0
"""Seconds in which the thread writes what is left when it is closed."""

_PERMANENT = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)


def is_permanent(error: KafkaError) -> bool:
    """Return whether an error is one of the record itself, which would fail again."""
    return error.code() in _PERMANENT


class Progress(NamedTuple):
    """What the thread has done: quotes taken over, quotes on disk, and whether each of these has been sent."""

    taken: int
    stored: int
    all_sent: bool


class _Flight:
    """A row whose quotes wait for the broker's acknowledgement."""

    __slots__ = ("error", "left", "lost", "place", "size")

    def __init__(self, batch: StoredBatch) -> None:
        self.place, self.size, self.left = batch.place, len(batch.quotes), len(batch.quotes)
        self.lost, self.error = 0, ""

    def delivered(self, error: KafkaError | None, message: object) -> None:
        self.left -= 1
        if error is None:
            return
        if is_permanent(error):
            self.lost += 1
        else:
            self.error = error.str()


class SpoolSender:
    """Stores quotes in a spool and sends them in order.

    Parameters
    ----------
    spool : the file, which the thread uses alone from now on.
    make_producer : returns a producer that reports every delivery; called when there are rows to send.
    topic : Kafka topic of the quotes.
    now_ms : the run's clock. A stored quote is sent with the present time as its Kafka timestamp, so that
        demand_job recognises it as late and counts it in the minute in which it arrives.
    capacity : most quotes that wait for the disk; further ones are dropped and counted.

    Attributes
    ----------
    spooled, bytes_used : quotes written to disk since the start, and bytes on disk that hold quotes.
    last_error : the newest error since the last acknowledgement, empty if there was none.
    may_send : whether stored quotes may be sent; the owner clears it while older quotes are still on their way.
    """

    def __init__(
        self,
        spool: QuoteSpool,
        make_producer: Callable[[], Producer],
        topic: str,
        now_ms: Callable[[], int],
        capacity: int,
    ) -> None:
        self._spool, self._make_producer, self._topic, self._now_ms = spool, make_producer, topic, now_ms
        self._capacity = capacity
        self._given: deque[list[LoggedQuote]] = deque()
        self._put = self._put_dropped = self._lost = 0
        self._producer: Producer | None = None
        self._flights: dict[int, _Flight] = {}
        self._window, self._place = 1, START
        self._progress = Progress(0, spool.size, not spool.size)
        self.may_send = True
        self.spooled = 0
        self.bytes_used = spool.bytes_used
        self.last_error = ""
        self._wake = threading.Event()
        self._closing, self._flush_s = False, 0.0
        self._thread = threading.Thread(target=self._run, name="quote-spool", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Quotes lost: the disk was full or too slow, or Kafka refuses the record itself."""
        return self._put_dropped + self._lost

    @property
    def stored(self) -> int:
        """Quotes on disk."""
        return self._progress.stored

    @property
    def waiting(self) -> int:
        """Quotes that the broker has not acknowledged, on disk and in memory."""
        taken, stored, _ = self._progress
        return self._put - taken + stored

    @property
    def is_empty(self) -> bool:
        """Whether every quote handed over has been acknowledged."""
        return self._progress == (self._put, 0, True)

    @property
    def all_sent(self) -> bool:
        """Whether every quote handed over has been sent, though not yet acknowledged."""
        progress = self._progress
        return progress.taken == self._put and progress.all_sent

    def put(self, batch: Sequence[LoggedQuote]) -> int:
        """Hand over quotes to be stored, without waiting; return how many were taken.

        Beyond the capacity the newest are dropped and counted.
        """
        room = max(0, self._capacity - (self._put - self._progress.taken))
        kept = list(islice(batch, room))
        self._put_dropped += len(batch) - len(kept)
        if kept:
            self._given.append(kept)
            self._put += len(kept)
            self._wake.set()
        return len(kept)

    def close(self, timeout_s: float) -> int:
        """Store what was handed over, wait for acknowledgements, and end the thread.

        Returns the quotes that are neither acknowledged nor stored.
        """
        self._flush_s, self._closing = timeout_s, True
        self._wake.set()
        self._thread.join(timeout_s + END_S)
        return self._put - self._progress.taken

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(None if self._is_idle() else (0.0 if self._flights else POLL_S))
            self._wake.clear()
            try:
                self._store()
                self._send()
            except (sqlite3.Error, KafkaException, BufferError) as error:
                self.last_error = str(error)
                log.warning("quote spool: %s; next attempt in %s s", error, PAUSE_S)
                self._forget_flights()
                self._wake.wait(PAUSE_S)
            self._report()
        self._store()
        if self._producer is not None:
            self._producer.flush(self._flush_s)
        try:
            self._settle()
        except sqlite3.Error as error:
            log.warning("quote spool: acknowledged quotes stay on disk and are sent again: %s", error)
        self._report()
        self._spool.close()

    def _is_idle(self) -> bool:
        return not self._given and not self._spool.size

    def _store(self) -> None:
        """Write what was handed over, several batches to a row."""
        while self._given:
            quotes = self._given.popleft()
            while self._given and len(quotes) + len(self._given[0]) <= ROW_QUOTES:
                quotes = quotes + self._given.popleft()
            for k in range(0, len(quotes), ROW_QUOTES):
                row = quotes[k : k + ROW_QUOTES]
                if self._spool.add(row):
                    self.spooled += len(row)
                    # A failed delivery may be older than rows that were sent.
                    self._place = min(self._place, Place(min(quote.at_ms for quote in row), 0))
                else:
                    self._lost += len(row)
                    self.last_error = "the spool is full"
            self._report(len(quotes), all_sent=False)

    def _send(self) -> None:
        if self._producer is None and (not self._spool.size or not self.may_send):
            return
        producer = self._producer = self._producer or self._make_producer()
        in_flight = sum(flight.left for flight in self._flights.values())
        while self.may_send and in_flight < self._window:
            batch = self._spool.after(self._place)
            if batch is None:
                break
            self._place = batch.place
            if batch.place.id not in self._flights:
                self._produce(producer, batch)
                in_flight += len(batch.quotes)
        producer.poll(POLL_S)
        self._settle()

    def _produce(self, producer: Producer, batch: StoredBatch) -> None:
        flight = self._flights[batch.place.id] = _Flight(batch)
        produce, topic, now_ms, delivered = producer.produce, self._topic, self._now_ms(), flight.delivered
        for group, quote in zip(batch.groups, batch.quotes, strict=True):
            try:
                produce(topic, quote, key=group, timestamp=now_ms, on_delivery=delivered)
            except KafkaException as error:
                if not is_permanent(error.args[0]):
                    raise
                delivered(error.args[0], None)

    def _settle(self) -> None:
        """Delete the rows that were acknowledged; send the failed ones again."""
        ended = [row_id for row_id, flight in self._flights.items() if not flight.left]
        acknowledged = []
        for row_id in ended:
            flight = self._flights.pop(row_id)
            if flight.error:
                self.last_error = flight.error
                self._place = min(self._place, Place(flight.place.first_ms, row_id - 1))
                self._window = 1
            else:
                self._lost += flight.lost
                self._window = min(2 * max(self._window, flight.size), MAX_IN_FLIGHT)
                self.last_error = ""
                acknowledged.append(row_id)
        self._spool.delete(acknowledged)

    def _forget_flights(self) -> None:
        """After an error of disk or producer: begin with a new producer and send every row that is left."""
        self._flights.clear()
        self._producer, self._place, self._window = None, START, 1

    def _report(self, newly_taken: int = 0, *, all_sent: bool | None = None) -> None:
        if all_sent is None:
            all_sent = not self._spool.size or (
                not self._spool.has_after(self._place) and not any(f.error for f in self._flights.values())
            )
        self._progress = Progress(self._progress.taken + newly_taken, self._spool.size, all_sent)
        self.bytes_used = self._spool.bytes_used
