"""TopicFollower: follows topics on a thread, reconnects by itself, and hands over each record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, error_text
from jobs.connectors.kafka.reading import Record, tail
from schemas.topics import TOPICS

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Wall seconds between two attempts to reach the broker."""
ANSWER_S = 5.0
"""Wall seconds within which the broker must answer an attempt."""
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What taking a record may raise that the project's own jobs did not write as expected."""


class TopicFollower:
    """Follows streams from near their ends until :meth:`close`.

    Parameters
    ----------
    bootstrap : Kafka bootstrap servers.
    backlogs : by short name, how many offsets before its end are read first, per partition.
    take : called with each record, and whether it came after the backlog; on the follower's thread.
    unreadable : called with a record that ``take`` could not read, and the error.

    Attributes
    ----------
    error : the current problem, empty if there is none.
    caught_up : whether the backlogs have been read.
    """

    def __init__(
        self,
        bootstrap: str,
        backlogs: Mapping[str, int],
        take: Callable[[Record, bool], None],
        unreadable: Callable[[Record, Exception], None] | None = None,
    ) -> None:
        self._bootstrap, self._take, self._unreadable = bootstrap, take, unreadable
        self._backlogs = {TOPICS[name].topic: backlog for name, backlog in backlogs.items()}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._unreachable = False
        self.error = ""
        self.caught_up = False

    @property
    def stopping(self) -> threading.Event:
        """Set when the follower is to stop; works that :meth:`run` repeats end with it."""
        return self._stopping

    def start(self) -> None:
        """Start following."""
        self.run("follow", self._follow)

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Run work that reads Kafka on a thread of its own, again after each failure to reach the broker."""
        thread = threading.Thread(target=self._retry, args=(work,), name=f"kafka-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Stop the threads."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _retry(self, work: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except KAFKA_UNREACHABLE as error:
                if not self._unreachable:
                    log.warning("Kafka at %s does not answer, retrying: %s", self._bootstrap, error_text(error))
                self._unreachable = True
                self.error = f"Kafka at {self._bootstrap}: {error_text(error)}"
                self._stopping.wait(RETRY_S)

    def _follow(self) -> None:
        connected = False
        for records, read_all in tail(self._bootstrap, self._backlogs, timeout_s=ANSWER_S):
            if self._stopping.is_set():
                return
            if not connected:
                if self._unreachable:
                    log.info("Kafka at %s answers", self._bootstrap)
                connected, self._unreachable, self.error = True, False, ""
            for record in records:
                try:
                    self._take(record, self.caught_up)
                except UNREADABLE as error:
                    # The project's own jobs wrote it: a fault of the run, not of the follower.
                    self.error = f"{record.topic}-{record.partition}-{record.offset}: unreadable: {error!r}"
                    if self._unreadable is not None:
                        self._unreadable(record, error)
            self.caught_up = self.caught_up or read_all
