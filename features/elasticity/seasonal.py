"""Multiplicative factors of conversion: the market's hour of day and day of week, segment (science § 3).

Per category of a bucket and per level (an hour, a weekday, a segment): q = Σ orders, p = Σ what the
model expected without that level's factor. factor = (q + k)/(p + k), k = 20, divided by the same ratio
of the whole, so that the factors carry no level of their own. Only rows count whose expectation is
already sharp (variance of its log below .3): the first hours of learning must not become a season.
Exposures already carry the season of traffic; this is the season of buying once there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.elasticity.base import Floats

_PSEUDO_ORDERS = 20.0
_SURE = 0.3
_KINDS = ("hour", "weekday", "segment")


class SeasonalFactors:
    """Factors of one category.

    Examples
    --------
    >>> factors = SeasonalFactors()
    >>> keys = [("9", "0", "all"), ("10", "0", "all")]
    >>> for _ in range(50):
    ...     expected = 60 * np.exp(factors.log_factor(keys))
    ...     factors.learn(keys, np.array([80.0, 40.0]), expected, np.zeros(2))
    >>> np.exp(factors.log_factor(keys)).round(1).tolist()
    [1.3, 0.7]
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[float]]] = {kind: {} for kind in _KINDS}

    def log_factor(self, keys: list[tuple[str, str, str]]) -> Floats:
        """Log of the product of the factors of each row's (hour, weekday, segment)."""
        logs = {kind: self._logs(kind) for kind in _KINDS}
        return np.array(
            [sum(logs[kind].get(level, 0.0) for kind, level in zip(_KINDS, key, strict=True)) for key in keys]
        )

    def learn(self, keys: list[tuple[str, str, str]], orders: Floats, expected: Floats, variance: Floats) -> None:
        """Take rows; ``expected`` includes the factors that :meth:`log_factor` answered for them."""
        sure = variance < _SURE
        if not bool(sure.any()):
            return
        logs = {kind: self._logs(kind) for kind in _KINDS}
        for key, q, p, use in zip(keys, orders.tolist(), expected.tolist(), sure.tolist(), strict=True):
            if not use:
                continue
            for kind, level in zip(_KINDS, key, strict=True):
                pair = self._sums[kind].setdefault(level, [0.0, 0.0])
                pair[0] += q
                pair[1] += p * float(np.exp(-logs[kind].get(level, 0.0)))

    def _logs(self, kind: str) -> dict[str, float]:
        pairs = self._sums[kind]
        if len(pairs) < 2:
            return {}
        k = _PSEUDO_ORDERS
        q, p = (sum(pair[j] for pair in pairs.values()) for j in (0, 1))
        whole = float(np.log((q + k) / (p + k)))
        return {level: float(np.log((pair[0] + k) / (pair[1] + k))) - whole for level, pair in pairs.items()}

    def forget_times(self) -> None:
        """Forget what was learned of hours and weekdays; segments stay."""
        self._sums["hour"], self._sums["weekday"] = {}, {}

    def snapshot(self) -> dict[str, Any]:
        """Plain data, in order of first sight."""
        return {kind: {level: list(pair) for level, pair in pairs.items()} for kind, pairs in self._sums.items()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take :meth:`snapshot` back."""
        self._sums = {
            kind: {level: [float(pair[0]), float(pair[1])] for level, pair in snapshot[kind].items()}
            for kind in _KINDS
        }
