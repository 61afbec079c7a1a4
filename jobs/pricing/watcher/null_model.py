"""What is expected while nothing has changed: level, daily profile, noise, and how sure that is.

Data of listing i in minute t: orders X, exposure e = s·f·h (daily profile s, own price's effect f,
share of the minute in stock h), sessions n of which a abandoned, units U. With w = exp(−1/τ), τ = 20,160:
    N ← wN + X,  D ← wD + e,  level λ = (N+½)/(D), forecast m = λ·e                           (1)
    ε = √(φ/(N+½)), and 1/√N more while a level is re-learned after a reset                 (2)
    s = exp(Σ_h (β^cat + β^own)_h·g_h(t)), g three harmonics of the day                     (3)
    β += 2/(info + prior)·(X − m)·g: a recursive Newton step; own starts at the category's      (4)
    φ_tick = Σ(X−m)²/Σm,  φ_block = (Σ(X_B−m_B)² + k·1.5·m_B)/(Σm_B + k·m_B), 720-minute blocks  (5)
    φ = max(1, 1+1.1(φ_tick−1)+.05, φ_block); before the first block max(1.5, 1+1.1(φ_tick−1)+.05)  (6)
    1−p = Σ(n−a)/Σ(n·f), ε_p = √(p(1−p)/Σn)                                                 (7)
    q̄ = ΣU/ΣX,  s² = Σ(U−q̄X)²/ΣX,  both with a weak prior at one unit per order             (8)
The block sum in (5) is what sees slow wander of the rate; the per-minute one cannot. Science § 6.

All is predictable: a minute is judged by what was known before it, then learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.minute import Bools, Floats, Minute
from jobs.pricing.watcher.settings import TICKS_PER_DAY, WatcherSettings
from jobs.pricing.watcher.signal import Look, Spread

HARMONICS = 3
_HALF = 0.5
_UNIT_PRIOR = 5.0
_LARGEST_LOG_PROFILE = 4.0

LAYOUT = {
    "orders": (1, 0.0),  # N
    "exposure": (1, 0.0),  # D
    "profile": (2 * HARMONICS, 0.0),
    "ticks": (1, 0.0),
    "since_reset": (1, -1.0),  # -1: never
    "tick_square": (1, 0.0),
    "tick_mean": (1, 0.0),
    "block_orders": (1, 0.0),
    "block_mean": (1, 0.0),
    "block_ticks": (1, 0.0),
    "block_square": (1, 0.0),
    "block_weight": (1, 0.0),
    "phi": (1, 0.0),
    "phi_floor": (1, 1.0),
    "units": (1, 0.0),
    "unit_orders": (1, 0.0),
    "unit_square": (1, 0.0),
    "unit_mean": (1, 1.0),
    "unit_variance": (1, 0.0),
    "ordered_sessions": (1, 0.0),
    "session_exposure": (1, 0.0),
    "sessions": (1, 0.0),
    "last_factor": (1, 0.0),  # 0: none yet
    "quiet": (1, 0.0),
    "gap_exposure": (1, 0.0),
    "gap_plan": (1, 0.0),
    "gap_ticks": (1, 0.0),
    "category": (1, 0.0),
}


class NullModel:
    """Level, profile and noise of all listings of a watcher, learned minute by minute."""

    def __init__(self, settings: WatcherSettings, listings: int) -> None:
        self.settings = settings
        self.state = Columns(LAYOUT, listings)
        self.state["phi"][:] = settings.known_phi or settings.start_phi
        self.category_profile = np.zeros((2 * HARMONICS, 1))
        self._keep = math.exp(-1.0 / settings.level_ticks)
        self._keep_block = math.exp(-settings.block_ticks / settings.level_ticks)
