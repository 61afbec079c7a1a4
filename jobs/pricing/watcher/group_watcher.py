"""The watcher's detectors on the sums of price groups, which detect a common shift of slow sellers earlier.

The delay decreases with the mean divided by the dispersion, and a group's mean is the sum of its members' means. A
group's exposure is that of its members, weighted by their learned levels: a member that is out of stock or has a
higher price reduces the group's expected orders. A group of one member has no evidence; the listing's own watcher
covers it. Science § 6, pooling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from features.array_text import read_array
from features.bucket_logic import refuse_other_version
from jobs.pricing.watcher.minute import Floats, Indices, Ints, Minute, Verdict
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.watcher import Watcher

VERSION = 1


class GroupWatcher:
    """A watcher over groups of listings.

    Parameters
    ----------
    settings
        The watcher's business numbers.
    groups
        Each listing's group, a number from 0.
    share
        This level's share of the false-alarm budget, by default ``settings.group_share``.

    Examples
    --------
    >>> groups = GroupWatcher(WatcherSettings(), groups=[0, 0, 1])
    >>> verdict = groups.step(Minute.of(3, 60_000, orders=[1, 2, 5]), levels=np.ones(3))
    >>> len(verdict.score), groups.members(0).tolist()
    (2, [0, 1])
    """

    def __init__(self, settings: WatcherSettings, groups: Sequence[int] = (), share: float | None = None) -> None:
        self.watcher = Watcher(settings, 0, settings.group_share if share is None else share)
        self.groups = np.zeros(0, dtype=np.intp)
        self.grow(groups)

    @property
    def size(self) -> int:
        """Number of groups."""
        return self.watcher.listings

    def grow(self, groups: Sequence[int]) -> None:
        """Append listings, given by their groups' numbers; an unknown number adds groups.

        Raises
        ------
        ValueError
            If a number is negative.
        """
        added = np.asarray(groups, dtype=np.intp)
        if len(added) and added.min() < 0:
            raise ValueError(f"a group's number must be >= 0, got {added.min()}")
        self.groups = np.concatenate([self.groups, added])
        self.watcher.grow(max(int(self.groups.max(initial=-1)) + 1 - self.size, 0))

    def members(self, group: int) -> Indices:
        """Return the indices of a group's listings."""
        return np.flatnonzero(self.groups == group)

    def step(self, minute: Minute, levels: Floats) -> Verdict:
        """Process a minute of the listings and return the groups' verdict.

        Parameters
        ----------
        minute
            The minute of all listings.
        levels
            Learned orders per minute of the listings, without this minute: (listings,).
        """
        minute.check(len(self.groups))
        verdict = self.watcher.step(self._sums(minute, levels))
        single = self._sizes() < 2
        if single.any():
            self._clear(np.flatnonzero(single))
            verdict = replace(
                verdict,
                evidence=np.where(single, 0.0, verdict.evidence),
                score=np.where(single, 0.0, verdict.score),
                parts=np.where(single, 0.0, verdict.parts),
                triggered=verdict.triggered & ~single,
                running=verdict.running & ~single,
            )
        return verdict

    def _sizes(self) -> Ints:
        return np.bincount(self.groups, minlength=self.size)

    def _clear(self, i: Indices) -> None:
        self.watcher.detectors.clear(i, 0)

    def _sums(self, minute: Minute, levels: Floats) -> Minute:
        def total(values: Floats) -> Floats:
            return np.bincount(self.groups, weights=values, minlength=self.size).astype(float)

        on_offer = minute.present & (minute.in_stock > 0.0)
        stock = np.clip(minute.in_stock, 0.0, 1.0)
        weight = np.maximum(levels, 1e-9)
        total_weight = np.maximum(total(weight), 1e-9)
        factor = total(weight * np.where(on_offer, stock * minute.price_factor, 0.0)) / total_weight
        open_group = factor > 0.0
        unplanned = total((np.isnan(minute.plan_units) & on_offer).astype(float)) > 0.0
        plan = total(np.where(on_offer & ~np.isnan(minute.plan_units), minute.plan_units, 0.0))
        offset = np.zeros(self.size)
        offset[self.groups] = minute.utc_offset  # a group's listings are of one market
        return Minute(
            window_end_ms=minute.window_end_ms,
            orders=total(np.where(on_offer, minute.orders, 0.0)),
            units=total(np.where(on_offer, minute.units, 0.0)),
            price_factor=np.where(open_group, factor, 1.0),
            searches_matured=total(np.where(on_offer, minute.searches_matured, 0.0)),
            searches_abandoned=total(np.where(on_offer, minute.searches_abandoned, 0.0)),
            plan_units=np.where(unplanned, np.nan, plan),
            present=total(minute.present.astype(float)) > 0.0,
            in_stock=open_group.astype(float),
            utc_offset=offset,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the groups and their watcher's state as plain data with a version."""
        return {"v": VERSION, "groups": self.groups.copy(), "watcher": self.watcher.snapshot()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Replace the state by a snapshot's.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("group watcher", VERSION, snapshot)
        self.groups = read_array(snapshot["groups"], np.intp)
        self.watcher.restore(snapshot["watcher"])
