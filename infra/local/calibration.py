"""How fast the simulated market may run on this machine, from a measurement of about a second (decision 47).

The measurement runs the same small Python program on every core at once. It tells the speed of the cores, also
of cores that share a unit, and how much of them is free. The ladder :data:`LADDER` says which market a machine of
such a capacity keeps up with.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

MEASURE_S = 1.0
"""Wall time of the measurement; starting its processes comes on top."""
MOST_PROCESSES = 8
"""The highest rung needs two cores, so that measuring more processes than these changes no choice."""
REFERENCE = 8_700.0
"""Programs per processor second on a core of the reference machine, an AMD EPYC of 2026 (decision 47)."""
LEAST_SHARE = 0.5
"""A machine that is busy now counts with at least this share of its cores: what it is busy with may end."""


@dataclass(frozen=True)
class Market:
    """Speed and traffic of the simulated market, and what a run leaves out to keep up with it.

    Parameters
    ----------
    speed : market seconds a wall second.
    events_per_second : events a wall second, in a week's mean.
    quick_compiler : run the task managers without Java's optimizing compiler: it takes processor time for minutes
        that a slow machine does not have, and pays off only after them.
    archive : write raw events, decisions and cells to Parquet. Features are written in any case.
    buckets : of the run; fewer are fewer batches a minute for the three jobs that work by bucket.
    """

    speed: float
    events_per_second: float
    quick_compiler: bool = False
    archive: bool = True
    buckets: int = 32

    def settings(self) -> dict[str, str]:
        """Settings of the run, name without ``WALRAS_``."""
        return {
            "MARKET_RATE": f"{self.events_per_second:g}",
            "ARCHIVE": str(self.archive).lower(),
            "BUCKETS": str(self.buckets),
        }


@dataclass(frozen=True)
class Rung:
    """A market, and the capacity in reference cores from which it is chosen."""

    market: Market
    cores: float


LADDER: Sequence[Rung] = (
    Rung(Market(60, 5_000), 1.6),
    Rung(Market(60, 1_500, quick_compiler=True, archive=False, buckets=16), 0.5),
    Rung(Market(30, 800, quick_compiler=True, archive=False, buckets=16), 0.25),
    Rung(Market(10, 400, quick_compiler=True, archive=False, buckets=16), 0.0),
)
"""From the most demanding down; the last needs nothing, since something must be chosen.

Traffic falls before speed: a listing's first price holds for an hour of market time, so that at a lower speed no
price would move in the first minutes."""
LASTING = ("BUCKETS", "ARCHIVE")
"""Settings that a run keeps for its life: its checkpoints hold state by bucket and of every sink."""


@dataclass(frozen=True)
class Machine:
    """What was measured: cores, the speed of one beside the reference's, and the share that was free."""

    cores: int
    core_speed: float
    free: float

    @property
    def capacity(self) -> float:
        """Reference cores that the machine is worth.

        >>> Machine(2, 1.0, 1.0).capacity, Machine(2, 0.4, 1.0).capacity, Machine(2, 1.0, 0.1).capacity
        (2.0, 0.8, 1.0)
        """
        return self.cores * self.core_speed * max(self.free, LEAST_SHARE)


@dataclass(frozen=True)
class Choice:
    """What was measured and what follows; kept for the life of a run, so that a restart changes no traffic."""

    market: Market
    machine: Machine

    def line(self) -> str:
        """One line for the person who starts the run.

        >>> print(Choice(Market(60, 1500), Machine(2, 0.42, 0.9)).line())
        2 cores of 0.42 times the reference's speed, 90 % free: 60 market seconds a second, 1,500 events a second
        """
        machine, market = self.machine, self.market
        left_out = "" if market.archive else ", no archive of raw events"
        return (
            f"{machine.cores} cores of {machine.core_speed:.2f} times the reference's speed, "
            f"{100 * machine.free:.0f} % free: {market.speed:g} market seconds a second, "
            f"{market.events_per_second:,.0f} events a second{left_out}"
        )


def choose(capacity: float) -> Market:
    """Return the most demanding market that a machine keeps up with.

    Parameters
    ----------
    capacity : of all cores together, in cores of the reference machine.

    >>> [(market.speed, market.events_per_second) for market in map(choose, (2.0, 0.8, 0.1))]
    [(60, 5000), (60, 1500), (10, 400)]
    """
    return next(rung.market for rung in LADDER if capacity >= rung.cores)


def measure(seconds: float = MEASURE_S) -> Machine:
    """Run the program on every core at once for a while."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, MOST_PROCESSES)
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(count), context.SimpleQueue()

    def run() -> None:
        found.put(_run_program(barrier, seconds))

    processes = [context.Process(target=run, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    told = [found.get() for _ in processes]
    for process in processes:
        process.join()
    speeds, shares = zip(*told, strict=True)
    return Machine(cores, round(sum(speeds) / count / REFERENCE, 3), round(min(1.0, sum(shares) / count), 3))


def _run_program(together: Barrier, seconds: float) -> tuple[float, float]:
    """Programs per processor second, and the share of the wall time that this process had a processor."""
    _program()
    together.wait(30)
    began, cpu_began, runs = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < seconds:
        _program()
        runs += 1
    cpu = time.process_time() - cpu_began
    return runs / cpu, cpu / spent


def _program() -> float:
    """A tenth of a millisecond or so of what the jobs do in Python: JSON, dictionaries, arithmetic."""
    rows = [{"sku": f"sku-{i}", "price": 1000 + i, "orders": i % 7} for i in range(60)]
    taken = json.loads(json.dumps(rows))
    totals: dict[str, float] = {}
    for turn in range(3):
        for row in taken:
            totals[row["sku"]] = totals.get(row["sku"], 0.0) + math.log(row["price"]) * (row["orders"] + turn)
    return sum(sorted(totals.values()))


def read(path: Path) -> Choice | None:
    """The choice of an earlier start; None if there was none, or if it cannot be read."""
    try:
        found = json.loads(path.read_text())
        return Choice(Market(**found["market"]), Machine(**found["machine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lasting(before: Mapping[str, str]) -> dict[str, str]:
    """What the run before, by its ``platform.env``, has fixed; empty for a first start.

    >>> lasting({"WALRAS_BUCKETS": "16", "WALRAS_KAFKA": "a:1"}), lasting({"WALRAS_KAFKA": "a:1"}), lasting({})
    ({'BUCKETS': '16', 'ARCHIVE': 'true'}, {'BUCKETS': '32', 'ARCHIVE': 'true'}, {})
    """
    usual = Market(1, 1).settings()
    return {name: before.get(f"WALRAS_{name}", usual[name]) for name in LASTING} if before else {}


def choose_once(path: Path, before: Mapping[str, str]) -> tuple[Choice, bool]:
    """Return the choice of this run, and whether it is new; a new one is measured and kept in ``path``.

    Parameters
    ----------
    before : ``platform.env`` of the run before, whose buckets and archive stay; empty for a first start.
    """
    kept = read(path)
    if kept is not None:
        return kept, False
    machine = measure()
    market = choose(machine.capacity)
    if fixed := lasting(before):
        market = replace(market, buckets=int(fixed["BUCKETS"]), archive=fixed["ARCHIVE"].lower() == "true")
    choice = Choice(market, machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(choice), indent=1))
    return choice, True
