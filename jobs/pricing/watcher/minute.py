"""Input and output of the watcher's step: :class:`Minute` and :class:`Verdict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Minute:
    """One minute of all listings of a watcher, as arrays (listings,) in the watcher's order.

    Parameters
    ----------
    window_end_ms
        End of the minute, epoch milliseconds.
    orders, units
        Orders and units of the minute, net of cancellations. A negative value counts as zero.
    price_factor
        Predicted effect of the own price on orders, relative to any fixed reference price: 1.0 at the reference
        price, 0.8 if the current price is expected to cost a fifth of the orders. Above 0.
    searches_matured, searches_abandoned
        Sessions that timed out in this minute, and the number of them without an order.
    plan_units
        Planned depletion in units; NaN where the forecast is the only plan.
    present
        False where the minute's batch is missing, which is a gap. A listing without a cell in an existing batch
        is present, with zeros.
    in_stock
        Share of the minute in stock, 0 to 1, or a mask. 0 is a gap.
    utc_offset
        Minutes by which the listing's market is ahead of UTC, for the daily profile.

    Examples
    --------
    >>> Minute.of(3, window_end_ms=60_000, orders=[1, 0, 2]).units.tolist()
    [1.0, 0.0, 2.0]
    """

    window_end_ms: int
    orders: Floats
    units: Floats
    price_factor: Floats
    searches_matured: Floats
    searches_abandoned: Floats
    plan_units: Floats
    present: Bools
    in_stock: Floats
    utc_offset: Floats

    @classmethod
    def of(
        cls,
        listings: int,
        window_end_ms: int,
        orders: object = 0.0,
        units: object = None,
        price_factor: object = 1.0,
        searches_matured: object = 0.0,
        searches_abandoned: object = 0.0,
        plan_units: object = np.nan,
        present: object = True,
        in_stock: object = 1.0,
        utc_offset: object = 0.0,
    ) -> Minute:
        """Return a minute built from arrays, lists or single numbers; ``units`` default to one per order."""

        def full(value: object) -> Floats:
            return np.array(np.broadcast_to(np.asarray(value, float), (listings,)))

        return cls(
            window_end_ms=window_end_ms,
            orders=full(orders),
            units=full(orders if units is None else units),
            price_factor=full(price_factor),
            searches_matured=full(searches_matured),
            searches_abandoned=full(searches_abandoned),
            plan_units=full(plan_units),
            present=np.array(np.broadcast_to(np.asarray(present, bool), (listings,))),
            in_stock=full(in_stock),
            utc_offset=full(utc_offset),
        )

    def check(self, listings: int) -> None:
        """Check the arrays' lengths and values.

        Raises
        ------
        ValueError
            If an array has another length, a value is not finite (a plan may be NaN), or a price factor is not
            above 0. The message contains the field, the expected value and the actual one.
        """
        for name in _FINITE:
            values = getattr(self, name)
            if values.shape != (listings,):
                raise ValueError(f"minute.{name}: expected {listings} listings, got shape {values.shape}")
            if name != "plan_units" and not np.isfinite(values).all():
                where = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(
                    f"minute.{name}: expected finite numbers, got {values[where]} for listing {where}"
                )
        if self.present.shape != (listings,):
            raise ValueError(f"minute.present: expected {listings} listings, got shape {self.present.shape}")
        if (self.price_factor <= 0).any():
            where = int(np.flatnonzero(self.price_factor <= 0)[0])
            raise ValueError(
                f"minute.price_factor must be > 0, got {self.price_factor[where]} for listing {where}"
            )


_FINITE = (
    "orders",
    "units",
    "price_factor",
    "searches_matured",
    "searches_abandoned",
    "plan_units",
    "in_stock",
    "utc_offset",
)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The watcher's result of a minute, as arrays (listings,).

    A triggered listing has its values before the reset.

    Attributes
    ----------
    score
        M / (M + A/19), 0 to 1; above .95 exactly where ``evidence`` exceeds ``threshold``.
    window_end_ms
        End of the minute, epoch milliseconds.
    signals
        Names of the signals.
    evidence
        M, the sum of all detectors.
    threshold
        A, the evidence above which the watcher triggers.
    triggered
        Whether the evidence requests a repricing.
    parts
        Each signal's share of the evidence in the order of ``signals``, (signals, listings).
    signal
        Index into ``signals`` of the winning detector's signal.
    effect
        Effect of the winning detector: factor on orders or units, or on the odds of abandonment.
    observed, expected
        Observed and forecast orders since the estimated start of the change.
    since_ticks
        Observed minutes since the evidence was last zero, at the start or after the last reset.
    promise_in_force
        Whether the dispersion has been estimated from a full block or is given. Without it, alarms may be more
        frequent than one per ``false_alarm_every``.
    running
        Whether the detectors processed this minute: False during warm-up, hold and gaps.
    """

    window_end_ms: int
    signals: tuple[str, ...]
    threshold: float
    score: Floats
    evidence: Floats
    triggered: Bools
    parts: Floats
    signal: Ints
    effect: Floats
    observed: Floats
    expected: Floats
    since_ticks: Ints
    promise_in_force: Bools
    running: Bools

    def signal_name(self, index: int) -> str:
        """Return the name of a listing's winning signal."""
        return self.signals[int(self.signal[index])]

    def parts_of(self, index: int) -> dict[str, float]:
        """Return a listing's evidence by signal, for the topic of evidence."""
        return {name: float(part) for name, part in zip(self.signals, self.parts[:, index], strict=True)}

    def cause_details(self, index: int) -> dict[str, float | int | str | bool]:
        """Return a listing's verdict as plain data, for the cause of a decision."""
        return {
            "score": float(self.score[index]),
            "evidence": float(self.evidence[index]),
            "threshold": self.threshold,
            "signal": self.signal_name(index),
            "effect": float(self.effect[index]),
            "observed_orders": float(self.observed[index]),
            "expected_orders": float(self.expected[index]),
            "since_ticks": int(self.since_ticks[index]),
            "promise_in_force": bool(self.promise_in_force[index]),
        }
