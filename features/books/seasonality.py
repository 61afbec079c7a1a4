"""Seasonal profile of demand by hour and weekday.

Data: for a group of listings (a category in a market), per market-local hour h and weekday d, the
events N (exposures) and the listing-minutes M over which they were counted, both with slow exponential
forgetting. The profile is multiplicative and separable, f(h, d) = f_h · f_d. Its 31 parameters instead of
168 can be estimated within days and keep the state small.

  (1) λ = ΣN / ΣM                                    events per listing-minute
  (2) f_h = (N_h + κ) / (λ M_h + κ)                  Gamma-shrunk to 1 with the weight of κ events
  (3) f_d likewise over weekdays, with M_d weighted by the hours it covers: E_d = λ Σ_h M_dh f_h
      is approximated by λ M_d, exact after whole days of data

There is one profile per group, and none per listing (science § 4, "Seasonality"). Forgetting: both counts ×
``season_keep_per_week`` at each new ISO week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.bucket_logic import refuse_other_version
from features.settings import FeatureSettings
from features.windows import LocalTime, Numbers

HOURS, WEEKDAYS = 24, 7


class SeasonalProfile:
    """Hour and weekday factors of a bucket's groups.

    Parameters
    ----------
    settings : κ (``season_events``) and the forgetting (``season_keep_per_week``); not part of the snapshot.

    Examples
    --------
    >>> profile = SeasonalProfile(FeatureSettings(season_events=0.0))
    >>> for hour in range(24):
    ...     profile.observe("shoes", LocalTime(1, 0, hour, hour / 24), events=2 if hour >= 12 else 1, minutes=1)
    >>> round(profile.factor("shoes", LocalTime(1, 0, 18, 0.75)), 6)
    1.333333
    """

    version = 1

    def __init__(self, settings: FeatureSettings | None = None) -> None:
        settings = settings or FeatureSettings()
        self._kappa = settings.season_events
        self._keep = settings.season_keep_per_week
        self._week: int | None = None
        # Per group: events and listing-minutes, by hour (24) then weekday (7).
        self._groups: dict[str, tuple[Numbers, Numbers]] = {}

    def observe(self, group: str, when: LocalTime, events: float, minutes: float) -> None:
        """Add a group's events of one minute over ``minutes`` present listings; zeros count too."""
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
        """Return f_h · f_d at a time; 1 for an hour without data, None for an unknown group."""
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
        """Return the state as plain data."""
        return {
            "v": self.version,
            "week": self._week,
            "groups": {name: [n.tolist(), m.tolist()] for name, (n, m) in self._groups.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("SeasonalProfile", self.version, snapshot)
        self._week = snapshot["week"]
        self._groups = {
            name: (np.asarray(n, dtype=float), np.asarray(m, dtype=float))
            for name, (n, m) in snapshot["groups"].items()
        }
