"""When a table still allows the price that a session keeps, and what old tables mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.price_table import PriceTable
from schemas.session_quotes import SessionQuote, SessionQuoteError, session_key
from tests.schemas.test_price_table_layout import a_table

NOW = 1_795_000_000_500
TABLE = replace(
    a_table(),
    table_id="t-new",
    session_minutes=30,
    hard_low_minor=1500,
    hard_high_minor=2000,
    session_from_version=9,
)
KEPT = SessionQuote(NOW + 1, 10, "t-old", NOW - 1000, "all", 1999, "USD", 0.25)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"until_ms": NOW}, False),
        ({"currency": "EUR"}, False),
        ({"price_minor": 1500}, True),
        ({"price_minor": 1499}, False),
        ({"price_minor": 2000}, True),
        ({"price_minor": 2001}, False),
        ({"version": 9}, True),
        ({"version": 8}, False),
        ({"price_minor": 2001, "version": TABLE.version}, False),
        ({"price_minor": 2001, "version": TABLE.version + 1}, True),
        ({"price_minor": 2001, "table_id": "t-new"}, True),
    ],
)
def test_kept_price_beside_a_new_table(change: dict[str, Any], allowed: bool) -> None:
    assert KEPT._replace(**change).is_allowed(TABLE, NOW) is allowed


@pytest.mark.parametrize(
    "change", [{"session_minutes": 0}, {"expires_ms": NOW}, {"hard_low_minor": 2001, "hard_high_minor": 1}]
)
def test_no_price_is_kept_beside_a_table_without_window_that_expired_or_without_legal_price(
    change: dict[str, Any],
) -> None:
    assert not KEPT.is_allowed(replace(TABLE, **change), NOW)


def test_table_without_limits_allows_every_price() -> None:
    table = replace(TABLE, hard_low_minor=None, hard_high_minor=None)
    assert KEPT._replace(price_minor=1).is_allowed(table, NOW)


def test_limits_of_a_table_survive_a_round_trip() -> None:
    table = replace(TABLE, unconfirmed_minutes=60)
    fields = table.to_redis()
    assert fields["session_minutes"] == "30" and fields["hard_high_minor"] == "2000"
    assert PriceTable.from_redis(table.listing, fields) == table
    assert PriceTable.from_record(table.to_record()) == table
    assert PriceTable.from_record(table.to_record()).to_record() == table.to_record()


def test_table_of_an_earlier_version_has_no_window_and_no_limits() -> None:
    table = PriceTable.from_redis(a_table().listing, a_table().to_redis())
    assert (table.session_minutes, table.session_from_version, table.unconfirmed_minutes) == (0, 0, None)
    assert (table.hard_low_minor, table.hard_high_minor) == (None, None)
    assert "session_minutes" not in a_table().to_redis()


def test_scope_is_the_listing_or_after_a_joint_decision_its_group() -> None:
    assert a_table().price_scope == "group acme/web-us-usd/group-1"
    assert replace(a_table(), decision_id=a_table().table_id).price_scope == "listing acme/web-us-usd/sku-1"


@pytest.mark.parametrize("text", ["", "{}", "[1]", KEPT.to_text().replace("1999", '"x"'), "null"])
def test_text_that_is_no_kept_quote_is_refused(text: str) -> None:
    with pytest.raises(SessionQuoteError, match="expected a kept quote"):
        SessionQuote.of_text(text)


def test_key_has_the_hash_tag_of_the_pseudonym() -> None:
    assert session_key("acme", "8e3362") == "session:{acme:8e}:8e3362"
