"""A market's records made beforehand, so that making them does not take the machine from what is measured.

Records lie in one file in the order of their time; each is read back as it is sent.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from jobs.connectors.kafka.publisher import Publisher
from jobs.simulation.config import MARKETS, MarketConfig
from jobs.simulation.market import Market
from jobs.simulation.prices import ListPrices
from schemas.topics import MINUTE_MS, TOPICS

_HEAD = struct.Struct("<qBHI")
NAMES = tuple(TOPICS)


class Made(NamedTuple):
    """One record: when, on which topic (short name), key and value."""

    at_ms: int
    topic: str
    key: bytes
    value: bytes


def write(
    path: Path,
    *,
    listings: int,
    events_per_minute: float,
    start_ms: int,
    minutes: int,
    seed: int = 5,
    with_opening: bool = True,
) -> tuple[int, int]:
    """Make a market's opening and ``minutes`` from ``start_ms``; answers how many records: opening, all.

    Without the opening for a market that is open: one seed and number of listings is one market.
    """
    skus = max(1, listings // len(MARKETS))
    config = MarketConfig(tenant="bench", skus=skus, events_per_minute=events_per_minute)
    market = Market(config, seed, start_ms)
    prices = ListPrices(market.list_minor)
    numbers = {name: number for number, name in enumerate(NAMES)}
    opening = written = 0
    with path.open("wb", buffering=1 << 20) as out:
        for minute in range(-1, minutes):
            at_ms = start_ms + minute * MINUTE_MS
            if minute < 0:
                events = market.opening(start_ms)
                events = events if with_opening else []
                opening = len(events)
            else:
                events = market.step(at_ms, at_ms + MINUTE_MS, prices)
            for at, _, topic, key, value in events:
                name = key.encode()
                out.write(_HEAD.pack(at, numbers[topic], len(name), len(value)))
                out.write(name)
                out.write(value)
            written += len(events)
    return opening, written


def share_made(*, listings: int, start_ms: int, minutes: int) -> float:
    """What part of the events that a market is told to make it makes in its first minutes, found by making a few.

    Carts and orders come later than their visit, and hours differ: .8 in a morning, 1.1 in an evening.
    """
    told = 60_000.0
    _, made = write(
        Path(os.devnull), listings=listings, events_per_minute=told, start_ms=start_ms, minutes=minutes,
        with_opening=False,
    )  # fmt: skip
    return made / (told * minutes)


def read(path: Path) -> Iterator[Made]:
    """The records of a file, one after the other."""
    with path.open("rb", buffering=1 << 20) as file:
        while head := file.read(_HEAD.size):
            at_ms, number, key, value = _HEAD.unpack(head)
            yield Made(at_ms, NAMES[number], file.read(key), file.read(value))


def send(bootstrap: str, records: Iterator[Made]) -> int:
    """Send all at once, stamped with their own time; answers how many."""
    topics = {topic.name: topic.topic for topic in TOPICS.values()}
    sent = 0
    with Publisher(bootstrap) as out:
        for at_ms, topic, key, value in records:
            out.send_bytes(topics[topic], value, timestamp_ms=at_ms, key=key)
            sent += 1
        out.flush(300)
    return sent


def send_on_time(
    bootstrap: str, records: Iterator[Made], stop: threading.Event, told: Callable[[int, int], None]
) -> int:
    """Send each record when the wall's clock shows its time, in slices of 20 ms.

    ``told`` hears, now and then, how many were sent and by how many ms the sender is behind.
    """
    topics = {topic.name: topic.topic for topic in TOPICS.values()}
    sent, now = 0, 0
    with Publisher(bootstrap) as out:
        for at_ms, topic, key, value in records:
            while at_ms > now:
                now = round(time.time() * 1000)
                if at_ms > now and stop.wait(0.02):
                    return sent
            out.send_bytes(topics[topic], value, timestamp_ms=max(at_ms, now), key=key)
            sent += 1
            if sent % 5000 == 0:
                now = round(time.time() * 1000)
                told(sent, now - at_ms)
        out.flush(120)
    return sent


def closing_ticks(bootstrap: str, end_ms: int, buckets: int) -> None:
    """One tick past the last window in every partition, and one for every bucket."""
    from schemas.ticks import closing_ticks as due
    from schemas.topics import INPUTS

    partitions = {topic.name: topic.partitions for topic in INPUTS}
    with Publisher(bootstrap) as out:
        for tick in due(end_ms, buckets=buckets, partitions=partitions):
            value = orjson.dumps(tick.record())
            where = tick.partition if tick.bucket < 0 else -1
            out.send_bytes(TOPICS[tick.topic].topic, value, timestamp_ms=tick.at_ms, key="tick", partition=where)
