"""Watcher: signals, null model, facts and detectors stepped together, a minute at a time (science § 6).

One minute: observe it against the forecast → increments of every signal → evidence → score and triggers → learn
the minute → reset the listings that triggered. All listings at once, in numpy arrays, without keys, prices or
wall time. Rules that request a repricing at once (a rival's move, a stock-out, a cost change, a command) are
not evidence; the caller applies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.bucket_logic import SnapshotError, refuse_other_version
from jobs.pricing.watcher.daily_profile import WAVES
from jobs.pricing.watcher.detectors import SEGMENT, Detectors, score_of
from jobs.pricing.watcher.facts import FactMass
from jobs.pricing.watcher.minute import Bools, Floats, Minute, Verdict
from jobs.pricing.watcher.null_model import NullModel, Seen
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.signals import SIGNALS, Signal

VERSION = 1


class Watcher:
    """Weighted e-detectors for all listings of a bucket.

    Parameters
    ----------
    settings
        Business numbers; never part of a snapshot.
    listings
        How many there are at first; see :meth:`grow`.
    share
        This level's share of the false-alarm budget, ``settings.own_share`` unless given.

    Examples
    --------
    Orders stop after a quiet day; the watcher notices within minutes.

    >>> watcher = Watcher(WatcherSettings(), listings=1)
    >>> for t in range(1, 1441):
    ...     verdict = watcher.step(Minute.of(1, 60_000 * t, orders=2, searches_matured=6, searches_abandoned=4))
    >>> bool(verdict.score[0] < 0.5)
    True
    >>> while not verdict.triggered[0]:
    ...     t += 1
    ...     verdict = watcher.step(Minute.of(1, 60_000 * t, orders=0, searches_matured=6, searches_abandoned=6))
    >>> t - 1440 < 20, bool(verdict.score[0] > 0.95), verdict.signal_name(0), float(verdict.effect[0])
    (True, True, 'abandonment', 1.5)
    """

    def __init__(self, settings: WatcherSettings, listings: int = 0, share: float | None = None) -> None:
        self.settings = settings
        self.threshold = settings.threshold(settings.own_share if share is None else share)
        self.signals: tuple[Signal, ...] = tuple(signal() for signal in SIGNALS)
        self.names = tuple(signal.name for signal in self.signals)
        self.null = NullModel(settings, 0)
        self.facts = FactMass(settings, self.threshold, 0)
        self.detectors = Detectors([sign for signal in self.signals for sign in signal.demand], 0)
        self.last_end_ms = 0
        rows, first = [], 0
        for signal in self.signals:
            rows.append(slice(first, first + len(signal.effects)))
            first += len(signal.effects)
        self._rows = tuple(rows)
        self._effects = np.array([effect for signal in self.signals for effect in signal.effects])
        self._signal_of_row = np.repeat(
            np.arange(len(self.signals)), [len(signal.effects) for signal in self.signals]
        )
        self._shares = np.array([settings.weights.get(signal.name, signal.weight) for signal in self.signals])
        self._weights = self._shares / [len(signal.effects) for signal in self.signals]
        budget = float(self._shares.sum()) + settings.rivals + settings.events
        if min(*self._shares, settings.rivals, settings.events) < 0 or budget > 1 + 1e-9:
            raise ValueError(f"the watcher's weights must be >= 0 and add up to at most 1, got a sum of {budget}")
        self._tilts: list[Floats] = []  # none: made by the next step
        self.grow(listings)

    @property
    def listings(self) -> int:
        """How many listings are watched."""
        return self.null.listings

    @property
    def levels(self) -> Floats:
        """Learned orders per minute at the reference price and an average time of day, per listing."""
        return self.null.levels()

    def grow(self, count: int, categories: Sequence[int] | None = None) -> int:
        """Add ``count`` listings at the end; answers the index of the first.

        ``categories`` (small numbers, one per new listing) say whose daily profile they start from;
        without them all share one.
        """
        first = self.listings
        if categories is not None and len(categories) != count:
            raise ValueError(f"grow: expected {count} categories, got {len(categories)}")
        self.null.grow([0] * count if categories is None else list(categories))
        self.facts.state.grow(count)
        self.detectors.state.grow(count)
        self._tilts = []
        return first

    def add_fact(self, index: int, signal: str, rate: float | None = None) -> None:
        """A fact about one listing brings start mass from the next minute on: ``rivals`` moved, ``events`` began.

        ``rate`` is facts of this kind per minute; left out, the listing's own history says it.
        """
        self.facts.add(index, signal, rate)

    def clear(self, listings: Sequence[int]) -> None:
        """Drop the evidence of listings that were re-priced for another reason; what was learned stays."""
        self.detectors.clear(np.asarray(listings, dtype=np.intp), self.settings.hold_ticks)

    def assume(
        self,
        listings: Sequence[int],
        orders_per_minute: object,
        worth_orders: object = 1_000.0,
        buy_share: object = 0.3,
        worth_sessions: object = 0.0,
        profile: object = None,
        unit_mean: object = 1.0,
        unit_variance: object = 0.0,
    ) -> None:
        """Start listings from what their history says, worth so many orders and sessions of data.

        ``profile`` is (6,) or (6, listings): cos and sin coefficients of the log daily profile's first
        three harmonics. Skips the warm-up.
        """
        i = np.asarray(listings, dtype=np.intp)

        def full(value: object) -> Floats:
            return np.array(np.broadcast_to(np.asarray(value, float), i.shape))

        waves = np.zeros((WAVES, len(i)))
        if profile is not None:
            given = np.asarray(profile, float)
            waves += given[:, None] if given.ndim == 1 else given
        self.null.assume(
            i,
            full(orders_per_minute),
            full(worth_orders),
            full(buy_share),
            full(worth_sessions),
            waves,
            full(unit_mean),
            full(unit_variance),
        )
        self._tilts = []

    def step(self, minute: Minute) -> Verdict:
        """Take one minute; minutes skipped since the last one are a gap.

        Raises
        ------
        ValueError
            If arrays have another length than the listings, or the minute is not after the last one.
        """
        minute.check(self.listings)
        if not self._tilts:
            self._make_tilts()
        tick = self.settings.tick_ms
        if self.last_end_ms:
            missing = (minute.window_end_ms - self.last_end_ms) // tick - 1
            if minute.window_end_ms <= self.last_end_ms:
                raise ValueError(
                    f"the watcher steps forward: last minute ended at {self.last_end_ms}, "
                    f"got {minute.window_end_ms}; skip batches that were taken before"
                )
            if missing > 0:
                self.null.skip(missing, minute)
        self.last_end_ms = minute.window_end_ms

        seen = self.null.see(minute)
        running = seen.observed & (self.null.state["ticks"] >= self.settings.warmup_ticks)
        running &= self.detectors.state["hold"] <= 0.0
        starts, increments = self._increments(
            seen, self._shared(minute), self.facts.take(minute.window_end_ms, running)
        )
        observation = seen.observation
        counts = {
            "orders": observation.orders,
            "exposure": seen.exposure,
            "ordered_sessions": observation.searches - observation.abandoned,
            "session_exposure": observation.searches * minute.price_factor,
        }
        self.detectors.step(starts, increments, running, counts)
        verdict = self._judge(minute, running)
        self.detectors.rest(seen.observed)
        changed, relaid = self.null.learn(minute, seen)
        fired = np.flatnonzero(verdict.triggered)
        if len(fired):
            segment = self.detectors.segment(self.detectors.winner())
            self.null.reseed(fired, {name: segment[name][fired] for name in SEGMENT})
            self.detectors.clear(fired, self.settings.hold_ticks)
        self.detectors.clear(relaid, 0)
        self._refresh_tilts(changed)
        return verdict

    def _shared(self, minute: Minute) -> Floats:
        """Return the factor on each signal's weight, per listing.

        Signals with data share the weight of those without, so that the whole budget is used. Data are known
        before the minute, so the starts stay within the budget.
        """
        has_sessions = self._has_sessions()
        has_data = np.stack([signal.has_data(minute, has_sessions) for signal in self.signals]).astype(float)
        has_data *= self._shares.sum() / np.maximum(self._shares @ has_data, 1e-12)
        return has_data

    def _has_sessions(self) -> Bools:
        return self.null.state["session_exposure"] > 0.0

    def _increments(self, seen: Seen, shared: Floats, fact_mass: Floats) -> tuple[Floats, Floats]:
        """Return start mass and ℓ of every detector: (detectors, listings) each."""
        observation, full = seen.observation, self.settings.full_mass_orders
        increments = np.empty((len(self._effects), self.listings))
        starts = np.empty_like(increments)
        has_sessions = self._has_sessions()
        for signal, rows, tilts, weight, factor in zip(
            self.signals, self._rows, self._tilts, self._weights, shared, strict=True
        ):
            signal.increments(observation, tilts, increments[rows])
            mass = weight * factor
            mass += signal.fact_share(has_sessions) * fact_mass / len(signal.effects)
            mass *= signal.mass(observation, full)
            starts[rows] = mass
        return starts, increments

    def _judge(self, minute: Minute, running: np.ndarray) -> Verdict:
        state = self.detectors.state
        evidence = state["evidence"]
        parts = np.stack([evidence[rows].sum(axis=0) for rows in self._rows])
        total = parts.sum(axis=0)
        winner = self.detectors.winner()
        segment = self.detectors.segment(winner)
        return Verdict(
            window_end_ms=minute.window_end_ms,
            signals=self.names,
            threshold=self.threshold,
            score=score_of(total, self.threshold),
            evidence=total,
            triggered=running & (total > self.threshold),
            parts=parts,
            signal=self._signal_of_row[winner],
            effect=self._effects[winner],
            observed=segment["orders"],
            expected=self.levels * segment["exposure"],
            since_ticks=state["since"].astype(np.int64),
            promise_in_force=self.null.promise_in_force(),
            running=running,
        )

    def _make_tilts(self) -> None:
        spread = self.null.spread()
        self._tilts = [signal.tilts(spread) for signal in self.signals]

    def _refresh_tilts(self, changed: np.ndarray) -> None:
        if len(changed) == 0:
            return
        spread = self.null.spread().at(changed)
        for signal, tilts in zip(self.signals, self._tilts, strict=True):
            tilts[:, :, changed] = signal.tilts(spread)

    def snapshot(self) -> dict[str, Any]:
        """All that must survive a restart, as versioned plain data; settings and tilts are not in it."""
        return {
            "v": VERSION,
            "listings": self.listings,
            "last_end_ms": self.last_end_ms,
            "null": self.null.snapshot(),
            "facts": self.facts.snapshot(),
            "detectors": self.detectors.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back, whatever number of listings this watcher had.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("watcher", VERSION, snapshot)
        listings = int(snapshot["listings"])
        try:
            self.null.restore(snapshot["null"], listings)
            self.facts.restore(snapshot["facts"], listings)
            self.detectors.restore(snapshot["detectors"], listings)
        except ValueError as error:
            raise SnapshotError(str(error)) from error
        self.last_end_ms = int(snapshot["last_end_ms"])
        self._tilts = []
