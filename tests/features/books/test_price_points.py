"""The current price is the one quoted most lately, explored neighbours or not."""

from __future__ import annotations

import random

import orjson
import pytest

from features.books.price_points import PricePoints
from features.bucket_logic import SnapshotError

MINUTE = 60_000


def shown(points: PricePoints, minute: int, *counts: tuple[int, int, int]) -> None:
    for price, exposures, orders in counts:
        points.observe(0, price, exposures=exposures, orders=orders, at_ms=minute * MINUTE)
    points.update_current(0, minute * MINUTE)


def a_table() -> PricePoints:
    points = PricePoints()
    points.grow(1)
    return points


def test_exploration_does_not_look_like_a_price_change():
    rng, points = random.Random(1), a_table()
    for minute in range(600):
        price = rng.choices([900, 1000, 1100], [0.02, 0.96, 0.02])[0]
        shown(points, minute, (price, 1, 0))
        if minute > 60:
            assert points.current_minor(0) == 1000
    assert points.changed_ms(0) < 60 * MINUTE


def test_a_new_price_is_dated_to_its_first_quote():
    points = a_table()
    for minute in range(300):
        shown(points, minute, (1000 if minute < 200 else 950, 5, 1))
    assert (points.current_minor(0), points.changed_ms(0)) == (950, 200 * MINUTE)
    assert points.counts(0, 1000) == (1000, 200) and points.counts(0, 7) == (0, 0)


def test_orders_after_the_price_changed_count_at_the_old_price_and_lead_nothing():
    points = a_table()
    shown(points, 0, (1000, 5, 0))
    shown(points, 1, (950, 0, 1))
    assert points.current_minor(0) == 1000 and points.counts(0, 950) == (0, 1)


def test_only_the_latest_prices_are_kept_and_never_the_leader_dropped():
    points = a_table()
    shown(points, 0, (1, 10_000, 0))
    for minute in range(1, 40):
        shown(points, minute, (100 + minute, 1, 0))
    assert points.current_minor(0) == 1
    assert len(points.snapshot()["points"][0]) == 8


def test_a_restart_anywhere_changes_nothing():
    rng = random.Random(3)
    history = [(m, rng.choice([900, 1000, 1100, 1200]), rng.randint(0, 9)) for m in range(200)]
    whole, again = a_table(), a_table()
    for minute, price, exposures in history:
        shown(whole, minute, (price, exposures, 1))
    for i, (minute, price, exposures) in enumerate(history):
        if i == 77:
            saved = orjson.dumps(again.snapshot())
            again = PricePoints()
            again.restore(orjson.loads(saved))
        shown(again, minute, (price, exposures, 1))
    assert again.snapshot() == whole.snapshot()
    with pytest.raises(SnapshotError):
        again.restore({"v": 0})
