"""Budgets, weights and time constants of the watcher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

TICKS_PER_DAY = 1440
"""Minutes of a day; a step of the watcher is a minute."""


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """The watcher's business numbers (science § 6), which the policy's section ``watch`` sets.

    They are not part of a snapshot; a restart may change them.

    Parameters
    ----------
    false_alarm_every
        Minutes in which at most one repricing of a listing on false evidence is expected, over all levels
        together. 10,080 is a week.
    own_share, group_share
        Each level's share of that budget, with a sum of at most 1. A level's threshold is
        ``false_alarm_every / share``.
    weights
        Shares of the false-alarm budget by signal; they override the signals' defaults.
    rivals, events
        Shares of the false-alarm budget for the start mass of facts.
    level_ticks
        Time constant of the level N/D, in observed minutes.
    warmup_ticks
        Minutes of data before the detectors run.
    hold_ticks
        Observed minutes after a reset in which the detectors pause.
    relearn_ticks
        Minutes after a reset in which the band around the forecast is one standard error wider.
    reseed_ticks
        Minutes of old exposure mixed into the level after a reset.
    block_ticks
        Minutes per block; the sums of blocks detect a slow drift of the rate.
    start_phi
        Minimum dispersion until the first block is full, and prior of the block estimate; at least 1.
    prior_blocks
        Weight of that prior, in blocks.
    known_phi
        Given dispersion, at least 1; ``None`` (default): learned.
    merge_gap_ticks
        Longest gap, in minutes, that is merged into the next update. A longer gap is discarded, because its
        counts cannot be distinguished from an outage.
    session_lag_ticks
        Minutes after an own price change in which abandonment is not observed, because the sessions that end
        in them began at the old price.
    fact_ticks
        Time constant of a fact's rate, and upper bound of the mean time between facts, in minutes (43,200: a
        month).
    full_mass_orders
        Expected orders per minute at and above which a minute has its full start mass. With fewer orders the
        start mass is proportional to them, so that time alone adds no evidence.
    profile_orders
        Weight, in orders, of the category's daily profile in the listing's profile, and of a flat day in the
        category's.
    tick_ms
        Length of a step in milliseconds.

    Examples
    --------
    >>> settings = WatcherSettings()
    >>> round(settings.threshold(settings.own_share))
    16800
    """

    false_alarm_every: float = 10_080.0
    own_share: float = 0.6
    group_share: float = 0.4
    weights: Mapping[str, float] = field(default_factory=dict)
    rivals: float = 0.15
    events: float = 0.10
    level_ticks: float = 20_160.0
    warmup_ticks: int = 60
    hold_ticks: int = 60
    relearn_ticks: int = 1_440
    reseed_ticks: float = 5.0
    block_ticks: int = 720
    start_phi: float = 1.5
    prior_blocks: float = 2.0
    known_phi: float | None = None
    merge_gap_ticks: int = 60
    session_lag_ticks: int = 45
    fact_ticks: float = 43_200.0
    full_mass_orders: float = 0.05
    profile_orders: float = 200.0
    tick_ms: int = 60_000

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        ValueError
            If a number is out of range.
        """
        shares = self.own_share + self.group_share
        if min(self.own_share, self.group_share) < 0 or shares > 1 + 1e-9:
            raise ValueError(f"own_share + group_share must be at most 1, got {shares}")
        for name in (
            "false_alarm_every",
            "level_ticks",
            "block_ticks",
            "fact_ticks",
            "full_mass_orders",
            "tick_ms",
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.start_phi < 1 or (self.known_phi is not None and self.known_phi < 1):
            raise ValueError(f"start_phi, known_phi must be at least 1, got {self.start_phi}, {self.known_phi}")

    def threshold(self, share: float) -> float:
        """Return the evidence above which a level with ``share`` of the budget triggers: A of science § 6.

        Raises
        ------
        ValueError
            If the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"a level's share of the false-alarm budget must be in (0, 1], got {share}")
        return self.false_alarm_every / share
