"""A simulated market on the real topics: ``python -m jobs.simulate``.

Publishes catalog, stock, calendar and offers, then lives through the run's time in small slices of the
wall's, catching up when it was held up. Shoppers are shown the price tables that lie in Redis, by the
contract's pick in process; a small share asks the edge service over HTTP instead, which logs those
quotes itself. What they are shown is what they answer to.

Kafka timestamps are the Clock's when a slice is sent; event times lie within the slice, a little
before. ``--dry-run`` writes nothing and prints how many events a second one core makes.

Over 300 lines: what joins the pure market to drivers may live neither beside the one nor the other.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import httpx

from jobs.connectors.kafka.publisher import Publisher, ensure_topics
from jobs.connectors.kafka.reading import read_topic
from jobs.connectors.redis.price_tables import CONNECTION_ERRORS, RedisPriceTables
from jobs.runtime.clock import Clock
from jobs.runtime.metrics import Metrics
from jobs.runtime.pseudonym import pseudonym
from jobs.runtime.settings import Settings
from jobs.simulation.config import MarketConfig
from jobs.simulation.demand import FAMILIES
from jobs.simulation.market import Events, Market, run_start_of
from jobs.simulation.prices import ExternalQuote, ListPrices, Quoted, TablePrices, Visits
from schemas.events import Listing, QuoteSource
from schemas.price_table import FULL, PriceList, PriceTable, PriceTableError, unit_draw
from schemas.topics import INPUTS, TOPICS

log = logging.getLogger("simulate")

MINUTE_MS = 60_000
MAX_STEP_MS = MINUTE_MS
MAX_PENDING_REQUESTS = 256
"""Most questions to the edge that wait for their answer: catching up must not become a flood."""


class EdgeClient:
    """Asks the edge service for prices, a few at a time, in a thread with an event loop.

    Questions are put ahead of the visits they belong to and answers taken when the visits come, so that the
    market never stands still for one. A shopper without an answer by then is served in process.

    Parameters
    ----------
    url : the edge's address.
    timeout_s : after which a question has failed.
    pause_s : after a failure the edge is left alone for this long (it may be starting).
    at_once : questions under way at the same time.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0, pause_s: float = 1.0, at_once: int = 4) -> None:
        self._pause_s, self._resume = pause_s, 0.0
        self.answered = self.failed = self.late = 0
        self._replies: dict[str, dict[str, Any] | None] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge-shoppers", daemon=True)
        self._thread.start()
        self._at_once = asyncio.Semaphore(at_once)
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False)

    def ask(self, questions: Iterable[tuple[str, Listing, dict[str, str]]]) -> None:
        """Put questions, each under the name of its visit's session; what would be too many is left out."""
        for session, listing, query in questions:
            if len(self._replies) >= MAX_PENDING_REQUESTS or time.monotonic() < self._resume:
                break
            self._replies[session] = None
            asyncio.run_coroutine_threadsafe(self._one(session, listing, query), self._loop)

    def take(self, session: str) -> dict[str, Any] | None:
        """The edge's reply to a visit; None when it did not ask, or has no answer yet (and will get none)."""
        if session not in self._replies:
            return None
        reply = self._replies.pop(session, None)
        if reply is None:
            self.late += 1
        return reply

    @property
    def waiting(self) -> int:
        """Questions whose visit has not come yet."""
        return len(self._replies)

    def drain(self) -> None:
        """Wait for the answers to all that was asked."""

        async def all_done() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            if rest:
                await asyncio.wait(rest)

        asyncio.run_coroutine_threadsafe(all_done(), self._loop).result()

    def close(self) -> None:
        """Close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    async def _one(self, session: str, listing: Listing, query: dict[str, str]) -> None:
        async with self._at_once:
            if session not in self._replies or time.monotonic() < self._resume:
                self._replies.pop(session, None)
                return
            try:
                reply = await self._client.get(f"/v1/quotes/{listing.key}", params=query)
                body = reply.json() if reply.status_code == 200 else None
            except (httpx.HTTPError, ValueError) as error:
                log.debug("edge: %s", error)
                body = None
        if not isinstance(body, dict) or not {"price_minor", "quote_id"} <= body.keys():
            self.failed += 1
            self._resume = time.monotonic() + self._pause_s
            self._replies.pop(session, None)
            return
        self.answered += 1
        if session in self._replies:
            self._replies[session] = body


class LivePrices(TablePrices):
    """Prices as they lie in Redis now, and for some visits as the edge service says.

    Tables are read about once a second by a thread. Segments are read for customers who have bought
    (nobody else can have one), a bounded number a round, again after ``segment_s``.

    Parameters
    ----------
    listings, list_minor : the market's.
    tables : where tables and segments are.
    edge : who is asked over HTTP, or None.
    share : share of the visits that ask.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        list_minor: Sequence[int],
        tables: RedisPriceTables,
        edge: EdgeClient | None,
        share: float,
        secret: str,
    ) -> None:
        super().__init__(listings, list_minor)
        self._listings, self._redis, self._edge = list(listings), tables, edge
        self._tenant = self._listings[0].tenant
        self._asks_below = round(share * FULL)
        self._pseudonym = partial(pseudonym, secret)
        self._buyers: deque[tuple[float, str]] = deque(maxlen=100_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="price-tables", daemon=True)
        self.failures = 0

    def start(self) -> None:
        """Read what is there, then keep reading."""
        self._read()
        self._thread.start()

    def close(self) -> None:
        """End the reading thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)

    def bought(self, customers: Sequence[str]) -> None:
        """Customers who may have got a segment: look in a moment, when the pipeline has counted them."""
        due = time.monotonic() + 3.0
        self._buyers.extend((due, customer) for customer in customers)

    def prefetch(self, visits: Visits) -> None:
        """Those of the next minute's shoppers who ask over HTTP put their questions now."""
        if self._edge is None or not self._asks_below:
            return
        asking = [j for j, s in enumerate(visits.session) if unit_draw("asks", s) < self._asks_below]
        questions = []
        for j in asking:
            query = {"customer": visits.customer_id[j], "session": visits.session[j], "arm": visits.arm[j]}
            query |= {"bot": "1"} if visits.bot[j] else {}
            questions.append((visits.session[j], self._listings[visits.listing[j]], query))
        self._edge.ask(questions)

    def quote(self, visits: Visits) -> Quoted:
        """As in process, overlaid with the edge's answers."""
        out = super().quote(visits)
        if self._edge is None:
            return out
        for j, session in enumerate(visits.session):
            reply = self._edge.take(session)
            if reply is None:
                continue
            out.price_minor[j], out.source[j] = int(reply["price_minor"]), str(reply["source"])
            out.external[j] = ExternalQuote(
                str(reply["quote_id"]), str(reply["customer"]), self._pseudonym(session),
                str(reply["segment"]), str(reply["arm"]),
            )  # fmt: skip
        return out

    def _refresh(self) -> None:
        while not self._stop.wait(1.0):
            self._read()

    def _read(self) -> None:
        try:
            for k in range(0, len(self._listings), 200):
                self.take(self._redis.get_many(self._listings[k : k + 200]))
            now = time.monotonic()
            for _ in range(300):
                if not self._buyers or self._buyers[0][0] > now:
                    break
                _, customer = self._buyers.popleft()
                segment = self._redis.segment(self._tenant, customer)
                if segment is not None:
                    self.known[customer] = segment
                elif customer in self.known:
                    del self.known[customer]
        except (*CONNECTION_ERRORS, PriceTableError) as error:
            self.failures += 1
            log.warning("prices: tables as they were a moment ago go on: %s", error)


