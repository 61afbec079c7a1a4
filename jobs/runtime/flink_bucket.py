"""A hosted logic as a Flink function: the one adapter that knows PyFlink's state and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from pyflink.common import Row, Types
from pyflink.datastream import DataStream, KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from jobs.runtime.hosting import Host

ROW_IN = Types.ROW_NAMED(
    ["key", "kind", "event_time_ms", "address", "payload"],
    [Types.STRING(), Types.STRING(), Types.LONG(), Types.STRING(), Types.STRING()],
)
ROW_OUT = Types.ROW_NAMED(
    ["stream", "key", "value", "event_time_ms"],
    [Types.STRING(), Types.STRING(), Types.STRING(), Types.LONG()],
)


class BucketFunction(KeyedProcessFunction):
    """A :class:`Host` as a keyed Flink function, one state value per bucket.

    Parameters
    ----------
    make_host : builds the host in the worker; it is shipped there, so it holds settings, not sockets.
    """

    def __init__(self, make_host: Callable[[], Host]) -> None:
        self._make_host = make_host
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

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """One batch or fact."""
        assert self._host is not None, "open() comes first"
        outputs, saved = self._host.take(value, self._state.value)
        if saved is not None:
            self._state.update(saved)
        for output in outputs:
            text = orjson.dumps(output.value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
            yield Row(output.stream, output.key, text, output.event_time_ms)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A gauge over one of the host's counts."""

    counts: dict[str, int]
    name: str

    def __call__(self) -> int:
        return self.counts[self.name]


def host_in_flink(rows: DataStream, make_host: Callable[[], Host], uid: str) -> DataStream:
    """Key the rows (``ROW_IN``'s columns) by bucket and host them; a stream of ``ROW_OUT``."""
    return (
        rows.key_by(_first, key_type=Types.STRING())
        .process(BucketFunction(make_host), output_type=ROW_OUT)
        .uid(uid)
        .name(uid)
    )


def _first(row: Any) -> str:
    return row[0]
