"""Hosting of a :class:`features.logic.BucketLogic`: all of it that needs no Flink.

A logic is a plain object; this is where it gets its state kept, its batches once, and its outputs
out. :mod:`jobs.runtime.flink_bucket` puts it into Flink; replay, backfill and tests use
:func:`run_batches`. Per bucket there is one live object and one state value: Python's state costs
one round trip of about a millisecond per dirty key whatever its size, so a bucket is one fat value,
written once per call; so any object can be let go between two calls and be made again from its bytes.

A row in is ``(key, kind, address, payload)``: kind ``batch`` carries a `cells` record and its key is
the bucket's number; any other kind is one fact.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import pyarrow as pa

from features.array_text import array_text
from features.logic import BucketLogic, Fact, Output, SnapshotError, parse_batch
from jobs.runtime.clock import Clock
from schemas.topics import TOPICS

log = logging.getLogger(__name__)

BATCH = "batch"
MOST_LIVE = 400
"""Buckets whose objects stay in a worker's memory, some 300 kB each, when that is all of its buckets."""
FEW_LIVE = 32
"""And when it is not: each minute goes over all buckets, so that one which was let go is the next to be asked for,
and objects kept would hardly be met again. A bucket is read from its bytes when it has something to take."""


_ZSTD = pa.Codec("zstd", 1)
_LENGTH = 4


def packed(data: bytes) -> bytes:
    """A bucket's bytes as they are kept: length and a Zstandard frame, a fifth of the JSON.

    It takes a tenth of a millisecond. What it saves is the way of each value through the state backend, which
    writes a changed value several times over (decision 29).
    """
    return len(data).to_bytes(_LENGTH, "big") + _ZSTD.compress(data, asbytes=True)


def unpacked(data: bytes) -> bytes:
    """The JSON of a bucket's bytes; also of those that were kept as JSON itself.

    >>> unpacked(packed(b'{"a": 1}')) == unpacked(b'{"a": 1}') == b'{"a": 1}'
    True
    """
    if data[:1] == b"{":  # As a length, more than 2 GB.
        return data
    length = int.from_bytes(data[:_LENGTH], "big")
    return _ZSTD.decompress(data[_LENGTH:], length, asbytes=True)


class OutputSink(Protocol):
    """Takes some streams' outputs inside the call that made them (Redis, Feast online).

    What must not be lost goes through Kafka too; a sink that cannot write now keeps what it needs to
    try again, counts it, and does not raise.
    """

    streams: frozenset[str]
    counts: dict[str, int]

    def write(self, outputs: Sequence[Output]) -> None:
        """Write the outputs of one call; also called with none, once a minute, to try again."""
        ...


_INTERNAL_TIMES = {"sums": "period_end_ms"}
"""Event-time field of what travels inside a job only."""


def event_time_of(kind: str, value: Mapping[str, Any]) -> int:
    """Event time of a fact, by its stream's own field; of several rows together the latest.

    >>> event_time_of("stock", {"event_time_ms": 5}), event_time_of("segments", {"rows": [{"event_time_ms": 7}]})
    (5, 7)
    """
    field = TOPICS[kind].event_time if kind in TOPICS else _INTERNAL_TIMES[kind]
    rows = [value] if field in value else value["rows"]
    return max(int(row[field]) for row in rows)


@dataclass(slots=True)
class HostedBucket:
    """A live logic with the end of the last minute it took."""

    logic: BucketLogic
    last_window_end_ms: int = 0