class MarketPublisher:
    """Sends what happens in the market to the topics, slice by slice.

    Parameters
    ----------
    market, prices : the play.
    clock : the run's.
    send : takes (topic's short name, key, value, Kafka timestamp).
    """

    def __init__(
        self,
        market: Market,
        prices: LivePrices,
        clock: Clock,
        send: Callable[[str, str, bytes, int], None],
    ) -> None:
        self._market, self._prices, self._clock, self._send = market, prices, clock, send
        self.at_ms = clock.now_ms()
        self.sent: dict[str, int] = {}

    def open(self) -> None:
        """Publish what the shop knows."""
        self._publish(self._market.opening(self.at_ms))

    def play(self) -> int:
        """Live up to the Clock, at most a minute at once; answers by how many ms of the run it is behind."""
        end = min(self._clock.now_ms(), self.at_ms + MAX_STEP_MS)
        if end > self.at_ms:
            events = self._market.step(self.at_ms, end, self._prices)
            self.at_ms = end
            self._publish(events)
            self._prices.bought(self._market.drain_buyers())
        return self._clock.now_ms() - self.at_ms

    def _publish(self, events: Events) -> None:
        now, send = self._clock.now_ms(), self._send
        for _, _, topic, key, value in events:
            send(topic, key, value, now)
        for topic, n in events.counts().items():
            self.sent[topic] = self.sent.get(topic, 0) + n


def dry_run(config: MarketConfig, seed: int, budget_s: float = 4.0) -> dict[str, float]:
    """Events a second on one core, in steps of a simulated minute: list prices, and tables with the pick."""
    results = {}
    for name in ("list_prices", "price_tables"):
        market = Market(config, seed, start_ms=0)
        prices = ListPrices(market.list_minor)
        if name == "price_tables":
            prices = TablePrices(market.listings, market.list_minor)
            prices.take({x: _a_table(x, int(p)) for x, p in zip(market.listings, market.list_minor, strict=True)})
        market.opening(0)
        market.step(0, MINUTE_MS, prices)
        events, at, began = 0, MINUTE_MS, time.perf_counter()
        while (spent := time.perf_counter() - began) < budget_s / 2:
            events += len(market.step(at, at + MINUTE_MS, prices))
            at += MINUTE_MS
        results[f"{name}_events_per_second"] = events / spent
    return results


