"""Disturbances of a running platform: a plan drawn from a seed, and its execution."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import psutil

from infra.local.parts import TASK_MANAGERS, broker_ready
from infra.local.platform import Platform
from jobs.connectors.redis.price_tables import CONNECTION_ERRORS, RedisPriceTables

KILLED_ONCE = ("jobmanager", "redis", "broker")
STALE_WRITER, STALE_WRITERS = "stale writer", 3
HANGS = "redis hangs"
HANG_S = 6.0
"""Time for which Redis accepts connections without responding; longer than every client's timeout."""


def plan(seed: int, kills: int, seconds: float) -> list[tuple[float, str]]:
    """Return (second, target) in order: task managers ``kills`` times in turn, other parts once, stale writers.

    >>> plan(1, 2, 60.0) == plan(1, 2, 60.0)
    True
    >>> sorted({what for _, what in plan(1, 2, 60.0)})
    ['broker', 'jobmanager', 'redis', 'redis hangs', 'stale writer', 'taskmanager', 'taskmanager_prices']
    """
    rng = random.Random(seed)
    targets = [*islice(cycle(TASK_MANAGERS), kills), *KILLED_ONCE, HANGS, *[STALE_WRITER] * STALE_WRITERS]
    rng.shuffle(targets)
    gap = seconds / len(targets)
    return [(gap * (i + rng.uniform(0.1, 0.9)), target) for i, target in enumerate(targets)]


def kill(platform: Platform, part: str, how: signal.Signals = signal.SIGKILL) -> int:
    """Send SIGKILL, or another signal, to a part's server process and return its id.

    Its workers and its process group's wrapper do not get the signal.

    Raises
    ------
    ProcessLookupError
        If the part does not run.
    """
    named = "redis" if part == "redis" else "java"
    for pid in platform.pids(part):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).name().startswith(named):
                os.kill(pid, how)
                return pid
    raise ProcessLookupError(f"{part} does not run")


@dataclass
class Disturber:
    """Execute a plan and record in ``done`` what was done at which second.

    Parameters
    ----------
    platform : platform whose parts are killed.
    steps : see :func:`plan`.
    counted_from : start of the seconds in ``done``, on the monotonic clock; a plan's seconds count from its start.
    admitted : listings for which a stale table was accepted.
    """

    platform: Platform
    steps: list[tuple[float, str]]
    counted_from: float = field(default_factory=time.monotonic)
    done: list[dict[str, Any]] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Execute each step at its second; a part that is down already is recorded as such."""
        began = time.monotonic()
        for second, target in self.steps:
            if self._stop.wait(max(0.0, began + second - time.monotonic())):
                return
            at = round(time.monotonic() - self.counted_from, 1)
            others = {STALE_WRITER: self._stale_writer, HANGS: self._hang}
            note = others[target]() if target in others else self._kill(target)
            self.done.append({"second": at, "what": target, "note": note})

    def stop(self) -> None:
        """End the plan early."""
        self._stop.set()

    def _kill(self, part: str) -> str:
        try:
            return f"killed {kill(self.platform, part)}"
        except ProcessLookupError:
            return "was down"

    def _hang(self) -> str:
        """Stop the Redis process for ``HANG_S``, so that it accepts connections without responding."""
        try:
            pid = kill(self.platform, "redis", signal.SIGSTOP)
        except ProcessLookupError:
            return "was down"
        self._stop.wait(HANG_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return f"silent for {HANG_S:g} s"

    def _stale_writer(self) -> str:
        """Publish tables of old versions, as a writer that was suspended would."""
        tables = RedisPriceTables(self.platform.env["WALRAS_REDIS"])
        try:
            listings = sorted(tables.listings())[:20]
            held = tables.get_many(listings)
            stale = [
                dataclasses.replace(t, version=max(1, t.version - 60_000), decision_id="stale", list_minor=1)
                for t in held.values()
            ]
            taken = [
                t.listing.key
                for t, written in zip(stale, tables.publish_many(stale), strict=True)
                if written.accepted
            ]
        except CONNECTION_ERRORS:
            return "Redis was down"
        finally:
            tables.close()
        self.admitted += taken
        return f"{len(stale)} stale tables, {len(taken)} taken"


def broker_answers(platform: Platform) -> bool:
    """Return whether the broker responds."""
    return broker_ready(platform.env) is None
