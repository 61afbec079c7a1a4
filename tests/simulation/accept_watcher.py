"""Every line of science § 6's table, simulated through the very Watcher that repricing_job runs.

    python tests/simulation/accept_watcher.py [--quick] [--out FOLDER] [--streams N] [--seed N]

Prints each figure beside its limit, writes accept_watcher.json and the comparison picture
accept_watcher.png (z-test every minute, fixed hourly schedule, tuned CUSUM), and ends with 1 if a
line is missed. ``--quick`` takes fewer streams and minutes and wider limits: it finds a regression of
an order of magnitude, not a lost per cent.

One file although long: the lines share their streams, and a reader checks them against one table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from jobs.pricing.watcher import SIGNALS, Minute, Watcher, WatcherSettings
from jobs.pricing.watcher.signal import Look, Spread

DAY = 1440
WEEK = 7 * DAY
TICK_MS = 60_000
BUY_SHARE = 0.3
SEASON = 0.5
KNOWN = {"known_phi": 1.0, "profile_orders": 1e15}
UNIT_MEAN, UNIT_VARIANCE = 1.2, 0.2


def season(t: int) -> float:
    """The simulated day: a half up, a half down."""
    return 1.0 + SEASON * math.sin(2.0 * math.pi * (t % DAY) / DAY)


def season_waves() -> tuple[float, np.ndarray]:
    """The first three harmonics of the log of that day, after its mean."""
    angle = 2.0 * np.pi * np.arange(DAY) / DAY
    log_season = np.log1p(SEASON * np.sin(angle))
    waves = [wave(h * angle) for h in (1, 2, 3) for wave in (np.cos, np.sin)]
    return float(log_season.mean()), np.array([2.0 * np.mean(log_season * wave) for wave in waves])


@dataclass
class Streams:
    """Simulated listings with a known rate: orders, units, sessions, and what may disturb them."""

    count: int
    orders_per_minute: float
    seed: int
    phi: float = 1.0
    wander_sd: float = 0.0
    wander_ticks: float = 120.0
    t: int = 0
    rng: np.random.Generator = field(init=False)
    wander: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.wander = self.rng.normal(0.0, self.wander_sd, self.count)

    def mean(self) -> float:
        """Orders expected in the current minute before any disturbance."""
        return self.orders_per_minute * season(self.t)

    def minute(self, factor: float = 1.0, odds: float = 1.0) -> Minute:
        """Draw the next minute; ``factor`` multiplies demand, ``odds`` those of abandonment."""
        self.t += 1
        rng, count = self.rng, self.count
        rate = np.full(count, self.mean() * factor)
        if self.wander_sd:
            keep = math.exp(-1.0 / self.wander_ticks)
            self.wander = keep * self.wander + rng.normal(0, self.wander_sd * math.sqrt(1 - keep * keep), count)
            rate *= np.exp(self.wander - self.wander_sd**2 / 2)
        if self.phi > 1.0:
            orders = rng.negative_binomial(rate / (self.phi - 1.0), 1.0 / self.phi)
        else:
            orders = rng.poisson(rate)
        sessions = rng.poisson(3.0 * self.mean(), count)
        leave = (1 - BUY_SHARE) * odds / (BUY_SHARE + (1 - BUY_SHARE) * odds)
        return Minute.of(
            count,
            self.t * TICK_MS,
            orders=orders,
            units=orders + rng.poisson((UNIT_MEAN - 1.0) * orders),
            searches_matured=sessions,
            searches_abandoned=rng.binomial(sessions, leave),
        )


def knowing(streams: Streams, settings: WatcherSettings) -> Watcher:
    """A watcher with the whole budget that knows the null exactly."""
    watcher = Watcher(replace(settings, **KNOWN), streams.count, share=1.0)
    log_mean, waves = season_waves()
    watcher.assume(
        range(streams.count),
        orders_per_minute=streams.orders_per_minute * math.exp(log_mean),
        worth_orders=1e12,
        buy_share=BUY_SHARE,
        worth_sessions=1e12,
        profile=waves,
        unit_mean=UNIT_MEAN,
        unit_variance=UNIT_VARIANCE,
    )
    return watcher


def learning(streams: Streams, settings: WatcherSettings, ticks: int) -> Watcher:
    """A watcher with the whole budget that learned everything itself, from nothing, in ``ticks`` minutes."""
    watcher = Watcher(settings, streams.count, share=1.0)
    for _ in range(ticks):
        watcher.step(streams.minute())
    return watcher


def forget_evidence(watcher: Watcher) -> None:
    """A run length counts from no evidence."""
    watcher.clear(range(watcher.listings))
    watcher.detectors.state["hold"][:] = 0.0


@dataclass
class FirstPassage:
    """When each stream first triggered, in minutes from 1; streams that did not stay at 0."""

    count: int
    first: np.ndarray = field(init=False)
    ticks: int = 0

    def __post_init__(self) -> None:
        self.first = np.zeros(self.count, dtype=np.int64)

    def take(self, triggered: np.ndarray) -> None:
        """One minute has passed."""
        self.ticks += 1
        self.first[triggered & (self.first == 0)] = self.ticks

    @property
    def alarms(self) -> int:
        """How many triggered."""
        return int((self.first > 0).sum())

    @property
    def mean(self) -> float:
        """Time under watch over alarms: the mean run length, streams that did not trigger included."""
        watched = np.where(self.first == 0, self.ticks, self.first).sum()
        return float(watched / max(self.alarms, 1))


Step = Callable[[Minute], np.ndarray]


def run_length(streams: Streams, step: Step, ticks: int, factor: float = 1.0, odds: float = 1.0) -> FirstPassage:
    """First triggers of ``step`` over so many minutes; ends early when all have triggered."""
    passage = FirstPassage(streams.count)
    for _ in range(ticks):
        passage.take(step(streams.minute(factor, odds)))
        if passage.alarms == streams.count:
            break
    return passage


class ZTest:
    """The usual test: the last half hour against its forecast, every minute, at |z| > 1.96."""

    def __init__(self, streams: Streams, window: int = 30, limit: float = 1.96) -> None:
        self.streams, self.window, self.limit = streams, window, limit
        self.orders = np.zeros((window, streams.count))
        self.means = np.zeros(window)
        self.k = 0

    def step(self, minute: Minute) -> np.ndarray:
        """One minute; triggers."""
        self.orders[self.k % self.window] = minute.orders
        self.means[self.k % self.window] = self.streams.mean()
        self.k += 1
        if self.k < self.window:
            return np.zeros(self.streams.count, dtype=bool)
        expected = self.means.sum()
        return np.abs(self.orders.sum(axis=0) - expected) > self.limit * math.sqrt(expected)


class Cusum:
    """The classical CUSUM for ×.8 and ×1.25 of a known Poisson rate; its limit is tuned per rate."""

    def __init__(self, streams: Streams, limits: np.ndarray) -> None:
        self.streams, self.limits = streams, limits
        self.sums = np.zeros((2, streams.count))
        self.passages = [FirstPassage(streams.count) for _ in limits]

    def step(self, minute: Minute) -> np.ndarray:
        """One minute; triggers at the highest limit."""
        mean = self.streams.mean()
        for row, effect in zip(self.sums, (0.8, 1.25), strict=True):
            np.maximum(row + minute.orders * math.log(effect) - (effect - 1.0) * mean, 0.0, out=row)
        height = self.sums.max(axis=0)
        for limit, passage in zip(self.limits, self.passages, strict=True):
            passage.take(height > limit)
        return height > self.limits[-1]


def fairness() -> tuple[float, float]:
    """Largest |E exp ℓ − 1| at ε = 0 and largest E exp ℓ within the band, by summed probabilities."""
    exact, within = 0.0, 0.0
    for signal in (cls() for cls in SIGNALS):
        for mean in (0.2, 1.0, 5.0):
            for phi in (1.0, 1.2, 2.0, 5.0):
                for epsilon in (0.0, 0.05, 0.3):
                    edges = (1.0,) if epsilon == 0 else (1 / (1 + epsilon), 1.0, 1 + epsilon)
                    for edge in edges:
                        value = expected_factors(signal, mean, edge, epsilon, phi)
                        if epsilon == 0:
                            exact = max(exact, float(np.abs(value - 1.0).max()))
                        else:
                            within = max(within, float(value.max()))
    return exact, within


def expected_factors(signal: Any, mean: float, edge: float, epsilon: float, phi: float) -> np.ndarray:
    """E exp ℓ of each effect when the truth is ``edge`` times the forecast (for shares: p moved by ε)."""
    orders = np.arange(900)
    true_mean = mean * edge
    if phi > 1.0:
        weights = stats.nbinom.pmf(orders, true_mean / (phi - 1.0), 1.0 / phi)
    else:
        weights = stats.poisson.pmf(orders, true_mean)
    counts = orders.astype(float)
    units = counts
    searches = abandoned = np.zeros_like(counts)
    share, share_epsilon = 0.7, 0.0
    if signal.name == "stock_pressure":
        keep = orders[weights > 1e-18]
        weights = (
            weights[keep][:, None] * stats.poisson.pmf(np.arange(300)[None, :], (UNIT_MEAN - 1) * keep[:, None])
        ).ravel()
        units = (keep[:, None] + np.arange(300)[None, :]).ravel().astype(float)
        counts = np.zeros_like(units)
        searches = abandoned = np.zeros_like(units)
    elif signal.name == "abandonment":
        n = 12
        share_epsilon = 0.1 * epsilon
        truth = share + share_epsilon * np.sign(edge - 1.0)
        abandoned = np.arange(n + 1.0)
        weights = stats.binom.pmf(abandoned, n, truth)
        searches = np.full(n + 1, float(n))
        counts = units = np.zeros(n + 1)
    one = np.ones_like(counts)
    look = Look(
        counts,
        mean * one,
        epsilon * one,
        units,
        mean * one,
        epsilon * one,
        searches,
        abandoned,
        share * one,
        share_epsilon * one,
    )
    out = np.empty((len(signal.effects), len(counts)))
    signal.increments(look, signal.tilts(Spread(phi * one, UNIT_MEAN * one, UNIT_VARIANCE * one)), out)
    return np.asarray(np.exp(out) @ weights)
