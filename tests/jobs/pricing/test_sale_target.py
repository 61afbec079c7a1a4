"""Sale targets: the part of a period, by time and by expected requests."""

from __future__ import annotations

import pytest

from features.books.demand import DemandBook
from features.bucket_logic import Batch
from jobs.pricing.policy import Policy
from jobs.pricing.sale_target import target_part
from schemas.records.counts import Cell
from schemas.time_units import MINUTE_MS

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LISTING = "acme/web/s1"


def an_evening_shop(days: int = 7) -> DemandBook:
    """Return a book with four times as many requests after noon as before it."""
    book = DemandBook()
    for hour in range(24 * days):
        n = 200 if hour % 24 >= 12 else 50
        cell = Cell("acme", "web", "s1", "s1", "base", "all", 1000, "USD", exposures=n)
        book.observe(Batch(0, hour * HOUR_MS + MINUTE_MS, cells=(cell,)))
    return book


@pytest.mark.parametrize(("weighting", "morning"), [("time", 0.5), ("volume", 0.2)])
def test_part_of_a_morning_follows_the_weighting(weighting: str, morning: float) -> None:
    policy, book = Policy.from_dict({"objective": {"target_weighting": weighting}}), an_evening_shop()
    start_ms = 7 * DAY_MS
    part = target_part(policy, book, LISTING, start_ms, 12 * HOUR_MS, start_ms + DAY_MS)
    assert part == pytest.approx(morning, abs=0.02)


@pytest.mark.parametrize("weighting", ["time", "volume"])
def test_part_of_the_whole_rest_is_one(weighting: str) -> None:
    policy, book = Policy.from_dict({"objective": {"target_weighting": weighting}}), an_evening_shop()
    start_ms = 7 * DAY_MS
    assert target_part(policy, book, LISTING, start_ms, DAY_MS, start_ms + DAY_MS) == 1.0
