"""The quote port: answers price requests over HTTP with a price and its reason, and logs every quote.

``python -m jobs.edge.service`` serves on ``WALRAS_EDGE_HOST``:``WALRAS_EDGE_PORT``::

    GET /v1/quotes/{tenant}/{market}/{sku}?customer=…[&session=…][&bot=1]
    POST /v1/quotes:batch, /v1/quotes:cart                quotes of several listings
    POST /v1/quotes:lock, /v1/quotes:redeem               price locks (jobs.edge.lock_routes)
    GET /v1/locks/keys                                    keys that verify price locks
    GET /v1/openapi.json                                  the OpenAPI document of the quotes
    GET /healthz  /readyz  /metrics                       health (jobs.edge.health_routes)

Every request but those for health, the document and the locks' keys presents an access key. Operators have a port
and a process of their own (:mod:`jobs.console.service`).

Quotes are a thousand times more frequent than all other requests, so their path is a bare ASGI callable and the
rest is Starlette. The customer id is replaced by a pseudonym before any lookup or logging. The reply has no
propensity, shadow price or detailed reason. Callers of public keys that are probing are slowed and get the default
price (:mod:`jobs.edge.admission`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from jobs.access import KeyRing
from jobs.access.keys import record_of
from jobs.access.signatures import CommandKeyError
from jobs.connectors.kafka.access_keys import RingFile, new_ring, wall_ms
from jobs.connectors.kafka.following import TopicFollower
from jobs.connectors.kafka.quote_log import QuoteLog
from jobs.connectors.kafka.reading import WHOLE_TOPIC, Record, accepted_value
from jobs.connectors.redis.rate_counts import RateCounts
from jobs.edge.admission.access import QuoteAccess, protected
from jobs.edge.admission.probing import ProbingDetector, Thresholds
from jobs.edge.admission.rate_limits import WINDOW_S, RateLimits
from jobs.edge.admission.slowing import Delays, add_probing_gauges, examination, log_episode
from jobs.edge.api.openapi import DOCUMENT, openapi
from jobs.edge.health_routes import HealthRoutes, SharedCheck, json_reply
from jobs.edge.lock_routes import LOCK, REDEEM, LockRoutes
from jobs.edge.price_cache import PriceCache
from jobs.edge.problems import answer_unserved, naming_requests
from jobs.edge.quote_requests import ROOT
from jobs.edge.quoting import Quoting
from jobs.pricing.policy_file import PolicyError, read_section
from jobs.pricing.policy_limits import Locks
from jobs.runtime.metrics import Metrics
from jobs.runtime.problems import Application, Receive, Scope, Send, answering_failures
from jobs.runtime.serving import serve
from jobs.runtime.settings import SETTINGS_ERRORS, Settings
from schemas.events import CatalogEntry
from schemas.price_table import PriceTable
from schemas.topics import TOPICS

log = logging.getLogger(__name__)

FOLLOWED = {"access_keys": WHOLE_TOPIC, "tables": WHOLE_TOPIC, "catalog": WHOLE_TOPIC}
"""Topics that the edge follows: keys, and prices for a start without Redis."""
LOG_EVERY_S = 0.01
"""Seconds between two calls of :meth:`QuoteLog.poll`."""
AGE_SHOPPERS_EVERY = 3_000
"""Polls between two calls of :meth:`Quoting.age_shoppers`: half a minute."""
SAVE_KEYS_EVERY = 500
"""Polls after which changed keys are written to their file: five seconds."""


def build(
    settings: Settings,
    *,
    follow: bool = True,
    ring: KeyRing | None = None,
    quotes: QuoteLog | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Application:
    """Return the ASGI application: quotes, health and metrics.

    Parameters
    ----------
    follow : follow Kafka for keys and for a start without Redis; False in tests without a broker.
    ring : keys that are accepted; None: those of the deployment.
    quotes : log of the quotes; None: the run's Kafka, and without ``follow`` no log.
    sleep : waits some seconds, by which callers that are probing are slowed.

    Raises
    ------
    jobs.runtime.settings.PseudonymKeyError
        If there is no key of customers' pseudonyms.
    jobs.pricing.policy_file.PolicyError
        If the policy file cannot be read or its section ``locks`` is wrong.
    jobs.access.signatures.CommandKeyError
        If the run is no replay and has no public key that verifies the deployment's keys.
    """
    secret = settings.pseudonym_key.get_secret_value()
    locks = read_section(settings.policy, "locks", Locks)
    metrics = Metrics("edge")
    cache = PriceCache(
        settings.redis.get_secret_value(), max_tables=settings.edge_tables, max_segments=settings.edge_segments,
        speed=settings.run_clock.speed,
    )  # fmt: skip
    quotes = quotes or (QuoteLog.of(settings) if follow else QuoteLog(None))
    quoting = Quoting(
        cache, quotes, settings.run_clock, secret, metrics,
        max_rendered=settings.edge_rendered, max_shoppers=settings.edge_shoppers,
    )  # fmt: skip
    keys = ring or new_ring(settings)
    ring_file = RingFile(settings.keys_folder / "ring.json")
    access = QuoteAccess(keys, wall_ms)
    detector = ProbingDetector(
        Thresholds(
            settings.edge_probing_window_s * 1000, settings.edge_probing_listings, settings.edge_probing_customers,
            settings.edge_probing_prices,
        ),
        settings.edge_probing_entries,
        lambda episode: log_episode(episode, settings.edge_probing_window_s),
    )  # fmt: skip
    delays = Delays(settings.edge_probing_delay_s, settings.edge_probing_delayed, sleep)
    add_probing_gauges(metrics, detector, delays, wall_ms)
    loop: asyncio.AbstractEventLoop | None = None

    def take(record: Record, live: bool) -> None:
        name = record.topic.split(".")[1]
        value = accepted_value(record, TOPICS[name]) if name == "catalog" else record.json()
        # Parsed on the follower's thread, which reports a record that is not as expected and goes on.
        if value and loop is not None:
            if name == "tables":
                _later(loop, cache.on_table, PriceTable.from_record(value))
            elif name == "catalog":
                _later(loop, cache.on_catalog, CatalogEntry(**value))
            else:
                _later(loop, keys.take, record_of(value))

    follower = TopicFollower(settings.kafka, FOLLOWED, take)
    cache.all_tables_read = lambda: follower.caught_up

    def details() -> dict[str, Any]:
        return {
            **quotes.counts, "kafka_error": quotes.last_error or follower.error,
            "redis_epoch": cache.epoch, "redis_failures": cache.failures,
            "lower_versions_refused": cache.lower_versions, "tables_cached": cache.size,
            "tables_evicted": cache.evicted, "hints_lost": cache.hints_lost,
            "list_prices_evicted": cache.list_prices_evicted, "run_time_ms": settings.run_clock.now_ms(),
            "probing_callers": detector.probing(wall_ms()), "probing_episodes": sum(detector.began.values()),
        }  # fmt: skip

    def metrics_text() -> bytes:
        quoting.count()
        return metrics.text()

    async def poll() -> None:
        for turn in count(1):
            quotes.poll()
            if turn % AGE_SHOPPERS_EVERY == 0:
                quoting.age_shoppers()
            if follow and turn % SAVE_KEYS_EVERY == 0 and follower.caught_up:
                await asyncio.to_thread(ring_file.save, keys)
            await asyncio.sleep(LOG_EVERY_S)

    async def count_together() -> None:
        while True:
            await asyncio.sleep(1.0)
            await limits.synchronise()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        nonlocal loop
        loop = asyncio.get_running_loop()
        await cache.start()
        repeated = [asyncio.create_task(work()) for work in (poll, count_together)]
        if follow:
            ring_file.load(keys)
            follower.start()
        try:
            yield
        finally:
            for task in repeated:
                task.cancel()
            # Without Kafka each of the two takes seconds.
            lost, _ = await asyncio.gather(asyncio.to_thread(quotes.close), asyncio.to_thread(follower.close))
            await cache.close()
            if lost:
                log.error("edge: %d quotes could not be logged before shutdown", lost)

    other_routes = Starlette(
        routes=[
            *HealthRoutes(access, keys, SharedCheck(cache.check), details, metrics_text).routes(),
            Route(DOCUMENT, lambda request: json_reply(openapi())),
            *LockRoutes(quoting, settings, locks.minutes).routes(),
        ],
        middleware=[Middleware(answering_failures), Middleware(naming_requests)],
        exception_handlers={HTTPException: answer_unserved},
        lifespan=lifespan,
    )  # fmt: skip

    async def quotes_and_locks(scope: Scope, receive: Receive, send: Send) -> None:
        handler = other_routes if scope["path"] in (LOCK, REDEEM) else quoting
        await handler(scope, receive, send)

    limits = RateLimits(
        settings.edge_key_per_second,
        settings.edge_address_per_second,
        RateCounts(settings.redis.get_secret_value(), WINDOW_S),
    )
    metrics.gauge("over_limit", "count", "Requests over a rate limit").set_function(lambda: limits.refused)
    metrics.gauge("limits_alone", "count", "Seconds in which the rate limits did not reach Redis").set_function(
        lambda: limits.failures
    )
    # A redemption shows no price that the caller does not have.
    examine = examination(detector, delays, wall_ms, exempt=(REDEEM,))
    protected_quotes = answering_failures(protected(quotes_and_locks, access, limits, examine))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(ROOT):
            await protected_quotes(scope, receive, send)
        else:
            await other_routes(scope, receive, send)

    return app


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], record: Any) -> None:
    # The view's thread may still receive a record while the loop shuts down.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, record)


def tune_interpreter() -> None:
    """Set the interpreter's switch interval and garbage collector for short replies.

    By default a thread that decodes records for the console may hold the interpreter for 5 ms, for which every
    quote would wait. Objects created at the start are frozen, since they are never garbage.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def main() -> int:
    """Serve until a signal; then finish replies and flush the quote log.

    Returns
    -------
    The exit code: 2 after a wrong setting, a missing key (of the pseudonyms, or that verifies access keys) or a
    wrong policy file.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        settings = Settings.load()
        app = build(settings)
    except (*SETTINGS_ERRORS, PolicyError, CommandKeyError) as error:
        print(f"edge: {error}", file=sys.stderr)
        return 2
    tune_interpreter()
    serve(app, settings.edge_host, settings.edge_port, settings, settings.edge_proxies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
