"""Simulated listings under watch: their minutes, who watches them, and how long until someone triggers.

For :mod:`infra.reports.acceptance.accept_watcher`: the watcher that knows the null or learned it, and the usual
tests that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from jobs.pricing.watcher import Minute, Watcher, WatcherSettings

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


FUNNEL_ODDS = ((1 - 0.8 * BUY_SHARE) / (0.8 * BUY_SHARE)) / ((1 - BUY_SHARE) / BUY_SHARE)
"""Odds of abandonment when a fifth fewer of the same searches end in an order."""

SHIFTS = (
    ("x0.5", 0.5, 1.0, 80.0),
    ("x0.8", 0.8, 1.0, 320.0),
    ("x1.25", 1.25, 1.0, 260.0),
    ("x2", 2.0, 1.0, 40.0),
    ("x0.8 with abandonment", 0.8, FUNNEL_ODDS, 175.0),
)


@dataclass
class Streams:
    """Simulated listings with a known rate: orders, units, sessions, and what may disturb them."""

    count: int
    orders_per_minute: float
    seed: int
    phi: float = 1.0
    wander_sd: float = 0.0
    wander_ticks: float = 120.0
    seasonal: bool = True
    t: int = 0
    rng: np.random.Generator = field(init=False)
    wander: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.wander = self.rng.normal(0.0, self.wander_sd, self.count)

    def mean(self) -> float:
        """Orders expected in the current minute before any disturbance."""
        return self.orders_per_minute * (season(self.t) if self.seasonal else 1.0)

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
    log_mean, waves = season_waves() if streams.seasonal else (0.0, np.zeros(6))
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
        return self.mean_of(np.ones(self.count, dtype=bool))

    def mean_of(self, counted: np.ndarray) -> float:
        """The same over some of the streams."""
        first = self.first[counted]
        return float(np.where(first == 0, self.ticks, first).sum() / max(int((first > 0).sum()), 1))


Step = Callable[[Minute], np.ndarray]


def run_length(
    streams: Streams,
    step: Step,
    ticks: int,
    factor: float = 1.0,
    odds: float = 1.0,
    counted: np.ndarray | None = None,
) -> FirstPassage:
    """First triggers of ``step`` over so many minutes; ends early when all that are ``counted`` triggered."""
    passage = FirstPassage(streams.count)
    for _ in range(ticks):
        passage.take(step(streams.minute(factor, odds)))
        if bool((passage.first > 0)[slice(None) if counted is None else counted].all()):
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
