"""Output sinks to Redis, beside the outputs' Kafka topics.

A sink writes inside the call that made the outputs, because a Python function in Flink has no hook at the end of a
bundle or checkpoint. No sink raises when Redis is unreachable: Kafka is the system of record and Redis is derived
from it. Outputs that could not be written are queued, retried once a minute, and counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from features.bucket_logic import Output
from features.segments.customers import SegmentSettings, segment_of_periods
from jobs.connectors.redis.price_tables import RedisPriceTables
from schemas.listings import Listing
from schemas.price_table import PriceTable

log = logging.getLogger(__name__)

PAUSE_AFTER_FAILURE_S = 5.0
"""Wall seconds without attempts after a failure: the client's own retries have covered a restart already."""


class RedisTableSink:
    """Publishes price tables; queues each listing's newest table until Redis accepts it or has a newer one."""

    streams = frozenset({"tables"})

    def __init__(self, tables: RedisPriceTables) -> None:
        self._tables = tables
        self._pending: dict[Listing, PriceTable] = {}
        self._paused_until = 0.0
        self.counts = {"tables_published": 0, "tables_outrun": 0, "tables_waiting": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Queue the tables and try to publish all queued ones."""
        for output in outputs:
            table = PriceTable.from_record(output.value)
            self._pending[table.listing] = table
        if self._pending and time.monotonic() >= self._paused_until:
            self._try()
        self.counts["tables_waiting"] = len(self._pending)

    def _try(self) -> None:
        waiting = list(self._pending.values())
        try:
            results = self._tables.publish_many(waiting)
        except RedisError as error:
            self._pause(f"{len(waiting)} price tables queued: {error}")
            return
        for table, result in zip(waiting, results, strict=True):
            if result.accepted:
                self.counts["tables_published"] += 1
            elif result.version_now >= table.version:
                self.counts["tables_outrun"] += 1
            else:
                # Refused although the version in Redis is lower: Redis has no `ready` epoch.
                continue
            del self._pending[table.listing]
        if self._pending:
            self._pause(f"{len(self._pending)} price tables queued: Redis has no `ready` epoch; rebuild it")

    def _pause(self, why: str) -> None:
        log.warning("redis: %s", why)
        self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S


class RedisSegmentSink:
    """Writes customers' counts and segments; queues the newest counts per customer and period.

    The segment is computed from the counts of every period in Redis, so that a customer whose counts the stream
    has dropped keeps them.

    Parameters
    ----------
    tables : where counts and segments are stored.
    settings : how a segment is decided.
    max_pending : most queued updates; the oldest are dropped and counted beyond it, and ``walras rebuild-redis``
        restores them from Kafka.
    """

    streams = frozenset({"segment_updates"})

    def __init__(
        self, tables: RedisPriceTables, settings: SegmentSettings | None = None, max_pending: int = 100_000
    ) -> None:
        self._tables, self._settings, self._most_waiting = tables, settings or SegmentSettings(), max_pending
        self._pending: dict[tuple[str, str, int], Mapping[str, Any]] = {}
        self._paused_until = 0.0
        self.counts = {"segments_written": 0, "segments_waiting": 0, "segments_dropped": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Queue the counts and try to write all queued ones."""
        for output in outputs:
            value = output.value
            self._pending[value["tenant"], value["customer"], value["period"]] = value
        if self._pending and time.monotonic() >= self._paused_until:
            try:
                self._try()
            except RedisError as error:
                log.warning("redis: %d segments queued: %s", len(self._pending), error)
                self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
        while len(self._pending) > self._most_waiting:
            del self._pending[next(iter(self._pending))]
            self.counts["segments_dropped"] += 1
        self.counts["segments_waiting"] = len(self._pending)

    def _try(self) -> None:
        by_tenant: dict[str, list[Mapping[str, Any]]] = {}
        for value in self._pending.values():
            by_tenant.setdefault(value["tenant"], []).append(value)
        for tenant, values in sorted(by_tenant.items()):
            write_segments(self._tables, tenant, values, self._settings)
        self.counts["segments_written"] += len({key[:2] for key in self._pending})
        self._pending.clear()


def write_segments(
    tables: RedisPriceTables, tenant: str, updates: Sequence[Mapping[str, Any]], settings: SegmentSettings
) -> int:
    """Write a tenant's ``segment_updates`` (counts), and the segments that follow from the counts of all periods.

    Returns
    -------
    int
        Number of updates.
    """
    priors = {value["customer"]: value["prior"] for value in updates}
    counts = {(v["customer"], v["period"]): (v["purchases"], v["above_offer"]) for v in updates}
    known = tables.add_purchases(tenant, counts)
    tables.set_segments(
        tenant,
        {who: segment_of_periods(periods.values(), priors[who], settings) for who, periods in known.items()},
    )
    return len(updates)
