"""An open-loop load generator: requests at a fixed rate, from a process of its own.

A request that finds no idle connection opens one, so that slow replies do not reduce the rate. The lag of the
generator, from the time at which a request was due until it was sent, is part of each reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import orjson
import uvloop

from infra.reports.benchmarks.quote_port.http_load import request
from infra.reports.edge_drill import replies
from infra.reports.edge_drill.connection import NO_REPLY, Connection, RawReply
from infra.reports.edge_drill.replies import Reply

REPLY_TIMEOUT_S = 5.0
"""Time after which a request without a reply is given up."""
TICK_S = 0.001
CHECK_S = 0.1
"""Seconds between two checks for requests that are given up, and for the end of the load."""
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load generator requests.

    Parameters
    ----------
    port : of the edge, on loopback.
    keys : access keys with their requests per second.
    listings : keys of the listings, of which each request has a random one.
    customers, new_share : customers who return, and the share of requests of new ones.
    seed : of the random choices.
    """

    port: int
    keys: Sequence[tuple[str, float]]
    listings: Sequence[str]
    customers: int = 2_000
    new_share: float = 0.1
    seed: int = 1

    @property
    def rate(self) -> float:
        """Requests per second of all keys."""
        return sum(rate for _, rate in self.keys)


class Prepared(NamedTuple):
    """A request: the position of its key, its listing and its bytes."""

    caller: int
    listing: str
    data: bytes


def prepared_requests(plan: LoadPlan) -> Iterator[Prepared]:
    """Yield the plan's requests without end, the same for the same plan."""
    rng = random.Random(plan.seed)
    callers, rates = range(len(plan.keys)), [rate for _, rate in plan.keys]
    number = 0
    while True:
        number += 1
        [caller] = rng.choices(callers, rates)
        new = rng.random() < plan.new_share
        customer = f"new-{plan.seed}-{number}" if new else f"c{rng.randrange(plan.customers)}"
        listing = rng.choice(plan.listings)
        path = f"/v1/quotes/{listing}?customer={customer}&session=s-{customer}"
        yield Prepared(caller, listing, request(path, key=plan.keys[caller][0]))


class _Load:
    """One run of a plan."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan, self._requests = plan, prepared_requests(plan)
        self._idle: list[Connection] = []
        self._in_flight: dict[Connection, tuple[float, float, Prepared]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self.replies: list[Reply] = []

    async def run(self, stop: Event, started: Event) -> None:
        began = time.monotonic()
        released, checked = 0, began
        started.set()
        while True:
            now = time.monotonic()
            if now - checked > CHECK_S:
                checked = now
                self._give_up(now - REPLY_TIMEOUT_S)
                if stop.is_set():
                    break
            for number in range(released, int((now - began) * self._plan.rate)):
                self._release(began + number / self._plan.rate)
                released = number + 1
            await asyncio.sleep(TICK_S)
        while self._in_flight or self._opening:
            self._give_up(time.monotonic() - REPLY_TIMEOUT_S)
            await asyncio.sleep(CHECK_S / 10)
        for connection in self._idle:
            connection.close()

    def _release(self, due_s: float) -> None:
        prepared = next(self._requests)
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                self._send(connection, due_s, time.monotonic(), prepared)
                return
        task = asyncio.create_task(self._open(due_s, prepared))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, due_s: float, prepared: Prepared) -> None:
        loop, began = asyncio.get_running_loop(), time.monotonic()
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._replied), "127.0.0.1", self._plan.port
                )
        except OSError:
            self._record(due_s, began, prepared, RawReply(NO_REPLY, b"", "", time.monotonic()))
        else:
            self._send(connection, due_s, began, prepared)

    def _send(self, connection: Connection, due_s: float, began_s: float, prepared: Prepared) -> None:
        self._in_flight[connection] = (due_s, began_s, prepared)
        connection.send(prepared.data)

    def _replied(self, connection: Connection, reply: RawReply) -> None:
        due_s, began_s, prepared = self._in_flight.pop(connection)
        self._record(due_s, began_s, prepared, reply)
        if connection.open:
            self._idle.append(connection)

    def _give_up(self, sent_before_s: float) -> None:
        for connection in [c for c in self._in_flight if c.sent_s < sent_before_s]:
            connection.close()

    def _record(self, due_s: float, sent_s: float, prepared: Prepared, reply: RawReply) -> None:
        quote = {}
        if reply.status == 200:
            with contextlib.suppress(ValueError):
                quote = orjson.loads(reply.body)
        self.replies.append(Reply(
            due_s, sent_s, reply.at_s, reply.status, prepared.caller, prepared.listing, quote.get("quote_id", ""),
            quote.get("source", ""), quote.get("age_ms", -1), quote.get("version", -1), reply.retry_after,
        ))  # fmt: skip


def run_load(plan: LoadPlan, path: Path, stop: Event, started: Event) -> None:
    """Send requests until ``stop`` is set, and write the replies to a file; runs in the generator's process."""
    load = _Load(plan)
    # A garbage collection would delay requests and send them in a burst.
    gc.disable()
    uvloop.run(load.run(stop, started))
    replies.save(path, load.replies)


class LoadGenerator:
    """A process that runs a plan until the block ends; then ``replies`` holds all replies.

    Parameters
    ----------
    path : file for the replies.
    """

    def __init__(self, plan: LoadPlan, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._started, self._path = context.Event(), context.Event(), path
        self._process = context.Process(target=run_load, args=(plan, path, self._stop, self._started), daemon=True)
        self.replies: list[Reply] = []

    def __enter__(self) -> LoadGenerator:
        """Start the process and wait until it sends requests."""
        self._process.start()
        if not self._started.wait(START_TIMEOUT_S):
            self._process.kill()
            raise TimeoutError(
                f"expected a load generator within {START_TIMEOUT_S:.0f} s, its process did not start"
            )
        return self

    def __exit__(self, *error: object) -> None:
        """End the load and read the replies."""
        self._stop.set()
        self._process.join(REPLY_TIMEOUT_S + START_TIMEOUT_S)
        if self._process.exitcode != 0:
            self._process.kill()
            if error[0] is None:
                raise RuntimeError(f"the load generator ended with exit code {self._process.exitcode}")
            return
        self.replies = replies.load(self._path)
