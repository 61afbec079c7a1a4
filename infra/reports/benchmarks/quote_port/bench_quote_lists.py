"""Processor time of a quote in a batch of 200, beside that of a single quote, from one edge process.

``python -m infra.reports.benchmarks.quote_port.bench_quote_lists [seconds] [rounds]`` prints the figures. The two
alternate in one run. What is compared is the processor time of the edge process, so that other load of the machine
changes neither.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import orjson
import psutil

from infra.reports.benchmarks.quote_port.bench_quotes import (
    CONNECTIONS,
    CUSTOMERS,
    LISTINGS,
    MARKET,
    TENANT,
    edge,
    shopper_requests,
)
from infra.reports.benchmarks.quote_port.edge_server import ACCESS_KEY
from infra.reports.benchmarks.quote_port.http_load import post, run_load
from jobs.edge.api.models import MAX_LINES
from jobs.edge.quote_requests import BATCH, CART


def list_requests(path: str, count: int, seed: int = 7) -> list[bytes]:
    """Return requests of ``MAX_LINES`` different listings each, of returning customers."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        customer = f"c{rng.integers(CUSTOMERS)}"
        listings = [
            f"{TENANT}/{MARKET}/sku-{number}" for number in rng.choice(LISTINGS, MAX_LINES, replace=False).tolist()
        ]
        lines = [{"listing": listing, "quantity": 2} for listing in listings]
        more = {"listings": listings} if path == BATCH else {"lines": lines}
        body = orjson.dumps({"customer": customer, "session": f"s-{customer}", **more})
        found.append(post(path, body, key=ACCESS_KEY))
    return found


def measure(*, seconds: float = 3.0, rounds: int = 5) -> dict[str, float]:
    """Measure microseconds of processor time per quote: single, in a batch and in a cart."""
    kinds = {
        "single": (shopper_requests(50_000), 1),
        "batch": (list_requests(BATCH, 500), MAX_LINES),
        "cart": (list_requests(CART, 500), MAX_LINES),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    with edge() as served:
        process = psutil.Process(served.process_id)

        def processor_time(requests: Sequence[bytes], quotes: int) -> float:
            before = process.cpu_times()
            outcome = run_load(served.address, requests, seconds=seconds, connections=CONNECTIONS)
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            if set(outcome.statuses) != {200}:
                raise RuntimeError(f"expected replies of status 200 alone, got {outcome.statuses}")
            return 1e6 * used / (outcome.statuses[200] * quotes)

        for requests, quotes in kinds.values():
            processor_time(requests, quotes)
        for _ in range(rounds):
            for name, (requests, quotes) in kinds.items():
                found[name].append(processor_time(requests, quotes))
    return {f"{name}_us": float(np.median(times)) for name, times in found.items()} | {
        "batch_to_single": float(np.median(np.divide(found["batch"], found["single"]))),
        "cart_to_single": float(np.median(np.divide(found["cart"], found["single"]))),
    }


if __name__ == "__main__":
    seconds, rounds = (sys.argv[1:] + ["3", "5"][len(sys.argv) - 1 :])[:2]
    print(orjson.dumps(measure(seconds=float(seconds), rounds=int(rounds)), option=orjson.OPT_INDENT_2).decode())
