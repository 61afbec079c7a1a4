"""A hosted logic as a Flink function: the one adapter that knows PyFlink's state and rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pyflink.common import Row, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from jobs.runtime.hosting import Host

ROW_IN = Types.ROW_NAMED(["key", "kind", "address", "payload"], [Types.STRING()] * 4)
ROW_OUT = Types.ROW_NAMED(
    ["stream", "key", "value", "event_time_ms"],
    [Types.STRING(), Types.STRING(), Types.STRING(), Types.LONG()],
)


@dataclass(frozen=True)
class TypedCopies:
    """A stream's outputs once more as typed rows (for Parquet), beside their text.

    Parameters
    ----------
    stream : whose outputs.
    fields : names and types of the row.
    row : the row's values, from an output's value.
    """

    stream: str
    fields: Mapping[str, TypeInformation]
    row: Callable[[Mapping[str, Any]], tuple[Any, ...]] = field(compare=False)

    @property
    def tag(self) -> OutputTag:
        """The side output the rows leave through."""
        return OutputTag(self.stream, Types.ROW_NAMED(list(self.fields), list(self.fields.values())))


class BucketFunction(KeyedProcessFunction):
    """A :class:`Host` as a keyed Flink function, one state value per bucket.

    Parameters
    ----------
    make_host : builds the host in the worker; it is shipped there, so it holds settings, not sockets.
    typed : a stream that also leaves as typed rows.
    """

    def __init__(self, make_host: Callable[[], Host], typed: TypedCopies | None = None) -> None:
        self._make_host = make_host
        self._typed = typed
        self._host: Host | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect what the worker needs and register state and metrics."""
        self._host = host = self._make_host()
        self._state = runtime_context.get_state(
            ValueStateDescriptor("bucket", Types.PRIMITIVE_ARRAY(Types.BYTE()))
        )
        metrics = runtime_context.get_metrics_group()
        for counts in host.counts.values():
            for name in counts:
                metrics.gauge(f"walras_{name}_total", _Reading(counts, name))
        # What was imported stays for good. Reading a bucket from its bytes makes thousands of objects, and the
        # collector that this wakes would look through all the modules each time: 4.1 ms a bucket instead of 2.4.
        gc.collect()
        gc.freeze()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """One batch or fact."""
        assert self._host is not None, "open() comes first"
        outputs, saved = self._host.take(value, self._state.value)
        if saved is not None:
            self._state.update(saved)
        for output in outputs:
            text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
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


def host_in_flink(
    rows: DataStream,
    make_host: Callable[[], Host],
    uid: str,
    typed: TypedCopies | None = None,
) -> DataStream:
    """Key the rows (``ROW_IN``'s columns) by bucket and host them; a stream of ``ROW_OUT``."""
    return (
        rows.key_by(_first, key_type=Types.STRING())
        .process(BucketFunction(make_host, typed), output_type=ROW_OUT)
        .uid(uid)
        .name(uid)
    )


def _first(row: Any) -> str:
    return row[0]
