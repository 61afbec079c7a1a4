"""Drift: ADWIN on standardised residuals per listing, category and market of a bucket (science § 11).

Once per period, over the rows (listing and price) of a scope, with residuals r = q − m of the counts against their
forecasts, s² their variance, φ their dispersion, and x̃ the log price less the listing's mean of the period,
weighted by m:

  (1) level    z = Σr/√Σs²            the listings sell more or less than forecast
  (2) price    z = Σr x̃/√Σφm x̃²       they sell less at their higher prices and more at their lower ones: customers
                                      became more price-sensitive (other sign: less)

(1) is observed for each listing, each category and each market, (2) for categories and markets, because one
listing's prices of one period tell little. An error of a listing's level cancels in (2). River's ADWIN (Bifet
and Gavaldà 2007) tests whether the mean of z differs between an old and a recent part of its window, with
confidence parameter δ. z is clipped to ±``CLIP`` and scaled by ``SCALE``, so that the linear term of ADWIN's
bound, which is made for values in [0, 1], is small beside the other.

A change of (2) comes with the shift of the slope that explains it, by one scoring step over the last k periods; k,
at least twelve, is where the change most likely began, the maximum of (Σr x̃)²/Σφm x̃²:

  (3) Δ = Σr x̃/Σm x̃²,  SE² = Σφm x̃²/(Σm x̃²)²,  shrunk to 0 with the prior sd ``slope_sd``

A confirmed change opens forgetting for the listings of its scope: the models shift their own slope by Δ and add
variance to level and slope (``SeriesModel.change``), so that data from before count less than what follows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from features.array_text import read_array
from features.elasticity.base import Adjustment, Floats
from features.elasticity.drift.adwin import export_adwin, import_adwin, new_adwin

CLIP = 6.0
"""Bound of |z|: one bulk order is no change."""
SCALE = 4.0
LEAST_PERIODS, HISTORY = 12, 168
"""Fewest and most periods of (3)."""
MAX_LOG_VARIANCE = 0.1
"""Largest log variance of a forecast whose residual is observed. An uncertain level errs in one direction."""


class Scope(StrEnum):
    """Listings that a change concerns."""

    LISTING = "listing"
    CATEGORY = "category"
    MARKET = "market"


class Statistic(StrEnum):
    """Residual that changed: sales at unchanged prices, or their dependence on the price."""

    LEVEL = "level"
    PRICE = "price"


class DriftSettings(NamedTuple):
    """Parameters of drift detection.

    Parameters
    ----------
    delta, listing_delta : confidence parameter of ADWIN for categories and the level of markets, and for listings;
        smaller finds less, and less by chance.
    market_delta : for the dependence on the price in a market. There are few markets, so that a larger one finds
        little by chance.
    level_sd, slope_sd : sd of changes of the log of the level and of the own slope before data.
    minor_share : share of ``level_sd`` that a change of the price statistic adds to the level, and of ``slope_sd``
        that a change of the level adds to the slope.
    spread : sd of the listings' shifts around the common one, as a share of it.
    grace_periods : periods that ADWIN needs before its first test.
    """

    delta: float = 0.05
    market_delta: float = 0.3
    listing_delta: float = 0.001
    level_sd: float = 0.5
    slope_sd: float = 1.0
    minor_share: float = 0.2
    spread: float = 0.3
    grace_periods: int = 24


class Residuals(NamedTuple):
    """A period's residuals by row (listing and price): r, s², m, φ, x, and the names of the row's scopes."""

    residual: Floats
    variance: Floats
    expected: Floats
    dispersion: Floats
    log_price: Floats
    listing: Sequence[str]
    category: Sequence[str]
    market: Sequence[str]


class Change(NamedTuple):
    """A confirmed change.

    ``before`` and ``after``: mean of z in the whole window and in the part that ADWIN kept; ``periods``: length of
    that part. ``rows``: the scope's listings, as indices given to :meth:`DriftMonitor.observe`.
    """

    scope: Scope
    key: str
    statistic: Statistic
    before: float
    after: float
    periods: int
    adjustment: Adjustment
    rows: tuple[int, ...]


def centred_prices(residuals: Residuals) -> Floats:
    """Return each row's log price less its listing's mean of the period, weighted by the expected counts.

    Examples
    --------
    >>> m, x, names = np.array([1.0, 3.0, 5.0]), np.array([0.0, 0.4, 0.7]), ("a", "a", "b")
    >>> centred_prices(Residuals(m, m, m, m, x, names, names, names)).round(1).tolist()
    [-0.3, 0.1, 0.0]
    """
    _, at = np.unique(np.array(residuals.listing), return_inverse=True)
    total = np.bincount(at, weights=residuals.expected)
    mean = np.bincount(at, weights=residuals.expected * residuals.log_price) / np.maximum(total, 1e-12)
    return np.asarray(residuals.log_price - mean[at])


class _Detector:
    """ADWIN over one statistic of a scope, with the last periods' Σr x̃, Σm x̃² and Σφm x̃²."""

    def __init__(self, delta: float, grace: int) -> None:
        self.adwin = new_adwin(delta, grace)
        self.sums: deque[tuple[float, float, float]] = deque(maxlen=HISTORY)


