"""How fast the simulated market may run on this machine, from a measurement of about a second (decision 47).

The measurement runs the same small Python program on every core at once and counts how often it ends: so it sees
slow cores, cores that share a unit, a container's limit, and whatever else the machine is doing. The ladder
:data:`LADDER` says what a run needs at each pair of market speed and traffic, in the same unit.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

MEASURE_S = 1.0
"""Wall time of the measurement; starting its processes comes on top."""
MOST_PROCESSES = 8
"""The highest rung needs two cores, so more than these say nothing new."""
REFERENCE = 8_700.0
"""Programs a second on one core of the machine where the ladder was measured (decision 47)."""


@dataclass(frozen=True)
class Market:
    """Speed and traffic of the simulated market.

    Parameters
    ----------
    speed : market seconds a wall second.
    events_per_second : events a wall second, in a week's mean.
    quick_compiler : run the task managers without Java's optimizing compiler: it takes processor time for minutes
        that a slow machine does not have, and pays off only after them.
    """

    speed: float
    events_per_second: float
    quick_compiler: bool = False


@dataclass(frozen=True)
class Rung:
    """A market and the capacity that it needs, in cores of the reference machine."""

    market: Market
    cores: float


LADDER: Sequence[Rung] = (
    Rung(Market(60, 5_000), 1.8),
    Rung(Market(30, 4_000), 1.3),
    Rung(Market(20, 2_500), 0.9),
    Rung(Market(10, 1_500), 0.6),
    Rung(Market(5, 800), 0.0),
)
"""From the fastest down; the last needs nothing, since something must be chosen."""


@dataclass(frozen=True)
class Choice:
    """What was measured and what follows; kept for the life of a run, so that a restart changes no traffic."""

    market: Market
    capacity: float
    cores: int

    def line(self) -> str:
        """One line for the person who starts the run.

        >>> print(Choice(Market(20, 2500), 1.04, 2).line())
        2 cores do the work of 1.0 reference cores: 20 market seconds a second, 2,500 events a second
        """
        return (
            f"{self.cores} cores do the work of {self.capacity:.1f} reference cores: "
            f"{self.market.speed:g} market seconds a second, {self.market.events_per_second:,.0f} events a second"
        )


def choose(capacity: float) -> Market:
    """Return the fastest market that a machine keeps up with.

    Parameters
    ----------
    capacity : of all cores together, in cores of the reference machine.

    >>> choose(2.0).speed, choose(0.7).speed, choose(0.0).speed
    (60, 10, 5)
    """
    return next(rung.market for rung in LADDER if capacity >= rung.cores)


def measure(seconds: float = MEASURE_S) -> tuple[float, int]:
    """Return the capacity of all cores together, in reference cores, and how many cores there are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, MOST_PROCESSES)
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(count), context.SimpleQueue()

    def run(together: Barrier) -> None:
        found.put(programs_per_second(together, seconds))

    processes = [context.Process(target=run, args=(barrier,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    total = sum(found.get() for _ in processes)
    for process in processes:
        process.join()
    return total / REFERENCE * cores / count, cores


def programs_per_second(together: Barrier, seconds: float) -> float:
    """Run the program over and over for a while; how often it ended a second."""
    _program()
    together.wait(30)
    began, runs = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        _program()
        runs += 1
    return runs / spent


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
        return Choice(Market(**found["market"]), found["capacity"], found["cores"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose_once(path: Path) -> tuple[Choice, bool]:
    """Return the choice of this run, and whether it is new; a new one is measured and kept in ``path``."""
    kept = read(path)
    if kept is not None:
        return kept, False
    capacity, cores = measure()
    choice = Choice(choose(capacity), round(capacity, 3), cores)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(choice), indent=1))
    return choice, True
