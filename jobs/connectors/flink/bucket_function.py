"""A :class:`jobs.hosting.host.Host` as a keyed Flink function, with PyFlink's state, metrics and rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyflink.common import Row, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, KeyedProcessFunction, KeyedStream, OutputTag, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway

from jobs.hosting.host import Host

CURRENT_COUNTS = frozenset({"failing_buckets"})
"""Counts that describe the current state; the others count since the worker started."""
ROW_OUT = Types.ROW_NAMED(
    ["stream", "key", "value", "event_time_ms"],
    [Types.STRING(), Types.STRING(), Types.STRING(), Types.LONG()],
)


@dataclass(frozen=True)
class TypedSideOutput:
    """A stream whose outputs also leave as typed rows (for Parquet), through a side output.

    Parameters
    ----------
    stream : the stream.
    fields : names and types of the row.
    row : returns the row's values for an output's value.
    """

    stream: str
    fields: Mapping[str, TypeInformation]
    row: Callable[[Mapping[str, Any]], tuple[Any, ...]] = field(compare=False)

    @property
    def tag(self) -> OutputTag:
        """The tag of the side output."""
        return OutputTag(self.stream, Types.ROW_NAMED(list(self.fields), list(self.fields.values())))


class BucketFunction(KeyedProcessFunction):
    """A :class:`Host` as a keyed Flink function, with one state value per bucket.

    Parameters
    ----------
    make_host : builds the host in the worker. It is serialised, so it holds settings, not connections.
    typed : a stream that also leaves as typed rows.
    """

    def __init__(self, make_host: Callable[[], Host], typed: TypedSideOutput | None = None) -> None:
        self._make_host = make_host
        self._typed = typed
        self._host: Host | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the host; register its state and metrics."""
        self._host = host = self._make_host()
        self._state = runtime_context.get_state(
            ValueStateDescriptor("bucket", Types.PRIMITIVE_ARRAY(Types.BYTE()))
        )
        metrics = runtime_context.get_metrics_group()
        for counts in host.counts.values():
            for name in counts:
                unit = "count" if name in CURRENT_COUNTS else "total"
                metrics.gauge(f"walras_{name}_{unit}", _Reading(counts, name))
        # Imported modules are never garbage. Restoring a bucket creates thousands of objects, and each collection
        # that this triggers would traverse all modules: 4.1 ms a bucket instead of 2.4.
        gc.collect()
        gc.freeze()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Process one batch or fact; a logic's exception is contained (:meth:`Host.process_contained`)."""
        assert self._host is not None, "open() comes first"
        outputs, saved = self._host.process_contained(value, self._state.value)
        if saved is not None:
            self._state.update(saved)
        for output, text in outputs:
            yield Row(output.stream, output.key, text, output.event_time_ms)
            if self._typed is not None and output.stream == self._typed.stream:
                yield self._typed.tag, Row(*self._typed.row(output.value))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A gauge over one of the host's counts."""

    counts: dict[str, int]
    name: str

    def __call__(self) -> int:
        return self.counts[self.name]


def union_keyed_streams(streams: Sequence[DataStream]) -> KeyedStream:
    """Return the union of streams, each keyed before the union, so that they are joined only in the host.

    With unaligned checkpoints a barrier can overtake rows on a keyed exchange. A union before that exchange waits
    with the rows of all its inputs for the last input's barrier, so a fact waits for a burst of estimates
    (decision 35).
    """
    keyed = [stream.key_by(_first, key_type=Types.STRING()) for stream in streams]
    if len(keyed) == 1:
        return keyed[0]
    # PyFlink's union removes a keyed stream's key and sends all rows through Python a second time.
    gateway = get_gateway()
    others = gateway.new_array(gateway.jvm.org.apache.flink.streaming.api.datastream.DataStream, len(keyed) - 1)
    for at, other in enumerate(keyed[1:]):
        others[at] = other._j_data_stream
    by_key = gateway.jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()
    met = keyed[0]._j_data_stream.union(others).keyBy(by_key, Types.ROW([Types.STRING()]).get_java_type_info())
    return KeyedStream(met, keyed[0]._original_data_type_info, keyed[0]._origin_stream)


def host_in_flink(
    rows: DataStream | Sequence[DataStream],
    make_host: Callable[[], Host],
    uid: str,
    typed: TypedSideOutput | None = None,
) -> DataStream:
    """Key rows (``bucket_tables.ROW_COLUMNS``) by bucket and run a host on them; return a stream of ``ROW_OUT``.

    Several streams of rows are joined by :func:`union_keyed_streams`.
    """
    keyed = union_keyed_streams([rows] if isinstance(rows, DataStream) else rows)
    return keyed.process(BucketFunction(make_host, typed), output_type=ROW_OUT).uid(uid).name(uid)


def _first(row: Any) -> str:
    return row[0]
