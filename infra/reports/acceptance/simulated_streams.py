"""Simulated listings for the watcher's acceptance: their minutes, tests on them, and run lengths.

The tests are the watcher with a known or a learned null, a z-test and a CUSUM.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jobs.pricing.watcher import Minute, Watcher, WatcherSettings

DAY = 1440
WEEK = 7 * DAY
TICK_MS = 60_000
BUY_SHARE = 0.3
SEASON = 0.5
KNOWN: dict[str, Any] = {"known_phi": 1.0, "profile_orders": 1e15}
"""Watcher settings of a known null: φ = 1, and a profile that further orders do not change."""
UNIT_MEAN, UNIT_VARIANCE = 1.2, 0.2


def season(t: int) -> float:
    """Return the factor of demand at minute ``t``: 1 ± 0.5 over a day."""
    return 1.0 + SEASON * math.sin(2.0 * math.pi * (t % DAY) / DAY)


def season_waves() -> tuple[float, np.ndarray]:
    """Return the mean of the log of that factor and its first three harmonics."""
    angle = 2.0 * np.pi * np.arange(DAY) / DAY
    log_season = np.log1p(SEASON * np.sin(angle))
    waves = [wave(h * angle) for h in (1, 2, 3) for wave in (np.cos, np.sin)]
    return float(log_season.mean()), np.array([2.0 * np.mean(log_season * wave) for wave in waves])


FUNNEL_ODDS = ((1 - 0.8 * BUY_SHARE) / (0.8 * BUY_SHARE)) / ((1 - BUY_SHARE) / BUY_SHARE)
"""Odds of abandonment, relative to the null, when a fifth fewer of the same searches end in an order."""

SHIFTS: tuple[tuple[str, float, float, float], ...] = (
    ("x0.5", 0.5, 1.0, 80.0),
    ("x0.8", 0.8, 1.0, 320.0),
    ("x1.25", 1.25, 1.0, 260.0),
    ("x2", 2.0, 1.0, 40.0),
    ("x0.8 with abandonment", 0.8, FUNNEL_ODDS, 175.0),
)
"""Name, factor of demand, odds of abandonment, and largest mean delay in minutes."""


@dataclass(frozen=True)
class Size:
    """Size of a run: reduced or not, number of streams, and minutes of a run length."""

    quick: bool
    streams: int
    ticks: int

    @classmethod
    def of(cls, *, quick: bool, streams: int | None = None) -> Size:
        """Return the size of the quick or the full form."""
        return cls(quick, streams or (60 if quick else 2_000), 1_500 if quick else 15_000)


@dataclass
class Streams:
    """Simulated listings with a known rate: orders, units, sessions, overdispersion, slow variation."""

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
        """Return the expected orders of the current minute before overdispersion and variation."""
        return self.orders_per_minute * (season(self.t) if self.seasonal else 1.0)

    def minute(self, factor: float = 1.0, odds: float = 1.0) -> Minute:
        """Draw the next minute; ``factor`` multiplies demand, ``odds`` the odds of abandonment."""
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


def watcher_with_known_null(streams: Streams, settings: WatcherSettings) -> Watcher:
    """Return a watcher with the whole false-alarm budget that knows the null exactly."""
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


def watcher_with_learned_null(streams: Streams, settings: WatcherSettings, ticks: int) -> Watcher:
    """Return a watcher with the whole false-alarm budget that has learned everything in ``ticks`` minutes."""
    watcher = Watcher(settings, streams.count, share=1.0)
    for _ in range(ticks):
        watcher.step(streams.minute())
    return watcher


def clear_evidence(watcher: Watcher) -> None:
    """Set the evidence to none, from which a run length counts."""
    watcher.clear(range(watcher.listings))
    watcher.detectors.state["hold"][:] = 0.0


@dataclass
class FirstPassage:
    """Minute of each stream's first trigger, counted from 1; 0 for streams without a trigger."""

    count: int
    first: np.ndarray = field(init=False)
    ticks: int = 0

    def __post_init__(self) -> None:
        self.first = np.zeros(self.count, dtype=np.int64)

    def take(self, triggered: np.ndarray) -> None:
        """Add one minute."""
        self.ticks += 1
        self.first[triggered & (self.first == 0)] = self.ticks

    @property
    def alarms(self) -> int:
        """Return the number of streams that triggered."""
        return int((self.first > 0).sum())

    @property
    def mean(self) -> float:
        """Return the mean run length: observed time, including streams without a trigger, divided by alarms."""
        return self.mean_of(np.ones(self.count, dtype=bool))

    def mean_of(self, counted: np.ndarray) -> float:
        """Return the mean run length of some of the streams."""
        first = self.first[counted]
        return float(np.where(first == 0, self.ticks, first).sum() / max(int((first > 0).sum()), 1))


Triggers = Callable[[Minute], np.ndarray]
"""Takes a minute and returns which streams triggered."""


def run_length(
    streams: Streams,
    step: Triggers,
    ticks: int,
    factor: float = 1.0,
    odds: float = 1.0,
    counted: np.ndarray | None = None,
) -> FirstPassage:
    """Return the first triggers of ``step`` within ``ticks`` minutes.

    The run ends early when all streams that are ``counted`` have triggered.
    """
    passage = FirstPassage(streams.count)
    for _ in range(ticks):
        passage.take(step(streams.minute(factor, odds)))
        if bool((passage.first > 0)[slice(None) if counted is None else counted].all()):
            break
    return passage


class ZTest:
    """A z-test every minute: the last half hour against its forecast, at |z| > 1.96."""

    def __init__(self, streams: Streams, window: int = 30, limit: float = 1.96) -> None:
        self.streams, self.window, self.limit = streams, window, limit
        self.orders = np.zeros((window, streams.count))
        self.means = np.zeros(window)
        self.k = 0

    def step(self, minute: Minute) -> np.ndarray:
        """Take one minute and return the triggers."""
        self.orders[self.k % self.window] = minute.orders
        self.means[self.k % self.window] = self.streams.mean()
        self.k += 1
        if self.k < self.window:
            return np.zeros(self.streams.count, dtype=bool)
        expected = self.means.sum()
        return np.abs(self.orders.sum(axis=0) - expected) > self.limit * math.sqrt(expected)


class Cusum:
    """The CUSUM for factors .8 and 1.25 of a known Poisson rate, at several limits."""

    def __init__(self, streams: Streams, limits: np.ndarray) -> None:
        self.streams, self.limits = streams, limits
        self.sums = np.zeros((2, streams.count))
        self.passages = [FirstPassage(streams.count) for _ in limits]

    def step(self, minute: Minute) -> np.ndarray:
        """Take one minute and return the triggers at the highest limit."""
        mean = self.streams.mean()
        for row, effect in zip(self.sums, (0.8, 1.25), strict=True):
            np.maximum(row + minute.orders * math.log(effect) - (effect - 1.0) * mean, 0.0, out=row)
        height = self.sums.max(axis=0)
        for limit, passage in zip(self.limits, self.passages, strict=True):
            passage.take(height > limit)
        return height > self.limits[-1]
