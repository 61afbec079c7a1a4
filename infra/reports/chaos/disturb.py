"""What the drill does to a running platform, and when: a seeded plan and the hands that carry it out."""

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

ONCE = ("jobmanager", "redis", "broker")
STALE_WRITER, STALE_WRITERS = "stale writer", 3
HANGS = "redis hangs"
HANG_S = 6.0
"""How long it takes connections and answers nothing: longer than any client waits."""


def plan(seed: int, kills: int, seconds: float) -> list[tuple[float, str]]:
    """(second, victim) in order: task managers ``kills`` times in turn, the rest once, a stale writer thrice.

    >>> plan(1, 2, 60.0) == plan(1, 2, 60.0)
    True
    >>> sorted({what for _, what in plan(1, 2, 60.0)})
    ['broker', 'jobmanager', 'redis', 'redis hangs', 'stale writer', 'taskmanager', 'taskmanager_prices']
    """
    rng = random.Random(seed)
    victims = [*islice(cycle(TASK_MANAGERS), kills), *ONCE, HANGS, *[STALE_WRITER] * STALE_WRITERS]
    rng.shuffle(victims)
    gap = seconds / len(victims)
    return [(gap * (i + rng.uniform(0.1, 0.9)), victim) for i, victim in enumerate(victims)]


def kill(platform: Platform, part: str, how: signal.Signals = signal.SIGKILL) -> int:
    """Send -9, or another signal, to a part's server, not to its workers or what supervises it; answers its id.

    Raises
    ------
    ProcessLookupError
        If it does not run.
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
    """Carries out a plan in a thread of its own; ``done`` says what was killed when.

    Parameters
    ----------
    platform : whose parts are killed.
    steps : see :func:`plan`.
    counted_from : whose seconds ``done`` tells, on the monotonic clock; a plan's own count from its start.
    """

    platform: Platform
    steps: list[tuple[float, str]]
    counted_from: float = field(default_factory=time.monotonic)
    done: list[dict[str, Any]] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Everything, each at its second; what cannot be killed because it is down already is noted."""
        began = time.monotonic()
        for second, victim in self.steps:
            if self._stop.wait(max(0.0, began + second - time.monotonic())):
                return
            at = round(time.monotonic() - self.counted_from, 1)
            others = {STALE_WRITER: self._stale_writer, HANGS: self._hang}
            note = others[victim]() if victim in others else self._kill(victim)
            self.done.append({"second": at, "what": victim, "note": note})

    def stop(self) -> None:
        """End early."""
        self._stop.set()

    def _kill(self, part: str) -> str:
        try:
            return f"killed {kill(self.platform, part)}"
        except ProcessLookupError:
            return "was down"

    def _hang(self) -> str:
        """Redis takes connections and answers nothing, then goes on as if nothing had been."""
        try:
            pid = kill(self.platform, "redis", signal.SIGSTOP)
        except ProcessLookupError:
            return "was down"
        self._stop.wait(HANG_S)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return f"silent for {HANG_S:g} s"

    def _stale_writer(self) -> str:
        """A writer that wakes up late: older versions of prices that are long gone."""
        tables = RedisPriceTables(self.platform.env["WALRAS_REDIS"])
        try:
            listings = sorted(tables.listings())[:20]
            held = tables.get_many(listings)
            stale = [
                dataclasses.replace(t, version=max(1, t.version - 60_000), decision_id="stale", list_minor=1)
                for t in held.values()
            ]
            taken = [
                t.listing.key for t, said in zip(stale, tables.publish_many(stale), strict=True) if said.accepted
            ]
        except CONNECTION_ERRORS:
            return "Redis was down"
        finally:
            tables.close()
        self.admitted += taken
        return f"{len(stale)} stale tables, {len(taken)} taken"


def broker_answers(platform: Platform) -> bool:
    """Whether the broker is there."""
    return broker_ready(platform.env) is None
