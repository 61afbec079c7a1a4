"""Quotes per second and their p99, beside a constant response of the same size from the same server (f)."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from infra.local.machine.ports import is_listening
from infra.reports.benchmarks.quote_port.edge_server import ACCESS_KEY, BARE, KEY
from infra.reports.benchmarks.quote_port.http_load import Outcome, request, run_load
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.pseudonym import pseudonym
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable

TENANT, MARKET = "bench", "web-us-usd"
LISTINGS, CUSTOMERS, NEW_SHARE = 1_000, 5_000, 0.05
"""Shoppers: most customers request many prices within the 30 s for which the edge caches their segment."""
CONNECTIONS = 32


def price_table(number: int) -> PriceTable:
    """Return a table with two segments of four prices each, valid for a day."""
    now_ms, base = round(time.time() * 1000), 1_000 + number
    prices = [base, base + 50, base + 100, base + 150]
    lists = {
        "all": PriceList.from_propensities(prices, [0.02, 0.94, 0.02, 0.02]),
        "myopic": PriceList.from_propensities(prices, [0.02, 0.02, 0.94, 0.02]),
    }
    return PriceTable(
        Listing(TENANT, MARKET, f"sku-{number}"), f"sku-{number}", now_ms, f"t-{number}", now_ms,
        now_ms + 86_400_000, "USD", {"base": lists}, base + 200, base + 20, "EVIDENCE demand", f"d-{number}",
    )  # fmt: skip


def shopper_requests(count: int, seed: int = 7) -> list[bytes]:
    """Return requests of shoppers: most customers return, and a share is new."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        new = rng.random() < NEW_SHARE
        customer = f"new-{seed}-{n}" if new else f"c{rng.integers(CUSTOMERS)}"
        sku = int(LISTINGS * rng.random() ** 2)
        path = f"/v1/quotes/{TENANT}/{MARKET}/sku-{sku}?customer={customer}&session=s-{customer}"
        found.append(request(path, key=ACCESS_KEY))
    return found


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _until_listening(port: int, process: subprocess.Popen[bytes], what: str) -> None:
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not is_listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not listen on {port} (exit code {process.poll()})")
        pause.wait(0.05)


@contextlib.contextmanager
def running(command: list[str], port: int, what: str) -> Iterator[int]:
    """Run a process until the block ends; the block starts when the process listens, and gets its id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _until_listening(port, process, what)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


class Served(NamedTuple):
    """A running edge: host and port, and the id of its process."""

    address: tuple[str, int]
    process_id: int


@contextlib.contextmanager
def edge() -> Iterator[Served]:
    """Run a Redis with price tables and an edge that reads them."""
    redis_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = [str(Path(sys.executable).with_name("redis-server")), "--port", str(redis_port),
                  "--bind", "127.0.0.1", "--save", "", "--dir", folder]  # fmt: skip
        with running(server, redis_port, "redis-server"):
            url = f"redis://127.0.0.1:{redis_port}/0"
            tables = RedisPriceTables(url)
            tables.mark_ready("bench")
            tables.publish_many(price_table(n) for n in range(LISTINGS))
            known = {pseudonym(KEY, f"c{n}"): "myopic" for n in range(0, CUSTOMERS, 3)}
            tables.set_segments(TENANT, known)
            tables.close()
            command = [
                sys.executable,
                "-m",
                "infra.reports.benchmarks.quote_port.edge_server",
                "--port",
                str(port),
                "--redis",
                url,
            ]
            with running(command, port, "the edge") as process_id:
                yield Served(("127.0.0.1", port), process_id)


def measure(*, seconds: float = 3.0, rounds: int = 5) -> dict[str, float]:
    """Measure full load, alternating with the constant response, and then half of the full load at a fixed rate.

    The two alternate, so that other load of the machine affects both.
    """
    bare, quotes = [request(BARE)], shopper_requests(50_000)
    with edge() as served:
        address = served.address
        for warm in (bare, quotes):
            run_load(address, warm, seconds=min(2.0, seconds), connections=CONNECTIONS)
        pairs: list[tuple[Outcome, Outcome]] = [
            (
                run_load(address, bare, seconds=seconds, connections=CONNECTIONS),
                run_load(address, quotes, seconds=seconds, connections=CONNECTIONS),
            )
            for _ in range(rounds)
        ]
        full = float(np.median([q.per_second for _, q in pairs]))
        peer = float(np.median([b.per_second for b, _ in pairs]))
        half = [
            run_load(address, quotes, seconds=seconds, connections=CONNECTIONS, rate=full / 2)
            for _ in range(rounds)
        ]
        bare_half = run_load(address, bare, seconds=seconds, connections=CONNECTIONS, rate=full / 2)
    not_200 = sum(n for _, q in pairs for status, n in q.statuses.items() if status != 200)
    return {
        "quotes_per_second": full,
        "bare_per_second": peer,
        "ratio": float(np.median([q.per_second / b.per_second for b, q in pairs])),
        "p50_ms_half_load": float(np.median([h.quantile_ms(0.5) for h in half])),
        "p99_ms_half_load": float(np.median([h.quantile_ms(0.99) for h in half])),
        "bare_p99_ms_same_rate": bare_half.quantile_ms(0.99),
        "p99_ms_full_load": float(np.median([q.quantile_ms(0.99) for _, q in pairs])),
        "not_answered": not_200 + sum(h.broken for h in half) + sum(q.broken for _, q in pairs),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(measure(seconds=float(sys.argv[1]), rounds=int(sys.argv[2])), indent=1))
