"""Signals: kinds of evidence that the watcher sums (science § 6).

To add one, write a file in this folder with a subclass of :class:`Signal` and add the class at the end of
:data:`SIGNALS`: rows of a snapshot are by position, and a signal without a row starts with no evidence. The
class defines its name, its text for pricing managers, its weight and its increments; :mod:`.base` states the
conditions on them. The check suite (tests/jobs/pricing/watcher/test_watcher_signals.py) runs over the tuple; a
test fails for a class that is missing from it. All weights add up to at most 1, which the present ones use up:
a new one takes its share from others, in their classes or in the policy's ``watch.weights``. Evidence changes
then, so ``tests/golden/behaviour.jsonl`` is written again (the head of tests/infra/reports/test_behaviour.py).
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
