"""A replay on a platform: sends mapped records and ticks, and waits until the jobs have processed them."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import orjson
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from jobs.connectors.kafka.offsets import READERS, REPLAY_READERS, consumer_lag
from jobs.connectors.kafka.publisher import Publisher
from jobs.replay.mapped_data import MappedData
from jobs.replay.records import MappedRecord, Refused, tick_times
from jobs.runtime.settings import Settings
from schemas.records.counts import Rejected
from schemas.topics import INPUTS, TOPICS


class TickTime(NamedTuple):
    """A time at which every bucket and every partition gets its tick."""

    event_time_ms: int


def with_ticks(mapped: MappedData) -> Iterator[MappedRecord | TickTime]:
    """Yield the records with the ticks between them; a tick precedes records of the same millisecond."""
    span = mapped.span
    if span is None:
        return
    beats: Iterator[MappedRecord | TickTime] = map(TickTime, tick_times(*span, mapped.mapping.tick_minutes))
    yield from heapq.merge(beats, mapped.records(), key=lambda item: item.event_time_ms)


def as_rejected(refusal: Refused) -> Rejected:
    """Return a refused row as a record of `rejected`: its file as the topic, its row as the offset."""
    return Rejected(
        topic=f"file:{refusal.file}",
        partition=0,
        offset=refusal.row,
        kafka_ts_ms=0,
        field=refusal.field,
        code=refusal.code,
        detail=str(refusal),
        line=refusal.got,
    )


def send(
    stream: Iterable[MappedRecord | TickTime], publisher: Publisher, buckets: int, speed: float
) -> Counter[str]:
    """Send records and ticks; return the number of records by stream.

    Parameters
    ----------
    speed : event seconds per wall second; 0: as fast as the broker takes them.
    """
    sent: Counter[str] = Counter()
    partitions = {topic.name: publisher.partitions(topic.topic) for topic in INPUTS if topic.name != "ticks"}
    began, first = time.monotonic(), None
    for item in stream:
        if speed > 0:
            first = item.event_time_ms if first is None else first
            ahead = (item.event_time_ms - first) / 1000 / speed - (time.monotonic() - began)
            if ahead > 0.01:
                time.sleep(ahead)
        if isinstance(item, MappedRecord):
            publisher.send_bytes(
                TOPICS[item.stream].topic, item.value, timestamp_ms=item.event_time_ms, key=item.key
            )
            sent[item.stream] += 1
            continue
        at = item.event_time_ms
        for bucket in range(buckets):
            tick = {"event_time_ms": at, "bucket": bucket, "tick": True}
            publisher.send("ticks", tick, timestamp_ms=at, key=str(bucket))
        for name, count in partitions.items():
            value = orjson.dumps({"event_time_ms": at, "bucket": -1, "tick": True})
            for partition in range(count):
                publisher.send_bytes(
                    TOPICS[name].topic, value, timestamp_ms=at, partition=partition, key=f"tick-{partition}"
                )
        sent["ticks"] += buckets
    publisher.flush(300)
    return sent


def wait_until_processed(settings: Settings, timeout_s: float, report: Callable[[str], None]) -> dict[str, int]:
    """Wait until every record is included in a completed checkpoint of every job that reads it.

    Returns
    -------
    dict
        Remaining records by consumer group; all 0 unless ``timeout_s`` passed.
    """
    readers = READERS if settings.host_clock else REPLAY_READERS

    def report_lag(state: RetryCallState) -> None:
        left: dict[str, int] = state.outcome.result() if state.outcome else {}
        report(", ".join(f"{group} {count} behind" for group, count in left.items() if count))

    polling = Retrying(
        retry=retry_if_result(lambda left: any(left.values())),
        wait=wait_fixed(1),
        stop=stop_after_delay(timeout_s),
        before_sleep=report_lag,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else {},
    )
    left: dict[str, int] = polling(consumer_lag, settings.kafka, readers)
    return left
