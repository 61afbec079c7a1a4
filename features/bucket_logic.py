"""BucketLogic: the one shape that everything with state has.

A logic takes a minute's batch of one bucket (maybe empty), or a single fact, and answers with
outputs. It never reads a clock, a socket or the environment. One adapter hosts it in Flink
(jobs/hosting/host.py), one function in replay and backfill; the same object runs in tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from schemas.events import CatalogEntry, Cell, Offer, Stock


class SnapshotError(ValueError):
    """A snapshot of an unknown version: refused by name; the host starts from the prior and counts it."""


def refuse_other_version(name: str, expected: int, snapshot: Mapping[str, Any]) -> None:
    """Raise :class:`SnapshotError` unless the snapshot is of the expected version.

    >>> refuse_other_version("SlotRing", 1, {"v": 1})
    """
    if snapshot.get("v") != expected:
        raise SnapshotError(f"{name}: expected snapshot version {expected}, got {snapshot.get('v')!r}")


class Output(NamedTuple):
    """Something to publish: the topic's short name, the Kafka key, the value, the event time."""

    stream: str
    key: str
    value: dict[str, Any]
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A single record taken at once: ``kind`` is offers, stock, calendar, commands or estimates.

    ``address`` (topic-partition-offset) orders and names it; ``now_ms`` is the Clock's time when
    the host took it.
    """

    kind: str
    value: Mapping[str, Any]
    event_time_ms: int
    address: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One bucket's minute: its cells and the facts that arrived in it, in a canonical order.

    ``now_ms`` is the Clock's time when the host took the batch; only repricing looks at it (versions).
    """

    bucket: int
    window_end_ms: int
    cells: tuple[Cell, ...] = ()
    offers: tuple[Offer, ...] = ()
    stock: tuple[Stock, ...] = ()
    catalog: tuple[CatalogEntry, ...] = ()
    now_ms: int = 0


_CELL_FIELDS = tuple(Cell.__dataclass_fields__)
_FACT_TYPES: dict[str, type] = {"offers": Offer, "stock": Stock, "catalog": CatalogEntry}


def parse_batch(payload: str | bytes, now_ms: int = 0) -> Batch:
    """Decode a `cells` value: ``{"bucket": .., "window_end_ms": .., "rows": [..]}``.

    A row is ``{"kind": "cell", ...cell fields}`` or ``{"kind": "offers"|"stock"|"catalog",
    "p": partition, "o": offset, ...record fields}``. The rows come in any order; the batch does not.

    Raises
    ------
    ValueError
        If a row is of an unknown kind.
    """
    cells: list[Cell] = []
    facts: dict[str, list[tuple[int, int, int, Any]]] = {kind: [] for kind in _FACT_TYPES}
    value = orjson.loads(payload)
    for row in value["rows"]:
        kind = row.pop("kind")
        if kind == "cell":
            cells.append(Cell(**row))
        elif kind in _FACT_TYPES:
            partition, offset = row.pop("p"), row.pop("o")
            record = _FACT_TYPES[kind](**row)
            facts[kind].append((record.event_time_ms, partition, offset, record))
        else:
            raise ValueError(f"cells row: expected kind cell, offers, stock or catalog; got {kind!r}")
    cells.sort(key=lambda c: (c.tenant, c.market, c.sku, c.arm, c.segment, c.price_minor, c.currency))
    ordered = {kind: tuple(r[3] for r in sorted(rows, key=lambda r: r[:3])) for kind, rows in facts.items()}
    return Batch(value["bucket"], value["window_end_ms"], tuple(cells), now_ms=now_ms, **ordered)


class BucketLogic(Protocol):
    """What a host needs to know of a logic.

    ``name`` is its Flink uid's second half; ``snapshot`` answers plain data that orjson can write
    (numbers, strings, lists, string-keyed dicts, numpy arrays), with no settings in it; ``restore``
    of a snapshot of another ``version`` raises :class:`SnapshotError`.
    """

    name: str
    version: int

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Take one minute of one bucket."""
        ...

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Take one fact at once."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """All that must survive a restart, as versioned plain data."""
        ...

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        ...
