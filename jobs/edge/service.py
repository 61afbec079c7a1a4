"""The edge service: answers price requests over HTTP with a price and its reason, and logs every quote.

``python -m jobs.edge.service`` serves on ``WALRAS_EDGE_HOST``:``WALRAS_EDGE_PORT``::

    GET /v1/quotes/{tenant}/{market}/{sku}?customer=…[&session=…][&arm=…][&bot=1]
    GET /v1/listings/{tenant}/{market}/{sku}/explain      explanation of the price
    POST /v1/quotes:lock  /v1/quotes:redeem               price locks (jobs.edge.lock_routes), GET /v1/locks/keys
    GET /healthz  /readyz  /metrics                       liveness, readiness, Prometheus
    GET /                                                 the console

Quotes are a thousand times more frequent than all other requests, so their path is a bare ASGI callable and the
rest is Starlette. The customer id is replaced by a pseudonym before any lookup or logging. The reply has no
propensity, shadow price or detailed reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.console.market_view import MarketView
from jobs.console.page import console_routes
from jobs.edge.lock_routes import lock_routes
from jobs.edge.price_cache import PriceCache
from jobs.edge.quoting import PREFIX, Quoting, Receive, Scope, Send
from jobs.monitoring.health import ComponentHealth
from jobs.runtime.metrics import Metrics
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.price_table import PriceTable

log = logging.getLogger(__name__)

CATALOG_FIELDS = tuple(CatalogEntry.__dataclass_fields__)
LOG_EVERY_S = 0.01
"""Seconds between two calls of :meth:`QuoteLog.poll`."""
CLEAR_SHOPPERS_EVERY = 6_000
"""Polls after which cached customer ids are cleared: one minute."""


def build(
    settings: Settings, *, follow: bool = True, view: MarketView | None = None, quotes: QuoteLog | None = None
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return the ASGI application: quotes, health, metrics and console.

    Parameters
    ----------
    follow : follow Kafka for the console and for a start without Redis; False in tests without a broker.
    view : data of the console; None: followed from Kafka.
    quotes : log of the quotes; None: the run's Kafka, and without ``follow`` no log.
    """
    metrics = Metrics("edge")
    cache = PriceCache(
        settings.redis.get_secret_value(), max_tables=settings.edge_tables, max_segments=settings.edge_segments
    )
    quotes = quotes or QuoteLog(settings.kafka if follow else None)
    quoting = Quoting(cache, quotes, settings.run_clock, settings.pseudonym_key.get_secret_value(), metrics)
    market_view = view or MarketView(settings.kafka)

    cache.all_tables_read = lambda: market_view.caught_up

    def on_table(record: Mapping[str, Any]) -> None:
        cache.on_table(PriceTable.from_record(record))

    def on_catalog(record: Mapping[str, Any]) -> None:
        given: dict[str, Any] = {name: record.get(name) for name in CATALOG_FIELDS}
        cache.on_catalog(CatalogEntry(**given))

    def edge_health() -> ComponentHealth:
        note = f"{quotes.logged} quotes logged, {quotes.dropped} dropped, {cache.size} tables held"
        return ComponentHealth("edge", not quotes.dropped, note)

    async def healthz(request: Request) -> Response:
        return _json({
            "status": "ok", "quotes_logged": quotes.logged, "quotes_dropped": quotes.dropped,
            "quotes_waiting": quotes.waiting, "kafka_error": quotes.last_error, "redis_epoch": cache.epoch,
            "redis_failures": cache.failures, "lower_versions_refused": cache.lower_versions,
            "tables_cached": cache.size, "tables_evicted": cache.evicted,
            "list_prices_evicted": cache.list_prices_evicted, "run_time_ms": settings.run_clock.now_ms(),
        })  # fmt: skip

    async def readyz(request: Request) -> Response:
        ready = await cache.check()
        status = "ok" if ready else "Redis does not answer or lacks its ready epoch: run `walras rebuild-redis`"
        return _json(
            {"status": status, "redis_epoch": cache.epoch, "tables_cached": cache.size}, 200 if ready else 503
        )

    async def prometheus(request: Request) -> Response:
        quoting.count()
        return Response(metrics.text(), media_type=None, headers={"content-type": metrics.content_type})

    async def poll() -> None:
        for turn in count(1):
            quotes.poll()
            if turn % CLEAR_SHOPPERS_EVERY == 0:
                quoting.clear_shoppers()
            await asyncio.sleep(LOG_EVERY_S)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await cache.start()
        polling = asyncio.create_task(poll())
        if follow:
            market_view.start(
                on_table=lambda record: _later(loop, on_table, record),
                on_catalog=lambda record: _later(loop, on_catalog, record),
            )
        try:
            yield
        finally:
            polling.cancel()
            market_view.close()
            await cache.close()
            lost = await asyncio.to_thread(quotes.close)
            if lost:
                log.error("edge: %d quotes could not be logged before shutdown", lost)

    other_routes = Starlette(
        routes=[
            Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", prometheus),
            *lock_routes(quoting, settings), *console_routes(market_view, settings, edge_health),
        ],
        lifespan=lifespan,
    )  # fmt: skip

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await quoting(scope, receive, send)
        else:
            await other_routes(scope, receive, send)

    return app


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[Mapping[str, Any]], None], record: Any) -> None:
    # The view's thread may still receive a record while the loop shuts down.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, record)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


SERVER: dict[str, Any] = {
    "loop": "uvloop",
    "http": "httptools",
    "access_log": False,
    "proxy_headers": False,
    "log_level": "warning",
    "timeout_graceful_shutdown": 5,
    # Longer than proxies and clients keep idle connections: if the server closed one first, a request that was
    # just sent on it would fail.
    "timeout_keep_alive": 75,
    "server_header": False,
    "date_header": False,
    "h11_max_incomplete_event_size": 16_384,
}
"""Options of uvicorn, here and in the benchmark's server."""


def tune_interpreter() -> None:
    """Set the interpreter's switch interval and garbage collector for short replies.

    By default a thread that decodes records for the console may hold the interpreter for 5 ms, for which every
    quote would wait. Objects created at the start are frozen, since they are never garbage.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def main() -> None:
    """Serve until a signal; then finish replies and flush the quote log."""
    settings = Settings.load()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    tune_interpreter()
    uvicorn.run(build(settings), host=settings.edge_host, port=settings.edge_port, **SERVER)


if __name__ == "__main__":
    main()
