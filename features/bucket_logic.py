"""BucketLogic: the interface of all stateful logics.

A logic receives one bucket's minute as a batch (possibly empty) or a single fact, and returns outputs. It reads no
clock, socket or environment variable. One adapter runs it in Flink (jobs/hosting/host.py) and one function in
replay and backfill; tests use the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from schemas.events import CatalogEntry, Covariate, Offer, Stock
from schemas.records.counts import Cell


class SnapshotError(ValueError):
    """A snapshot of an unsupported version; the host then starts from an empty state and counts the error."""


def refuse_other_version(name: str, expected: int, snapshot: Mapping[str, Any]) -> None:
    """Raise :class:`SnapshotError` unless the snapshot has the expected version.

    Examples
    --------
    >>> refuse_other_version("SlotRing", 1, {"v": 1})
    """
    if snapshot.get("v") != expected:
        raise SnapshotError(f"{name}: expected snapshot version {expected}, got {snapshot.get('v')!r}")


class Output(NamedTuple):
    """Record to publish: short name of the stream, Kafka key, value and event time."""

    stream: str
    key: str
    value: dict[str, Any]
    event_time_ms: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A single record that is processed on arrival. ``kind`` is its stream, for example offers, stock or commands.

    ``address`` (topic-partition-offset) orders and identifies the record. ``now_ms`` is the Clock's time at which
    the host received it.
    """

    kind: str
    value: Mapping[str, Any]
    event_time_ms: int
    address: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One minute of one bucket: its cells and the facts received in that minute, in canonical order.

    ``now_ms`` is the Clock's time at which the host received the batch; only repricing uses it (for versions).
    """

    bucket: int
    window_end_ms: int
    cells: tuple[Cell, ...] = ()
    offers: tuple[Offer, ...] = ()
    stock: tuple[Stock, ...] = ()
    catalog: tuple[CatalogEntry, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    now_ms: int = 0


_CELL_FIELDS = tuple(Cell.__dataclass_fields__)
_FACT_TYPES: dict[str, type] = {
    "offers": Offer,
    "stock": Stock,
    "catalog": CatalogEntry,
    "covariates": Covariate,
}


def parse_batch(payload: str | bytes, now_ms: int = 0) -> Batch:
    """Decode a `cells` value: ``{"bucket": .., "window_end_ms": .., "rows": [..]}``.

    A row is ``{"kind": "cell", ...cell fields}`` or ``{"kind": "offers"|"stock"|"catalog"|"covariates", "p":
    partition, "o": offset, ...record fields}``. The batch is in canonical order for any order of the rows.

    Raises
    ------
    ValueError
        If a row has an unknown kind.
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
            raise ValueError(f"cells row: expected kind cell, {', '.join(_FACT_TYPES)}; got {kind!r}")
    cells.sort(key=lambda c: (c.tenant, c.market, c.sku, c.arm, c.segment, c.price_minor, c.currency))
    ordered = {kind: tuple(r[3] for r in sorted(rows, key=lambda r: r[:3])) for kind, rows in facts.items()}
    return Batch(value["bucket"], value["window_end_ms"], tuple(cells), now_ms=now_ms, **ordered)


class BucketLogic(Protocol):
    """Interface between a host and a logic.

    ``name`` is the second part of the Flink uid. ``snapshot`` returns plain data that orjson can write (numbers,
    strings, lists, string-keyed dicts, NumPy arrays) and contains no settings. ``restore`` raises
    :class:`SnapshotError` for a snapshot of another ``version``.
    """

    name: str
    version: int

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Process one minute of one bucket."""
        ...

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Process one fact."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return the complete state as versioned plain data."""
        ...

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot."""
        ...
