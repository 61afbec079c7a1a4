"""How demand goes with the hour and the weekday.

Data: for a group of listings (a category in a market), per market-local hour h and weekday d, the
events N (exposures) and the listing-minutes M over which they were counted, both forgotten slowly.
The profile is multiplicative and separable, f(h, d) = f_h · f_d: 31 shares instead of 168, so that
it is there after days, not months, and a bucket stays small.

  (1) λ = ΣN / ΣM                                    events per listing-minute
  (2) f_h = (N_h + κ) / (λ M_h + κ)                  Gamma-shrunk to 1; κ events speak for "flat"
  (3) f_d likewise over weekdays, with M_d weighted by the hours it covers: E_d = λ Σ_h M_dh f_h
      is approximated by λ M_d, exact once whole days have been seen

There is one profile per group, and none per listing (science § 4, "Seasonality").
Forgetting: both counts × `keep_per_week` at each new ISO week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bucket_logic import refuse_other_version
from features.windows import LocalTime, Numbers

HOURS, WEEKDAYS = 24, 7


class SeasonalProfile:
    """Hour and weekday factors of the groups of a bucket.

    Parameters
    ----------
    shrink_events : κ, events that a flat profile is worth per slot.
    keep_per_week : share of the counts kept when a week ends, in (0, 1].

    Examples
    --------
    >>> profile = SeasonalProfile(shrink_events=0.0)
    >>> for hour in range(24):
    ...     profile.observe("shoes", LocalTime(1, 0, hour, hour / 24), events=2 if hour >= 12 else 1, minutes=1)
    >>> round(profile.factor("shoes", LocalTime(1, 0, 18, 0.75)), 6)
    1.333333
    """

    version = 1

    def __init__(self, shrink_events: float = 50.0, keep_per_week: float = 0.98) -> None:
        self._kappa = shrink_events
        self._keep = keep_per_week
        self._week: int | None = None
        # Per group: events and listing-minutes, by hour (24) then weekday (7).
        self._groups: dict[str, tuple[Numbers, Numbers]] = {}

    def observe(self, group: str, when: LocalTime, events: float, minutes: float) -> None:
        """Count a group's events in one minute over ``minutes`` listings present (zeros count too)."""
        week = (when.day - 1) // 7
        if self._week is not None and week > self._week:
            keep = self._keep ** (week - self._week)
            for n, m in self._groups.values():
                n *= keep
                m *= keep
        self._week = week if self._week is None else max(self._week, week)
        held = self._groups.get(group)
        if held is None:
            held = self._groups[group] = (np.zeros(HOURS + WEEKDAYS), np.zeros(HOURS + WEEKDAYS))
        for slot in (when.hour, HOURS + when.weekday):
            held[0][slot] += events
            held[1][slot] += minutes

    def factor(self, group: str, when: LocalTime) -> float | None:
        """f_h · f_d of a moment; 1 where nothing was learned yet, None for a group never seen."""
        held = self._groups.get(group)
        if held is None:
            return None
        n, m = held
        minutes = float(m[:HOURS].sum())
        if minutes <= 0:
            return None
        rate = float(n[:HOURS].sum()) / minutes
        result = 1.0
        for slot in (when.hour, HOURS + when.weekday):
            expected = rate * float(m[slot]) + self._kappa
            if expected > 0:
                result *= max(float(n[slot]) + self._kappa, 0.0) / expected
        return result

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "v": self.version,
            "week": self._week,
            "groups": {name: [n.tolist(), m.tolist()] for name, (n, m) in self._groups.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If it is of another version.
        """
        refuse_other_version("SeasonalProfile", self.version, snapshot)
        self._week = snapshot["week"]
        self._groups = {
            name: (np.asarray(n, dtype=float), np.asarray(m, dtype=float))
            for name, (n, m) in snapshot["groups"].items()
        }
