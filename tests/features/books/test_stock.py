"""Cover, safety stock, reorder point and stock-out probability, and StockBook."""

from __future__ import annotations

import math
import random

import orjson
import pytest

from features.books.stock import (
    StockBook,
    daily_sd,
    reorder_point,
    safety_stock,
    service_factor,
    stock_out_probability,
)
from schemas.events import Stock


def a_stock(at: int, on_hand: int) -> Stock:
    return Stock("e", at, "acme", "web", "s1", "s1", on_hand, 5, 3.0)


def test_newest_level_is_kept_and_restored():
    book = StockBook()
    assert book.observe(a_stock(5, 10)) and not book.observe(a_stock(4, 99)) and book.observe(a_stock(5, 11))
    again = StockBook()
    again.restore(orjson.loads(orjson.dumps(book.snapshot())))
    assert again.level("acme/web/s1") == book.level("acme/web/s1") == (5, 11, 5, 3.0)
    assert book.level("acme/web/none") is None


def test_daily_sd_uses_the_sample_after_a_week():
    assert daily_sd([0] * 6 + [70], 10.0, 7) == pytest.approx(26.4575, abs=1e-3)
    assert daily_sd([1, 2, 3], 9.0, 7) == 3.0
    assert daily_sd([], -4.0, 7) == 0.0


def test_stock_out_probability_at_the_reorder_point_is_five_percent():
    mean, sd, lead = 40.0, math.sqrt(40.0), 4.0
    level = math.ceil(reorder_point(mean, sd, lead, service_factor(0.05)))
    assert stock_out_probability(level, mean, sd, lead) == pytest.approx(0.05, abs=0.01)
    rng = random.Random(1)
    demands = [rng.gauss(mean * lead, sd * math.sqrt(lead)) for _ in range(20_000)]
    assert sum(d > level + 0.5 for d in demands) / len(demands) == pytest.approx(0.05, abs=0.01)


def test_stock_out_probability_decreases_with_stock():
    chances = [stock_out_probability(n, 5.0, 2.0, 3.0) for n in range(40)]
    assert chances == sorted(chances, reverse=True) and all(0 <= p <= 1 for p in chances)


def test_safety_stock_without_lead_time_is_zero():
    assert safety_stock(3.0, 0.0, 1.6) == 0.0


def test_stock_out_probability_without_variance_is_zero_or_one():
    assert stock_out_probability(9, 5.0, 0.0, 2.0) == 1.0
    assert stock_out_probability(10, 5.0, 0.0, 2.0) == 0.0


def test_stock_out_probability_half_a_unit_below_expected_sales_is_one_half():
    assert stock_out_probability(9, 9.5, 2.0, 1.0) == pytest.approx(0.5)
