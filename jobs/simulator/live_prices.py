"""Prices for the simulated market: the tables in Redis, and the edge's quotes for a share of the visits."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from jobs.connectors.redis.price_tables import CONNECTION_ERRORS, RedisPriceTables
from jobs.runtime.pseudonym import pseudonym
from jobs.simulation.prices import ExternalQuote, Quoted, TablePrices, Visits
from jobs.simulator.edge_client import EdgeClient
from schemas.listings import Listing
from schemas.price_table import FULL, PriceTableError, unit_draw

log = logging.getLogger("simulate")

_READ_EVERY_S = 1.0
_TABLES_PER_READ = 200
_SEGMENT_DELAY_S = 3.0
"""Seconds from a purchase to the read of the customer's segment: the jobs must count the purchase first."""
_SEGMENTS_PER_READ = 300


class LivePrices(TablePrices):
    """Prices from the tables in Redis, and from the edge service for some visits.

    A thread reads all tables about once a second, and the segments of customers who have bought: other customers
    have none.

    Parameters
    ----------
    listings, list_minor : listings of the market and their list prices, minor units.
    tables : reads tables and segments.
    edge : requests quotes over HTTP; None: every visit is priced in process.
    share : share of the visits that are quoted by the edge, 0 to 1.
    secret : key of customers' pseudonyms.

    Attributes
    ----------
    failures : reads of Redis that failed.
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
        self._max_edge_draw = round(share * FULL)
        self._pseudonym = partial(pseudonym, secret)
        self._buyers: deque[tuple[float, str]] = deque(maxlen=100_000)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, name="price-tables", daemon=True)
        self.failures = 0

    def start(self) -> None:
        """Read once, then keep reading in the background."""
        self._read()
        self._thread.start()

    def close(self) -> None:
        """End the reading thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)

    def schedule_segment_reads(self, customers: Sequence[str]) -> None:
        """Schedule a read of these buyers' segments, after the jobs have counted their purchases."""
        due = time.monotonic() + _SEGMENT_DELAY_S
        self._buyers.extend((due, customer) for customer in customers)

    def prefetch(self, visits: Visits) -> None:
        """Request quotes for the edge's share of the next minute's visits."""
        if self._edge is None or not self._max_edge_draw:
            return
        chosen = [
            j for j, session in enumerate(visits.session) if unit_draw("asks", session) < self._max_edge_draw
        ]
        requests = []
        for j in chosen:
            query = {"customer": visits.customer_id[j], "session": visits.session[j]}
            query |= {"bot": "1"} if visits.bot[j] else {}
            requests.append((visits.session[j], self._listings[visits.listing[j]], query))
        self._edge.request(requests)

    def quote(self, visits: Visits) -> Quoted:
        """Price every visit from its table; replace those prices for which the edge has replied."""
        out = super().quote(visits)
        if self._edge is None:
            return out
        for j, session in enumerate(visits.session):
            reply = self._edge.take_reply(session)
            if reply is None:
                continue
            out.price_minor[j], out.source[j] = int(reply["price_minor"]), str(reply["source"])
            out.external[j] = ExternalQuote(
                str(reply["quote_id"]), str(reply["customer"]), self._pseudonym(session),
                str(reply["segment"]), str(reply["arm"]),
            )  # fmt: skip
        return out

    def _keep_reading(self) -> None:
        while not self._stop.wait(_READ_EVERY_S):
            self._read()

    def _read(self) -> None:
        try:
            for k in range(0, len(self._listings), _TABLES_PER_READ):
                self.take(self._redis.get_many(self._listings[k : k + _TABLES_PER_READ]))
            now = time.monotonic()
            for _ in range(_SEGMENTS_PER_READ):
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
            log.warning("prices: Redis read failed, the tables read earlier stay in use: %s", error)
