"""Daily profiles of demand, learned per category from all its listings together.

Data per category and hour h of its market's day, exponentially weighted: orders X_h and exposure E_h. A listing's
exposure is its learned level times the share of the minute on offer times the own price's effect. Poisson
regression with logarithmic mean on three harmonics g, with a weak prior toward a flat day:
    X_h ~ Poisson(E_h·exp(β₀ + β·g(h))),  β ← β + (Σ E_h e^η gg′ + κI)⁻¹(Σ (X_h − E_h e^η) g − κβ)   (1)
    s(t) = exp(β·g(t)) / mean over the day                                                      (2)
Until every hour of a day has been observed, s = 1. Until a listing of the category has been observed for a day,
levels still follow the hour of the day, and exposure therefore omits them: every listing has the same weight.
After that, only listings that have been observed for a day are counted. Science § 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.array_text import read_array
from jobs.pricing.watcher.minute import Bools, Floats, Indices
from jobs.pricing.watcher.settings import TICKS_PER_DAY

HARMONICS = 3
WAVES = 2 * HARMONICS
HOURS = 24
_NEWTON_STEPS = 8


def waves_at(window_end_ms: int, tick_ms: int) -> Floats:
    """Return cos and sin of the day's first three harmonics at a minute's end: (6,)."""
    angle = 2.0 * math.pi * ((window_end_ms // tick_ms) % TICKS_PER_DAY) / TICKS_PER_DAY
    return np.array([wave(h * angle) for h in range(1, HARMONICS + 1) for wave in (math.cos, math.sin)])


def local_waves(window_end_ms: int, tick_ms: int, utc_offset: Floats) -> Floats:
    """Return :func:`waves_at` of each listing's local time: (6,) if all have one offset, else (6, listings)."""
    offsets = np.unique(utc_offset)
    if len(offsets) == 1:
        return waves_at(window_end_ms + round(offsets[0]) * tick_ms, tick_ms)
    each = [waves_at(window_end_ms + round(offset) * tick_ms, tick_ms) for offset in offsets.tolist()]
    waves: Floats = np.stack(each or [waves_at(window_end_ms, tick_ms)], axis=1)
    return waves[:, np.searchsorted(offsets, utc_offset)]


