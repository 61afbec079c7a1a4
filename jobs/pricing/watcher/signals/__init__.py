"""Signals: kinds of evidence that the watcher sums (science § 6).

To add one, write a file in this folder with a subclass of :class:`Signal` and add the class to :data:`SIGNALS`.
The class defines its name, its text for pricing managers, its weight and its increments; :mod:`.base` states the
conditions on them. The check suite (tests/jobs/pricing/watcher/test_watcher_signals.py) runs over the tuple; a
test fails for a class that is missing from it. The sum of the weights and those of facts is at most 1.
"""

from __future__ import annotations

from jobs.pricing.watcher.signals.abandonment import Abandonment
from jobs.pricing.watcher.signals.base import Observation, Signal, Spread
from jobs.pricing.watcher.signals.stock_pressure import StockPressure
from jobs.pricing.watcher.signals.velocity import Velocity

SIGNALS: tuple[type[Signal], ...] = (Velocity, Abandonment, StockPressure)
_TEXTS = {signal.name: signal.text for signal in SIGNALS}


def signal_text(signal: str, effect: float) -> str:
    """Return the text of a signal with its effect.

    Examples
    --------
    >>> signal_text("velocity", 0.8)
    'orders ×0.8'
    """
    return f"{_TEXTS.get(signal, 'demand')} ×{effect:g}"


__all__ = ["SIGNALS", "Observation", "Signal", "Spread", "signal_text"]
