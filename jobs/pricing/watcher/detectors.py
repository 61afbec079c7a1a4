"""The detectors: weighted Shiryaev-Roberts sums, and where the change began that they suspect.

For signal i and effect k, with increments ℓ fair under no change (signal.py):
    M_ik ← (M_ik + π_ik)·exp ℓ_ik,  π_ik = w_i/(effects of i) + fact mass,  M = ΣM_ik          (1)
    trigger ⇔ M > A,  S = M/(M + A/19),  so S > .95 ⇔ M > A                                (2)
M − Σ starts is a supermartingale while nothing changes: the mean time to a false alarm is at least
A / (mean start mass a minute). Linear space is safe: the start mass prevents underflow.

Beside it, per direction of demand (down, up), a CUSUM of the direction's leading detector,
    C ← max(C, 1)·exp ℓ_leader, counts since C was last ≤ 1                               (3)
finds the suspected start of the change; a reset learns the new level from its counts. A leader is
chosen anew (largest M) each time its segment begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.minute import Bools, Floats, Ints
from jobs.pricing.watcher.signals.base import LARGEST_STEP

SEGMENT = ("orders", "exposure", "ordered_sessions", "session_exposure")
_LARGEST = 1e300
_SCORE = 0.95


def score_of(evidence: Floats, threshold: float) -> Floats:
    """S of (2), with S > .95 exactly where evidence is above the threshold, rounding included.

    >>> score_of(np.array([0.0, 10_080.0, 10_080.000000000002]), 10_080.0).round(6).tolist()
    [0.0, 0.95, 0.95]
    >>> (score_of(np.array([10_080.0, 10_080.000000000002]), 10_080.0) > 0.95).tolist()
    [False, True]
    """
    score = evidence / (evidence + threshold / 19.0)
    above = evidence > threshold
    return np.where(above, np.maximum(score, np.nextafter(_SCORE, 1.0)), np.minimum(score, _SCORE))


class Detectors:
    """Evidence of all detectors (rows) for all listings (columns)."""

    def __init__(self, demand: Sequence[int], listings: int) -> None:
        self.rows = len(demand)
        self.directions = tuple(np.array([k for k, sign in enumerate(demand) if sign == way]) for way in (-1, 1))
        self.row_direction = np.array([0 if sign < 0 else 1 for sign in demand])
        layout = {"evidence": (self.rows, 0.0), "started": (1, 0.0), "since": (1, 0.0), "hold": (1, 0.0)}
        layout |= dict.fromkeys(("cusum", "leader", *SEGMENT), (2, 0.0))
        self.state = Columns(layout, listings)

    def step(self, starts: Floats, increments: Floats, running: Bools, counts: Mapping[str, Floats]) -> None:
        """Apply (1) and (3) where ``running``; elsewhere nothing changes, to the bit.

        Parameters
        ----------
        starts, increments
            (detectors, listings); ``increments`` is used as working space.
        counts
            The minute's orders, exposure, ordered_sessions and session_exposure.
        """
        state = self.state
        np.clip(increments, -LARGEST_STEP, LARGEST_STEP, out=increments)
        factor = np.exp(increments, out=increments)
        self._follow(factor, running, counts)
        grown = state["evidence"] + starts
        grown *= factor
        np.minimum(grown, _LARGEST, out=grown)
        np.copyto(state["evidence"], grown, where=running)
        one = running.astype(float)
        state["started"] += starts.sum(axis=0) * one
        state["since"] += one

    def _follow(self, factor: Floats, running: Bools, counts: Mapping[str, Floats]) -> None:
        """Move the suspected start of change on, per direction."""
        state = self.state
        columns = np.arange(state.listings)
        for way, rows in enumerate(self.directions):
            cusum, leader = state["cusum"][way], state["leader"][way]
            anew = running & (cusum <= 1.0)
            where = np.flatnonzero(anew)
            leader[where] = rows[np.argmax(state["evidence"][np.ix_(rows, where)], axis=0)]
            stay = np.where(anew, 0.0, 1.0)
            grown = np.maximum(cusum, 1.0) * factor[leader.astype(np.intp), columns]
            np.copyto(cusum, np.minimum(grown, _LARGEST), where=running)
            for name in SEGMENT:
                values = state[name][way]
                values *= stay
                values += np.where(running, counts[name], 0.0)

    def rest(self, observed: Bools) -> None:
        """An observed minute of hold has passed."""
        hold = self.state["hold"]
        hold -= observed & (hold > 0.0)

    def winner(self) -> Ints:
        """Row of the largest detector, per listing."""
        return np.argmax(self.state["evidence"], axis=0)

    def segment(self, winner: Ints) -> dict[str, Floats]:
        """Counts since the change that the winning detector's direction suspects."""
        columns = np.arange(self.state.listings)
        way = self.row_direction[winner]
        return {name: self.state[name][way, columns] for name in SEGMENT}

    def clear(self, i: np.ndarray, hold_ticks: int) -> None:
        """All evidence of some listings to nothing, and rest."""
        for name in ("evidence", "cusum", "leader", *SEGMENT):
            self.state[name][:, i] = 0.0
        for name in ("started", "since"):
            self.state[name][i] = 0.0
        self.state["hold"][i] = float(hold_ticks)

    def snapshot(self) -> dict[str, Any]:
        """Plain data, without settings."""
        return {"columns": self.state.snapshot()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Take a snapshot back."""
        self.state.restore(saved["columns"], listings)
