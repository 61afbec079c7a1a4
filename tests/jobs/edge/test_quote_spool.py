"""The quote log's spool: bounds, order, restarts, damage, and Kafka that comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.connectors.kafka.quote_spool import START, LoggedQuote, QuoteSpool
from jobs.connectors.kafka.spool_sender import SpoolSender
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS
from tests.jobs.edge.edge_builders import NOW, FixedClock

MEGABYTE = 1024 * 1024
CLOSED_PORT = "127.0.0.1:1"
BROKER = """
import sys
from confluent_kafka import Producer
broker = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1})
node = next(iter(broker.list_topics("pricing.quotes.v1", timeout=20).brokers.values()))
print(f"{node.host}:{node.port}", flush=True)
sys.stdin.read()
"""
"""A broker of librdkafka's mock cluster in a process of its own, which can be stopped and continued."""


class Broker:
    """A broker that other processes may use; its topic is read from the beginning."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def read(self, count: int, group: str = "acme/web/g") -> list[Any]:
        """Return the messages of a price group, at least ``count`` of all groups."""
        consumer, topic = Consumer({"bootstrap.servers": self.address, "group.id": "test"}), TOPICS["quotes"].topic
        partitions = consumer.list_topics(topic).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Any] = []
        for _ in range(200):
            found += [message for message in consumer.consume(1000, 0.1) if message.error() is None]
            if len(found) >= count:
                break
        consumer.close()
        return [message for message in found if message.key().decode() == group]


@pytest.fixture
def broker() -> Iterator[Broker]:
    started = Broker()
    try:
        yield started
    finally:
        os.kill(started.process.pid, signal.SIGCONT)
        started.process.communicate("")


def a_quote(number: int, group: str = "acme/web/g") -> LoggedQuote:
    return LoggedQuote(group, b'{"event_id":"q-%d"}' % number, NOW + number)


def ids(messages: list[Any]) -> list[int]:
    return [int(json.loads(message.value())["event_id"][2:]) for message in messages]


def offer(quotes: QuoteLog, numbers: range) -> None:
    for number in numbers:
        assert quotes.offer(*a_quote(number))
    quotes.poll()


def poll_until(quotes: QuoteLog, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        quotes.poll()
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f"{quotes.waiting} quotes wait, {quotes.stored} on disk: {quotes.last_error}")


def spooled_log(address: str, folder: Path, timeout_ms: int = 500, **config: Any) -> QuoteLog:
    spool = QuoteSpool(folder, MEGABYTE)
    return QuoteLog(address, spool=spool, clock=FixedClock(), **{"message.timeout.ms": timeout_ms} | config)


def test_rows_are_read_in_order_of_event_time(tmp_path: Path) -> None:
    spool = QuoteSpool(tmp_path, MEGABYTE)
    for numbers in ((5, 6), (1, 2), (7,)):
        assert spool.add([a_quote(number) for number in numbers])
    found, place = [], START
    while (batch := spool.after(place)) is not None:
        place = batch.place
        found.append([json.loads(quote)["event_id"] for quote in batch.quotes])
    assert found == [["q-1", "q-2"], ["q-5", "q-6"], ["q-7"]] and spool.size == 5
    spool.close()


def test_group_with_a_line_break_keeps_its_quotes(tmp_path: Path) -> None:
    spool = QuoteSpool(tmp_path, MEGABYTE)
    spool.add([a_quote(1, "a\nb"), a_quote(2)])
    batch = spool.after(START)
    assert batch is not None and batch.groups == ["a\nb", "acme/web/g"] and len(batch.quotes) == 2
    spool.close()


def test_full_spool_refuses_and_takes_quotes_again_after_rows_are_deleted(tmp_path: Path) -> None:
    spool = QuoteSpool(tmp_path, 200_000)
    row = [LoggedQuote("g", b"x" * 500, NOW)] * 50
    taken = 0
    while spool.add(row):
        taken += 1
    assert 4 <= taken <= 8 and 0 < spool.bytes_used <= 200_000
    first = spool.after(START)
    assert first is not None
    spool.delete([first.place.id])
    assert spool.add(row) and spool.size == 50 * taken
    spool.close()
    assert spool.path.stat().st_size <= 200_000


def test_second_process_takes_another_file_and_the_first_file_is_found_again(tmp_path: Path) -> None:
    first, second = QuoteSpool(tmp_path, MEGABYTE), QuoteSpool(tmp_path, MEGABYTE)
    assert (first.path.name, second.path.name) == ("quotes-0.sqlite", "quotes-1.sqlite")
    first.add([a_quote(1)])
    first.close()
    again = QuoteSpool(tmp_path, MEGABYTE)
    assert again.path == first.path and again.size == 1
    again.close()
    second.close()


def test_interrupted_write_is_discarded(tmp_path: Path) -> None:
    spool = QuoteSpool(tmp_path, MEGABYTE)
    spool.add([a_quote(1)])
    spool.add([a_quote(2)] * 100)
    # The file as a kill leaves it: the database and its write-ahead log, whose last record is incomplete.
    left = tmp_path / "left"
    left.mkdir()
    (left / spool.path.name).write_bytes(spool.path.read_bytes())
    written = spool.path.with_name(spool.path.name + "-wal").read_bytes()
    (left / f"{spool.path.name}-wal").write_bytes(written[:-1000])
    spool.close()
    again = QuoteSpool(left, MEGABYTE)
    assert again.size == 1
    again.close()


def test_damaged_file_is_kept_aside_and_a_new_one_begins(tmp_path: Path) -> None:
    (tmp_path / "quotes-0.sqlite").write_bytes(b"no database at all" * 1000)
    spool = QuoteSpool(tmp_path, MEGABYTE)
    assert spool.size == 0 and spool.add([a_quote(1)])
    spool.close()
    assert (tmp_path / "quotes-0.damaged").exists()


def test_folder_that_cannot_be_written_is_an_error_naming_it(tmp_path: Path) -> None:
    (tmp_path / "quotes-0.sqlite").mkdir()
    with pytest.raises(OSError, match=r"quotes-0\.sqlite"):
        QuoteSpool(tmp_path, MEGABYTE)


def test_log_of_a_run_has_its_spool_below_the_state_folder_and_works_without_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, kafka=CLOSED_PORT, edge_secret="key", edge_spool_mb=1)
    quotes = QuoteLog.of(settings)
    assert (tmp_path / "run" / "quotes" / "quotes-0.sqlite").exists()
    assert quotes.close(0.0) == 0
    unwritable = tmp_path / "file"
    unwritable.write_text("")
    without = QuoteLog.of(Settings(home=unwritable, kafka=CLOSED_PORT, edge_secret="key"))
    offer(without, range(3))
    assert without.stored == 0 and without.close(0.0) == 3 and without.dropped == 3


def test_quotes_of_an_unreachable_broker_are_stored_and_sent_by_the_next_process(
    tmp_path: Path, broker: Broker
) -> None:
    quotes = spooled_log(CLOSED_PORT, tmp_path, timeout_ms=100)
    offer(quotes, range(10))
    poll_until(quotes, lambda: quotes.stored == 10)
    offer(quotes, range(10, 15))
    assert quotes.close(0.0) == 0 and quotes.dropped == 0 and (quotes.logged, quotes.spooled) == (15, 15)

    following = spooled_log(broker.address, tmp_path, timeout_ms=20_000)
    assert following.waiting == 15
    offer(following, range(15, 20))
    poll_until(following, lambda: not following.waiting)
    assert following.stored == 0 and following.spool_bytes == 0
    assert following.close() == 0
    assert ids(broker.read(20)) == list(range(20))


def test_stored_quotes_have_the_time_of_sending_as_kafka_timestamp(tmp_path: Path, broker: Broker) -> None:
    """demand_job knows a late quote by its Kafka timestamp (rule 2 of features/cells/query.py)."""
    spool = QuoteSpool(tmp_path, MEGABYTE)
    spool.add([LoggedQuote("acme/web/g", b'{"event_id":"q-1"}', NOW - 3_600_000)])
    spool.close()
    quotes = spooled_log(broker.address, tmp_path, timeout_ms=20_000)
    poll_until(quotes, lambda: not quotes.waiting)
    offer(quotes, range(2, 3))
    quotes.close()
    assert [message.timestamp()[1] for message in broker.read(2)] == [NOW, NOW + 2]


def test_broker_that_hangs_and_continues_gets_every_quote(tmp_path: Path, broker: Broker) -> None:
    quotes = spooled_log(broker.address, tmp_path, timeout_ms=1000)
    offer(quotes, range(10))
    poll_until(quotes, lambda: not quotes.waiting)
    os.kill(broker.process.pid, signal.SIGSTOP)
    offer(quotes, range(10, 20))
    poll_until(quotes, lambda: quotes.stored == 10)
    offer(quotes, range(20, 30))
    os.kill(broker.process.pid, signal.SIGCONT)
    poll_until(quotes, lambda: not quotes.waiting)
    offer(quotes, range(30, 40))
    assert quotes.close() == 0 and quotes.dropped == 0
    # A quote whose acknowledgement was lost is there twice, with one id.
    assert list(dict.fromkeys(ids(broker.read(40)))) == list(range(40))


def test_new_quotes_go_to_the_spool_when_half_of_librdkafkas_queue_waits(tmp_path: Path) -> None:
    quotes = spooled_log(CLOSED_PORT, tmp_path, timeout_ms=20_000, capacity=10)
    offer(quotes, range(6))
    assert quotes.spooled == 0
    offer(quotes, range(6, 9))
    poll_until(quotes, lambda: quotes.stored == 3)
    assert quotes.close(0.0) == 0
    assert quotes.spooled == 9 and quotes.dropped == 0


def test_full_spool_drops_the_newest_quotes_and_counts_them(tmp_path: Path) -> None:
    spool = QuoteSpool(tmp_path, 100_000)
    quotes = QuoteLog(CLOSED_PORT, spool=spool, clock=Clock(), capacity=1000, **{"message.timeout.ms": 100})
    offer(quotes, range(1))
    poll_until(quotes, lambda: quotes.stored == 1)
    for number in range(1, 600):
        quotes.offer("g", b"x" * 500, NOW + number)
    poll_until(quotes, lambda: quotes.dropped > 0)
    poll_until(quotes, lambda: quotes.dropped + quotes.stored == 600)
    assert "full" in quotes.last_error and quotes.spool_bytes <= 100_000
    quotes.close(0.0)


def test_record_that_kafka_refuses_for_its_size_is_dropped_and_not_sent_again(
    tmp_path: Path, broker: Broker
) -> None:
    spool = QuoteSpool(tmp_path, 8 * MEGABYTE)
    spool.add([a_quote(1), LoggedQuote("acme/web/g", b"x" * 2_000_000, NOW), a_quote(2)])
    spool.close()
    quotes = QuoteLog(broker.address, spool=QuoteSpool(tmp_path, 8 * MEGABYTE), clock=FixedClock())
    poll_until(quotes, lambda: not quotes.waiting)
    assert quotes.close() == 0 and quotes.dropped == 1
    assert ids(broker.read(2)) == [1, 2]


def test_stop_without_kafka_waits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    close = SpoolSender.close
    monkeypatch.setattr(SpoolSender, "close", lambda self, wait_s: waits.append(wait_s) or close(self, wait_s))
    quotes = spooled_log(CLOSED_PORT, tmp_path, timeout_ms=100)
    offer(quotes, range(3))
    assert quotes.close() == 0
    assert waits == [0.0]
    assert QuoteSpool(tmp_path, MEGABYTE).size == 3
