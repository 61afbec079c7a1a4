"""Simulate a market on the real topics: ``python -m jobs.simulate``.

Sends catalog, stock, calendar and offers, then steps the market along the run's Clock in small slices, and catches
up after a delay. Shoppers are shown the price tables in Redis, picked in process by the layout's rule; a small
share requests its quotes from the edge service over HTTP, which logs those quotes itself.

A record's Kafka timestamp is the Clock's time when its slice is sent; its event time lies within the slice.
``--dry-run`` sends nothing and prints how many records a second one core simulates.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from collections.abc import Sequence
from functools import partial

from jobs.access.key_files import SHOP, read_key
from jobs.connectors.kafka.publisher import Publisher, ensure_topics
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.clock import Clock
from jobs.runtime.metrics import Metrics
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from jobs.simulation.config import MarketConfig
from jobs.simulation.demand import FAMILIES
from jobs.simulation.market import Market, run_start_of
from jobs.simulator.dry_run import dry_run
from jobs.simulator.edge_client import EdgeClient
from jobs.simulator.live_prices import LivePrices
from jobs.simulator.market_publisher import MAX_STEP_MS, MarketPublisher
from schemas.topics import INPUTS, TOPICS

log = logging.getLogger("simulate")

REPORT_EVERY_S = 10.0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs.simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--rate", type=float, help="events a wall second, averaged over a week (default: WALRAS_MARKET_RATE)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random")
    parser.add_argument(
        "--family", default="logit", choices=[f.name for f in FAMILIES], help="demand family of the shoppers"
    )
    parser.add_argument("--skus", type=int, default=200, help="SKUs per market")
    parser.add_argument("--dirty", type=float, default=0.0, help="broken records per valid one")
    parser.add_argument(
        "--http-share", type=float, default=0.01, help="share of visits quoted by the edge over HTTP"
    )
    parser.add_argument("--edge", default=None, metavar="URL", help="edge service (default: the settings')")
    parser.add_argument("--slice", type=float, default=0.05, help="wall seconds of one slice")
    parser.add_argument("--duration", type=float, default=None, metavar="S", help="stop after S wall seconds")
    parser.add_argument("--dry-run", action="store_true", help="send nothing; print the speed of one core")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; return 0 after a clean stop."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.load()
    clock = settings.run_clock
    # In a dry run a simulated minute holds a whole minute of the rate, so that steps are large.
    speed = 1.0 if args.dry_run else clock.speed
    config = MarketConfig(
        tenant=settings.tenant, skus=args.skus, family=args.family, dirty_share=args.dirty,
        events_per_minute=(args.rate or settings.market_rate) * 60.0 / speed,
    )  # fmt: skip
    if args.dry_run:
        for name, value in dry_run(config, args.seed).items():
            print(f"{name} {value:.0f}")
        return 0

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    secret = settings.pseudonym_key.get_secret_value()
    ensure_topics(settings.kafka, [topic.name for topic in INPUTS])
    market = Market(config, args.seed, _run_start(settings, clock), partial(pseudonym, secret))
    url = args.edge or f"http://{settings.edge_host}:{settings.edge_port}"
    edge = EdgeClient(url, _shop_key(settings)) if args.http_share > 0 else None
    tables = RedisPriceTables(settings.redis.get_secret_value())
    prices = LivePrices(market.listings, market.list_minor.tolist(), tables, edge, args.http_share, secret)
    try:
        prices.start()
        with Publisher(settings.kafka) as publisher:
            _run(args, settings, market, prices, edge=edge, publisher=publisher, stop=stop)
    finally:
        prices.close()
        tables.close()
        if edge is not None:
            edge.close()
    log.info("stopped")
    return 0


def _shop_key(settings: Settings) -> str:
    """Return the key that the local platform issued to the shop; empty where there is none."""
    try:
        return read_key(settings.keys_folder / f"{SHOP}.json").text
    except OSError as error:
        log.warning("no access key of the shop, so the edge will refuse its requests: %s", error)
        return ""


def _run_start(settings: Settings, clock: Clock) -> int:
    """Return the event time from which the schedules count, ms.

    A restarted simulator reads it from the calendar entries that it published. On the wall clock, where runs
    cannot be distinguished, every start is a new run.
    """
    now = clock.now_ms()
    if clock == Clock():
        return now
    found = []
    for record in read_topic(settings.kafka, TOPICS["calendar"].topic):
        try:
            entry = record.json()
            start = run_start_of(entry["event_id"]) if entry["tenant"] == settings.tenant else None
        except (ValueError, KeyError, TypeError) as error:
            log.info("calendar: skipped an entry that is not the simulator's: %r", error)
            continue
        if start is not None and clock.start_ms <= start <= now:
            found.append(start)
    return min(found, default=now)


def _run(
    args: argparse.Namespace,
    settings: Settings,
    market: Market,
    prices: LivePrices,
    *,
    edge: EdgeClient | None,
    publisher: Publisher,
    stop: threading.Event,
) -> None:
    metrics = Metrics("simulate")
    counted = metrics.counter("events", "Records sent, by topic", ["topic"])
    behind = metrics.gauge("lag", "ms", "Run time by which the market is behind the Clock")
    quoted = metrics.gauge("edge_questions", "count", "Quotes requested from the edge, by outcome", ["outcome"])
    held = metrics.gauge("tables", "count", "Listings that have a price table")
    metrics.start(settings.metrics_port)
    topics = {topic.name: topic.topic for topic in TOPICS.values()}
    clock = settings.run_clock

    def send(name: str, key: str, value: bytes, timestamp_ms: int) -> None:
        publisher.send_bytes(topics[name], value, timestamp_ms=timestamp_ms, key=key)

    feed = MarketPublisher(market, prices, clock, send)
    feed.publish_opening()
    publisher.flush()
    log.info("open: %d listings, %s; clock %s", len(market.listings), dict(sorted(feed.sent.items())), clock)
    began = reported = time.monotonic()
    sent_before: dict[str, int] = {}
    while not stop.is_set() and (args.duration is None or time.monotonic() - began < args.duration):
        slice_began = time.monotonic()
        lag = feed.advance()
        now = time.monotonic()
        if now - reported >= REPORT_EVERY_S:
            # Raises if the broker refused a record.
            publisher.flush()
            new = {topic: n - sent_before.get(topic, 0) for topic, n in feed.sent.items()}
            for topic, n in new.items():
                counted.labels(topic).inc(n)
            with_table = sum(table is not None for table in prices.tables)
            behind.set(lag)
            held.set(with_table)
            answered, failed, late = (edge.answered, edge.failed, edge.late) if edge else (0, 0, 0)
            quoted.labels("answered").set(answered)
            quoted.labels("failed").set(failed)
            quoted.labels("late").set(late)
            log.info(
                "%.0f events/s, %.1f s behind the Clock, %d of %d listings with a table, %d known customers, "
                "edge answered %d (%d too late) and failed %d, Redis failed %d",
                sum(new.values()) / (now - reported), lag / 1000, with_table,
                len(market.listings), len(prices.known), answered, late, failed, prices.failures,
            )  # fmt: skip
            sent_before, reported = dict(feed.sent), now
        if lag < MAX_STEP_MS:
            stop.wait(max(0.0, args.slice - (time.monotonic() - slice_began)))
    feed.advance()


if __name__ == "__main__":
    raise SystemExit(main())
