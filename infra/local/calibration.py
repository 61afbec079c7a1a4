"""Choose the speed and traffic of the simulated market from a measurement of the machine (decision 47).

The measurement runs the same small Python program on every core at once for about a second. It returns the speed
of the cores, including the effect of cores that share an execution unit, and the share of them that is free.
:data:`LEVELS` maps the capacity to the market that such a machine keeps up with.
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
"""Wall time of the measurement in seconds, without the start of its processes."""
MAX_PROCESSES = 8
"""Measuring more processes changes no choice, since the highest level needs two cores."""
REFERENCE = 8_700.0
"""Programs per processor second on one core of the reference machine, an AMD EPYC of 2026 (decision 47)."""
MIN_FREE_SHARE = 0.5
"""Lower bound of the free share in the capacity, since the present load of a machine may be temporary."""


@dataclass(frozen=True)
class Market:
    """Speed and traffic of the simulated market, and the options that reduce the load on a slow machine.

    Parameters
    ----------
    speed : market seconds per wall second.
    events_per_second : events per wall second, averaged over a week.
    quick_compiler : run the task managers without Java's optimizing compiler, which takes processor time in the
        first minutes and repays it only later.
    archive : write raw events, decisions and cells to Parquet. Features are written in any case.
    buckets : number of buckets; fewer buckets mean fewer batches per minute in the three keyed jobs.
    """

    speed: float
    events_per_second: float
    quick_compiler: bool = False
    archive: bool = True
    buckets: int = 32

    def settings(self) -> dict[str, str]:
        """Return the settings of the run by name without the prefix ``WALRAS_``."""
        return {
            "MARKET_RATE": f"{self.events_per_second:g}",
            "ARCHIVE": str(self.archive).lower(),
            "BUCKETS": str(self.buckets),
        }


@dataclass(frozen=True)
class Level:
    """A market and the lowest capacity, in reference cores, for which it is chosen."""

    market: Market
    cores: float


LEVELS: Sequence[Level] = (
    Level(Market(60, 5_000), 1.6),
    Level(Market(60, 1_500, quick_compiler=True, archive=False, buckets=16), 0.5),
    Level(Market(30, 800, quick_compiler=True, archive=False, buckets=16), 0.25),
    Level(Market(10, 400, quick_compiler=True, archive=False, buckets=16), 0.0),
)
"""Markets in descending order of capacity; the last one needs none, so that a choice always exists.

Traffic is reduced before speed: a listing's first price holds for an hour of market time, so that at a lower speed
no price would change in the first minutes.
"""
FIXED = ("BUCKETS", "ARCHIVE")
"""Settings that cannot change during a run, since its checkpoints hold state per bucket and per sink."""


@dataclass(frozen=True)
class Machine:
    """Result of a measurement: cores, their speed relative to the reference, and the free share in [0, 1]."""

    cores: int
    core_speed: float
    free: float

    @property
    def capacity(self) -> float:
        """Return the capacity in cores of the reference machine.

        >>> Machine(2, 1.0, 1.0).capacity, Machine(2, 0.4, 1.0).capacity, Machine(2, 1.0, 0.1).capacity
        (2.0, 0.8, 1.0)
        """
        return self.cores * self.core_speed * max(self.free, MIN_FREE_SHARE)


@dataclass(frozen=True)
class Choice:
    """The chosen market and the measurement, stored so that a restart does not change the traffic."""

    market: Market
    machine: Machine

    def summary(self) -> str:
        """Return the measurement and the choice in one line.

        >>> print(Choice(Market(60, 1500), Machine(2, 0.42, 0.9)).summary())
        2 cores of 0.42 times the reference speed, 90 % free: 60 market seconds per second, 1,500 events per second
        """
        machine, market = self.machine, self.market
        without = "" if market.archive else ", no archive of raw events"
        return (
            f"{machine.cores} cores of {machine.core_speed:.2f} times the reference speed, "
            f"{100 * machine.free:.0f} % free: {market.speed:g} market seconds per second, "
            f"{market.events_per_second:,.0f} events per second{without}"
        )


def choose(capacity: float) -> Market:
    """Return the most demanding market that a machine of the given capacity keeps up with.

    Parameters
    ----------
    capacity : all cores together, in cores of the reference machine.

    >>> [(market.speed, market.events_per_second) for market in map(choose, (2.0, 0.8, 0.1))]
    [(60, 5000), (60, 1500), (10, 400)]
    """
    return next(level.market for level in LEVELS if capacity >= level.cores)


def measure(seconds: float = MEASURE_S) -> Machine:
    """Run the measurement program on every core at once for ``seconds`` and return the mean result."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, MAX_PROCESSES)
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(count), context.SimpleQueue()

    def run() -> None:
        found.put(_run_program(barrier, seconds))

    processes = [context.Process(target=run, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    results = [found.get() for _ in processes]
    for process in processes:
        process.join()
    speeds, shares = zip(*results, strict=True)
    return Machine(cores, round(sum(speeds) / count / REFERENCE, 3), round(min(1.0, sum(shares) / count), 3))


def _run_program(barrier: Barrier, seconds: float) -> tuple[float, float]:
    """Return the programs per processor second, and the share of wall time that this process had a processor."""
    _program()
    barrier.wait(30)
    began, cpu_began, runs = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < seconds:
        _program()
        runs += 1
    cpu = time.process_time() - cpu_began
    return runs / cpu, cpu / spent


def _program() -> float:
    """Do about 0.1 ms of the work that dominates the Python operators: JSON, dictionaries, arithmetic."""
    rows = [{"sku": f"sku-{i}", "price": 1000 + i, "orders": i % 7} for i in range(60)]
    decoded = json.loads(json.dumps(rows))
    totals: dict[str, float] = {}
    for turn in range(3):
        for row in decoded:
            totals[row["sku"]] = totals.get(row["sku"], 0.0) + math.log(row["price"]) * (row["orders"] + turn)
    return sum(sorted(totals.values()))


def read(path: Path) -> Choice | None:
    """Return the stored choice; None if there is none or it cannot be read."""
    try:
        found = json.loads(path.read_text())
        return Choice(Market(**found["market"]), Machine(**found["machine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fixed_settings(previous_env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the previous run has fixed, from its ``platform.env``; empty at a first start.

    >>> fixed_settings({"WALRAS_BUCKETS": "16", "WALRAS_KAFKA": "a:1"}), fixed_settings({})
    ({'BUCKETS': '16', 'ARCHIVE': 'true'}, {})
    >>> fixed_settings({"WALRAS_KAFKA": "a:1"})
    {'BUCKETS': '32', 'ARCHIVE': 'true'}
    """
    defaults = Market(1, 1).settings()
    return {name: previous_env.get(f"WALRAS_{name}", defaults[name]) for name in FIXED} if previous_env else {}


def choose_once(path: Path, previous_env: Mapping[str, str]) -> tuple[Choice, bool]:
    """Return the choice of this run and whether it is new; a new choice is measured and written to ``path``.

    Parameters
    ----------
    previous_env : ``platform.env`` of the previous run, whose buckets and archive are kept; empty at first.
    """
    stored = read(path)
    if stored is not None:
        return stored, False
    machine = measure()
    market = choose(machine.capacity)
    if fixed := fixed_settings(previous_env):
        market = replace(market, buckets=int(fixed["BUCKETS"]), archive=fixed["ARCHIVE"].lower() == "true")
    choice = Choice(market, machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(choice), indent=1))
    return choice, True