def shifted(waves: Floats, minutes: Floats) -> Floats:
    """Return the coefficients of the same profile on a clock that is ``minutes`` ahead.

    Parameters
    ----------
    waves
        cos and sin coefficients, (..., 6).
    minutes
        Shift in minutes, (...).

    Examples
    --------
    >>> shifted(np.array([1.0, 0, 0, 0, 0, 0]), np.array(360.0)).round(6).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    result = np.empty_like(waves)
    for h in range(HARMONICS):
        angle = 2.0 * np.pi * (h + 1) * minutes / TICKS_PER_DAY
        a, b = waves[..., 2 * h], waves[..., 2 * h + 1]
        result[..., 2 * h] = a * np.cos(angle) - b * np.sin(angle)
        result[..., 2 * h + 1] = a * np.sin(angle) + b * np.cos(angle)
    return result + 0.0


_HOUR_WAVES = np.stack([waves_at(h * 60 + 30, 1) for h in range(HOURS)])
_DESIGN = np.concatenate([np.ones((HOURS, 1)), _HOUR_WAVES], axis=1)


def fit_profile(orders: Floats, exposure: Floats, prior_orders: float) -> Floats:
    """Return β of (1) without β₀ per category: (categories, 6); zeros where an hour was never observed.

    Examples
    --------
    >>> day = 100.0 * np.exp(0.4 * _HOUR_WAVES[:, 1])
    >>> (fit_profile(day[None], np.ones((1, 24)), prior_orders=1.0)[0].round(2) + 0.0).tolist()
    [0.0, 0.4, 0.0, 0.0, 0.0, 0.0]
    """
    complete = (exposure > 0.0).all(axis=1) & (orders.sum(axis=1) > 0.0)
    beta = np.zeros((len(orders), 1 + WAVES))
    safe = np.where(complete[:, None], exposure, 1.0)
    beta[:, 0] = np.log(np.where(complete, orders.sum(axis=1), 1.0) / safe.sum(axis=1))
    prior = np.full(1 + WAVES, 0.5 * prior_orders)
    prior[0] = 0.0
    for _ in range(_NEWTON_STEPS):
        mean = safe * np.exp(np.clip(beta @ _DESIGN.T, -30.0, 30.0))
        score = (orders - mean) @ _DESIGN - prior * beta
        curve = np.einsum("ch,hi,hj->cij", mean, _DESIGN, _DESIGN) + np.diag(prior + 1e-9)
        beta += np.clip(np.linalg.solve(curve, score[:, :, None])[:, :, 0], -1.0, 1.0)
    return np.where(complete[:, None], beta[:, 1:], 0.0)


class DailyProfiles:
    """Hourly sums per category, and the profile fitted to them every hour.

    Parameters
    ----------
    prior_orders
        Weight of the flat day, in orders.
    keep
        Factor on all sums per minute, in (0, 1].

    Attributes
    ----------
    levelled
        1.0 where a listing of the category has been observed for a day, so that exposure contains levels.
    """

    def __init__(self, prior_orders: float, keep: float) -> None:
        self.prior_orders = prior_orders
        self.keep = keep
        self.orders = np.zeros((0, HOURS))
        self.exposure = np.zeros((0, HOURS))
        self.waves = np.zeros((0, WAVES))
        self.log_mean = np.zeros(0)
        self.levelled = np.zeros(0)

    @property
    def categories(self) -> int:
        """Number of categories."""
        return len(self.orders)

    def grow(self, categories: int) -> None:
        """Add categories up to the given number; keep all if there are more."""
        more = categories - self.categories
        if more <= 0:
            return
        self.orders = np.concatenate([self.orders, np.zeros((more, HOURS))])
        self.exposure = np.concatenate([self.exposure, np.zeros((more, HOURS))])
        self.waves = np.concatenate([self.waves, np.zeros((more, WAVES))])
        self.log_mean = np.concatenate([self.log_mean, np.zeros(more)])
        self.levelled = np.concatenate([self.levelled, np.zeros(more)])

    def log_profile(self, g: Floats, category: Indices) -> Floats:
        """Return ln s of (2) per listing.

        Parameters
        ----------
        g
            Harmonics: (6,), (6, listings), or (6, minutes, listings) for several minutes at once.
        category
            Category per listing, (listings,).
        """
        log_profile, waves = -self.log_mean[category], self.waves[category]
        for h in range(WAVES):
            log_profile = log_profile + g[h] * waves[:, h]
        return log_profile

    def known(self) -> Floats:
        """Return 1.0 where every hour of a category's day has been observed, else 0.0: (categories,)."""
        known: Bools = (self.exposure > 0.0).all(axis=1)
        return known.astype(float)

    def learn(
        self,
        minute_of_day: int,
        category: Indices,
        orders: Floats,
        on_offer: Floats,
        level: Floats,
        mature: Floats,
        utc_offset: Floats,
    ) -> None:
        """Add a minute to the hourly sums; fit the profiles at the start of each hour of UTC.

        Parameters
        ----------
        minute_of_day
            Minute of the day in UTC, 0 to 1439.
        category
            Category per listing; this and the following arrays have shape (listings,).
        orders
            Orders of the minute, 0 where not observed.
        on_offer
            Share of the minute on offer times the own price's effect, 0 where not observed.
        level, mature
            Learned orders per minute, and 1.0 where at least a day of data supports them.
        utc_offset
            Minutes by which each listing's market is ahead of UTC.
        """
        count = self.categories
        hour = ((minute_of_day + np.rint(utc_offset).astype(np.intp)) % TICKS_PER_DAY) // 60

        def total(values: Floats) -> Floats:
            return np.bincount(category, weights=values, minlength=count).astype(float)

        def by_hour(values: Floats) -> Floats:
            summed = np.bincount(category * HOURS + hour, weights=values, minlength=count * HOURS)
            return summed.astype(float).reshape(count, HOURS)

        any_mature = (total(mature) > 0.0).astype(float)
        for c in np.flatnonzero(any_mature > self.levelled):
            self.exposure[c] *= self.orders[c].sum() / max(self.exposure[c].sum(), 1e-9)
        self.levelled = np.maximum(self.levelled, any_mature)
        by_level = self.levelled[category]
        counts = np.where(by_level > 0.0, mature, 1.0)
        self.orders *= self.keep
        self.exposure *= self.keep
        self.orders += by_hour(orders * counts)
        self.exposure += by_hour(on_offer * counts * np.where(by_level > 0.0, level, 1.0))
        if minute_of_day % 60 == 0:
            self.waves = fit_profile(self.orders, self.exposure, self.prior_orders)
            self.log_mean = np.log(np.exp(self.waves @ _HOUR_WAVES.T).mean(axis=1))

    def shift(self, minutes: Floats) -> None:
        """Shift profiles to clocks that are ``minutes`` (categories,) ahead; hourly sums by whole hours."""
        for c, hours in enumerate(np.rint(minutes / 60).astype(int).tolist()):
            self.orders[c] = np.roll(self.orders[c], hours)
            self.exposure[c] = np.roll(self.exposure[c], hours)
        self.waves = shifted(self.waves, minutes)

    def snapshot(self) -> dict[str, Any]:
        """Return copies of all arrays by name, without settings."""
        names = ("orders", "exposure", "waves", "log_mean", "levelled")
        return {name: getattr(self, name).copy() for name in names}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Replace the state by a snapshot's."""
        self.log_mean = read_array(saved["log_mean"], float)
        self.levelled = read_array(saved["levelled"], float)
        self.orders = read_array(saved["orders"], float).reshape(-1, HOURS)
        self.exposure = read_array(saved["exposure"], float).reshape(-1, HOURS)
        self.waves = read_array(saved["waves"], float).reshape(-1, WAVES)
