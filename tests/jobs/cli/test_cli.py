"""``walras`` with a real Redis and without a broker: output and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.audit.ledger import balance_ledger
from jobs.audit.recompute import same_bytes
from jobs.cli import queries
from jobs.connectors.redis.price_tables import RedisPriceTables
from schemas.events import Listing
from schemas.price_table import PriceList, PriceTable, unit_draw
from schemas.topics import TOPICS


def a_table(sku: str = "sku-1") -> PriceTable:
    lists = {"all": PriceList.from_propensities([1899, 1999], [0.5, 0.5])}
    return PriceTable(
        Listing("acme", "web-us-usd", sku), sku, 7, "t-7", 0, 86_400_000, "USD", {"base": lists}, 2999, None,
        "COLD_START: PUBLISHED", "d-7",
    )  # fmt: skip


@pytest.fixture
def walras(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WALRAS_REDIS", redis_server.url)
    monkeypatch.setenv("WALRAS_KAFKA", "127.0.0.1:1")
    return lambda *words: CliRunner().invoke(cli.commands, list(words))


def test_quote_reads_the_public_layout(walras: Any, redis_server: Any) -> None:
    RedisPriceTables(redis_server.url).publish_many([a_table()], must_be_ready=False)
    result = walras("quote", "acme/web-us-usd/sku-1", "--pseudonym", "p1", "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["price_minor"] == (1899 if unit_draw("t-7", "p1") <= 2**31 - 1 else 1999)
    assert data["keys"][0] == "price:{acme:web-us-usd}:sku-1"


def test_tables_lists_the_listings_of_a_market(walras: Any, redis_server: Any) -> None:
    assert walras("tables").exit_code == 1
    RedisPriceTables(redis_server.url).publish_many([a_table("a"), a_table("b")], must_be_ready=False)
    assert [t["sku"] for t in json.loads(walras("tables", "--json").stdout)] == ["a", "b"]
    assert walras("tables", "acme/web-us-usd").exit_code == 0
    assert walras("tables", "acme/web-us").exit_code == 1


@pytest.mark.parametrize(
    ("there", "topics"),
    [
        (set(), ["tables", "catalog"]),
        ({"catalog"}, ["tables", "catalog", "decisions", "features"]),
        ({"tables"}, ["tables", "decisions", "features"]),
    ],
)
def test_unknown_listing_is_not_searched_for_in_unlimited_topics(
    walras: Any, monkeypatch: pytest.MonkeyPatch, there: set[str], topics: list[str]
) -> None:
    read: list[str] = []

    def newest(bootstrap: str, topic: str, wanted: Any, order: str) -> dict[str, Any] | None:
        name = next(name for name, known in TOPICS.items() if known.topic == topic)
        read.append(name)
        return a_table().to_record() if name in there else None

    monkeypatch.setattr(queries, "newest", newest)
    assert walras("explain", "acme/web-us-usd/sku-1").exit_code == ("tables" not in there)
    assert read == topics


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["quote", "not-a-listing", "--customer", "c"], "tenant/market/sku"),
        (["quote", "a/b/c"], "--customer or --pseudonym"),
        (["explain", "a/b"], "tenant/market/sku"),
        (["recompute"], "a decision id or --all"),
        (["freeze", "a//c"], "tenant/market/sku"),
        (["freeze", "a", "--until", "tomorrow"], "90m, 2h, 3d"),
        (["manual-price", "a/b/c", "cheap", "USD"], "decimal number"),
        (["manual-price", "a/b/c", "0", "USD"], "price_minor: OUT_OF_RANGE"),
        (["data-check", "nonsense"], "expected one of features, quotes"),
        (["data-check", "features", "no-such-folder"], "at least one Parquet file"),
    ],
)
def test_wrong_use_exits_with_2_and_the_expected_form(walras: Any, words: list[str], expected: str) -> None:
    result = walras(*words)
    assert result.exit_code == 2 and expected in result.stderr


def test_missing_table_exits_with_1(walras: Any) -> None:
    assert walras("quote", "a/b/c", "--customer", "c").exit_code == 1


def test_results_are_compared_bit_for_bit() -> None:
    assert same_bytes({"x": 0.1 + 0.2}, {"x": 0.30000000000000004})
    assert not same_bytes({"x": 0.1 + 0.2}, {"x": 0.3})


def a_line(minute: int, **more: int) -> dict[str, Any]:
    return {"topic": "t", "partition": 0, "window_end_ms": minute, "offsets_read": 4, "on_time": 2, "late": 1,
            "rejected": 0, "ticks": 1} | more  # fmt: skip


def test_ledger_uses_the_last_line_of_a_repeated_minute() -> None:
    [balance] = balance_ledger([a_line(1, on_time=0), a_line(1), a_line(2)], {("t", 0): 10})
    assert (balance.minutes, balance.offsets_read, balance.difference, balance.behind) == (2, 8, 0, 2)


def test_ledger_reports_missing_verdicts_and_missing_lines() -> None:
    lost, silent = balance_ledger([a_line(1, on_time=1)], {("t", 0): 4, ("t", 1): 3, ("t", 2): 0})
    assert lost.difference == 1
    assert (silent.partition, silent.offsets_read, silent.behind) == (1, 0, 3)
