"""How soon every edge answers with a published price, with and without the hints of Redis.

Each edge is asked for one listing for one customer without a pause, while new versions of its table are published.
Times count from the beginning of the publication until the reply is received.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import redis
import uvloop

from infra.reports.benchmarks.quote_port.http_load import request
from infra.reports.edge_drill.connection import Connection, RawReply
from infra.reports.edge_drill.market import listing, price_table
from infra.reports.edge_drill.replies import Reply, older_versions, quantile
from infra.reports.edge_drill.servers import EDGE, SECOND, THIRD, Servers
from infra.reports.report import Figure, Limit
from infra.reports.waiting import until
from jobs.connectors.redis.price_tables import RedisPriceTables
from schemas.price_table import next_version

EDGES = (EDGE, SECOND, THIRD)
PUBLICATIONS, WITHOUT_HINTS = 300, 60
QUICK_PUBLICATIONS, QUICK_WITHOUT_HINTS = 30, 5
FIRST_LISTING, LISTINGS_USED = 100, 5
"""Number of the first listing, and how many are published in turn."""
POLL_PAUSE_S, TICK_S = 0.002, 0.001
PAUSE_S = 0.05
"""Shortest time between the last edge's first reply of a version and the next publication."""
MISSING_S = 10.0
"""Time after which an edge counts as never having answered with a version."""
HINTED_P99_MS = 50.0
REREAD_MS = 1000.0
"""How old a confirmed table may be: ``reread_s`` of the edge's cache."""
WRITER = "drill-writer"
"""User of Redis who may still publish when edges may not subscribe."""


class Publication(NamedTuple):
    """A published version, and when its publication began, monotonic seconds."""

    listing: str
    version: int
    began_s: float


class Poller:
    """Asks one edge for the price of one listing for one customer, again and again."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._reply: asyncio.Future[RawReply] | None = None
        self._data, self._listing = b"", ""
        self._stopped = False
        self.replies: list[Reply] = []
        self.newest = 0

    def ask_for(self, one: str) -> None:
        """Choose the listing."""
        self._listing, self.newest = one, 0
        self._data = request(f"/v1/quotes/{one}?customer=one-customer&session=one-session", key=self._key)

    async def run(self) -> None:
        """Ask until :meth:`stop`."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._replied), "127.0.0.1", self._port)
        try:
            while not self._stopped:
                self._reply, one = loop.create_future(), self._listing
                connection.send(self._data)
                async with asyncio.timeout(MISSING_S):
                    raw = await self._reply
                self._take(one, connection.sent_s, raw)
                await asyncio.sleep(POLL_PAUSE_S)
        finally:
            connection.close()

    def stop(self) -> None:
        """End after the request in flight."""
        self._stopped = True

    def _replied(self, connection: Connection, raw: RawReply) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(raw)

    def _take(self, one: str, sent_s: float, raw: RawReply) -> None:
        if raw.status != 200:
            raise RuntimeError(f"{one}: expected a quote of the edge, got status {raw.status}: {raw.body[:200]!r}")
        quote = orjson.loads(raw.body)
        self.replies.append(Reply(
            sent_s, sent_s, raw.at_s, raw.status, 0, one, quote["quote_id"], quote["source"], quote["age_ms"],
            quote["version"], "",
        ))  # fmt: skip
        if one == self._listing:
            self.newest = max(self.newest, quote["version"])


