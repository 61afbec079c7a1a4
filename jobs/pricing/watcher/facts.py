"""Facts (a rival's move, an event) shorten the watcher's delay by start mass, within the false-alarm budget.

A fact is no evidence that this price is wrong, but a change is more likely after it. So it adds
    B = w/ρ,  ρ = facts per minute in this listing's history, at least one a month             (1)
once, at the next minute the detectors run, half to velocity and half to abandonment. On average
that is w a minute, the share of the false-alarm budget that the weight stands for. All facts of a
listing together bring at most A/10 an hour. Science § 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.minute import Bools, Floats
from jobs.pricing.watcher.settings import WatcherSettings
from schemas.time_units import HOUR_MS

FACTS = ("rivals", "events")


class FactMass:
    """Start mass waiting to be taken, and how often each kind of fact came.

    Examples
    --------
    >>> facts = FactMass(WatcherSettings(), threshold=10_080.0, listings=1)
    >>> facts.add(0, "rivals", rate=1 / 1440)       # one a day: .15 · 1440
    >>> facts.waiting.round(6).tolist()
    [216.0]
    >>> facts.add(0, "rivals", rate=1e-9); facts.waiting.round(6).tolist()   # not more than A/10 an hour
    [1008.0]
    """

    def __init__(self, settings: WatcherSettings, threshold: float, listings: int) -> None:
        self.settings = settings
        self.cap = threshold / 10.0
        self.state = Columns(
            {"waiting": (1, 0.0), "granted": (1, 0.0), "ticks": (1, 0.0), **dict.fromkeys(FACTS, (1, 0.0))},
            listings,
        )
        self.hour = 0
        self._keep = math.exp(-1.0 / settings.fact_ticks)

    @property
    def waiting(self) -> Floats:
        """Start mass not yet taken, per listing."""
        return self.state["waiting"]

    def add(self, index: int, kind: str, rate: float | None = None) -> None:
        """Note a fact about one listing. ``rate`` (facts per minute) overrides the listing's own history.

        Raises
        ------
        ValueError
            If the kind is not one of ``FACTS`` or the listing is unknown.
        """
        if kind not in FACTS:
            raise ValueError(
                f"a fact is one of {', '.join(FACTS)}, got {kind!r}; signals with data go through step()"
            )
        if not 0 <= index < self.state.listings:
            raise ValueError(f"listing index {index} is not in 0..{self.state.listings - 1}; call grow() first")
        state = self.state
        state[kind][index] += 1.0
        if rate is None:
            rate = (state[kind][index] + 1.0) / max(state["ticks"][index], 1.0)
        rate = max(rate, 1.0 / self.settings.fact_ticks)
        weight = self.settings.rivals if kind == "rivals" else self.settings.events
        mass = min(weight / rate, self.cap - state["granted"][index])
        state["granted"][index] += mass
        state["waiting"][index] = min(state["waiting"][index] + mass, self.cap)

    def take(self, window_end_ms: int, running: Bools) -> Floats:
        """The mass to add in this minute where detectors run; then time passes."""
        state = self.state
        mass = np.where(running, state["waiting"], 0.0)
        state["waiting"] = np.where(running, 0.0, state["waiting"])
        if window_end_ms // HOUR_MS != self.hour:
            self.hour = window_end_ms // HOUR_MS
            state["granted"][:] = 0.0
        for name in FACTS:
            state[name] *= self._keep
        state["ticks"] *= self._keep
        state["ticks"] += 1.0
        return mass

    def snapshot(self) -> dict[str, Any]:
        """Plain data, without settings."""
        return {"columns": self.state.snapshot(), "hour": self.hour}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Take a snapshot back."""
        self.state.restore(saved["columns"], listings)
        self.hour = int(saved["hour"])
