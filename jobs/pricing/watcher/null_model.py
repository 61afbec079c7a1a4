"""What is expected while nothing has changed: level, daily profile, noise, and how sure that is.

Data of listing i in minute t: orders X, exposure e = s·f·h (daily profile s, own price's effect f,
share of the minute in stock h), sessions n of which a abandoned, units U. With w = exp(−1/τ), τ = 20,160:
    N ← wN + X,  D ← wD + e,  level λ = (N+½)/D, forecast m = λ·e                             (1)
    ε = √(φ/(N+½)), and 1/√(N+½) more while a level is re-learned after a reset               (2)
    s = s^cat·exp(Σ_h β^own_h·g_h(t)), g three harmonics of the market's day (daily_profile.py) (3)
    listing: β^own += 2/(mT + prior)·(X − m)·g, from 0 after a day: it starts at its category's  (4)
    φ_tick = Σ(X−m)²/Σm,  φ_block = (Σ(X_B−m_B)² + k·1.5·m_B)/(Σm_B + k·m_B), 720-minute blocks  (5)
    φ = max(1, 1+1.1(φ_tick−1)+.05, φ_block); before the first block max(1.5, 1+1.1(φ_tick−1)+.05)  (6)
    1−p = Σ(n−a)/Σ(n·f), ε_p = √(p(1−p)/Σn)                                                   (7)
    q̄ = ΣU/ΣX,  s² = Σ(U−q̄X)²/ΣX,  both with a weak prior at one unit per order               (8)
When a category's day becomes known for the first time, its levels are laid anew over the whole day.
The block sum in (5) is what sees slow wander of the rate; the per-minute one cannot. Science § 6.

All is predictable: a minute is judged by what was known before it, then learned.

Over 300 lines: (1) to (8) share their columns and one order of updates, and read best together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.daily_profile import WAVES, DailyProfiles, local_waves, turned
from jobs.pricing.watcher.minute import Bools, Floats, Minute
from jobs.pricing.watcher.settings import TICKS_PER_DAY, WatcherSettings
from jobs.pricing.watcher.signals.base import Observation, Spread

_HALF = 0.5
_UNIT_PRIOR = 5.0
_LARGEST_LOG_PROFILE = 4.0

LAYOUT = {
    "orders": (1, 0.0),  # N
    "exposure": (1, 0.0),  # D
    "profile": (WAVES, 0.0),
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
    "offered": (1, 0.0),  # Σ f·h: what D would be on an average hour, never re-seeded
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
    "assumed": (1, 0.0),  # 1: told by history, not to be laid anew
}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A minute set against what was expected of it.

    ``observed``: neither gap nor stock-out. ``exposure`` includes what a merged gap adds, ``now`` and
    ``plan_now`` (in orders) do not; ``quiet`` counts down minutes in which sessions of an older price end.
    """

    observation: Observation
    observed: Bools
    exposure: Floats
    now: Floats
    plan_now: Floats
    quiet: Floats


