"""The same detectors on the sums of price groups: a shift common to slow sellers is found here first.

Delay goes with the mean over the dispersion, and means add up. A group's exposure is its members',
weighted by their learned levels: a member out of stock, or at a dearer price, lowers what the group
is expected to sell. Groups of one member are left to the listing's own watcher. Science § 6, pooling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from features.array_text import read_array
from features.bucket_logic import refuse_other_version
from jobs.pricing.watcher.minute import Floats, Minute, Verdict
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.watcher import Watcher

VERSION = 1


class GroupWatcher:
    """A watcher over groups of listings.

    ``groups`` says each listing's group as a number from 0; ``share`` is this level's part of the
    budget, ``settings.group_share`` unless given.

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
        """How many groups there are."""
        return self.watcher.listings

    def grow(self, groups: Sequence[int]) -> None:
        """Add listings at the end, by their groups' numbers; unknown numbers make new groups."""
        added = np.asarray(groups, dtype=np.intp)
        if len(added) and added.min() < 0:
            raise ValueError(f"a group is a number from 0, got {added.min()}")
        self.groups = np.concatenate([self.groups, added])
        self.watcher.grow(max(int(self.groups.max(initial=-1)) + 1 - self.size, 0))

    def members(self, group: int) -> np.ndarray:
        """Indices of a group's listings."""
        return np.flatnonzero(self.groups == group)

    def step(self, minute: Minute, levels: Floats) -> Verdict:
        """Take the listings' minute, with their learned ``levels`` before it; the verdict is over groups."""
        minute.check(len(self.groups))
        verdict = self.watcher.step(self._summed(minute, levels))
        alone = self._members() < 2
        if alone.any():
            self._drop(np.flatnonzero(alone))
            verdict = replace(
                verdict,
                evidence=np.where(alone, 0.0, verdict.evidence),
                score=np.where(alone, 0.0, verdict.score),
                parts=np.where(alone, 0.0, verdict.parts),
                triggered=verdict.triggered & ~alone,
                running=verdict.running & ~alone,
            )
        return verdict

    def _members(self) -> np.ndarray:
        return np.bincount(self.groups, minlength=self.size)

    def _drop(self, i: np.ndarray) -> None:
        self.watcher.detectors.clear(i, 0)

    def _summed(self, minute: Minute, levels: Floats) -> Minute:
        def total(values: Floats) -> Floats:
            return np.bincount(self.groups, weights=values, minlength=self.size).astype(float)

        here = minute.present & (minute.in_stock > 0.0)
        stock = np.clip(minute.in_stock, 0.0, 1.0)
        weight = np.maximum(levels, 1e-9)
        whole = np.maximum(total(weight), 1e-9)
        factor = total(weight * np.where(here, stock * minute.price_factor, 0.0)) / whole
        open_group = factor > 0.0
        unplanned = total((np.isnan(minute.plan_units) & here).astype(float)) > 0.0
        plan = total(np.where(here & ~np.isnan(minute.plan_units), minute.plan_units, 0.0))
        offset = np.zeros(self.size)
        offset[self.groups] = minute.utc_offset  # a group's listings are of one market
        return Minute(
            window_end_ms=minute.window_end_ms,
            orders=total(np.where(here, minute.orders, 0.0)),
            units=total(np.where(here, minute.units, 0.0)),
            price_factor=np.where(open_group, factor, 1.0),
            searches_matured=total(np.where(here, minute.searches_matured, 0.0)),
            searches_abandoned=total(np.where(here, minute.searches_abandoned, 0.0)),
            plan_units=np.where(unplanned, np.nan, plan),
            present=total(minute.present.astype(float)) > 0.0,
            in_stock=open_group.astype(float),
            utc_offset=offset,
        )

    def snapshot(self) -> dict[str, Any]:
        """Versioned plain data: the groups and their watcher's state."""
        return {"v": VERSION, "groups": self.groups.copy(), "watcher": self.watcher.snapshot()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("group watcher", VERSION, snapshot)
        self.groups = read_array(snapshot["groups"], np.intp)
        self.watcher.restore(snapshot["watcher"])
