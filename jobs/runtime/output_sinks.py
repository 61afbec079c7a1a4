"""Where a hosted logic's outputs go at once, beside their Kafka topic.

A sink is written to inside the call that made the outputs, since Python in Flink has no hook at a
bundle's or checkpoint's end. None of them raises for a lost Redis: Kafka is the truth and Redis a
picture of it, so what could not be written is kept, tried again once a minute, and counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from features.logic import Output
from jobs.runtime.redis_price_table import RedisPriceTables
from schemas.events import Listing
from schemas.price_table import PriceTable

log = logging.getLogger(__name__)

PAUSE_AFTER_FAILURE_S = 5.0
"""Wall seconds in which a failing Redis is left alone: its client has waited out a restart already."""


class RedisTableSink:
    """Publishes price tables: the newest per listing, until Redis takes it or holds a newer one."""

    streams = frozenset({"tables"})

    def __init__(self, tables: RedisPriceTables) -> None:
        self._tables = tables
        self._pending: dict[Listing, PriceTable] = {}
        self._paused_until = 0.0
        self.counts = {"tables_published": 0, "tables_outrun": 0, "tables_waiting": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Queue the tables and try to publish all that wait."""
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
            self._pause(f"{len(waiting)} price tables wait: {error}")
            return
        for table, result in zip(waiting, results, strict=True):
            if result.accepted:
                self.counts["tables_published"] += 1
            elif result.version_now >= table.version:
                self.counts["tables_outrun"] += 1
            else:
                # Redis holds less than we do and yet refuses: it has no `ready` epoch.
                continue
            del self._pending[table.listing]
        if self._pending:
            self._pause(f"{len(self._pending)} price tables wait: Redis has no `ready` epoch; rebuild it")

    def _pause(self, why: str) -> None:
        log.warning("redis: %s", why)
        self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S


class RedisSegmentSink:
    """Writes customers' segments; the newest per customer waits while Redis is away."""

    streams = frozenset({"segment_updates"})

    def __init__(self, tables: RedisPriceTables) -> None:
        self._tables = tables
        self._pending: dict[tuple[str, str], str | None] = {}
        self._paused_until = 0.0
        self.counts = {"segments_written": 0, "segments_waiting": 0}

    def write(self, outputs: Sequence[Output]) -> None:
        """Queue the segments and try to write all that wait."""
        for output in outputs:
            self._pending[output.value["tenant"], output.value["customer"]] = output.value.get("segment")
        if self._pending and time.monotonic() >= self._paused_until:
            by_tenant: dict[str, dict[str, str | None]] = {}
            for (tenant, customer), segment in self._pending.items():
                by_tenant.setdefault(tenant, {})[customer] = segment
            try:
                for tenant, segments in sorted(by_tenant.items()):
                    self._tables.set_segments(tenant, segments)
            except RedisError as error:
                log.warning("redis: %d segments wait: %s", len(self._pending), error)
                self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            else:
                self.counts["segments_written"] += len(self._pending)
                self._pending.clear()
        self.counts["segments_waiting"] = len(self._pending)
