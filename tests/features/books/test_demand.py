"""Sale probabilities per price point, and DemandBook.

The file exceeds 300 lines because the formulas and the book that counts for them share their builders. Both are
tested against the same equations.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.books.demand import (
    DemandBook,
    DemandSettings,
    PointCounts,
    beta_posterior,
    cumulative_sale_probability,
    non_increasing,
    sale_probabilities,
    willingness_to_pay,
)
from features.bucket_logic import Batch, SnapshotError
from features.market_time import MarketTime
from schemas.records.counts import Cell

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
KEY = "acme/web-us-usd/s1"


def a_cell(sku: str = "s1", segment: str = "myopic", price: int = 1000, **counts: int) -> Cell:
    return Cell("acme", "web-us-usd", sku, sku, "base", segment, price, "USD", **counts)


def some_counts(prices: list[int], n: list[float], y: list[float], d: list[float] | None = None) -> PointCounts:
    return PointCounts(
        np.array(prices), np.array(n, float), np.array(y, float), np.array(y, float), np.array(d or [0.0] * len(n))
    )


def through_json(snapshot: dict[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY))


def test_printed_formula_is_biased_downward() -> None:
    # Uniform offers on the reference market: the true value at the lowest price is .8, (2) gives .45.
    true = np.array([0.8, 0.6, 0.3, 0.1])
    prices, offered = [2990, 3490, 3990, 4490], np.full(4, 10_000.0)
    printed = cumulative_sale_probability(prices, offered, offered * true)
    assert printed[0] == pytest.approx(0.45)
    assert np.all(printed <= true + 1e-12)
    ours = sale_probabilities(
        prices, some_counts(prices, offered.tolist(), (offered * true).tolist()), elasticity=(-4, 1)
    )
    np.testing.assert_allclose(ours.mean, true, atol=0.01)


@given(
    n=st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    eps=st.floats(-6, -0.1),
    eta=st.floats(0, 2),
    now=st.floats(-0.5, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_posterior_is_a_probability_that_decreases_with_price(
    n: list[int], seed: int, eps: float, eta: float, now: float
) -> None:
    rng = np.random.default_rng(seed)
    prices = np.sort(rng.choice(np.arange(500, 2000), len(n), replace=False))
    y = [float(rng.integers(0, k + 1)) for k in n]
    counts = some_counts(prices.tolist(), [float(k) for k in n], y, rng.normal(0, 0.1, len(n)).tolist())
    requested = np.unique(np.concatenate([prices, rng.integers(500, 2000, 6)]))
    got = sale_probabilities(
        requested, counts, elasticity=(eps, 0.4), rival_elasticity=(eta, 0.3), offer_deviation=now
    )
    assert np.all((got.mean > 0) & (got.mean < 1))
    assert np.all(np.diff(got.mean) <= 1e-12)
    assert np.all(got.sd > 0)
    assert np.all(got.orders <= got.n)
    assert np.all(got.prior_weight * got.prior_mean <= 1 / DemandSettings().curve_sd ** 2), (
        "curve_sd bounds the weight of the curve"
    )


def test_recorded_counts_reproduce_the_posterior_bit_for_bit() -> None:
    counts = some_counts([900, 1000, 1100], [301.5, 1200, 77], [20, 61, 2], [0.01, -0.02, 0.1])
    record = orjson.loads(orjson.dumps(counts.to_record()))
    one, two = (
        sale_probabilities(
            [880, 1000, 1200], c, elasticity=(-2.3, 0.3), rival_elasticity=(0.4, 0.2), offer_deviation=0.03
        )
        for c in (counts, PointCounts.from_record(record))
    )
    for field in ("mean", "sd", "n", "orders", "prior_mean", "prior_weight"):
        assert getattr(one, field).tolist() == getattr(two, field).tolist()


def test_cheaper_rival_scales_all_probabilities_equally() -> None:
    counts = some_counts([900, 1000], [2000, 2000], [200, 150])
    same, cheaper = (
        sale_probabilities(
            [900, 1000, 1100], counts, elasticity=(-2, 0.2), rival_elasticity=(0.8, 0.1), offer_deviation=d
        )
        for d in (0.0, -0.2)
    )
    np.testing.assert_allclose(cheaper.mean / same.mean, np.exp(-0.16), rtol=0.01)


def test_curve_excludes_the_points_own_cells() -> None:
    base = some_counts([900, 1000], [2000, 2000], [200, 150])
    odd = base._replace(orders=np.array([200.0, 900.0]))
    one, two = (sale_probabilities([1000], c, elasticity=(-2, 0.2)) for c in (base, odd))
    assert one.prior_mean[0] == pytest.approx(two.prior_mean[0])


def test_90_percent_intervals_cover_the_true_probabilities() -> None:
    rng = np.random.default_rng(5)
    inside = total = 0
    prices = np.array([800, 900, 1000, 1100, 1200])
    for _ in range(300):
        beta, level = rng.normal(-2, 0.4), 0.06 * np.exp(rng.normal(0, 0.3))
        true = np.minimum(level * (prices / 1000) ** beta * np.exp(rng.normal(0, 0.05, 5)), 0.9)
        n = rng.integers(0, 1500, 5) * (rng.random(5) < 0.7)
        y = rng.binomial(n, true)
        estimate = beta + rng.normal(0, 0.25)
        got = sale_probabilities(
            prices, some_counts(prices.tolist(), n.tolist(), y.tolist()), elasticity=(estimate, 0.25)
        )
        low, high = got.interval()
        inside += int(((true >= low) & (true <= high)).sum())
        total += 5
    assert inside / total >= 0.85


def test_beta_posterior_equals_the_closed_form() -> None:
    mean, sd = beta_posterior([0, 10], [0, 4], [0.2, 0.2], [10, 10])
    np.testing.assert_allclose(mean, [0.2, 0.3])
    np.testing.assert_allclose(sd, [np.sqrt(0.2 * 0.8 / 11), np.sqrt(0.3 * 0.7 / 21)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_pooling_preserves_the_weighted_mean(mean: list[float], seed: int) -> None:
    weight = np.random.default_rng(seed).uniform(0.5, 5, len(mean))
    pooled = non_increasing(mean, weight)
    assert np.all(np.diff(pooled) <= 1e-12)
    assert pooled @ weight == pytest.approx(np.array(mean) @ weight)


def test_positive_elasticity_has_no_willingness_to_pay() -> None:
    with pytest.raises(ValueError, match="expected below 0"):
        willingness_to_pay(1000, 0.3)


def test_unordered_prices_are_rejected() -> None:
    with pytest.raises(ValueError, match="expected ascending prices"):
        sale_probabilities([1000, 900], PointCounts.none(), elasticity=(-2, 1))


def some_batches(seed: int, minutes: int = 90) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [
        Batch(
            0,
            (t + 1) * MINUTE,
            tuple(
                a_cell(f"s{i}", segment, int(rng.choice([900, 950, 1000, 1050])), exposures=int(n),
                       orders=int(rng.binomial(n, 0.1)), units=int(rng.binomial(n, 0.1)))
                for i in range(3) for segment in ("myopic", "strategic")
                if (n := rng.integers(0, 12)) > 0
            ),
        )
        for t in range(minutes)
    ]  # fmt: skip


def test_restarts_and_repeated_batches_change_nothing() -> None:
    reference, restarted = DemandBook(), DemandBook()
    for at, batch in enumerate(some_batches(1)):
        offer = 900.0 + at
        reference.observe(batch, offer_of=lambda _, offer=offer: offer)
        restarted.observe(batch, offer_of=lambda _, offer=offer: offer)
        restarted.observe(batch)
        if at % 7 == 0:
            fresh = DemandBook()
            fresh.restore(through_json(restarted.snapshot()))
            restarted = fresh
    assert through_json(reference.snapshot()) == through_json(restarted.snapshot())


def test_snapshot_of_another_version_is_rejected() -> None:
    with pytest.raises(SnapshotError, match="expected snapshot version 1"):
        DemandBook().restore({"v": 2})


def test_exposures_count_in_full_after_the_order_horizon() -> None:
    book = DemandBook()
    book.observe(Batch(0, DAY, (a_cell(exposures=100),)))
    assert book.counts(KEY, "myopic").exposures[0] == pytest.approx(0)
    for minute in range(1, 61):
        book.observe(Batch(0, DAY + minute * MINUTE))
    assert book.counts(KEY, "myopic").exposures[0] == pytest.approx(100, rel=0.01)


def test_segment_deviates_from_the_listings_elasticity() -> None:
    book, elasticity = DemandBook(), (-2.0, 0.1)
    for hour in range(1, 6):
        sold = [
            a_cell(segment=segment, price=price, exposures=1_000, orders=orders, units=orders)
            for segment in ("all", "myopic")
            for price, orders in ((800, 50), (1_000, 50))
        ]
        book.observe(Batch(0, hour * HOUR, tuple(sold)))
    book.observe(Batch(0, 7 * HOUR))
    book.learn_segment_deviations(lambda key: elasticity[0])
    myopic, default = (
        book.segment_elasticity(segment, book.counts(KEY, segment), elasticity) for segment in ("myopic", "all")
    )
    assert myopic[0] > -1.5, "equal orders at both prices mean less elastic demand than the listing's"
    assert myopic[1] > elasticity[1]
    assert default == elasticity


def test_exposures_without_stock_do_not_count() -> None:
    book = DemandBook()
    book.observe(Batch(0, DAY, (a_cell(exposures=100),)), out_of_stock={KEY})
    book.observe(Batch(0, DAY + HOUR))
    assert book.counts(KEY, "myopic").exposures.tolist() == [0.0]


def test_merging_price_points_preserves_the_counts() -> None:
    book = DemandBook(DemandSettings(max_points=6))
    rng = np.random.default_rng(0)
    shown = 0
    for minute in range(1, 50):
        n = int(rng.integers(1, 20))
        shown += n
        book.observe(Batch(0, minute * MINUTE, (a_cell(price=int(rng.integers(900, 1100)), exposures=n),)))
    held = book.snapshot()
    assert len(held["keys"]) == 6
    assert held["counts"][:, 0].sum() == pytest.approx(shown)
    again = DemandBook(DemandSettings(max_points=6))
    again.restore(through_json(held))
    assert through_json(again.snapshot()) == through_json(held)


def test_shares_requests_and_units_without_data_are_the_prior() -> None:
    book = DemandBook()
    assert book.segment_shares(KEY) == pytest.approx({"all": 0.2, "myopic": 0.4, "strategic": 0.4})
    assert book.units_per_order(book.counts(KEY, "myopic")) == 1.0
    assert book.requests_expected(KEY, 0, DAY) == pytest.approx(20)


def test_shares_requests_and_units_converge_to_the_data() -> None:
    book = DemandBook()
    for minute in range(1, 2 * 1440):
        cells = (
            a_cell(exposures=1, orders=1, units=3),
            a_cell(segment="strategic", price=900, exposures=4),
        )
        book.observe(Batch(0, minute * MINUTE, cells))
    assert book.segment_shares(KEY)["myopic"] == pytest.approx(0.2, abs=0.01)
    assert book.units_per_order(book.counts(KEY, "myopic")) == pytest.approx(3, abs=0.05)
    assert book.requests_expected(KEY, 2 * DAY, DAY) == pytest.approx(5 * 1440, rel=0.12)


def test_expected_requests_depend_on_the_hour() -> None:
    book = DemandBook()
    for minute in range(1, 2 * 1440):
        busy = (minute // 60) % 24 >= 12
        book.observe(Batch(0, minute * MINUTE, (a_cell(exposures=9 if busy else 1),)))
    night, day = (book.requests_expected(KEY, 8 * DAY + h * HOUR, HOUR) for h in (3, 15))
    assert day > 4 * night


def test_snapshot_has_at_most_two_kilobytes_per_listing() -> None:
    book, rng = DemandBook(), np.random.default_rng(3)
    for minute in range(1, 200):
        cells = tuple(
            a_cell(
                f"s{i:02d}", s, int(rng.integers(850, 1150)), exposures=int(rng.integers(1, 9)), orders=1, units=1
            )
            for i in range(8)
            for s in ("myopic", "strategic")
        )
        book.observe(Batch(0, minute * MINUTE, cells), offer_of=lambda _: float(rng.integers(900, 1000)))
    size = len(orjson.dumps(book.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert size / 8 < 2_000


def test_error_of_an_invalid_setting_names_the_field() -> None:
    with pytest.raises(ValueError, match="memory_days: expected a number above 0"):
        DemandSettings(memory_days=0)


def test_snapshot_of_version_1_is_restored() -> None:
    kept = orjson.loads((Path(__file__).parents[2] / "golden" / "snapshots" / "demand_book.v1.json").read_bytes())
    book = DemandBook()
    book.restore(kept)
    profile = kept.pop("profile")
    assert through_json(book.snapshot()) == kept | {"profiles": {"web-us-usd": profile}, "tilts": {}}
    assert book.counts("acme/web-us-usd/s0", "myopic").prices.tolist() == [900, 950, 1000, 1050]


def a_book_with_evening_demand(
    market_time: MarketTime, first_ms: int, hours: int, markets: dict[str, str]
) -> DemandBook:
    """Return a book with 900 requests per hour from 18:00 in each market's local time and 100 before."""
    book = DemandBook(market_time=market_time)
    for hour in range(hours):
        at = first_ms + hour * HOUR
        busy = {m: datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).hour >= 18 for m, zone in markets.items()}
        cells = [
            Cell("acme", m, "s1", "s1", "base", "all", 1000, "USD", exposures=900 if b else 100)
            for m, b in busy.items()
        ]
        book.observe(Batch(0, at + MINUTE, tuple(cells)))
    return book


