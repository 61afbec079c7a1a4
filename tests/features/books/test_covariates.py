"""CovariateBook: newest value per listing and name, bounded and restorable."""

from __future__ import annotations

import orjson
import pytest

from features.books.covariates import CovariateBook
from features.bucket_logic import SnapshotError
from schemas.events import Covariate

KEY = "acme/web/s1"


def a_covariate(name: str, value: float, at: int, sku: str = "s1") -> Covariate:
    return Covariate(f"e{at}", at, "acme", "web", sku, sku, name, value, "test")


def test_newest_value_by_event_time_is_kept() -> None:
    book = CovariateBook(4)
    assert book.observe(a_covariate("display", 1.0, 5))
    assert not book.observe(a_covariate("display", 0.5, 4))
    assert book.observe(a_covariate("display", 0.25, 5))
    assert book.value(KEY, "display") == 0.25
    assert book.value(KEY, "promotion") is None
    assert book.value("acme/web/s2", "display") is None


def test_value_applies_until_the_next_record_whatever_its_age() -> None:
    book = CovariateBook(4)
    book.observe(a_covariate("display", 1.0, 5))
    book.observe(a_covariate("promotion", 1.0, 10**12))
    assert book.value(KEY, "display") == 1.0


def test_oldest_unused_name_is_removed_first() -> None:
    book = CovariateBook(2, used=("display",))
    book.observe(a_covariate("display", 1.0, 1))
    book.observe(a_covariate("a", 1.0, 2))
    book.observe(a_covariate("b", 1.0, 3))
    assert [book.value(KEY, name) for name in ("display", "a", "b")] == [1.0, None, 1.0]
    assert not book.observe(a_covariate("old", 1.0, 1))


def test_snapshot_restores_the_values() -> None:
    book, again = CovariateBook(4), CovariateBook(4)
    book.observe(a_covariate("display", 0.5, 5))
    book.observe(a_covariate("promotion", 1.0, 6, sku="s2"))
    again.restore(orjson.loads(orjson.dumps(book.snapshot())))
    assert again.snapshot() == book.snapshot()
    assert again.value("acme/web/s2", "promotion") == 1.0
    assert not again.observe(a_covariate("display", 9.0, 4))


def test_snapshot_of_another_version_is_rejected() -> None:
    with pytest.raises(SnapshotError, match="expected snapshot version 1, got 2"):
        CovariateBook(4).restore({"v": 2, "listings": {}})
