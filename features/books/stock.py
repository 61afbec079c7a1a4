"""Stock levels: cover, safety stock, reorder point and stock-out probability.

Data for one listing: units on hand and inbound, lead time L in days (from `stock`), mean μ and
standard deviation σ of units sold per day (from the day windows), service factor z.

  (1) cover = on hand / μ                                       days
  (2) safety stock = z σ √L                                     units (002 § 6.2; science § 4, "Stock")
  (3) reorder point = μ L + safety stock                        units
  (4) stock-out probability = P(D_L > on hand), D_L ~ N(μL, σ²L), continuity corrected

Sales are used as demand. Minutes without stock therefore make μ too small; lost sales are not estimated
(science § 4, "Lost sales").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from scipy.special import ndtri

from features.bucket_logic import refuse_other_version
from schemas.events import Stock
from schemas.listings import Listing


class StockLevel(NamedTuple):
    """Newest stock record of a listing."""

    event_time_ms: int
    on_hand: int
    inbound: int
    lead_time_days: float


@cache
def service_factor(probability: float) -> float:
    """Return z, at which a normal variable exceeds its mean plus z standard deviations with a probability.

    Parameters
    ----------
    probability : stock-out probability per lead time, in (0, 1) (002 § 6.2: .05).

    Examples
    --------
    >>> service_factor(0.05), service_factor(0.5)
    (1.6448536269514722, 0.0)
    """
    return float(ndtri(1 - probability))


def daily_sd(complete_days: Sequence[float], mean_per_day: float, min_days: int) -> float:
    """Return the standard deviation of units per day.

    It is the sample's from ``min_days`` complete days on, and Poisson's with fewer days.

    Examples
    --------
    >>> daily_sd([3, 5], 4.0, min_days=7)
    2.0
    >>> round(daily_sd([2, 4, 2, 4, 2, 4, 3], 3.0, min_days=7), 6)
    1.0
    """
    n = len(complete_days)
    if n < min_days:
        return math.sqrt(max(mean_per_day, 0.0))
    mean = sum(complete_days) / n
    return math.sqrt(sum((x - mean) ** 2 for x in complete_days) / (n - 1))


def cover_days(on_hand: int, mean_per_day: float) -> float | None:
    """Return the number of days that the stock lasts (1), or None without sales.

    Examples
    --------
    >>> cover_days(30, 4.0), cover_days(30, 0.0)
    (7.5, None)
    """
    return on_hand / mean_per_day if mean_per_day > 0 else None


def safety_stock(sd_per_day: float, lead_time_days: float, z: float) -> float:
    """Return the safety stock in units (2); ``z`` is that of :func:`service_factor`.

    Examples
    --------
    >>> safety_stock(2.0, 4.0, z=2.0)
    8.0
    """
    return z * sd_per_day * math.sqrt(lead_time_days)


def reorder_point(mean_per_day: float, sd_per_day: float, lead_time_days: float, z: float) -> float:
    """Return the stock level at which to reorder (3).

    Examples
    --------
    >>> reorder_point(5.0, 2.0, 4.0, z=2.0)
    28.0
    """
    return max(mean_per_day, 0.0) * lead_time_days + safety_stock(sd_per_day, lead_time_days, z)


def stock_out_probability(on_hand: int, mean_per_day: float, sd_per_day: float, lead_time_days: float) -> float:
    """Return the probability, in [0, 1], that demand over the lead time exceeds the units on hand (4).

    Examples
    --------
    >>> stock_out_probability(0, 5.0, 1.0, 2.0) > 0.999, stock_out_probability(10, 0.0, 0.0, 2.0)
    (True, 0.0)
    """
    mean, sd = mean_per_day * lead_time_days, sd_per_day * math.sqrt(lead_time_days)
    if sd <= 0:
        return 1.0 if mean > on_hand else 0.0
    return 0.5 * math.erfc((on_hand + 0.5 - mean) / (sd * math.sqrt(2)))


class StockBook:
    """Newest stock level per listing of a bucket, by event time; of equal times the later record."""

    version = 1

    def __init__(self) -> None:
        self._levels: dict[str, StockLevel] = {}

    def observe(self, stock: Stock) -> bool:
        """Store a record; return whether it is now the newest one."""
        key = Listing.key_of(stock)
        held = self._levels.get(key)
        if held is not None and held.event_time_ms > stock.event_time_ms:
            return False
        self._levels[key] = StockLevel(stock.event_time_ms, stock.on_hand, stock.inbound, stock.lead_time_days)
        return True

    def level(self, listing_key: str) -> StockLevel | None:
        """Return the newest level, or None without a record."""
        return self._levels.get(listing_key)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"v": self.version, "levels": {key: list(level) for key, level in self._levels.items()}}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("StockBook", self.version, snapshot)
        self._levels = {key: StockLevel(*level) for key, level in snapshot["levels"].items()}