@pytest.mark.parametrize(
    ("market", "zone", "day", "hours"),
    [
        ("eu", "Europe/Berlin", "2026-03-29", 23),
        ("eu", "Europe/Berlin", "2026-10-25", 25),
        ("us", "America/New_York", "2026-03-08", 23),
        ("us", "America/New_York", "2026-11-01", 25),
    ],
)
def test_expected_requests_depend_on_local_hours_when_daylight_saving_changes(
    market: str, zone: str, day: str, hours: int
) -> None:
    midnight = round(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    markets = {market: zone, "other": "Asia/Tokyo"}
    book = a_book_with_evening_demand(MarketTime(markets), midnight - 14 * DAY, 14 * 24, markets)
    key = f"acme/{market}/s1"
    evening = midnight + (hours - 6) * HOUR
    before, after = (book.requests_expected(key, at, HOUR) for at in (evening - HOUR, evening))
    assert after > 5 * before
    night, whole = book.requests_expected(key, midnight, HOUR), book.requests_expected(key, midnight, hours * HOUR)
    assert night < 0.2 * after
    assert whole == pytest.approx(6 * after + (hours - 6) * night, rel=0.02)


def test_profile_of_the_whole_bucket_applies_to_markets_in_utc_only() -> None:
    kept = orjson.loads((Path(__file__).parents[2] / "golden" / "snapshots" / "demand_book.v1.json").read_bytes())
    in_utc, in_berlin = DemandBook(), DemandBook(market_time=MarketTime({"web-us-usd": "Europe/Berlin"}))
    for book in (in_utc, in_berlin):
        book.restore(kept)
    assert through_json(in_utc.snapshot())["profiles"] == {"web-us-usd": kept["profile"]}
    assert not np.any(in_berlin.snapshot()["profiles"]["web-us-usd"])


def test_offer_deviation_is_relative_to_the_first_reference_price() -> None:
    book, rivals = DemandBook(), iter([1000.0, 1100.0])
    for minute in (1, 2):
        offer = next(rivals)
        book.observe(Batch(0, minute * MINUTE, (a_cell(exposures=100),)), offer_of=lambda key, o=offer: o)
    book.observe(Batch(0, 3 * HOUR))
    assert book.counts(KEY, "myopic").offer_deviation[0] == pytest.approx(np.log(1.1) / 2, rel=0.01)


def test_expected_requests_correct_for_the_hours_of_observation() -> None:
    book, whole, evenings = DemandBook(), "acme/web-us-usd/s1", "acme/web-us-usd/s2"
    for tenth in range(24 * 6 * 7):
        busy = tenth % 144 >= 72
        n = 200 if busy else 50
        cells = (a_cell(exposures=n), *((a_cell("s2", exposures=n),) if busy else ()))
        book.observe(Batch(0, tenth * 10 * MINUTE + MINUTE, cells), out_of_stock=() if busy else {evenings})
    requested = [book.requests_expected(key, 7 * DAY, DAY) for key in (whole, evenings)]
    assert requested[1] == pytest.approx(requested[0], rel=0.1)
