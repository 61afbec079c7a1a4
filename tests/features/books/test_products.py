"""Catalog-dependent checks and CatalogBook."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from features.books.products import (
    CatalogBook,
    rejected_cell_record,
    validate_cell,
    validate_cells,
    validate_offer,
)
from features.bucket_logic import SnapshotError
from schemas.codes import RejectCode
from schemas.events import CatalogEntry, Offer
from schemas.records.counts import Cell


def an_entry(sku: str = "s1", currency: str = "USD", at: int = 1, **more: object) -> CatalogEntry:
    return CatalogEntry("e", at, "acme", "web", sku, sku, "shoes", "margin", currency, 1, True, **more)  # type: ignore[arg-type]


def a_cell(sku: str = "s1", currency: str = "USD", **counts: int) -> Cell:
    return Cell("acme", "web", sku, sku, "base", "all", 999, currency, **counts)


def a_book(*entries: CatalogEntry) -> CatalogBook:
    book = CatalogBook()
    for entry in entries:
        book.observe(entry)
    return book


def test_cell_of_a_known_listing_in_its_currency_is_valid():
    assert validate_cell(a_cell(), a_book(an_entry())) is None


def test_rejection_states_unknown_listing_or_wrong_currency():
    valid, rejected = validate_cells(
        [a_cell(), a_cell("s2"), a_cell(currency="EUR", orders=3)], a_book(an_entry())
    )
    assert valid == [a_cell()]
    assert [r.code for r in rejected] == [RejectCode.UNKNOWN_LISTING, RejectCode.WRONG_CURRENCY]
    record = rejected_cell_record(rejected[1], 60_000)
    assert (record["listing"], record["window_end_ms"], record["orders"]) == ("acme/web/s1", 60_000, 3)
    assert (record["currency"], record["expected_currency"]) == ("EUR", "USD")


def test_cell_of_an_inactive_listing_is_valid():
    assert validate_cell(a_cell(), a_book(replace(an_entry(), active=False))) is None


def test_offers_are_validated_by_the_same_rule():
    offer = Offer("e", 1, "acme", "web", "s1", "s1", "r", 900, 0, True, "EUR", 1, "t", 1.0)
    assert validate_offer(offer, a_book(an_entry())) is RejectCode.WRONG_CURRENCY
    assert validate_offer(replace(offer, sku="s9"), a_book(an_entry())) is RejectCode.UNKNOWN_LISTING
    assert validate_offer(replace(offer, currency="USD"), a_book(an_entry())) is None


def test_newest_entry_is_kept_for_any_order_of_arrival():
    old, new = an_entry(at=5, cost_minor=1), an_entry(at=9, cost_minor=2)
    for entries in ((old, new), (new, old)):
        assert a_book(*entries)["acme/web/s1"].cost_minor == 2


def test_catalog_survives_a_restart():
    book = a_book(an_entry("s1"), an_entry("a/b", cost_minor=7))
    again = CatalogBook()
    again.restore(orjson.loads(orjson.dumps(book.snapshot())))
    assert dict(again) == dict(book)


def test_snapshot_of_another_version_is_rejected():
    with pytest.raises(SnapshotError, match="version 1, got 9"):
        CatalogBook().restore({"v": 9})


def test_snapshot_with_another_order_of_fields_is_restored():
    snapshot = orjson.loads(orjson.dumps(a_book(an_entry(cost_minor=7)).snapshot()))
    reversed_snapshot = {
        "v": 1,
        "fields": snapshot["fields"][::-1],
        "rows": [row[::-1] for row in snapshot["rows"]],
    }
    book = CatalogBook()
    book.restore(reversed_snapshot)
    assert dict(book) == {"acme/web/s1": an_entry(cost_minor=7)}


@pytest.mark.parametrize("tags", [None, "sale,new"])
def test_tags_survive_a_snapshot_and_take_no_room_without_any(tags: str | None) -> None:
    plain = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 600, 999)
    book, again = CatalogBook(), CatalogBook()
    book.observe(plain)
    book.observe(replace(plain, sku="s2", tags=tags))
    snapshot = book.snapshot()
    assert ("tags" in snapshot["fields"]) is (tags is not None)
    again.restore(snapshot)
    assert again.snapshot() == snapshot and list(again.values()) == list(book.values())
    again.observe(replace(plain, sku="s3", tags="old"))
    restored = CatalogBook()
    restored.restore(again.snapshot())
    assert [entry.tags for entry in restored.values()] == [None, tags, "old"]
