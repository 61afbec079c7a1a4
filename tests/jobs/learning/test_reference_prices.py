"""Reference prices and stock at the minutes of cells, against a book that is read every time."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from features.books.offers import RivalBook
from jobs.learning.estimators import ElasticitySettings
from jobs.learning.reference_prices import MinuteFact, OutOfStock, moments_of, out_of_stock
from schemas.events import Offer

MINUTE_MS = 60_000
SETTINGS = ElasticitySettings(kind="within")


def offer(at_ms: int, competitor: str, price: int, **more: Any) -> Offer:
    given: dict[str, Any] = {
        "shipping_minor": 0, "in_stock": True, "currency": "USD", "pack_size": 1, "source": "s",
        "match_confidence": 1.0,
    } | more  # fmt: skip
    return Offer("e", at_ms, "shop", "web", "tea", "tea", competitor, price, **given)


def fact(each: Offer, series: int = 0) -> MinuteFact:
    end_ms = each.event_time_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
    return series, end_ms, asdict(each) | {"own_currency": "USD", "own_pack": 1}


@pytest.mark.parametrize("seed", range(20))
def test_a_kept_reference_price_ends_with_the_validity_of_its_offers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offers = [
        offer(
            int(rng.integers(300)) * MINUTE_MS, f"r{rng.integers(3)}", int(rng.integers(800, 1200)),
            validity_ms=int(rng.integers(1, 40)) * MINUTE_MS, in_stock=bool(rng.random() < 0.8),
            currency=str(rng.choice(["USD", "EUR"], p=[0.6, 0.4])),
        )
        for _ in range(60)
    ]  # fmt: skip
    offers.sort(key=lambda each: each.event_time_ms)
    minutes = [(0, minute * MINUTE_MS) for minute in range(1, 320)]
    got = list(moments_of(minutes, map(fact, offers), OutOfStock(), SETTINGS))
    book, centre, waiting = RivalBook(SETTINGS.rivals), None, list(offers)
    for moment in got:
        while waiting and fact(waiting[0])[1] <= moment.window_end_ms:
            book.observe(waiting.pop(0), currency="USD")
        reference = book.reference("shop/web/tea", moment.window_end_ms, currency="USD")
        expected = 0.0
        if reference is not None and reference.fresh:
            centre = math.log(reference.mean_minor) if centre is None else centre
            expected = math.log(reference.mean_minor) - centre
        assert moment.deviation == pytest.approx(expected, abs=1e-12)
    assert len({moment.deviation for moment in got}) > 10


def test_offers_of_other_listings_are_skipped() -> None:
    offers = [fact(offer(0, "a", 900), 0), fact(offer(0, "a", 500), 1), fact(offer(0, "a", 1000), 2)]
    minutes = [(0, MINUTE_MS), (2, MINUTE_MS), (2, 2 * MINUTE_MS)]
    assert [m.deviation for m in moments_of(minutes, iter(offers), OutOfStock(), SETTINGS)] == [0.0, 0.0, 0.0]


def level(at_ms: int, on_hand: int, series: int = 0) -> MinuteFact:
    return series, at_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS, {"event_time_ms": at_ms, "on_hand": on_hand}


def test_time_out_of_stock_is_shared_among_periods() -> None:
    out = out_of_stock([level(30_000, 0), level(150_000, 7), level(200_000, 0), level(170_000, 5)])
    assert out.spans == {0: [(30_000, 150_000), (200_000, None)]}
    assert out.by_period(100_000, 0, 250_000) == {(0, 0): 70_000.0, (0, 1): 50_000.0, (0, 2): 50_000.0}
    assert out.share(0, 120_000, 180_000) == 0.5 and out.share(1, 0, 60_000) == 1.0
