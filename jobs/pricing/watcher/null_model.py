"""Null model of demand without a change: level, daily profile and dispersion, with their standard errors.

Data of listing i in minute t: orders X, exposure e = s·f·h (daily profile s, own price's effect f,
share of the minute in stock h), sessions n of which a abandoned, units U. With w = exp(−1/τ), τ = 20,160:
    N ← wN + X,  D ← wD + e,  level λ = (N+½)/D, forecast m = λ·e                             (1)
    ε = √(φ/(N+½)), plus 1/√(N+½) while a level is learned again after a reset                (2)
    s = s^cat·exp(Σ_h β^own_h·g_h(t)), g three harmonics of the market's day (daily_profile.py) (3)
    β^own += 2/(mT + prior)·(X − m)·g, from 0 after a day: a listing starts at its category's   (4)
    φ_tick = Σ(X−m)²/Σm,  φ_block = (Σ(X_B−m_B)² + k·1.5·m_B)/(Σm_B + k·m_B), 720-minute blocks  (5)
    φ = max(1, 1+1.1(φ_tick−1)+.05, φ_block); before the first block max(1.5, 1+1.1(φ_tick−1)+.05)  (6)
    1−p = Σ(n−a)/Σ(n·f), ε_p = √(p(1−p)/Σn)                                                   (7)
    q̄ = ΣU/ΣX,  s² = Σ(U−q̄X)²/ΣX,  both with a weak prior at one unit per order               (8)
When every hour of a category's day has been observed for the first time, the levels of its listings are computed
again over the whole day. The block sum in (5) detects a slow drift of the rate; the per-minute sum does not.
Science § 6.

The model is predictable: a minute's forecast depends only on earlier minutes; the minute is learned afterwards.

The module has over 300 lines because (1) to (8) share their columns and one order of updates. A split would
separate an update from the equations that depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.pricing.watcher.columns import Columns
from jobs.pricing.watcher.daily_profile import WAVES, DailyProfiles, local_waves, shifted
from jobs.pricing.watcher.minute import Bools, Floats, Indices, Minute
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
    "offered": (1, 0.0),  # Σ f·h: D with s = 1; a reset does not change it
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
    "assumed": (1, 0.0),  # 1: set by assume() and not restarted
}


@dataclass(frozen=True, slots=True, eq=False)
class ObservedMinute:
    """A minute with its forecast: arrays (listings,).

    Attributes
    ----------
    observation : counts and forecasts, including those of a merged gap.
    observed : whether the minute is neither a gap nor a stock-out.
    exposure : exposure including that of a merged gap.
    minute_exposure, minute_plan : exposure and planned orders of the minute alone.
    quiet : remaining minutes in which abandonment is not observed, because sessions of an earlier price end.
    """

    observation: Observation
    observed: Bools
    exposure: Floats
    minute_exposure: Floats
    minute_plan: Floats
    quiet: Floats


class NullModel:
    """Level, profile and dispersion of all listings of a watcher, learned from each minute.

    Parameters
    ----------
    settings
        The watcher's business numbers.
    listings
        Initial number of listings.
    """

    def __init__(self, settings: WatcherSettings, listings: int) -> None:
        self.settings = settings
        self.state = Columns({**LAYOUT, "phi": (1, settings.known_phi or settings.start_phi)}, listings)
        self._keep = math.exp(-1.0 / settings.level_ticks)
        self.daily = DailyProfiles(settings.profile_orders, self._keep)
        self.daily.grow(1)
        self._keep_block = math.exp(-settings.block_ticks / settings.level_ticks)

    @property
    def listings(self) -> int:
        """Number of listings."""
        return self.state.listings

    def grow(self, categories: Sequence[int]) -> None:
        """Append one listing per entry of ``categories``; it starts with its category's daily profile."""
        first = self.listings
        self.state.grow(len(categories))
        if categories:
            self.state["category"][first:] = np.asarray(categories, float)
        self.daily.grow(max(categories, default=0) + 1)

    def levels(self) -> Floats:
        """Return λ of (1): orders per minute at the reference price and a daily profile of 1, (listings,)."""
        levels: Floats = (self.state["orders"] + _HALF) / np.maximum(self.state["exposure"], 1e-9)
        return levels

    def profile(self, window_end_ms: int, utc_offset: Floats | None = None) -> Floats:
        """Return s of (3) for the minute that ends at ``window_end_ms``, in the listings' local time."""
        offset = np.zeros(self.listings) if utc_offset is None else utc_offset
        return np.exp(self._log_profile(local_waves(window_end_ms, self.settings.tick_ms, offset)))

    def _log_profile(self, g: Floats) -> Floats:
        log_profile = self.daily.log_profile(g, self._categories())
        for h in range(WAVES):
            log_profile += g[h] * self.state["profile"][h]
        np.clip(log_profile, -_LARGEST_LOG_PROFILE, _LARGEST_LOG_PROFILE, out=log_profile)
        return log_profile

    def _profiles(self, ends_ms: Sequence[int], utc_offset: Floats) -> Floats:
        """Return :meth:`profile` of several minutes with bit-identical results: (minutes, listings)."""
        tick_ms = self.settings.tick_ms
        waves = [local_waves(end_ms, tick_ms, utc_offset) for end_ms in ends_ms]
        g = np.stack([each if each.ndim > 1 else each[:, None] for each in waves], axis=1)
        log_profile = self.daily.log_profile(g, self._categories())
        for h in range(WAVES):
            log_profile += g[h] * self.state["profile"][h]
        return np.exp(np.clip(log_profile, -_LARGEST_LOG_PROFILE, _LARGEST_LOG_PROFILE, out=log_profile))

    def _categories(self) -> Indices:
        return self.state["category"].astype(np.intp)

    def spread(self) -> Spread:
        """Return dispersion and quantity moments of the last refresh, from which the tilts are computed."""
        return Spread(self.state["phi"], self.state["unit_mean"], self.state["unit_variance"])

    def promise_in_force(self) -> Bools:
        """Return whether the dispersion has been estimated from a full block or is given: (listings,)."""
        if self.settings.known_phi is not None:
            return np.ones(self.listings, dtype=bool)
        return self.state["block_weight"] > 0.0

    def observe(self, minute: Minute) -> ObservedMinute:
        """Return a minute with its forecast, without learning it."""
        state, settings = self.state, self.settings
        level = self.levels()
        stock = np.clip(minute.in_stock, 0.0, 1.0)
        exposure = self.profile(minute.window_end_ms, minute.utc_offset)
        exposure *= minute.price_factor
        exposure *= stock
        observed = minute.present & (stock > 0.0) & (state["gap_ticks"] <= settings.merge_gap_ticks)
        unit_mean = state["unit_mean"]
        planned = np.maximum(minute.plan_units, 0.0) / unit_mean
        minute_plan = np.where(np.isnan(minute.plan_units), level * exposure, planned)
        with_gap = exposure + state["gap_exposure"]

        relearns = (state["since_reset"] >= 0.0) & (state["since_reset"] < settings.relearn_ticks)
        phi = state["phi"]
        epsilon = (np.sqrt(phi) + relearns) / np.sqrt(state["orders"] + _HALF)
        quantity_epsilon = np.sqrt(state["unit_variance"] / (state["unit_orders"] + _UNIT_PRIOR)) / unit_mean

        log_change = np.abs(
            np.log(
                minute.price_factor / np.where(state["last_factor"] > 0, state["last_factor"], minute.price_factor)
            )
        )
        quiet = np.where(log_change > 0.01, float(settings.session_lag_ticks), state["quiet"])
        sessions = np.where(quiet > 0.0, 0.0, np.maximum(minute.searches_matured, 0.0))
        abandoned = np.clip(minute.searches_abandoned, 0.0, sessions)
        buy = (state["ordered_sessions"] + _HALF) / (state["session_exposure"] + 1.0)
        share = 1.0 - np.clip(buy * minute.price_factor, 0.001, 0.999)
        share_epsilon = (1.0 + relearns) * np.sqrt(share * (1.0 - share) / (state["session_exposure"] + 1.0))

        observation = Observation(
            orders=np.maximum(minute.orders, 0.0),
            expected_orders=level * with_gap,
            epsilon=epsilon,
            units=np.maximum(minute.units, 0.0),
            plan_orders=minute_plan + state["gap_plan"],
            units_epsilon=epsilon + quantity_epsilon,
            searches=sessions,
            abandoned=abandoned,
            abandon_share=share,
            abandon_epsilon=share_epsilon,
        )
        return ObservedMinute(observation, observed, with_gap, exposure, minute_plan, quiet)

    def skip(self, ticks: int, minute: Minute) -> None:
        """Record a gap of every listing: ``ticks`` minutes before ``minute`` for which the bucket has no batch."""
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

    def learn(self, minute: Minute, seen: ObservedMinute) -> tuple[Indices, Indices]:
        """Learn a minute from its counts and its forecast.

        Parameters
        ----------
        minute
            The minute.
        seen
            The result of :meth:`observe` for it.

        Returns
        -------
        changed
            Listings whose dispersion was refreshed; the caller computes their tilts again.
        restarted
            Listings whose level was computed again, because every hour of their category's day has been observed
            for the first time; the caller clears their evidence.
        """
        state, settings, observation = self.state, self.settings, seen.observation
        observed = seen.observed
        one = observed.astype(float)
        keep = np.where(observed, self._keep, 1.0)
        x, m = observation.orders * one, observation.expected_orders * one
        residual = x - m

        settled = one * (state["ticks"] >= float(settings.warmup_ticks)).astype(float)
        mature = one * (state["ticks"] >= float(TICKS_PER_DAY)).astype(float)
        known = self.daily.known()
        self._learn_profile(minute, x, m, one, mature)
        for name, amount in (
            ("orders", x),
            ("exposure", seen.exposure * one),
            ("unit_orders", x),
            ("offered", np.clip(minute.in_stock, 0.0, 1.0) * minute.price_factor * one),
            ("units", observation.units * one),
            ("ordered_sessions", (observation.searches - observation.abandoned) * one),
            ("session_exposure", observation.searches * minute.price_factor * one),
        ):
            values = state[name]
            values *= keep
            values += amount
        unit_mean = (state["units"] + _UNIT_PRIOR) / (state["unit_orders"] + _UNIT_PRIOR)
        state["unit_square"] *= keep
        state["unit_square"] += (observation.units * one - unit_mean * x) ** 2

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
        state["gap_exposure"] = np.where(absent, state["gap_exposure"] + seen.minute_exposure, 0.0)
        state["gap_plan"] = np.where(absent, state["gap_plan"] + seen.minute_plan, 0.0)
        state["gap_ticks"] = np.where(absent, state["gap_ticks"] + 1.0, 0.0)
        newly_known = (self.daily.known() - known)[self._categories()] > 0.0
        restarted = np.flatnonzero(newly_known & (state["assumed"] == 0.0))
        self._restart_levels(restarted)
        return self._refresh(observed), restarted

    def _restart_levels(self, i: Indices) -> None:
        """Compute the levels of listings ``i`` again over all observed minutes.

        Until its category's day is known, a level follows the hours in which it was learned.
        """
        state = self.state
        state["orders"][i] = state["unit_orders"][i]
        state["exposure"][i] = state["offered"][i]
        for name in ("block_orders", "block_mean", "block_ticks", "block_square", "block_weight"):
            state[name][i] = 0.0
        for name in ("tick_square", "tick_mean"):
            state[name][i] = 0.0
        state["since_reset"][i] = -1.0

    def _learn_profile(self, minute: Minute, x: Floats, m: Floats, one: Floats, mature: Floats) -> None:
        """Add the minute to the category's hour and apply one Newton step of (4) to the listings."""
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
        self.daily.learn(
            minute_of_day,
            category,
            orders=x,
            on_offer=on_offer,
            level=level,
            mature=mature,
            utc_offset=minute.utc_offset,
        )

    def _refresh(self, observed: Bools) -> Indices:
        """Close full blocks, apply (5), (6) and (8), and return the listings to which they were applied."""
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
            self._update_dispersion(changed)
        return changed

    def _update_dispersion(self, i: Indices) -> None:
        """Apply (6) and (8) to listings ``i``."""
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

    def reseed(self, i: Indices, segment: Mapping[str, Floats]) -> None:
        """Reset the levels of listings ``i`` to the winning segment and a few minutes of the earlier data.

        Parameters
        ----------
        i
            Listings that triggered.
        segment
            Their orders, exposure, ordered_sessions and session_exposure since the start of the change.
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
        i: Indices,
        orders_per_minute: Floats,
        worth_orders: Floats,
        buy_share: Floats,
        worth_sessions: Floats,
        profile: Floats,
        unit_mean: Floats,
        unit_variance: Floats,
    ) -> None:
        """Set the state of listings ``i`` from historical data; :meth:`Watcher.assume` describes the arguments."""
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

    def shift(self, utc_offset: Floats) -> None:
        """Shift profiles that were learned in UTC to the listings' local time; ``utc_offset`` in minutes."""
        categories = np.zeros(self.daily.categories)
        categories[self._categories()] = utc_offset
        self.daily.shift(categories)
        self.state["profile"][:] = shifted(self.state["profile"].T, utc_offset).T

    def snapshot(self) -> dict[str, Any]:
        """Return copies of the columns and the categories' profiles, without settings."""
        return {"columns": self.state.snapshot(), "daily": self.daily.snapshot()}

    def restore(self, saved: Mapping[str, Any], listings: int) -> None:
        """Replace the state by a snapshot's."""
        self.state.restore(saved["columns"], listings)
        self.daily.restore(saved["daily"])
