"""A replay on a platform: mapped records and ticks into its topics, and waiting until its jobs took them."""

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
from schemas.events import Rejected
from schemas.topics import INPUTS, TOPICS


class TickTime(NamedTuple):
    """A moment at which every bucket and every partition gets its tick."""

    event_time_ms: int


def with_ticks(mapped: MappedData) -> Iterator[MappedRecord | TickTime]:
    """Yield the records with the ticks between them; a tick comes before a record of its own millisecond."""
    span = mapped.span
    if span is None:
        return
    beats: Iterator[MappedRecord | TickTime] = map(TickTime, tick_times(*span, mapped.mapping.tick_minutes))
    yield from heapq.merge(beats, mapped.records(), key=lambda item: item.event_time_ms)


def as_rejected(refusal: Refused) -> Rejected:
    """Return a refused row as a record of `rejected`: its file stands for the topic, its row for the offset."""
    return Rejected(
        f"file:{refusal.file}", 0, refusal.row, 0, refusal.field, refusal.code, str(refusal), refusal.got
    )


def send(
    stream: Iterable[MappedRecord | TickTime], publisher: Publisher, buckets: int, speed: float
) -> Counter[str]:
    """Send records and ticks; ``speed`` event seconds per second, 0: as fast as the broker takes them."""
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


def wait_until_processed(settings: Settings, timeout_s: float, tell: Callable[[str], None]) -> dict[str, int]:
    """Wait until every record lies in a completed checkpoint of every job that reads it.

    Returns
    -------
    dict
        Records still to be taken by consumer group: all 0, or not in time.
    """
    readers = READERS if settings.host_clock else REPLAY_READERS

    def told(state: RetryCallState) -> None:
        left: dict[str, int] = state.outcome.result() if state.outcome else {}
        tell(", ".join(f"{group} {count} behind" for group, count in left.items() if count))

    asking = Retrying(
        retry=retry_if_result(lambda left: any(left.values())),
        wait=wait_fixed(1),
        stop=stop_after_delay(timeout_s),
        before_sleep=told,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else {},
    )
    left: dict[str, int] = asking(consumer_lag, settings.kafka, readers)
    return left
