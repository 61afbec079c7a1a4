"""The edge's gauges: what the quote log and the price cache hold, read when ``/metrics`` is read."""

from __future__ import annotations

from collections.abc import Callable

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.edge.price_cache import PriceCache
from jobs.runtime.metrics import Metrics


def add_gauges(metrics: Metrics, cache: PriceCache, quotes: QuoteLog) -> None:
    """Register the gauges of a cache and a quote log."""
    gauges: tuple[tuple[str, str, str, Callable[[], float]], ...] = (
        ("quotes_dropped", "count", "Quotes that could not be logged", lambda: quotes.dropped),
        ("quotes_waiting", "count", "Quotes the broker has not taken yet", lambda: quotes.waiting),
        ("quotes_spooled", "count", "Quotes written to disk since the start", lambda: quotes.spooled),
        ("quotes_stored", "count", "Quotes on disk now", lambda: quotes.stored),
        ("quotes_spool", "bytes", "Bytes on disk that hold quotes", lambda: quotes.spool_bytes),
        ("cached_tables", "count", "Price tables cached", lambda: cache.size),
        ("evicted_tables", "count", "Price tables evicted", lambda: cache.evicted),
        ("redis_whole", "info", "1 when Redis answers and has its ready epoch", lambda: float(cache.healthy)),
    )
    for what, unit, meaning, value in gauges:
        metrics.gauge(what, unit, meaning).set_function(value)