async def _publish(
    pollers: Sequence[Poller], tables: RedisPriceTables, count: int, pause_s: float
) -> list[Publication]:
    """Publish ``count`` versions, each after every edge has answered with the one before and a random pause."""
    rng, published, version = random.Random(count), list[Publication](), 0
    numbers = [FIRST_LISTING + number * LISTINGS_USED // count for number in range(count)]
    for poller in pollers:
        poller.ask_for(listing(0).key)
    polls = [asyncio.create_task(poller.run()) for poller in pollers]
    try:
        for number, before in zip(numbers, [0, *numbers], strict=False):
            if number != before:
                # One after another, so that the edges do not read the table again at the same times.
                for poller in pollers:
                    poller.ask_for(listing(number).key)
                    await asyncio.sleep(pause_s / len(pollers))
            await asyncio.sleep(PAUSE_S + rng.uniform(0.0, pause_s))
            version = next_version(version, round(time.time() * 1000))
            table, began_s = price_table(number, version), time.monotonic()
            await asyncio.to_thread(tables.publish, table)
            published.append(Publication(table.listing.key, version, began_s))
            while min(poller.newest for poller in pollers) < version and time.monotonic() < began_s + MISSING_S:
                for ended in (poll for poll in polls if poll.done()):
                    await ended
                await asyncio.sleep(TICK_S)
    finally:
        for poller in pollers:
            poller.stop()
        await asyncio.gather(*polls, return_exceptions=True)
    return published


@contextmanager
def hints_refused(servers: Servers) -> Iterator[str]:
    """Take away the edges' right to subscribe, which ends their subscriptions; yield the URL of a writer.

    Raises
    ------
    TimeoutError
        If an edge is still subscribed after 10 s.
    """
    address = urlsplit(servers.redis_url)
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        client.execute_command("ACL", "SETUSER", WRITER, "on", "nopass", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "resetchannels")
        try:
            until("no edge is subscribed", lambda: not client.pubsub_numpat(), 10)
            yield address._replace(netloc=f"{WRITER}:any@{address.hostname}:{address.port}").geturl()
        finally:
            client.execute_command("ACL", "SETUSER", "default", "allchannels")
            client.execute_command("ACL", "DELUSER", WRITER)


def run_publications(servers: Servers, *, quick: bool) -> list[Figure]:
    """Publish with hints and without them, and return the figures of both."""
    keys = [servers.issue_key(f"poller.{edge}", edge) for edge in EDGES]
    hinted = QUICK_PUBLICATIONS if quick else PUBLICATIONS
    found = _measured("published", servers, keys, servers.redis_url, hinted, 0.15)
    with hints_refused(servers) as url:
        without = QUICK_WITHOUT_HINTS if quick else WITHOUT_HINTS
        return found + _measured("published_without_hints", servers, keys, url, without, 1.0)


def _measured(
    name: str, servers: Servers, keys: Sequence[str], url: str, count: int, pause_s: float
) -> list[Figure]:
    pollers = [Poller(servers.port(edge), key) for edge, key in zip(EDGES, keys, strict=True)]
    with closing(RedisPriceTables(url)) as tables:
        published = uvloop.run(_publish(pollers, tables, count, pause_s))
    return publication_figures(name, published, [poller.replies for poller in pollers])


def publication_figures(
    name: str, published: Sequence[Publication], replies: Sequence[Sequence[Reply]]
) -> list[Figure]:
    """Return the figures of publications from the replies of each edge."""
    delays = [_delays_ms(published, each) for each in replies]
    everywhere = [max(of_one) for of_one in zip(*delays, strict=True)]
    apart = [_apart_ms(one, replies) for one in published]
    by_hint = name == "published"
    how = "by hint" if by_hint else "without hints"
    older = sum(len(older_versions(each)) for each in replies)
    every = [reply for each in replies for reply in each]
    others = len(older_versions(every)) - older
    detail: dict[str, Any] = {
        "publications": len(published), "edges": len(replies), "p50_ms": quantile(everywhere, 0.5),
        "p99_ms": quantile(everywhere, 0.99), "max_ms": quantile(everywhere, 1.0),
        "p99_ms_by_edge": [quantile(each, 0.99) for each in delays],
        "replies": len(every), "reply_p50_ms": quantile([reply.took_ms for reply in every], 0.5),
        "reply_p99_ms": quantile([reply.took_ms for reply in every], 0.99),
        "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    bound, q, word = (HINTED_P99_MS, 0.99, "p99") if by_hint else (REREAD_MS, 1.0, "longest")
    return [
        Figure(f"{name}_{'p99' if by_hint else 'max'}", quantile(everywhere, q), "ms", Limit(at_most=bound),
               claim=f"a published price at each of {len(replies)} edges, {how}, {word}", detail=detail),
        Figure(f"{name}_older_same_edge", older, "quotes", Limit(at_most=0),
               claim=f"older version than an earlier reply of the same edge, {how}"),
        Figure(f"{name}_apart", quantile(apart, q), "ms", Limit(at_most=bound),
               claim=f"one edge answers the new and another the old version, {how}, {word}",
               detail={"quotes_of_an_older_version_than_another_edge": others}),
    ]  # fmt: skip


def _delays_ms(published: Sequence[Publication], replies: Sequence[Reply]) -> list[float]:
    """Return the time until the first reply of each version, or of a newer one, in milliseconds."""
    delays = []
    for one in published:
        at_s = min(
            (r.received_s for r in replies if r.listing == one.listing and r.version >= one.version),
            default=one.began_s + MISSING_S,
        )
        delays.append(1000 * (at_s - one.began_s))
    return delays


def _apart_ms(one: Publication, replies: Sequence[Sequence[Reply]]) -> float:
    """Return the time from the first reply of a version to the last request answered with an older one."""
    of_listing = [r for each in replies for r in each if r.listing == one.listing and r.received_s >= one.began_s]
    first_s = min((r.received_s for r in of_listing if r.version >= one.version), default=float("inf"))
    last_s = max((r.sent_s for r in of_listing if r.version < one.version), default=0.0)
    return max(0.0, 1000 * (last_s - first_s))
