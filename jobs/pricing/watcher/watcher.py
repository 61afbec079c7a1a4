"""Watcher: signals, null model, facts and detectors, processed one minute per step (science § 6).

A step: compare the minute with its forecast → increments of every signal → evidence → score and triggers → learn
the minute → reset the listings that triggered. A step processes all listings in numpy arrays, without keys, prices
and wall time. Rules that request a repricing immediately (a rival's move, a stock-out, a cost change, a command)
are not evidence; the caller applies them.

The module has over 300 lines because one class fixes the order of a step over signals, null model, facts and
detectors. The bound on false alarms depends on this order, so a reader needs all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.bucket_logic import SnapshotError, refuse_other_version
from jobs.pricing.watcher.daily_profile import WAVES
from jobs.pricing.watcher.detectors import SEGMENT, Detectors, score_of
from jobs.pricing.watcher.facts import FactMass
from jobs.pricing.watcher.minute import Bools, Floats, Indices, Minute, Verdict
from jobs.pricing.watcher.null_model import NullModel, ObservedMinute
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.signals import SIGNALS, Signal

VERSION = 1


class Watcher:
    """Weighted e-detectors for all listings of a bucket.

    Parameters
    ----------
    settings
        Business numbers; not part of a snapshot.
    listings
        Initial number of listings; see :meth:`grow`.
    share
        This level's share of the false-alarm budget, by default ``settings.own_share``.

    Examples
    --------
    Orders stop after a day without a change. The watcher triggers within 20 minutes.

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
            raise ValueError(f"the watcher's weights must be >= 0 with a sum of at most 1, got a sum of {budget}")
        self._tilts: list[Floats] = []  # empty: the next step computes them
        self.grow(listings)

    @property
    def listings(self) -> int:
        """Number of listings."""
        return self.null.listings

    @property
    def levels(self) -> Floats:
        """Learned orders per minute at the reference price and a daily profile of 1: (listings,)."""
        return self.null.levels()

    def grow(self, count: int, categories: Sequence[int] | None = None) -> int:
        """Append ``count`` listings and return the index of the first.

        Parameters
        ----------
        count
            Number of new listings.
        categories
            Each new listing's category, a number from 0, whose daily profile it starts with; by default 0.

        Raises
        ------
        ValueError
            If there is not one category per new listing.
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
        """Add the start mass of a fact about one listing, from the next minute on.

        Parameters
        ----------
        index
            The listing's position, from 0.
        signal
            ``rivals``: a rival's move. ``events``: start or end of a calendar event.
        rate
            Facts of this kind per minute; by default estimated from the listing's history.
        """
        self.facts.add(index, signal, rate)

    def clear(self, listings: Sequence[int]) -> None:
        """Clear the evidence of listings that were repriced for another reason; the null model is unchanged."""
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
        """Initialize listings from historical data; they need no warm-up.

        Parameters
        ----------
        listings
            Positions of the listings. The following arguments are numbers, or arrays with one value per position.
        orders_per_minute
            Level at the reference price and a daily profile of 1, above 0.
        worth_orders
            Weight of the level, in orders.
        buy_share
            Share of sessions with an order, 0 to 1.
        worth_sessions
            Weight of that share, in sessions.
        profile
            cos and sin coefficients of the log daily profile's first three harmonics, (6,) or (6, positions).
        unit_mean, unit_variance
            Mean (at least 1) and variance of the quantity per order.
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
            orders_per_minute=full(orders_per_minute),
            worth_orders=full(worth_orders),
            buy_share=full(buy_share),
            worth_sessions=full(worth_sessions),
            profile=waves,
            unit_mean=full(unit_mean),
            unit_variance=full(unit_variance),
        )
        self._tilts = []

    def step(self, minute: Minute) -> Verdict:
        """Process one minute and return its verdict; minutes missing since the last step are a gap.

        Raises
        ------
        ValueError
            If the minute fails :meth:`Minute.check`, or is not later than the last one.
        """
        minute.check(self.listings)
        if not self._tilts:
            self._compute_tilts()
        tick = self.settings.tick_ms
        if self.last_end_ms:
            missing = (minute.window_end_ms - self.last_end_ms) // tick - 1
            if minute.window_end_ms <= self.last_end_ms:
                raise ValueError(
                    f"minute.window_end_ms must be above {self.last_end_ms}, the end of the last minute, "
                    f"got {minute.window_end_ms}; skip batches that were processed already"
                )
            if missing > 0:
                self.null.skip(missing, minute)
        self.last_end_ms = minute.window_end_ms

        seen = self.null.observe(minute)
        running = seen.observed & (self.null.state["ticks"] >= self.settings.warmup_ticks)
        running &= self.detectors.state["hold"] <= 0.0
        starts, increments = self._increments(
            seen, self._weight_factors(minute), self.facts.take(minute.window_end_ms, running)
        )
        observation = seen.observation
        counts = {
            "orders": observation.orders,
            "exposure": seen.exposure,
            "ordered_sessions": observation.searches - observation.abandoned,
            "session_exposure": observation.searches * minute.price_factor,
        }
        self.detectors.step(starts, increments, running, counts)
        verdict = self._verdict(minute, running)
        self.detectors.count_hold(seen.observed)
        changed, restarted = self.null.learn(minute, seen)
        fired = np.flatnonzero(verdict.triggered)
        if len(fired):
            segment = self.detectors.segment(self.detectors.winner())
            self.null.reseed(fired, {name: segment[name][fired] for name in SEGMENT})
            self.detectors.clear(fired, self.settings.hold_ticks)
        self.detectors.clear(restarted, 0)
        self._refresh_tilts(changed)
        return verdict

    def _weight_factors(self, minute: Minute) -> Floats:
        """Return the factor on each signal's weight: (signals, listings).

        Signals with data share the weight of those without, so that the whole budget is used. Which signals have
        data does not depend on the minute's counts, so the starts stay within the budget.
        """
        has_sessions = self._has_sessions()
        has_data = np.stack([signal.has_data(minute, has_sessions) for signal in self.signals]).astype(float)
        has_data *= self._shares.sum() / np.maximum(self._shares @ has_data, 1e-12)
        return has_data

    def _has_sessions(self) -> Bools:
        return self.null.state["session_exposure"] > 0.0

    def _increments(
        self, seen: ObservedMinute, weight_factors: Floats, fact_mass: Floats
    ) -> tuple[Floats, Floats]:
        """Return start mass and ℓ of every detector: (detectors, listings) each."""
        observation, full = seen.observation, self.settings.full_mass_orders
        increments = np.empty((len(self._effects), self.listings))
        starts = np.empty_like(increments)
        has_sessions = self._has_sessions()
        for signal, rows, tilts, weight, factor in zip(
            self.signals, self._rows, self._tilts, self._weights, weight_factors, strict=True
        ):
            signal.increments(observation, tilts, increments[rows])
            mass = weight * factor
            mass += signal.fact_share(has_sessions) * fact_mass / len(signal.effects)
            mass *= signal.mass(observation, full)
            starts[rows] = mass
        return starts, increments

    def _verdict(self, minute: Minute, running: Bools) -> Verdict:
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

    def _compute_tilts(self) -> None:
        spread = self.null.spread()
        self._tilts = [signal.tilts(spread) for signal in self.signals]

    def _refresh_tilts(self, changed: Indices) -> None:
        if len(changed) == 0:
            return
        spread = self.null.spread().at(changed)
        for signal, tilts in zip(self.signals, self._tilts, strict=True):
            tilts[:, :, changed] = signal.tilts(spread)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data with a version, without settings and tilts."""
        return {
            "v": VERSION,
            "listings": self.listings,
            "last_end_ms": self.last_end_ms,
            "null": self.null.snapshot(),
            "facts": self.facts.snapshot(),
            "detectors": self.detectors.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Replace the state, including the number of listings, by a snapshot's.

        Raises
        ------
        SnapshotError
            If the snapshot has another version, or a column is missing or has another shape.
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
