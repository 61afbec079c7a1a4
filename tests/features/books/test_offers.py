"""Reference price of the rivals."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.books.offers import DAY_MS, RivalBook, RivalSettings, reference_offer
from features.bucket_logic import SnapshotError
from schemas.events import Offer


def an_offer(rival: str = "r1", price: int = 1000, at: int = 0, **more: object) -> Offer:
    base: dict[str, object] = {
        "shipping_minor": 0, "in_stock": True, "currency": "USD", "pack_size": 1, "source": "t",
        "match_confidence": 1.0,
    }  # fmt: skip
    return Offer("e", at, "acme", "web", "s1", "s1", rival, price, **(base | more))  # type: ignore[arg-type]


def test_reference_without_offers_in_stock_is_none():
    assert reference_offer([], 0, currency="USD") is None
    assert reference_offer([an_offer(in_stock=False)], 0, currency="USD") is None


@pytest.mark.parametrize("difference", [{"currency": "EUR"}, {"pack_size": 6}, {"match_confidence": 0.4}])
def test_offer_that_is_not_comparable_is_ignored(difference):
    assert reference_offer([an_offer(**difference)], 0, currency="USD") is None
    reference = reference_offer([an_offer("r2", 900), an_offer("r1", 10, **difference)], 0, currency="USD")
    assert reference is not None and reference.mean_minor == 900


def test_reference_price_includes_shipping_and_rounds_half_to_even():
    reference = reference_offer([an_offer("r1", 1000, shipping_minor=5), an_offer("r2", 1000)], 0, currency="USD")
    assert reference is not None and (reference.mean_minor, reference.reference_minor) == (1002.5, 1002)


def test_validity_of_an_offer_overrides_the_default():
    offers = [an_offer("r1", 1000, validity_ms=10), an_offer("r2", 2000)]
    assert reference_offer(offers, 10, currency="USD").mean_minor == 1500
    assert reference_offer(offers, 11, currency="USD").mean_minor == 2000


def test_reference_of_stale_offers_is_marked_as_stale():
    reference = reference_offer([an_offer()], DAY_MS + 1, currency="USD")
    assert reference is not None and not reference.fresh and reference.mean_minor == 1000


def test_offer_in_the_future_does_not_count():
    assert reference_offer([an_offer(at=11)], 10, currency="USD") is None


offers = st.lists(
    st.builds(
        an_offer,
        st.sampled_from(["r1", "r2", "r3"]),
        st.integers(1, 5000),
        st.integers(0, 2 * DAY_MS),
        in_stock=st.booleans(),
        currency=st.sampled_from(["USD", "EUR"]),
        shipping_minor=st.integers(0, 500),
    ),
    unique_by=lambda o: (o.competitor, o.event_time_ms),
    max_size=12,
)


@given(offers, st.randoms(use_true_random=False))
def test_book_equals_the_definition_for_any_order_of_offers(seen, order: random.Random):
    shuffled = list(seen)
    order.shuffle(shuffled)
    book = RivalBook()
    for offer in shuffled:
        book.observe(offer, currency="USD")
    comparable = [o for o in seen if o.currency == "USD"]
    for now in (2 * DAY_MS, 3 * DAY_MS):
        assert book.reference("acme/web/s1", now, currency="USD") == reference_offer(
            comparable, now, currency="USD"
        )


@given(offers)
def test_book_survives_a_restart(seen):
    book = RivalBook()
    for offer in seen:
        book.observe(offer, currency="USD")
    again = RivalBook()
    again.restore(orjson.loads(orjson.dumps(book.snapshot())))
    assert again.offers("acme/web/s1") == book.offers("acme/web/s1")
    assert again.snapshot() == book.snapshot()


def test_offer_in_another_currency_does_not_replace_an_earlier_offer():
    book = RivalBook()
    book.observe(an_offer("r1", 900, at=1), currency="USD")
    assert not book.observe(an_offer("r1", 1, at=2, currency="EUR"), currency="USD")
    assert book.reference("acme/web/s1", 3, currency="USD").mean_minor == 900


def test_full_book_drops_the_rival_with_the_oldest_offer():
    book = RivalBook(RivalSettings(max_rivals=2))
    for at, rival in enumerate(("r1", "r2", "r3")):
        book.observe(an_offer(rival, at=at), currency="USD")
    assert [o.competitor for o in book.offers("acme/web/s1")] == ["r2", "r3"]


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError):
        RivalBook().restore({"v": 0, "listings": {}})


def test_rivals_only_excludes_reference_offers() -> None:
    offers = [an_offer("r1", 1000), an_offer("shelf", 400, offer_kind="reference")]
    both = reference_offer(offers, 0, currency="USD")
    rivals = reference_offer(offers, 0, currency="USD", rivals_only=True)
    assert (both.mean_minor, both.rivals, rivals.mean_minor, rivals.rivals) == (700, 2, 1000, 1)


def test_snapshot_contains_the_offer_kind() -> None:
    book, again = RivalBook(), RivalBook()
    book.observe(an_offer("shelf", 1000, offer_kind="reference"), currency="USD")
    book.observe(an_offer("r1", 1000), currency="USD")
    again.restore(book.snapshot())
    assert again.offers("acme/web/s1") == book.offers("acme/web/s1")