def _a_table(listing: Listing, list_minor: int) -> PriceTable:
    prices = PriceList.from_propensities([list_minor - 40, list_minor, list_minor + 40], [0.1, 0.8, 0.1])
    return PriceTable(
        listing, listing.sku, 1, f"t{list_minor}", 0, 10**15, "USD", {"base": {"all": prices}}, list_minor, None,
        QuoteSource.TABLE.value, "dry-run",
    )  # fmt: skip


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs.simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--rate", type=float, help="events a wall second, in a week's mean (default: WALRAS_MARKET_RATE)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--family", default="logit", choices=[f.name for f in FAMILIES], help="shoppers' demand")
    parser.add_argument("--skus", type=int, default=200, help="SKUs per market")
    parser.add_argument("--dirty", type=float, default=0.0, help="broken records per good one")
    parser.add_argument("--http-share", type=float, default=0.01, help="share of shoppers who ask the edge")
    parser.add_argument("--edge", default=None, metavar="URL", help="edge service (default: the settings')")
    parser.add_argument("--slice", type=float, default=0.05, help="wall seconds of one slice")
    parser.add_argument(
        "--duration", type=float, default=None, metavar="S", help="stop after so many wall seconds"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing; print the speed of one core")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; answers 0 after a clean stop."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.load()
    clock = settings.run_clock
    # A dry run's minute holds a minute of the rate, so that its steps are large.
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
    start_ms = _start_of_run(settings, clock)
    market = Market(config, args.seed, start_ms, partial(pseudonym, secret))
    url = args.edge or f"http://{settings.edge_host}:{settings.edge_port}"
    edge = EdgeClient(url) if args.http_share > 0 else None
    tables = RedisPriceTables(settings.redis.get_secret_value())
    prices = LivePrices(market.listings, market.list_minor.tolist(), tables, edge, args.http_share, secret)
    try:
        prices.start()
        with Publisher(settings.kafka) as publisher:
            _play(args, settings, clock, market, prices, edge, publisher, stop)
    finally:
        prices.close()
        tables.close()
        if edge is not None:
            edge.close()
    log.info("stopped")
    return 0


def _start_of_run(settings: Settings, clock: Clock) -> int:
    """When the schedules began: a simulator that was restarted finds it in the calendar it published.

    On the wall clock, where runs cannot be told apart, a start is a new start.
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
            log.info("calendar: an entry of somebody else is passed over: %r", error)
            continue
        if start is not None and clock.start_ms <= start <= now:
            found.append(start)
    return min(found, default=now)


def _play(
    args: argparse.Namespace,
    settings: Settings,
    clock: Clock,
    market: Market,
    prices: LivePrices,
    edge: EdgeClient | None,
    publisher: Publisher,
    stop: threading.Event,
) -> None:
    metrics = Metrics("simulate")
    counted = metrics.counter("events", "Records sent, by topic", ["topic"])
    behind = metrics.gauge("lag", "ms", "How far the market is behind the Clock, in the run's time")
    asked = metrics.gauge("edge_questions", "count", "Shoppers who asked the edge, by outcome", ["outcome"])
    held = metrics.gauge("tables", "count", "Listings that have a price table")
    metrics.start(settings.metrics_port)
    topics = {topic.name: topic.topic for topic in TOPICS.values()}

    def send(name: str, key: str, value: bytes, timestamp_ms: int) -> None:
        publisher.send_bytes(topics[name], value, timestamp_ms=timestamp_ms, key=key)

    publishing = MarketPublisher(market, prices, clock, send)
    publishing.open()
    publisher.flush()
    log.info("open: %d listings, %s; clock %s", len(market.listings), dict(sorted(publishing.sent.items())), clock)
    began = told = time.monotonic()
    seen: dict[str, int] = {}
    while not stop.is_set() and (args.duration is None or time.monotonic() - began < args.duration):
        slice_began = time.monotonic()
        lag = publishing.play()
        now = time.monotonic()
        if now - told >= 10.0:
            # Raises if the broker refused anything: what a market sends must not go missing unseen.
            publisher.flush()
            new = {topic: n - seen.get(topic, 0) for topic, n in publishing.sent.items()}
            for topic, n in new.items():
                counted.labels(topic).inc(n)
            behind.set(lag)
            held.set(sum(table is not None for table in prices.tables))
            good, bad, tardy = (edge.answered, edge.failed, edge.late) if edge else (0, 0, 0)
            asked.labels("answered").set(good)
            asked.labels("failed").set(bad)
            asked.labels("late").set(tardy)
            log.info(
                "%.0f events/s, %.1f s behind the Clock, %d of %d listings with a table, %d known customers, "
                "edge answered %d (%d too late) and failed %d, Redis failed %d",
                sum(new.values()) / (now - told), lag / 1000, sum(t is not None for t in prices.tables),
                len(market.listings), len(prices.known), good, tardy, bad, prices.failures,
            )  # fmt: skip
            seen, told = dict(publishing.sent), now
        if lag < MAX_STEP_MS:
            stop.wait(max(0.0, args.slice - (time.monotonic() - slice_began)))
    publishing.play()


if __name__ == "__main__":
    raise SystemExit(main())
