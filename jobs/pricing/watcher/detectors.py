"""Detectors: weighted Shiryaev-Roberts sums, and the estimated start of a change.

For signal i and effect k, with increments ℓ whose E[exp ℓ] ≤ 1 without a change (signals/base.py):
    M_ik ← (M_ik + π_ik)·exp ℓ_ik,  π_ik = w_i/(effects of i) + fact mass,  M = ΣM_ik          (1)
    trigger ⇔ M > A,  S = M/(M + A/19),  so S > .95 ⇔ M > A                                (2)
Without a change, M − Σ starts is a supermartingale: the mean time to a false alarm is at least
A / (mean start mass per minute). M is kept in linear space; the start mass prevents underflow.

In addition, a CUSUM per direction of demand (down, up) of the direction's leading detector,
    C ← max(C, 1)·exp ℓ_leader, counts since C was last ≤ 1                               (3)
estimates the start of the change. A reset learns the new level from the counts of this segment. The leader is the
detector with the largest M when the segment begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.array_text import read_array
from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.minute import Bools, Floats, Indices, Ints
from jobs.pricing.watcher.signals.base import LARGEST_STEP

SEGMENT = ("orders", "exposure", "ordered_sessions", "session_exposure")
_LARGEST = 1e300
_SCORE = 0.95


def score_of(evidence: Floats, threshold: float) -> Floats:
    """Return S of (2), with S > .95 exactly where evidence exceeds the threshold, rounding included.

    Examples
    --------
    >>> score_of(np.array([0.0, 10_080.0, 10_080.000000000002]), 10_080.0).round(6).tolist()
    [0.0, 0.95, 0.95]
    >>> (score_of(np.array([10_080.0, 10_080.000000000002]), 10_080.0) > 0.95).tolist()
    [False, True]
    """
    score = evidence / (evidence + threshold / 19.0)
    above = evidence > threshold
    return np.where(above, np.maximum(score, np.nextafter(_SCORE, 1.0)), np.minimum(score, _SCORE))


class Detectors:
    """Evidence of all detectors (rows) for all listings (columns).

    Parameters
    ----------
    demand
        Per detector, -1 if its effect means less demand, 1 if more.
    listings
        Initial number of listings.
    """

    def __init__(self, demand: Sequence[int], listings: int) -> None:
        self.rows = len(demand)
        self.directions = tuple(np.array([k for k, sign in enumerate(demand) if sign == way]) for way in (-1, 1))
        self.row_direction = np.array([0 if sign < 0 else 1 for sign in demand])
        layout = {"evidence": (self.rows, 0.0), "started": (1, 0.0), "since": (1, 0.0), "hold": (1, 0.0)}
        layout |= dict.fromkeys(("cusum", "leader", *SEGMENT), (2, 0.0))
        self.state = Columns(layout, listings)

    def step(self, starts: Floats, increments: Floats, running: Bools, counts: Mapping[str, Floats]) -> None:
        """Apply (1) and (3) where ``running``; other listings keep their state bit for bit.

        Parameters
        ----------
        starts, increments
            Start mass and ℓ, (detectors, listings). ``increments`` is overwritten.
        running
            Listings whose detectors run in this minute, (listings,).
        counts
            The minute's orders, exposure, ordered_sessions and session_exposure.
        """
        state = self.state
        np.clip(increments, -LARGEST_STEP, LARGEST_STEP, out=increments)
        factor = np.exp(increments, out=increments)
        self._update_segments(factor, running, counts)
        grown = state["evidence"] + starts
        grown *= factor
        np.minimum(grown, _LARGEST, out=grown)
        np.copyto(state["evidence"], grown, where=running)
        one = running.astype(float)
        state["started"] += starts.sum(axis=0) * one
        state["since"] += one

    def _update_segments(self, factor: Floats, running: Bools, counts: Mapping[str, Floats]) -> None:
        """Apply (3) per direction and add the minute's counts to the current segment."""
        state = self.state
        columns = np.arange(state.listings)
        for way, rows in enumerate(self.directions):
            cusum, leader = state["cusum"][way], state["leader"][way]
            begins = running & (cusum <= 1.0)
            where = np.flatnonzero(begins)
            leader[where] = rows[np.argmax(state["evidence"][np.ix_(rows, where)], axis=0)]
            kept = np.where(begins, 0.0, 1.0)
            grown = np.maximum(cusum, 1.0) * factor[leader.astype(np.intp), columns]
            np.copyto(cusum, np.minimum(grown, _LARGEST), where=running)
            for name in SEGMENT:
                values = state[name][way]
                values *= kept
                values += np.where(running, counts[name], 0.0)

    def count_hold(self, observed: Bools) -> None:
        """Subtract a minute from the hold after a reset, where the minute was observed."""
        hold = self.state["hold"]
        hold -= observed & (hold > 0.0)

    def winner(self) -> Ints:
        """Return the row of the detector with the largest evidence, per listing."""
        winner: Ints = np.argmax(self.state["evidence"], axis=0)
        return winner

    def segment(self, winner: Ints) -> dict[str, Floats]:
        """Return the counts of the current segment of the winning detector's direction, per listing."""
        columns = np.arange(self.state.listings)
        way = self.row_direction[winner]
        return {name: self.state[name][way, columns] for name in SEGMENT}

    def clear(self, i: Indices, hold_ticks: int) -> None:
        """Clear the evidence of listings ``i``; their detectors pause for ``hold_ticks`` observed minutes."""
        for name in ("evidence", "cusum", "leader", *SEGMENT):
            self.state[name][:, i] = 0.0
        for name in ("started", "since"):
            self.state[name][i] = 0.0
        self.state["hold"][i] = float(hold_ticks)

    def snapshot(self) -> dict[str, Any]:
        """Return copies of all columns, without settings."""
        return {"columns": self.state.snapshot()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Take a snapshot back; detectors that were added since start with no evidence.

        Rows are by position, so a new signal is added at the end of ``SIGNALS``.
        """
        columns = dict(saved["columns"])
        evidence = read_array(columns["evidence"], float)
        if evidence.ndim == 2 and evidence.shape[0] < self.rows:
            added = np.zeros((self.rows - evidence.shape[0], evidence.shape[1]))
            columns["evidence"] = np.concatenate([evidence, added])
        self.state.restore(columns, listings)
