"""Records of a simulated market in a file, generated before a measurement so that they do not load the machine.

The file holds the records in order of time; each is read when it is sent.
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
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

_HEAD = struct.Struct("<qBHI")
NAMES = tuple(TOPICS)


class MarketRecord(NamedTuple):
    """One record: time in ms, short name of the topic, key and value."""

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
    """Write the opening of a market and ``minutes`` from ``start_ms``.

    ``with_opening=False`` continues a market that is open already; seed and number of listings identify a market.

    Returns
    -------
    The number of records of the opening, and of all records.
    """
    skus = max(1, listings // len(MARKETS))
    config = MarketConfig(tenant="bench", skus=skus, events_per_minute=events_per_minute, grouped_share=0.0)
    market = Market(config, seed, start_ms)
    prices = ListPrices(market.list_minor)
    numbers = {name: number for number, name in enumerate(NAMES)}
    opening = written = 0
    with path.open("wb", buffering=1 << 20) as out:
        for minute in range(-1, minutes):
            at_ms = start_ms + minute * MINUTE_MS
            if minute < 0:
                opened = market.opening(start_ms)
                events = list(opened) if with_opening else []
                opening = len(events)
            else:
                events = list(market.step(at_ms, at_ms + MINUTE_MS, prices))
            for at, _, topic, key, value in events:
                name = key.encode()
                out.write(_HEAD.pack(at, numbers[topic], len(name), len(value)))
                out.write(name)
                out.write(value)
            written += len(events)
    return opening, written


def generated_share(*, listings: int, start_ms: int, minutes: int) -> float:
    """Return the events of a market's first minutes as a share of the configured rate, from a small sample.

    Carts and orders follow their visit, and the rate depends on the hour: 0.8 in the morning, 1.1 in the evening.
    """
    configured = 60_000.0
    _, generated = write(
        Path(os.devnull), listings=listings, events_per_minute=configured, start_ms=start_ms, minutes=minutes,
        with_opening=False,
    )  # fmt: skip
    return generated / (configured * minutes)


def read(path: Path) -> Iterator[MarketRecord]:
    """Yield the records of a file."""
    with path.open("rb", buffering=1 << 20) as file:
        while head := file.read(_HEAD.size):
            at_ms, number, key, value = _HEAD.unpack(head)
            yield MarketRecord(at_ms, NAMES[number], file.read(key), file.read(value))


def send(bootstrap: str, records: Iterator[MarketRecord]) -> int:
    """Send records without waiting, with their own time as timestamp, and return their number."""
    topics = {topic.name: topic.topic for topic in TOPICS.values()}
    sent = 0
    with Publisher(bootstrap) as out:
        for at_ms, topic, key, value in records:
            out.send_bytes(topics[topic], value, timestamp_ms=at_ms, key=key)
            sent += 1
        out.flush(300)
    return sent


def send_on_time(
    bootstrap: str, records: Iterator[MarketRecord], stop: threading.Event, on_progress: Callable[[int, int], None]
) -> int:
    """Send each record at its time on the wall clock, in steps of 20 ms, and return their number.

    Parameters
    ----------
    on_progress : called every 5,000 records with their number and the delay of the sender in ms.
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
                on_progress(sent, now - at_ms)
        out.flush(120)
    return sent


def closing_ticks(bootstrap: str, end_ms: int, buckets: int) -> None:
    """Send a tick after the last window to every partition, and one for every bucket."""
    from schemas.ticks import closing_ticks as due
    from schemas.topics import INPUTS

    partitions = {topic.name: topic.partitions for topic in INPUTS}
    with Publisher(bootstrap) as out:
        for tick in due(end_ms, buckets=buckets, partitions=partitions):
            value = orjson.dumps(tick.record())
            where = tick.partition if tick.bucket < 0 else -1
            out.send_bytes(TOPICS[tick.topic].topic, value, timestamp_ms=tick.at_ms, key="tick", partition=where)
