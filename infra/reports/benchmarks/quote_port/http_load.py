"""A load generator for one HTTP server: keep-alive connections and raw bytes, without a client library.

A general HTTP client costs several times as much processor time as the server and would dominate the measurement.
Every connection has one request in flight. A closed loop sends the next request after each response and measures
the server's capacity. An open loop sends at a given rate; a request that finds no free connection counts from the
time at which it was due, so that the latency is that of a shopper.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

import numpy as np
import uvloop


@dataclass(slots=True)
class Outcome:
    """Responses by status, duration in seconds, latencies in seconds, and broken connections."""

    seconds: float
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    broken: int = 0

    @property
    def per_second(self) -> float:
        """Return the responses of status 200 per second."""
        return self.statuses.get(200, 0) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """Return a quantile of the latency in milliseconds."""
        return float(np.quantile(self.latencies, q)) * 1000 if self.latencies else float("inf")


def request(path: str, host: str = "edge", key: str = "") -> bytes:
    """Return the bytes of a GET request, which presents an access key where one is given.

    >>> request("/x")
    b'GET /x HTTP/1.1\\r\\nHost: edge\\r\\n\\r\\n'
    """
    presented = f"Authorization: Bearer {key}\r\n" if key else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{presented}\r\n".encode()


def post(path: str, body: bytes, host: str = "edge", key: str = "") -> bytes:
    """Return the bytes of a POST request with a JSON body, which presents an access key where one is given.

    >>> post("/x", b"{}")
    b'POST /x HTTP/1.1\\r\\nHost: edge\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{}'
    """
    presented = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{presented}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._due = 0.0
        self._head = b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, but not its base class.
        self._transport = cast(asyncio.Transport, transport)
        self._run.idle(self)

    def send(self, data: bytes, due: float) -> None:
        assert self._transport is not None
        self._due, self._head, self._left = due, b"", -1
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            head = self._head + data if self._head else data
            end = head.find(b"\r\n\r\n")
            if end < 0:
                self._head = head
                return
            at = head.find(b"content-length: ") + 16
            self._left = int(head[at : head.index(b"\r", at)]) - (len(head) - end - 4)
            self._status = int(head[9:12])
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._run.replied(self, self._status, self._due)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class _Run:
    """One run over some connections; ``rate`` None: closed loop."""

    def __init__(self, requests: Iterator[bytes], seconds: float, rate: float | None) -> None:
        self._requests, self._rate = requests, rate
        self._loop = asyncio.get_running_loop()
        self._began = time.perf_counter()
        self._end = self._began + seconds
        self._free: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._released = 0
        self._closing = False
        self.outcome = Outcome(seconds)

    def idle(self, connection: _Connection) -> None:
        if self._closing or (self._rate is None and time.perf_counter() >= self._end):
            return
        if self._rate is None:
            connection.send(next(self._requests), time.perf_counter())
        elif self._waiting:
            connection.send(next(self._requests), self._waiting.popleft())
        else:
            self._free.append(connection)

    def replied(self, connection: _Connection, status: int, due: float) -> None:
        now = time.perf_counter()
        if now <= self._end or self._rate is not None:
            out = self.outcome
            out.statuses[status] = out.statuses.get(status, 0) + 1
            out.latencies.append(now - due)
        self.idle(connection)

    def lost(self, connection: _Connection) -> None:
        if not self._closing:
            self.outcome.broken += 1

    async def go(self, host: str, port: int, connections: int) -> Outcome:
        made = [
            (await self._loop.create_connection(lambda: _Connection(self), host, port))[1]
            for _ in range(connections)
        ]
        while (now := time.perf_counter()) < self._end:
            if self._rate is None:
                await asyncio.sleep(self._end - now)
                continue
            due = int((now - self._began) * self._rate)
            for _ in range(due - self._released):
                if self._free:
                    self._free.pop().send(next(self._requests), now)
                else:
                    self._waiting.append(now)
            self._released = due
            await asyncio.sleep(0.001)
        # Wait for the last responses; one that is missing after 2 s counts as 2 s and as broken.
        deadline = time.perf_counter() + 2.0
        while self._rate is not None and len(self.outcome.latencies) < self._released:
            if time.perf_counter() > deadline:
                missing = self._released - len(self.outcome.latencies)
                self.outcome.latencies += [2.0] * missing
                self.outcome.broken += missing
                break
            await asyncio.sleep(0.01)
        self._closing = True
        for connection in made:
            connection.close()
        return self.outcome


def run_load(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    seconds: float,
    connections: int,
    rate: float | None = None,
) -> Outcome:
    """Send requests for ``seconds``, in a closed loop or at ``rate`` requests per second.

    Parameters
    ----------
    requests : raw requests, sent in turn.
    rate : requests per second of an open loop; None: closed loop.
    """

    async def main() -> Outcome:
        return await _Run(cycle(requests), seconds, rate).go(*address, connections)

    # A garbage collection in this process would delay requests and send them in a burst.
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(main())
    finally:
        gc.enable()