class NullModel:
    """Level, profile and noise of all listings of a watcher, learned minute by minute."""

    def __init__(self, settings: WatcherSettings, listings: int) -> None:
        self.settings = settings
        self.state = Columns({**LAYOUT, "phi": (1, settings.known_phi or settings.start_phi)}, listings)
        self._keep = math.exp(-1.0 / settings.level_ticks)
        self.daily = DailyProfiles(settings.profile_orders, self._keep)
        self.daily.grow(1)
        self._keep_block = math.exp(-settings.block_ticks / settings.level_ticks)

    @property
    def listings(self) -> int:
        """How many listings there are."""
        return self.state.listings

    def grow(self, categories: Sequence[int]) -> None:
        """Add listings; they start at their category's daily profile."""
        first = self.listings
        self.state.grow(len(categories))
        if categories:
            self.state["category"][first:] = np.asarray(categories, float)
        self.daily.grow(max(categories, default=0) + 1)

    def levels(self) -> Floats:
        """Orders per minute at profile 1 and the reference price: λ of (1)."""
        return (self.state["orders"] + _HALF) / np.maximum(self.state["exposure"], 1e-9)

    def profile(self, window_end_ms: int, utc_offset: Floats | None = None) -> Floats:
        """Daily profile s of (3) for the minute that ends at ``window_end_ms``, each listing at its local time."""
        offset = np.zeros(self.listings) if utc_offset is None else utc_offset
        return np.exp(self._log_profile(local_waves(window_end_ms, self.settings.tick_ms, offset)))

    def _log_profile(self, g: Floats) -> Floats:
        log_profile = self.daily.log_profile(g, self._categories())
        for h in range(WAVES):
            log_profile += g[h] * self.state["profile"][h]
        return np.clip(log_profile, -_LARGEST_LOG_PROFILE, _LARGEST_LOG_PROFILE, out=log_profile)

    def _profiles(self, ends_ms: Sequence[int], utc_offset: Floats) -> Floats:
        """:meth:`profile` of several minutes at once, to the same bits: (minutes, listings)."""
        tick_ms = self.settings.tick_ms
        waves = [local_waves(end_ms, tick_ms, utc_offset) for end_ms in ends_ms]
        g = np.stack([each if each.ndim > 1 else each[:, None] for each in waves], axis=1)
        log_profile = self.daily.log_profile(g, self._categories())
        for h in range(WAVES):
            log_profile += g[h] * self.state["profile"][h]
        return np.exp(np.clip(log_profile, -_LARGEST_LOG_PROFILE, _LARGEST_LOG_PROFILE, out=log_profile))

    def _categories(self) -> np.ndarray:
        return self.state["category"].astype(np.intp)

    def spread(self) -> Spread:
        """Noise as of the last refresh; tilts are made from it."""
        return Spread(self.state["phi"], self.state["unit_mean"], self.state["unit_variance"])

    def promise_in_force(self) -> Bools:
        """Whether the dispersion rests on at least one full block (or is known)."""
        if self.settings.known_phi is not None:
            return np.ones(self.listings, dtype=bool)
        return self.state["block_weight"] > 0.0

    def see(self, minute: Minute) -> Seen:
        """Set a minute against what was expected of it; changes nothing."""
        state, settings = self.state, self.settings
        level = self.levels()
        stock = np.clip(minute.in_stock, 0.0, 1.0)
        exposure = self.profile(minute.window_end_ms, minute.utc_offset)
        exposure *= minute.price_factor
        exposure *= stock
        observed = minute.present & (stock > 0.0) & (state["gap_ticks"] <= settings.merge_gap_ticks)
        unit_mean = state["unit_mean"]
        now = level * exposure
        plan_now = np.where(np.isnan(minute.plan_units), now, np.maximum(minute.plan_units, 0.0) / unit_mean)
        seen_exposure = exposure + state["gap_exposure"]

        relearning = (state["since_reset"] >= 0.0) & (state["since_reset"] < settings.relearn_ticks)
        phi = state["phi"]
        epsilon = (np.sqrt(phi) + relearning) / np.sqrt(state["orders"] + _HALF)
        of_units = np.sqrt(state["unit_variance"] / (state["unit_orders"] + _UNIT_PRIOR)) / unit_mean

        moved = np.abs(
            np.log(
                minute.price_factor / np.where(state["last_factor"] > 0, state["last_factor"], minute.price_factor)
            )
        )
        quiet = np.where(moved > 0.01, float(settings.session_lag_ticks), state["quiet"])
        sessions = np.where(quiet > 0.0, 0.0, np.maximum(minute.searches_matured, 0.0))
        abandoned = np.clip(minute.searches_abandoned, 0.0, sessions)
        buy = (state["ordered_sessions"] + _HALF) / (state["session_exposure"] + 1.0)
        share = 1.0 - np.clip(buy * minute.price_factor, 0.001, 0.999)
        share_epsilon = (1.0 + relearning) * np.sqrt(share * (1.0 - share) / (state["session_exposure"] + 1.0))

        look = Observation(
            orders=np.maximum(minute.orders, 0.0),
            expected_orders=level * seen_exposure,
            epsilon=epsilon,
            units=np.maximum(minute.units, 0.0),
            plan_orders=plan_now + state["gap_plan"],
            units_epsilon=epsilon + of_units,
            searches=sessions,
            abandoned=abandoned,
            abandon_share=share,
            abandon_epsilon=share_epsilon,
        )
        return Seen(look, observed, seen_exposure, exposure, plan_now, quiet)

    def skip(self, ticks: int, minute: Minute) -> None:
        """Minutes whose batch is missing for the whole bucket, before ``minute``: a gap for every listing."""
        state, settings = self.state, self.settings
        if 0 < ticks <= settings.merge_gap_ticks:
            level = self.levels()
            stock = np.clip(minute.in_stock, 0.0, 1.0)
            ends = [minute.window_end_ms - back * settings.tick_ms for back in range(ticks, 0, -1)]
            exposures = self._profiles(ends, minute.utc_offset) * minute.price_factor * stock
            plans = np.where(
                np.isnan(minute.plan_units),
                level * exposures,
                np.maximum(minute.plan_units, 0) / state["unit_mean"],
            )
            for exposure, plan in zip(exposures, plans, strict=True):
                state["gap_exposure"] += exposure
                state["gap_plan"] += plan
        state["gap_ticks"] += ticks

    def learn(self, minute: Minute, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Learn a minute that was seen.

        Returns
        -------
        changed, relaid : index arrays
            Listings whose noise was refreshed (tilts must follow), and listings whose level was laid
            anew because their category's day has just become known (their evidence must go).
        """
        state, settings, look = self.state, self.settings, seen.observation
        observed = seen.observed
        one = observed.astype(float)
        keep = np.where(observed, self._keep, 1.0)
        x, m = look.orders * one, look.expected_orders * one
        residual = x - m

        settled = one * (state["ticks"] >= float(settings.warmup_ticks)).astype(float)
        settled = one * (state["ticks"] >= float(settings.warmup_ticks)).astype(float)
        mature = one * (state["ticks"] >= float(TICKS_PER_DAY)).astype(float)
        known = self.daily.known()
        self._learn_profile(minute, x, m, one, mature)
        for name, amount in (
            ("orders", x),
            ("exposure", seen.exposure * one),
            ("unit_orders", x),
            ("offered", np.clip(minute.in_stock, 0.0, 1.0) * minute.price_factor * one),
            ("units", look.units * one),
            ("ordered_sessions", (look.searches - look.abandoned) * one),
            ("session_exposure", look.searches * minute.price_factor * one),
        ):
            values = state[name]
            values *= keep
            values += amount
        unit_mean = (state["units"] + _UNIT_PRIOR) / (state["unit_orders"] + _UNIT_PRIOR)
        state["unit_square"] *= keep
        state["unit_square"] += (look.units * one - unit_mean * x) ** 2

        state["tick_square"] *= keep
        state["tick_square"] += residual * residual * settled
        state["tick_mean"] *= keep
        state["tick_mean"] += m * settled
        state["block_orders"] += x * settled
        state["block_mean"] += m * settled
        state["block_ticks"] += settled
        state["ticks"] += one
        state["since_reset"] += one * (state["since_reset"] >= 0.0)

        state["last_factor"] = np.where(minute.present, minute.price_factor, state["last_factor"])
        state["quiet"] = np.maximum(seen.quiet - 1.0, 0.0)
        absent = ~minute.present
        state["gap_exposure"] = np.where(absent, state["gap_exposure"] + seen.now, 0.0)
        state["gap_plan"] = np.where(absent, state["gap_plan"] + seen.plan_now, 0.0)
        state["gap_ticks"] = np.where(absent, state["gap_ticks"] + 1.0, 0.0)
        newly = (self.daily.known() - known)[self._categories()] > 0.0
        relaid = np.flatnonzero(newly & (state["assumed"] == 0.0))
        self._relay(relaid)
        return self._refresh(observed), relaid

    def _relay(self, i: np.ndarray) -> None:
        """Levels learned at hours of an unknown day follow those hours: lay them over the whole day instead."""
        state = self.state
        state["orders"][i] = state["unit_orders"][i]
        state["exposure"][i] = state["offered"][i]
        for name in ("block_orders", "block_mean", "block_ticks", "block_square", "block_weight"):
            state[name][i] = 0.0
        for name in ("tick_square", "tick_mean"):
            state[name][i] = 0.0
        state["since_reset"][i] = -1.0

    def _learn_profile(self, minute: Minute, x: Floats, m: Floats, one: Floats, mature: Floats) -> None:
        """The category's hour, and one Newton step of (4) for the listings relative to their category."""
        state, settings = self.state, self.settings
        g = local_waves(minute.window_end_ms, settings.tick_ms, minute.utc_offset)
        bound = 5.0 * np.sqrt(state["phi"] * m + 1.0)
        residual = np.clip(x - m, -bound, bound)
        category, level = self._categories(), self.levels()
        on_offer = np.clip(minute.in_stock, 0.0, 1.0) * minute.price_factor * one
        rate = np.bincount(category, weights=level * mature, minlength=self.daily.categories)[category]
        others = np.maximum(1.0 - level / np.maximum(rate, 1e-9), 0.0) * mature * self.daily.known()[category]
        info = level * np.minimum(state["ticks"], settings.level_ticks)
        step = others * residual * (2.0 / (info + settings.profile_orders))
        for h in range(WAVES):
            state["profile"][h] += g[h] * step
        minute_of_day = (minute.window_end_ms // settings.tick_ms - 1) % TICKS_PER_DAY
        self.daily.learn(minute_of_day, category, x, on_offer, level, mature, minute.utc_offset)

    def _refresh(self, observed: Bools) -> np.ndarray:
        """Close full blocks and take over φ and the quantities' moments: (5), (6), (8)."""
        state, settings = self.state, self.settings
        full = observed & (state["block_ticks"] >= settings.block_ticks)
        early = observed & (state["block_weight"] == 0.0) & (state["ticks"] % settings.warmup_ticks == 0.0)
        if full.any():
            i = np.flatnonzero(full)
            mean = np.maximum(state["block_mean"][i], _HALF)
            state["block_square"][i] = (
                self._keep_block * state["block_square"][i]
                + (state["block_orders"][i] - state["block_mean"][i]) ** 2
            )
            state["block_weight"][i] = self._keep_block * state["block_weight"][i] + mean
            for name in ("block_orders", "block_mean", "block_ticks"):
                state[name][i] = 0.0
        changed = np.flatnonzero(full | early)
        if len(changed):
            self._take_over(changed)
        return changed

    def _take_over(self, i: np.ndarray) -> None:
        state, settings = self.state, self.settings
        orders = state["unit_orders"][i] + _UNIT_PRIOR
        state["unit_mean"][i] = np.maximum((state["units"][i] + _UNIT_PRIOR) / orders, 1.0)
        state["unit_variance"][i] = state["unit_square"][i] / orders
        if settings.known_phi is not None:
            return
        weight = state["block_weight"][i]
        tick = state["tick_square"][i] / np.maximum(state["tick_mean"][i], _HALF)
        by_tick = 1.0 + 1.1 * (tick - 1.0) + 0.05
        prior = settings.prior_blocks * np.maximum(self.levels()[i] * settings.block_ticks, _HALF)
        by_block = (state["block_square"][i] + prior * settings.start_phi) / (weight + prior)
        phi = np.where(weight > 0.0, np.maximum(by_tick, by_block), np.maximum(by_tick, settings.start_phi))
        state["phi"][i] = np.maximum(phi, state["phi_floor"][i])

    def reseed(self, i: np.ndarray, segment: Mapping[str, Floats]) -> None:
        """Start the level again from the winning segment and a few minutes of what was before.

        ``segment`` holds orders, exposure, ordered_sessions and session_exposure of the listings ``i``.
        """
        state = self.state
        old = self.settings.reseed_ticks / np.maximum(state["exposure"][i], self.settings.reseed_ticks)
        for name in ("orders", "exposure", "ordered_sessions", "session_exposure"):
            state[name][i] = old * state[name][i] + segment[name]
        for name in ("block_orders", "block_mean", "block_ticks"):
            state[name][i] = 0.0
        state["since_reset"][i] = 0.0

    def assume(
        self,
        i: np.ndarray,
        orders_per_minute: Floats,
        worth_orders: Floats,
        buy_share: Floats,
        worth_sessions: Floats,
        profile: Floats,
        unit_mean: Floats,
        unit_variance: Floats,
    ) -> None:
        """Take over what history says, with the weight it deserves."""
        state = self.state
        state["orders"][i] = worth_orders
        state["exposure"][i] = worth_orders / orders_per_minute
        state["ordered_sessions"][i] = buy_share * worth_sessions
        state["session_exposure"][i] = worth_sessions
        state["profile"][:, i] = profile - self.daily.waves[self._categories()[i]].T
        state["ticks"][i] = np.maximum(state["ticks"][i], float(max(self.settings.warmup_ticks, TICKS_PER_DAY)))
        state["assumed"][i] = 1.0
        state["unit_orders"][i] = worth_orders
        state["units"][i] = worth_orders * unit_mean
        state["unit_square"][i] = worth_orders * unit_variance
        state["unit_mean"][i] = unit_mean
        state["unit_variance"][i] = unit_variance

    def turn(self, utc_offset: Floats) -> None:
        """Take profiles that were learned in UTC for those of the listings' local time."""
        categories = np.zeros(self.daily.categories)
        categories[self._categories()] = utc_offset
        self.daily.turn(categories)
        self.state["profile"][:] = turned(self.state["profile"].T, utc_offset).T

    def snapshot(self) -> dict[str, Any]:
        """Plain data, without settings."""
        return {"columns": self.state.snapshot(), "daily": self.daily.snapshot()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Take a snapshot back."""
        self.state.restore(saved["columns"], listings)
        self.daily.restore(saved["daily"])
