"""Start mass of facts (a rival's move, an event), which shortens the delay within the false-alarm budget.

A fact is not evidence that a price is wrong, but it makes a change more likely. It adds start mass
    B = w/ρ,  ρ = facts per minute in this listing's history, at least one a month             (1)
once, in the next minute in which the detectors run: half to velocity and half to abandonment. The average is w per
minute, the share of the false-alarm budget that the weight grants. All facts of a listing together add at most
A/10 per hour. Science § 6.
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
    """Start mass of facts that is not yet applied, and the rate of each kind of fact.

    Parameters
    ----------
    settings
        The watcher's business numbers.
    threshold
        A; a tenth of it is the most start mass per listing and hour.
    listings
        Initial number of listings.

    Examples
    --------
    >>> facts = FactMass(WatcherSettings(), threshold=10_080.0, listings=1)
    >>> facts.add(0, "rivals", rate=1 / 1440)       # one per day: .15 · 1440
    >>> facts.waiting.round(6).tolist()
    [216.0]
    >>> facts.add(0, "rivals", rate=1e-9); facts.waiting.round(6).tolist()   # at most A/10 per hour
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
        """Start mass that is not yet applied, per listing."""
        return self.state["waiting"]

    def add(self, index: int, kind: str, rate: float | None = None) -> None:
        """Add the start mass of a fact about one listing.

        Parameters
        ----------
        index
            The listing's position, from 0.
        kind
            One of ``FACTS``.
        rate
            Facts of this kind per minute; by default estimated from the listing's history.

        Raises
        ------
        ValueError
            If the kind is not one of ``FACTS`` or the listing is unknown.
        """
        if kind not in FACTS:
            raise ValueError(
                f"a fact is one of {', '.join(FACTS)}, got {kind!r}; pass the data of signals to step()"
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
        """Return the start mass of this minute, 0 where detectors do not run; advance the rates by a minute.

        Parameters
        ----------
        window_end_ms
            End of the minute, epoch milliseconds.
        running
            Listings whose detectors run in this minute, (listings,).
        """
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
        """Return copies of all columns and the current hour, without settings."""
        return {"columns": self.state.snapshot(), "hour": self.hour}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Replace the state by a snapshot's."""
        self.state.restore(saved["columns"], listings)
        self.hour = int(saved["hour"])
