"""WatcherSettings: budgets, weights and time constants of the watcher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

TICKS_PER_DAY = 1440
"""Minutes of a day; the watcher steps by minutes."""


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """The watcher's business numbers (science § 6); the policy's section ``watch`` sets them.

    They are not part of a snapshot, so a restart may bring new ones.

    Parameters
    ----------
    false_alarm_every
        Minutes within which one listing may expect at most one re-pricing on false evidence, from
        all levels together. 10,080 is a week.
    own_share, group_share
        How the levels split that budget; a level's threshold is ``false_alarm_every / share``.
    weights
        Shares of the false-alarm budget by signal, in place of the signals' own.
    rivals, events
        Shares of the false-alarm budget for the start mass that facts bring.
    level_ticks
        Time constant of the level N/D, in observed minutes.
    warmup_ticks
        Minutes of data before detectors run.
    hold_ticks
        Minutes after a reset in which detectors rest.
    relearn_ticks
        Minutes after a reset in which the band around the forecast is one standard error wider.
    reseed_ticks
        Minutes of old exposure mixed into the level after a reset.
    block_ticks
        Length of the blocks whose sums show slow wander of the rate.
    start_phi
        Least dispersion while the first block is not full; also the prior of the block estimate.
    prior_blocks
        How many blocks that prior is worth.
    known_phi
        Dispersion known from elsewhere; ``None`` (default) learns it.
    merge_gap_ticks
        Missing minutes up to this many are merged into one update; a longer gap is forgotten, since
        its counts can no longer be told from an outage.
    session_lag_ticks
        Minutes after an own price change in which abandonment is not observed: the sessions that
        end then began at the old price.
    fact_ticks
        Time constant of a fact's rate, and the longest mean time between facts that is believed
        (43,200: one a month).
    full_mass_orders
        Expected orders per minute from which on a minute earns its whole start mass; a slower
        seller's minutes earn less, so that evidence is never just time that passed.
    profile_orders
        Weight, in orders, of the category's daily profile in the listing's, and of a flat day in the category's.
    tick_ms
        Length of a step.

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
            raise ValueError("start_phi and known_phi are variance over mean of counts: at least 1")

    def threshold(self, share: float) -> float:
        """Evidence at which a level that owns ``share`` of the budget triggers: A of science § 6.

        Raises
        ------
        ValueError
            If the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"a level's share of the false-alarm budget is in (0, 1], got {share}")
        return self.false_alarm_every / share
