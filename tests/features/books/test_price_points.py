"""Current price and counts per price, with and without exploration."""

from __future__ import annotations

import random

import orjson
import pytest

from features.books.price_points import PricePoints
from features.bucket_logic import SnapshotError

MINUTE = 60_000


def observe(points: PricePoints, minute: int, *counts: tuple[int, int, int]) -> None:
    for price, exposures, orders in counts:
        points.observe(0, price, exposures=exposures, orders=orders, at_ms=minute * MINUTE)
    points.update_current(0, minute * MINUTE)


def some_points() -> PricePoints:
    points = PricePoints()
    points.grow(1)
    return points


def test_exploration_is_not_a_price_change():
    rng, points = random.Random(1), some_points()
    for minute in range(600):
        price = rng.choices([900, 1000, 1100], [0.02, 0.96, 0.02])[0]
        observe(points, minute, (price, 1, 0))
        if minute > 60:
            assert points.current_minor(0) == 1000
    assert points.changed_ms(0) < 60 * MINUTE


def test_price_change_is_dated_to_the_first_quote():
    points = some_points()
    for minute in range(300):
        observe(points, minute, (1000 if minute < 200 else 950, 5, 1))
    assert (points.current_minor(0), points.changed_ms(0)) == (950, 200 * MINUTE)
    assert points.counts(0, 1000) == (1000, 200) and points.counts(0, 7) == (0, 0)


def test_orders_without_exposures_do_not_change_the_current_price():
    points = some_points()
    observe(points, 0, (1000, 5, 0))
    observe(points, 1, (950, 0, 1))
    assert points.current_minor(0) == 1000 and points.counts(0, 950) == (0, 1)


def test_current_price_is_never_dropped():
    points = some_points()
    observe(points, 0, (1, 10_000, 0))
    for minute in range(1, 40):
        observe(points, minute, (100 + minute, 1, 0))
    assert points.current_minor(0) == 1
    assert len(points.snapshot()["points"][0]) == 8


def test_restart_changes_nothing():
    rng = random.Random(3)
    history = [(m, rng.choice([900, 1000, 1100, 1200]), rng.randint(0, 9)) for m in range(200)]
    whole, again = some_points(), some_points()
    for minute, price, exposures in history:
        observe(whole, minute, (price, exposures, 1))
    for i, (minute, price, exposures) in enumerate(history):
        if i == 77:
            saved = orjson.dumps(again.snapshot())
            again = PricePoints()
            again.restore(orjson.loads(saved))
        observe(again, minute, (price, exposures, 1))
    assert again.snapshot() == whole.snapshot()


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError):
        PricePoints().restore({"v": 0})