class DriftMonitor:
    """Detectors of a bucket.

    Examples
    --------
    A listing at prices 10 % apart on both sides; then demand at the higher one falls.

    >>> monitor, rng = DriftMonitor(DriftSettings()), np.random.default_rng(2)
    >>> x, m, one = np.array([-0.1, 0.1]), np.array([20.0, 20.0]), np.ones(2)
    >>> def period(slope: float) -> list[Change]:
    ...     r = rng.poisson(m * np.exp(slope * x)) - m
    ...     return monitor.observe(Residuals(r, m, m, one, x, ("a", "a"), ("c", "c"), ("web", "web")))
    >>> [change for _ in range(200) for change in period(0.0)]
    []
    >>> found = [change for _ in range(48) for change in period(-2.0)]
    >>> found[0].scope.value, found[0].statistic.value, -3 < found[0].adjustment.slope_shift < -1
    ('market', 'price', True)
    """

    def __init__(self, settings: DriftSettings) -> None:
        self.settings = settings
        self._detectors: dict[str, _Detector] = {}

    def observe(self, residuals: Residuals) -> list[Change]:
        """Observe a period; return the confirmed changes, widest scope first.

        A change of a wide scope covers its listings: their own detectors restart and report nothing.
        """
        changes: list[Change] = []
        covered: set[int] = set()
        centred = centred_prices(residuals)
        for scope, names in (
            (Scope.MARKET, residuals.market),
            (Scope.CATEGORY, residuals.category),
            (Scope.LISTING, residuals.listing),
        ):
            rows_of: dict[str, list[int]] = {}
            for row, name in enumerate(names):
                rows_of.setdefault(name, []).append(row)
            for name, rows in sorted(rows_of.items()):
                if covered.issuperset(rows):
                    self._restart(scope, name)
                    continue
                change = self._observe_scope(scope, name, rows, residuals, centred)
                if change is not None:
                    changes.append(change)
                    covered.update(rows)
                    self._restart(scope, name)
        return changes

    def _observe_scope(
        self, scope: Scope, name: str, rows: list[int], residuals: Residuals, centred: Floats
    ) -> Change | None:
        r, variance, m = residuals.residual[rows], residuals.variance[rows], residuals.expected[rows]
        x = centred[rows]
        sums = (float(r @ x), float(m @ x**2), float((residuals.dispersion[rows] * m) @ x**2))
        observed = [(Statistic.LEVEL, float(r.sum()), float(variance.sum()))]
        if scope is not Scope.LISTING:
            observed.insert(0, (Statistic.PRICE, sums[0], sums[2]))
        found: Change | None = None
        for statistic, total, spread in observed:
            if spread <= 1e-12:
                continue
            z = float(np.clip(total / np.sqrt(spread), -CLIP, CLIP))
            detector = self._detector(scope, statistic, name)
            if statistic is Statistic.PRICE:
                detector.sums.append(sums)
            before = detector.adwin.estimation / SCALE
            detector.adwin.update(SCALE * z)
            if detector.adwin.drift_detected and found is None:
                after, width = detector.adwin.estimation / SCALE, int(detector.adwin.width)
                adjustment = self._adjustment(statistic, detector.sums)
                found = Change(
                    scope, name, statistic, round(before, 6), round(after, 6), width, adjustment, tuple(rows)
                )
        return found

    def _adjustment(self, statistic: Statistic, sums: Sequence[tuple[float, float, float]]) -> Adjustment:
        """Return what a change does to the models, from the sums since it most likely began (3)."""
        s = self.settings
        if statistic is Statistic.LEVEL:
            return Adjustment(0.0, (s.minor_share * s.slope_sd) ** 2, s.level_sd**2)
        since = np.cumsum(np.array(sums)[::-1], axis=0)[LEAST_PERIODS - 1 :]
        score, information, spread = since[int(np.argmax(since[:, 0] ** 2 / since[:, 2]))].tolist()
        variance = spread / information**2
        weight = s.slope_sd**2 / (s.slope_sd**2 + variance)
        shift = weight * score / information
        return Adjustment(
            round(shift, 6),
            round(weight * variance + (s.spread * shift) ** 2, 6),
            (s.minor_share * s.level_sd) ** 2,
        )

    def _detector(self, scope: Scope, statistic: Statistic, name: str) -> _Detector:
        key = f"{scope.value}|{statistic.value}|{name}"
        found = self._detectors.get(key)
        if found is None:
            found = self._detectors[key] = _Detector(self._delta(key), self.settings.grace_periods)
        return found

    def _delta(self, key: str) -> float:
        if key.startswith(f"{Scope.MARKET.value}|{Statistic.PRICE.value}|"):
            return self.settings.market_delta
        return self.settings.listing_delta if key.startswith(Scope.LISTING.value) else self.settings.delta

    def _restart(self, scope: Scope, name: str) -> None:
        """Restart a scope's detectors, because the forecasts adapt to the change from here on."""
        for statistic in Statistic:
            self._detectors.pop(f"{scope.value}|{statistic.value}|{name}", None)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, sorted by detector; a listing's detector needs no sums."""
        keys = sorted(self._detectors)
        numbers = [export_adwin(self._detectors[key].adwin) for key in keys]
        return {
            "keys": keys,
            "sizes": np.array([len(row) for row in numbers], np.int64),
            "numbers": np.array([value for row in numbers for value in row], np.float64),
            "sums": {key: np.array(self._detectors[key].sums, np.float64) for key in keys if _has_sums(key)},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`."""
        sizes = read_array(snapshot["sizes"], np.int64)
        numbers = read_array(snapshot["numbers"], np.float64)
        rows = np.split(numbers, np.cumsum(sizes)[:-1]) if len(sizes) else []
        self._detectors = {}
        for key, row in zip(snapshot["keys"], rows, strict=True):
            detector = self._detectors[key] = _Detector(self._delta(key), self.settings.grace_periods)
            detector.adwin = import_adwin(row.tolist(), self._delta(key), self.settings.grace_periods)
            if key in snapshot["sums"]:
                kept = read_array(snapshot["sums"][key], np.float64).reshape(-1, 3)
                detector.sums.extend((a, b, c) for a, b, c in kept.tolist())


def _has_sums(key: str) -> bool:
    return f"|{Statistic.PRICE.value}|" in key
