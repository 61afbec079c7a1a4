"""Multiplicative factors of conversion: market-local hour, weekday and segment (science § 3).

Per category of a bucket and per level (an hour, a weekday, a segment): q = Σ orders, p = Σ expected orders
without that level's factor. factor = (q + k)/(p + k), k = 20, divided by the same ratio over all levels, so
that the factors do not change the mean level. Only rows with a precise expectation count (variance of its log
below .3), because the first hours of learning would otherwise become a seasonal effect. The seasonality of
traffic is contained in the exposures; these factors are the seasonality of conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.elasticity.base import Floats

_PSEUDO_ORDERS = 20.0
_MAX_LOG_VARIANCE = 0.3
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
        """Return the log of the product of the factors of each row's (hour, weekday, segment)."""
        logs = {kind: self._logs(kind) for kind in _KINDS}
        return np.array(
            [sum(logs[kind].get(level, 0.0) for kind, level in zip(_KINDS, key, strict=True)) for key in keys]
        )

    def learn(self, keys: list[tuple[str, str, str]], orders: Floats, expected: Floats, variance: Floats) -> None:
        """Learn rows; ``expected`` includes the factors that :meth:`log_factor` returned for them."""
        precise = variance < _MAX_LOG_VARIANCE
        if not bool(precise.any()):
            return
        logs = {kind: self._logs(kind) for kind in _KINDS}
        for key, q, p, use in zip(keys, orders.tolist(), expected.tolist(), precise.tolist(), strict=True):
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
        """Reset the factors of hours and weekdays; segments keep theirs."""
        self._sums["hour"], self._sums["weekday"] = {}, {}

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, in order of first observation."""
        return {kind: {level: list(pair) for level, pair in pairs.items()} for kind, pairs in self._sums.items()}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`."""
        self._sums = {
            kind: {level: [float(pair[0]), float(pair[1])] for level, pair in snapshot[kind].items()}
            for kind in _KINDS
        }
