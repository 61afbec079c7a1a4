"""Hosting of a :class:`features.bucket_logic.BucketLogic`, without Flink.

A :class:`Host` restores a logic from its saved state, passes each batch to it once, and delivers its outputs.
:mod:`jobs.connectors.flink.bucket_function` runs a host in Flink; replay, backfill and tests use
:func:`run_batches`. A bucket has one live object and one state value. PyFlink's state costs a round trip of about
a millisecond per changed key whatever its size, so the whole bucket is one value, written once per call, and a
live object can be evicted between two calls and restored from its bytes.

An exception raised by a logic must not stop a job, because the same row would raise it again after every restart.
:meth:`Host.process_contained` discards the live object, restores it from its saved bytes and puts the failing fact
or batch into quarantine (decision 40). :meth:`Host.process`, for a single process without saved bytes, raises
:class:`LogicError` with bucket, address and record instead.

An input row is ``(key, kind, address, payload)``. Kind ``batch`` carries a `cells` record and its key is the
bucket's number; a row of any other kind is a fact, or a list of facts.

The module has over 300 lines because one class contains a bucket's life cycle, from its restored state to a
processed row, a contained exception and its saved state. Each step relies on the state that the previous one left
in the same live object.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson
import pyarrow as pa

from features.array_text import array_text
from features.bucket_logic import BucketLogic, Fact, Output, SnapshotError, parse_batch
from jobs.hosting.containment import (
    FAILING_AFTER_MINUTES,
    MAX_ERROR_CHARACTERS,
    RECOVERED,
    error_text,
    event_time_of,
    parse_event_time,
    parse_facts,
    parse_window_end,
    quarantine_output,
    record_text,
    split_rows,
)
from jobs.runtime.clock import Clock

log = logging.getLogger(__name__)
_T = TypeVar("_T")

BATCH = "batch"
_ZSTD = pa.Codec("zstd", 1)
_LENGTH = 4


def packed(data: bytes) -> bytes:
    """Return a bucket's JSON as it is stored: its length and a Zstandard frame, a fifth of the JSON's size.

    Compression takes a tenth of a millisecond. It saves the transfer of each value through the state backend,
    which writes a changed value several times (decision 29).
    """
    return len(data).to_bytes(_LENGTH, "big") + _ZSTD.compress(data, asbytes=True)


def unpacked(data: bytes) -> bytes:
    """Return the JSON of a bucket's stored bytes; bytes that are JSON already are returned unchanged.

    >>> unpacked(packed(b'{"a": 1}')) == unpacked(b'{"a": 1}') == b'{"a": 1}'
    True
    """
    if data[:1] == b"{":  # Read as a length, this byte means more than 2 GB.
        return data
    length = int.from_bytes(data[:_LENGTH], "big")
    return _ZSTD.decompress(data[_LENGTH:], length, asbytes=True)


class OutputSink(Protocol):
    """Writes the outputs of some streams inside the call that made them (Redis, Feast online).

    Outputs that must not be lost also go to Kafka. A sink that cannot write keeps its outputs for a later attempt,
    counts them, and does not raise.
    """

    streams: frozenset[str]
    counts: dict[str, int]

    def write(self, outputs: Sequence[Output]) -> None:
        """Write the outputs of one call.

        The host also calls it once a minute without outputs, to retry queued ones.
        """
        ...


class LogicError(RuntimeError):
    """A logic raised; the message names the logic, the bucket, the address and the record."""


class EncodedOutput(NamedTuple):
    """An output and its value as JSON text."""

    output: Output
    text: str


@dataclass(slots=True)
class HostedBucket:
    """A live logic, the end of the last minute it processed, and how many minutes in a row have failed."""

    logic: BucketLogic
    last_window_end_ms: int = 0
    failing_minutes: int = 0


class Host:
    """Runs the logics of many buckets: each batch once, with snapshots, sinks and containment of exceptions.

    Parameters
    ----------
    make_logic : creates an empty logic for a bucket; its settings are bound, its state is not.
    clock : the run's Clock, which sets ``now_ms`` of batches and facts; None in a replay, where ``now_ms`` is the
        event time.
    sinks : see :class:`OutputSink`.
    max_live_buckets : most buckets kept as objects; the least recently used one is evicted. None: none is evicted,
        for a host whose buckets are not saved.
    """

    def __init__(
        self,
        make_logic: Callable[[], BucketLogic],
        clock: Clock | None,
        sinks: Iterable[OutputSink] = (),
        max_live_buckets: int | None = None,
    ) -> None:
        self._make_logic = make_logic
        self._clock = clock
        self._sinks = tuple(sinks)
        self._most_live = max_live_buckets
        self._live: OrderedDict[str, HostedBucket] = OrderedDict()
        self._failing: set[str] = set()
        self._counts = {
            "batches": 0, "facts": 0, "repeated_batches": 0, "refused_snapshots": 0, "outputs": 0,
            "quarantined_batches": 0, "quarantined_facts": 0, "failing_buckets": 0,
        }  # fmt: skip

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Counters of the host and of each sink, by name, for metrics."""
        return {"host": self._counts} | {type(sink).__name__: sink.counts for sink in self._sinks}

    def bucket(self, key: str, saved: Callable[[], bytes | None]) -> HostedBucket:
        """Return the live bucket, restored from ``saved()`` on its first use and after an eviction."""
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

    def process(self, row: Any, saved: Callable[[], bytes | None]) -> tuple[list[Output], bytes | None]:
        """Process one row; return the outputs and the bytes to save (None: unchanged).

        A fact's payload is its record, or a list of address and record; the facts of a list are processed in order
        and saved once.

        Raises
        ------
        LogicError
            If the logic raises.
        """
        key, kind, address, payload = row[0], row[1], row[2], row[3]
        hosted = self.bucket(key, saved)
        outputs: list[Output] = []
        if kind == BATCH:
            made = self._with_context(
                hosted, row, address, payload, lambda: self._take_batch(hosted, payload, key)
            )
            if made is None:
                return [], None
            outputs = made
        else:
            read = orjson.loads(payload)
            for where, value in read if isinstance(read, list) else [(address, read)]:
                take_one = partial(self._take_fact, hosted, kind, where, value)
                outputs += self._with_context(hosted, row, where, value, take_one)
        self._deliver(kind, outputs)
        return outputs, self.save(hosted)

    def _with_context(
        self, hosted: HostedBucket, row: Any, address: str, record: Any, apply: Callable[[], _T]
    ) -> _T:
        try:
            return apply()
        except Exception as error:
            raise LogicError(
                f"{hosted.logic.name}, bucket {row[0]}, {row[1]} {address or 'without an address'}: "
                f"{error_text(error)}; record: {record_text(record)[:MAX_ERROR_CHARACTERS]}"
            ) from error

    def process_contained(
        self, row: Any, saved: Callable[[], bytes | None]
    ) -> tuple[list[EncodedOutput], bytes | None]:
        """Process one row as :meth:`process`; return encoded outputs, and contain a logic's exception.

        The logic's call, the encoding of its outputs and its snapshot are contained. An exception of a sink or of
        the state backend is not. After an exception the live object is discarded and restored from ``saved()``.
        The facts of a failing list are processed again one by one, and each fact that fails goes to the stream
        ``quarantine`` (:class:`schemas.records.results.Quarantined`). A failing batch goes to quarantine as a
        whole: the bucket has no outputs for its minute, and its window end advances. After
        :data:`FAILING_AFTER_MINUTES` such minutes in a row the bucket counts as FAILING until a minute succeeds.
        """
        key, kind, address, payload = row[0], row[1], row[2], row[3]
        hosted = self.bucket(key, saved)
        try:
            made = (
                self._take_batch(hosted, payload, key)
                if kind == BATCH
                else [
                    output
                    for where, value in parse_facts(address, payload)
                    for output in self._take_fact(hosted, kind, where, value)
                ]
            )
            if made is None:
                return [], None
            kept: bytes | None = self.save(hosted)
            encoded = _encoded(made)
        except MemoryError:
            raise
        except Exception as error:
            if kind == BATCH:
                encoded, kept = self._contain_batch(row, saved, error)
            else:
                encoded, kept = self._contain_facts(row, saved, error)
        self._deliver(kind, [each.output for each in encoded])
        return encoded, kept

    def _take_batch(self, hosted: HostedBucket, payload: Any, key: str) -> list[Output] | None:
        """Return the outputs of a minute; None if the bucket has processed that minute already."""
        batch = parse_batch(payload)
        if batch.window_end_ms <= hosted.last_window_end_ms:
            self._counts["repeated_batches"] += 1
            return None
        batch = dataclasses.replace(batch, now_ms=self._now(batch.window_end_ms))
        outputs = list(hosted.logic.on_batch(batch))
        hosted.last_window_end_ms = batch.window_end_ms
        self._counts["batches"] += 1
        if hosted.failing_minutes >= FAILING_AFTER_MINUTES:
            outputs.append(quarantine_output(hosted.logic, key, RECOVERED, "", batch.window_end_ms))
        hosted.failing_minutes = 0
        self._update_failing(key, hosted)
        return outputs

    def _take_fact(self, hosted: HostedBucket, kind: str, address: str, value: Any) -> list[Output]:
        event_time_ms = event_time_of(kind, value)
        fact = Fact(kind, value, event_time_ms, address, self._now(event_time_ms))
        outputs = list(hosted.logic.on_fact(fact))
        self._counts["facts"] += 1
        return outputs

    def _contain_batch(
        self, row: Any, saved: Callable[[], bytes | None], error: Exception
    ) -> tuple[list[EncodedOutput], bytes | None]:
        key, address, payload = row[0], row[2], row[3]
        self._live.pop(key, None)
        hosted = self.bucket(key, saved)
        window_end_ms = parse_window_end(payload)
        hosted.last_window_end_ms = max(hosted.last_window_end_ms, window_end_ms)
        hosted.failing_minutes += 1
        self._update_failing(key, hosted)
        self._counts["quarantined_batches"] += 1
        log.error("bucket %s: batch %s goes to quarantine: %s", key, address, error_text(error), exc_info=error)
        # The record holds no payload: the batch is on the `cells` topic at this address.
        output = quarantine_output(
            hosted.logic, key, BATCH, address, window_end_ms, error, failing_minutes=hosted.failing_minutes
        )
        return _encoded([output]), self.save(hosted)

    def _contain_facts(
        self, row: Any, saved: Callable[[], bytes | None], error: Exception
    ) -> tuple[list[EncodedOutput], bytes | None]:
        key, kind, address, payload = row[0], row[1], row[2], row[3]
        try:
            facts = split_rows(parse_facts(address, payload))
        except (orjson.JSONDecodeError, TypeError, ValueError):
            facts = [(address, payload)]
        encoded: list[EncodedOutput] = []
        data: bytes | None = None
        self._live.pop(key, None)
        for where, value in facts:
            hosted = self.bucket(key, saved if data is None else partial(_same, data))
            try:
                made = _encoded(self._take_fact(hosted, kind, where, value))
                data = self.save(hosted)
            except MemoryError:
                raise
            except Exception as fault:
                self._live.pop(key, None)
                self._counts["quarantined_facts"] += 1
                log.error(
                    "bucket %s: %s %s goes to quarantine: %s", key, kind, where, error_text(fault), exc_info=fault
                )
                at_ms, text = parse_event_time(kind, value), record_text(value)
                made = _encoded([quarantine_output(hosted.logic, key, kind, where, at_ms, fault, payload=text)])
            encoded += made
        return encoded, data

    def _update_failing(self, key: str, hosted: HostedBucket) -> None:
        if hosted.failing_minutes >= FAILING_AFTER_MINUTES:
            self._failing.add(key)
        else:
            self._failing.discard(key)
        self._counts["failing_buckets"] = len(self._failing)

    def _deliver(self, kind: str, outputs: list[Output]) -> None:
        self._counts["outputs"] += len(outputs)
        for sink in self._sinks:
            mine = [output for output in outputs if output.stream in sink.streams]
            if mine or kind == BATCH:
                sink.write(mine)

    def _now(self, event_time_ms: int) -> int:
        return self._clock.now_ms() if self._clock else event_time_ms

    def save(self, hosted: HostedBucket) -> bytes:
        """Return a bucket's state as versioned, compressed JSON; it holds no settings and no pickles."""
        return packed(
            orjson.dumps(
                {
                    "logic": hosted.logic.name,
                    "version": hosted.logic.version,
                    "last_window_end_ms": hosted.last_window_end_ms,
                    **({"failing_minutes": hosted.failing_minutes} if hosted.failing_minutes else {}),
                    "state": hosted.logic.snapshot(),
                },
                default=array_text,
            )
        )

    def _restore(self, key: str, hosted: HostedBucket, data: bytes) -> None:
        saved = orjson.loads(unpacked(data))
        hosted.last_window_end_ms = saved["last_window_end_ms"]
        hosted.failing_minutes = saved.get("failing_minutes", 0)
        self._update_failing(key, hosted)
        try:
            if saved["logic"] != hosted.logic.name:
                raise SnapshotError(f"expected a snapshot of {hosted.logic.name}, got one of {saved['logic']}")
            hosted.logic.restore(saved["state"])
        except SnapshotError as error:
            # A start from the prior is safe, a partly restored state is not.
            log.error("bucket %s: snapshot refused, starting from the prior: %s", key, error)
            self._counts["refused_snapshots"] += 1
            hosted.logic = self._make_logic()


def _encoded(outputs: Iterable[Output]) -> list[EncodedOutput]:
    option = orjson.OPT_SERIALIZE_NUMPY
    return [EncodedOutput(output, orjson.dumps(output.value, option=option).decode()) for output in outputs]


def _same(data: bytes) -> bytes:
    return data


def run_batches(logic: BucketLogic, payloads: Iterable[str | bytes]) -> Iterator[Output]:
    """Yield a logic's outputs for the `cells` values of one bucket, without Flink."""
    for payload in payloads:
        batch = parse_batch(payload)
        yield from logic.on_batch(dataclasses.replace(batch, now_ms=batch.window_end_ms))
