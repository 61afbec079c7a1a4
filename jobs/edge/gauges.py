"""The edge's gauges: what the quote log and the caches hold, read when ``/metrics`` is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.price_cache import PriceCache
from jobs.edge.recently_used import RecentlyUsed
from jobs.runtime.metrics import Metrics


def add_gauges(
    metrics: Metrics, cache: PriceCache, quotes: QuoteLog, caches: Mapping[str, RecentlyUsed[Any, Any]]
) -> None:
    """Register the gauges of a quote log, of the price cache, and of further caches by name."""
    kept = cache.session_quotes
    gauges: tuple[tuple[str, str, str, Callable[[], float]], ...] = (
        ("quotes_dropped", "count", "Quotes that could not be logged", lambda: quotes.dropped),
        ("quotes_waiting", "count", "Quotes the broker has not taken yet", lambda: quotes.waiting),
        ("quotes_spooled", "count", "Quotes written to disk since the start", lambda: quotes.spooled),
        ("quotes_stored", "count", "Quotes on disk now", lambda: quotes.stored),
        ("quotes_spool", "bytes", "Bytes on disk that hold quotes", lambda: quotes.spool_bytes),
        ("cached_tables", "count", "Price tables cached", lambda: cache.size),
        ("evicted_tables", "count", "Price tables evicted", lambda: cache.evicted),
        ("hints_lost", "count", "Times the connection of update hints was lost", lambda: cache.hints_lost),
        ("kept_quotes_written", "count", "Quotes that sessions keep, written to Redis", lambda: kept.written),
        ("kept_quotes_adopted", "count", "Kept quotes taken over from another edge", lambda: kept.adopted),
        ("kept_quotes_lost", "count", "Kept quotes that this edge alone knows", lambda: kept.lost),
        ("redis_whole", "info", "1 when Redis answers and has its ready epoch", lambda: float(cache.healthy)),
    )
    for what, unit, meaning, value in gauges:
        metrics.gauge(what, unit, meaning).set_function(value)
    counts = (
        ("cache_entries", "Entries of a cache", "size"),
        ("cache_evicted", "Entries that a cache has forgotten", "evicted"),
        ("cache_misses", "Look-ups that a cache could not answer", "misses"),
    )
    for what, meaning, name in counts:
        gauge = metrics.gauge(what, "count", meaning, ["cache"])
        for label, one in sorted(caches.items()):
            gauge.labels(label).set_function(partial(getattr, one, name))
