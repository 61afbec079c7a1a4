"""The categories' daily profiles: when shoppers buy, learned over all listings of a category together.

Data per category and hour h of the (UTC) day, exponentially weighted: orders X_h and exposure E_h, where a
listing's exposure is its learned level times what of it was on offer. Poisson regression with logarithmic
mean on three harmonics g, a weak prior toward a flat day:
    X_h ~ Poisson(E_h·exp(β₀ + β·g(h))),  β ← β + (Σ E_h e^η gg′ + κI)⁻¹(Σ (X_h − E_h e^η) g − κβ)   (1)
    s(t) = exp(β·g(t)) / mean over the day                                                      (2)
Nothing is assumed before every hour of a day was seen: s = 1. As long as no listing of the category has
been watched for a day, levels still follow the hour; then every listing counts alike. Science § 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from features.array_text import read_array
from jobs.pricing.watcher.minute import Floats
from jobs.pricing.watcher.settings import TICKS_PER_DAY

HARMONICS = 3
WAVES = 2 * HARMONICS
HOURS = 24
_NEWTON_STEPS = 8


def waves_at(window_end_ms: int, tick_ms: int) -> Floats:
    """cos and sin of the day's first three harmonics at a minute's end: (6,)."""
    angle = 2.0 * math.pi * ((window_end_ms // tick_ms) % TICKS_PER_DAY) / TICKS_PER_DAY
    return np.array([wave(h * angle) for h in range(1, HARMONICS + 1) for wave in (math.cos, math.sin)])


_HOUR_WAVES = np.stack([waves_at(h * 60 + 30, 1) for h in range(HOURS)])
_DESIGN = np.concatenate([np.ones((HOURS, 1)), _HOUR_WAVES], axis=1)


def fit_profile(orders: Floats, exposure: Floats, prior_orders: float) -> Floats:
    """β of (1) for each category, without β₀: (categories, 6); zeros where an hour was never seen.

    Examples
    --------
    >>> day = 100.0 * np.exp(0.4 * _HOUR_WAVES[:, 1])
    >>> (fit_profile(day[None], np.ones((1, 24)), prior_orders=1.0)[0].round(2) + 0.0).tolist()
    [0.0, 0.4, 0.0, 0.0, 0.0, 0.0]
    """
    whole = (exposure > 0.0).all(axis=1) & (orders.sum(axis=1) > 0.0)
    beta = np.zeros((len(orders), 1 + WAVES))
    safe = np.where(whole[:, None], exposure, 1.0)
    beta[:, 0] = np.log(np.where(whole, orders.sum(axis=1), 1.0) / safe.sum(axis=1))
    prior = np.full(1 + WAVES, 0.5 * prior_orders)
    prior[0] = 0.0
    for _ in range(_NEWTON_STEPS):
        mean = safe * np.exp(np.clip(beta @ _DESIGN.T, -30.0, 30.0))
        score = (orders - mean) @ _DESIGN - prior * beta
        curve = np.einsum("ch,hi,hj->cij", mean, _DESIGN, _DESIGN) + np.diag(prior + 1e-9)
        beta += np.clip(np.linalg.solve(curve, score[:, :, None])[:, :, 0], -1.0, 1.0)
    return np.where(whole[:, None], beta[:, 1:], 0.0)


class DailyProfiles:
    """Hourly sums per category and the profile fitted to them, refreshed every hour."""

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
        """How many categories there are."""
        return len(self.orders)

    def grow(self, categories: int) -> None:
        """Have at least so many categories."""
        more = categories - self.categories
        if more <= 0:
            return
        self.orders = np.concatenate([self.orders, np.zeros((more, HOURS))])
        self.exposure = np.concatenate([self.exposure, np.zeros((more, HOURS))])
        self.waves = np.concatenate([self.waves, np.zeros((more, WAVES))])
        self.log_mean = np.concatenate([self.log_mean, np.zeros(more)])
        self.levelled = np.concatenate([self.levelled, np.zeros(more)])

    def log_profile(self, g: Floats) -> Floats:
        """ln s of (2) at harmonics ``g``, per category; ``g`` (6,), or (6, minutes, 1) for several minutes."""
        log_profile = -self.log_mean
        for h in range(WAVES):
            log_profile = log_profile + g[h] * self.waves[:, h]
        return log_profile

    def known(self) -> Floats:
        """1.0 where a category's whole day was seen, else 0.0."""
        return (self.exposure > 0.0).all(axis=1).astype(float)

    def learn(
        self,
        minute_of_day: int,
        category: np.ndarray,
        orders: Floats,
        on_offer: Floats,
        level: Floats,
        mature: Floats,
    ) -> None:
        """Count a minute.

        Parameters
        ----------
        on_offer
            Share of the minute on offer times the own price's effect, 0 where not observed.
        level, mature
            Learned orders per minute, and 1.0 where that rests on a whole day.
        """
        count, hour = self.categories, minute_of_day // 60

        def total(values: Floats) -> Floats:
            return np.bincount(category, weights=values, minlength=count).astype(float)

        any_mature = (total(mature) > 0.0).astype(float)
        for c in np.flatnonzero(any_mature > self.levelled):
            self.exposure[c] *= self.orders[c].sum() / max(self.exposure[c].sum(), 1e-9)
        self.levelled = np.maximum(self.levelled, any_mature)
        by_level = self.levelled[category]
        counts = np.where(by_level > 0.0, mature, 1.0)
        self.orders *= self.keep
        self.exposure *= self.keep
        self.orders[:, hour] += total(orders * counts)
        self.exposure[:, hour] += total(on_offer * counts * np.where(by_level > 0.0, level, 1.0))
        if minute_of_day % 60 == 0:
            self.waves = fit_profile(self.orders, self.exposure, self.prior_orders)
            self.log_mean = np.log(np.exp(self.waves @ _HOUR_WAVES.T).mean(axis=1))

    def snapshot(self) -> dict[str, Any]:
        """Plain data, without settings."""
        names = ("orders", "exposure", "waves", "log_mean", "levelled")
        return {name: getattr(self, name).copy() for name in names}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self.log_mean = read_array(saved["log_mean"], float)
        self.levelled = read_array(saved["levelled"], float)
        self.orders = read_array(saved["orders"], float).reshape(-1, HOURS)
        self.exposure = read_array(saved["exposure"], float).reshape(-1, HOURS)
        self.waves = read_array(saved["waves"], float).reshape(-1, WAVES)
