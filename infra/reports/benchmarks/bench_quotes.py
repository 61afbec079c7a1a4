"""Quotes a second and their p99, beside a bare reply of the same size from the same server."""

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

import numpy as np

from infra.local.machine.ports import is_listening
from infra.reports.benchmarks.edge_server import BARE, KEY
from infra.reports.benchmarks.load import Outcome, drive, request
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.runtime.pseudonym import pseudonym
from schemas.events import Listing
from schemas.price_table import PriceList, PriceTable

TENANT, MARKET = "bench", "web-us-usd"
LISTINGS, CUSTOMERS, NEW_SHARE = 1_000, 5_000, 0.05
"""The crowd: each customer looks at many prices within the half minute in which the edge knows their segment."""
CONNECTIONS = 32


def a_table(number: int) -> PriceTable:
    """A table with two segments of four prices each, valid for a day."""
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


def questions(count: int, seed: int = 7) -> list[bytes]:
    """Requests of a crowd: most customers come again, a share is new each time."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(count):
        new = rng.random() < NEW_SHARE
        customer = f"new-{seed}-{n}" if new else f"c{rng.integers(CUSTOMERS)}"
        sku = int(LISTINGS * rng.random() ** 2)
        found.append(
            request(f"/v1/quotes/{TENANT}/{MARKET}/sku-{sku}?customer={customer}&session=s-{customer}&arm=base")
        )
    return found


def free_port() -> int:
    """A port that nobody listens on."""
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
def running(command: list[str], port: int, what: str) -> Iterator[None]:
    """A process that listens on a port, ended afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _until_listening(port, process, what)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def edge() -> Iterator[tuple[str, int]]:
    """A Redis full of tables and an edge in front of it; answers the edge's address."""
    redis_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = [str(Path(sys.executable).with_name("redis-server")), "--port", str(redis_port),
                  "--bind", "127.0.0.1", "--save", "", "--dir", folder]  # fmt: skip
        with running(server, redis_port, "redis-server"):
            url = f"redis://127.0.0.1:{redis_port}/0"
            tables = RedisPriceTables(url)
            tables.mark_ready("bench")
            tables.publish_many(a_table(n) for n in range(LISTINGS))
            known = {pseudonym(KEY, f"c{n}"): "myopic" for n in range(0, CUSTOMERS, 3)}
            tables.set_segments(TENANT, known)
            tables.close()
            command = [
                sys.executable,
                "-m",
                "infra.reports.benchmarks.edge_server",
                "--port",
                str(port),
                "--redis",
                url,
            ]
            with running(command, port, "the edge"):
                yield "127.0.0.1", port


def measure(*, seconds: float = 3.0, rounds: int = 5) -> dict[str, object]:
    """Full load in turns with the bare reply, then half of the full load, paced.

    A turn of each follows the other at once, so that what else the machine does meets both.
    """
    bare, asked = [request(BARE)], questions(50_000)
    with edge() as address:
        for warm in (bare, asked):
            drive(address, warm, seconds=min(2.0, seconds), connections=CONNECTIONS)
        turns: list[tuple[Outcome, Outcome]] = [
            (
                drive(address, bare, seconds=seconds, connections=CONNECTIONS),
                drive(address, asked, seconds=seconds, connections=CONNECTIONS),
            )
            for _ in range(rounds)
        ]
        full = float(np.median([q.per_second for _, q in turns]))
        peer = float(np.median([b.per_second for b, _ in turns]))
        half = [
            drive(address, asked, seconds=seconds, connections=CONNECTIONS, rate=full / 2) for _ in range(rounds)
        ]
        bare_half = drive(address, bare, seconds=seconds, connections=CONNECTIONS, rate=full / 2)
    not_200 = sum(n for _, q in turns for status, n in q.statuses.items() if status != 200)
    return {
        "quotes_per_second": full,
        "bare_per_second": peer,
        "ratio": float(np.median([q.per_second / b.per_second for b, q in turns])),
        "p50_ms_half_load": float(np.median([h.quantile_ms(0.5) for h in half])),
        "p99_ms_half_load": float(np.median([h.quantile_ms(0.99) for h in half])),
        "bare_p99_ms_same_rate": bare_half.quantile_ms(0.99),
        "p99_ms_full_load": float(np.median([q.quantile_ms(0.99) for _, q in turns])),
        "not_answered": not_200 + sum(h.broken for h in half) + sum(q.broken for _, q in turns),
    }


if __name__ == "__main__":
    import json

    print(json.dumps(measure(seconds=float(sys.argv[1]), rounds=int(sys.argv[2])), indent=1))
