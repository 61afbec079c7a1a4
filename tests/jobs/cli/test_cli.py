"""``walras`` with a real Redis and without a broker: output and exit codes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.audit.ledger import balance_ledger
from jobs.audit.recompute import same_bytes
from jobs.cli import queries, strategies
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.pricing.policy import Policy
from schemas.events import Listing
from schemas.price_table import PriceList, PriceTable, unit_draw
from schemas.topics import TOPICS
from tests.jobs.pricing.pricing_builders import START_MS, a_record, some_inputs


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
        (["strategies", "compare", "a//c"], "tenant/market/sku"),
        (["strategies", "compare", "--since", "yesterday"], "90m, 2h, 3d"),
        (["data-check", "nonsense"], "expected one of features, quotes"),
        (["data-check", "features", "no-such-folder"], "at least one Parquet file"),
    ],
)
def test_wrong_use_exits_with_2_and_the_expected_form(walras: Any, words: list[str], expected: str) -> None:
    result = walras(*words)
    assert result.exit_code == 2 and expected in result.stderr


def a_decision(sku: str, at_ms: int) -> dict[str, Any]:
    policy = Policy.from_dict({"strategies": {"shadow": ["cost_plus"]}})
    record = a_record(some_inputs(policy, listing=f"acme/web-us-usd/{sku}", at_ms=at_ms))
    return record | {"decision_id": f"{sku}-{at_ms}", "tenant": "acme"}


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions of two listings, the second an hour before the run's now."""
    now_ms = START_MS + 10 * 3_600_000
    monkeypatch.setenv("WALRAS_CLOCK", f"sim:{now_ms}:{round(time.time() * 1000)}:1")
    log = [a_decision("s1", START_MS), a_decision("s2", now_ms - 3_600_000)]
    monkeypatch.setattr(strategies, "read_values", lambda bootstrap, name: iter(log))


def test_strategies_are_compared_in_a_scope_and_since_a_time(walras: Any, decisions: None) -> None:
    data = json.loads(walras("strategies", "compare", "--json").stdout)
    assert data["decisions"] == 2
    assert [(row["strategy"], row["in_force"]) for row in data["results"]] == [
        ("profit_lp", True), ("cost_plus", False),
    ]  # fmt: skip
    assert json.loads(walras("strategies", "compare", "--since", "2h", "--json").stdout)["decisions"] == 1
    text = walras("strategies", "compare", "acme/web-us-usd/s1").stdout
    assert "cost_plus" in text and "18.49 USD" in text and "STEP_LIMIT 100%" in text and "1 decision\n" in text
    assert walras("strategies", "compare", "other").exit_code == 1


def test_strategies_are_listed_with_their_use(walras: Any) -> None:
    found = {row["name"]: row for row in json.loads(walras("strategies", "list", "--json").stdout)}
    assert found["profit_lp"]["used_for"] == ["default"] and found["rule_table"]["settings"] == "rule_table"
    assert "profit_lp" in walras("strategies", "list").stdout


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