class Host:
    """Everything of the hosting that needs no Flink: once-only batches, snapshots, sinks.

    Parameters
    ----------
    make_logic : makes an empty logic for a bucket; settings are bound into it, state is not.
    clock : the run's Clock, whose time goes into batches and facts as ``now_ms``; None in a replay,
        where time is what the data say.
    sinks : see :class:`OutputSink`.
    most_live : buckets kept as objects; the one untouched for longest leaves first. None: none ever leaves, for
        a host whose buckets are not saved.
    """

    def __init__(
        self,
        make_logic: Callable[[], BucketLogic],
        clock: Clock | None,
        sinks: Iterable[OutputSink] = (),
        most_live: int | None = MOST_LIVE,
    ) -> None:
        self._make_logic = make_logic
        self._clock = clock
        self._sinks = tuple(sinks)
        self._most_live = most_live
        self._live: OrderedDict[str, HostedBucket] = OrderedDict()
        self._counts = {"batches": 0, "facts": 0, "repeated_batches": 0, "refused_snapshots": 0, "outputs": 0}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What has happened so far, the host's own and each sink's, for metrics."""
        return {"host": self._counts} | {type(sink).__name__: sink.counts for sink in self._sinks}

    def bucket(self, key: str, saved: Callable[[], bytes | None]) -> HostedBucket:
        """The live bucket; read from ``saved()`` when it is touched for the first time, or again after long."""
        hosted = self._live.get(key)
        if hosted is not None:
            self._live.move_to_end(key)
        else:
            if self._most_live is not None and len(self._live) >= self._most_live:
                self._live.popitem(last=False)
            hosted = self._live[key] = HostedBucket(self._make_logic())
            data = saved()
            if data:
                self._restore(key, hosted, data)
        return hosted

    def take(self, row: Any, saved: Callable[[], bytes | None]) -> tuple[list[Output], bytes | None]:
        """Give one row to its bucket: the outputs, and the bytes to keep (None: nothing changed).

        A fact's payload is its record; or a packet, a list of address and record, taken in order and kept at once.
        """
        key, kind, address, payload = row[0], row[1], row[2], row[3]
        hosted = self.bucket(key, saved)
        if kind == BATCH:
            batch = parse_batch(payload)
            if batch.window_end_ms <= hosted.last_window_end_ms:
                self._counts["repeated_batches"] += 1
                return [], None
            outputs = list(
                hosted.logic.on_batch(dataclasses.replace(batch, now_ms=self._now(batch.window_end_ms)))
            )
            hosted.last_window_end_ms = batch.window_end_ms
            self._counts["batches"] += 1
        else:
            read = orjson.loads(payload)
            outputs = []
            for where, value in read if isinstance(read, list) else [(address, read)]:
                event_time_ms = event_time_of(kind, value)
                fact = Fact(kind, value, event_time_ms, where, self._now(event_time_ms))
                outputs += hosted.logic.on_fact(fact)
                self._counts["facts"] += 1
        self._counts["outputs"] += len(outputs)
        for sink in self._sinks:
            mine = [output for output in outputs if output.stream in sink.streams]
            if mine or kind == BATCH:
                sink.write(mine)
        return outputs, self.save(hosted)

    def _now(self, event_time_ms: int) -> int:
        return self._clock.now_ms() if self._clock else event_time_ms

    def save(self, hosted: HostedBucket) -> bytes:
        """A bucket's bytes: versioned plain data, no settings, no pickles; packed."""
        return packed(
            orjson.dumps(
                {
                    "logic": hosted.logic.name,
                    "version": hosted.logic.version,
                    "last_window_end_ms": hosted.last_window_end_ms,
                    "state": hosted.logic.snapshot(),
                },
                default=array_text,
            )
        )

    def _restore(self, key: str, hosted: HostedBucket, data: bytes) -> None:
        saved = orjson.loads(unpacked(data))
        hosted.last_window_end_ms = saved["last_window_end_ms"]
        try:
            if saved["logic"] != hosted.logic.name:
                raise SnapshotError(f"expected a snapshot of {hosted.logic.name}, got one of {saved['logic']}")
            hosted.logic.restore(saved["state"])
        except SnapshotError as error:
            # Starting from the prior is safe, going on with half a state is not.
            log.error("bucket %s: snapshot refused, starting from the prior: %s", key, error)
            self._counts["refused_snapshots"] += 1
            hosted.logic = self._make_logic()


def run_batches(logic: BucketLogic, payloads: Iterable[str | bytes]) -> Iterator[Output]:
    """Host a logic without Flink: `cells` values of one bucket in, outputs out."""
    for payload in payloads:
        batch = parse_batch(payload)
        yield from logic.on_batch(dataclasses.replace(batch, now_ms=batch.window_end_ms))
