"""The watcher: signals, null model, facts and detectors stepped together, a minute at a time (science § 6).

One minute: see it against the forecast → increments of every signal → evidence → score and triggers →
learn the minute → reset what triggered. All listings at once, in numpy arrays; nothing here knows
keys, prices or wall time. Rules that start a look at once (a rival's move as such, a stock-out, a cost
change, a command) are not evidence and do not belong here; the caller applies them.
Over 300 lines: a minute's steps in their order, and what may be asked and told between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.bucket_logic import SnapshotError, refuse_other_version
from jobs.pricing.watcher.abandonment import Abandonment
from jobs.pricing.watcher.daily_profile import WAVES
from jobs.pricing.watcher.detectors import SEGMENT, Detectors, score_of
from jobs.pricing.watcher.facts import FactMass
from jobs.pricing.watcher.minute import Floats, Minute, Verdict
from jobs.pricing.watcher.null_model import NullModel, Seen
from jobs.pricing.watcher.settings import WatcherSettings
from jobs.pricing.watcher.signal import Signal
from jobs.pricing.watcher.stock_pressure import StockPressure
from jobs.pricing.watcher.velocity import Velocity

SIGNALS: tuple[type[Signal], ...] = (Velocity, Abandonment, StockPressure)
"""Every kind of evidence; the weights are ``WatcherSettings`` fields of the signals' names."""

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
        self._weights = np.array([getattr(settings, signal.name) / len(signal.effects) for signal in self.signals])
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
            seen, self._lent(minute), self.facts.take(minute.window_end_ms, running)
        )
        look = seen.look
        counts = {
            "orders": look.orders,
            "exposure": seen.exposure,
            "ordered_sessions": look.searches - look.abandoned,
            "session_exposure": look.searches * minute.price_factor,
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

    def _lent(self, minute: Minute) -> Floats:
        """By how much the signals that can speak add to their share, per signal and listing.

        Without a plan of depletion stock pressure would only repeat velocity, and a shop that counts no
        searches has no abandonment: such a signal starts nothing and lends its share to the others, so
        that the budget is spent where there is something to see. Both are known before the minute is,
        so what the starts add up to stays within the budget.
        """
        speaks = np.ones((len(self.signals), self.listings))
        for row, name in zip(speaks, self.names, strict=True):
            if name == "abandonment":
                row[:] = self.null.state["session_exposure"] > 0.0
            elif name == "stock_pressure":
                row[:] = ~np.isnan(minute.plan_units)
        shares = np.array([getattr(self.settings, name) for name in self.names])
        speaks *= shares.sum() / np.maximum(shares @ speaks, 1e-12)
        return speaks

    def _increments(self, seen: Seen, lent: Floats, fact_mass: Floats) -> tuple[Floats, Floats]:
        """Start mass and ℓ of every detector: (detectors, listings) each."""
        look, full = seen.look, self.settings.full_mass_orders
        increments = np.empty((len(self._effects), self.listings))
        starts = np.empty_like(increments)
        has_sessions = self.null.state["session_exposure"] > 0.0
        for signal, rows, tilts, weight, more in zip(
            self.signals, self._rows, self._tilts, self._weights, lent, strict=True
        ):
            signal.increments(look, tilts, increments[rows])
            mass = weight * more
            if signal.name == "velocity":
                mass += np.where(has_sessions, 0.5, 1.0) * fact_mass / len(signal.effects)
            elif signal.name == "abandonment":
                mass += np.where(has_sessions, 0.5, 0.0) * fact_mass / len(signal.effects)
            mass *= signal.mass(look, full)
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
