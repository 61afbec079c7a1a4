"""``walras`` with a real Redis and without a broker: output and exit codes."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs import cli
from jobs.audit.ledger import balance_ledger
from jobs.audit.recompute import same_bytes
from jobs.cli import operator_commands, queries, rules, strategies
from jobs.connectors.kafka import catalog
from jobs.connectors.kafka import policies as kafka_policies
from jobs.connectors.redis.price_tables import RedisPriceTables
from jobs.policies import control as policy_control
from jobs.pricing.commands import COMMANDS, CommandHandler
from jobs.pricing.policy import Policy
from schemas.listings import Listing
from schemas.price_table import PriceList, PriceTable, unit_draw
from schemas.topics import TOPICS
from tests.jobs.pricing.pricing_builders import START_MS, a_catalog_entry, a_record, some_inputs
from tests.jobs.pricing.rule_builders import KNOWN, a_rule_policy


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
        (["rules", "report", "a//c"], "tenant/market/sku"),
        (["rules", "report", "--since", "yesterday"], "90m, 2h, 3d"),
        (["strategies", "compare", "--since", "yesterday"], "90m, 2h, 3d"),
        (["data-check", "nonsense"], "expected one of features, quotes"),
        (["data-check", "features", "no-such-folder"], "at least one Parquet file"),
    ],
)
def test_wrong_use_exits_with_2_and_the_expected_form(walras: Any, words: list[str], expected: str) -> None:
    result = walras(*words)
    assert result.exit_code == 2 and expected in result.stderr


LISTING = "acme/web-us-usd/s1"
WORDS = {
    "approve": [LISTING, "d1"], "reject": [LISTING, "d1"], "freeze": [LISTING], "unfreeze": [LISTING],
    "manual_price": [LISTING, "19.99", "USD"], "sale_target": [LISTING, "40", "--until", "3d"],
    "settle": ["acme"], "rollback": [LISTING], "kill_switch": ["acme"], "resume": ["acme"],
}  # fmt: skip
"""Kind of a command → the words that follow it."""


@pytest.mark.parametrize("handler", [each for each in COMMANDS if each.help], ids=lambda handler: handler.kind)
def test_command_names_what_follows_it(
    walras: Any, monkeypatch: pytest.MonkeyPatch, handler: CommandHandler
) -> None:
    monkeypatch.setattr(operator_commands, "publish_command", lambda *_, **__: None)
    result = walras(handler.kind.replace("_", "-"), *WORDS[handler.kind])
    shown = "LISTING" if WORDS[handler.kind] == ["acme"] else LISTING
    decided = f"`walras explain {shown}` shows its decision and what guardrails changed, in a few seconds"
    follows = decided if handler.decides else "it takes effect at once and makes no decision"
    assert result.exit_code == 0 and ": published as cmd-" in result.stdout
    assert result.stdout.endswith(f"; {follows}\n") and "market minute" not in result.stdout


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


RULES = [
    {"name": "down", "adjust": -0.1, "when": {"category": "shoes"}, "priority": 1},
    {"name": "up", "adjust": 0.1},
    {"name": "bags", "hold": True, "when": {"category": "bags"}},
]


@pytest.fixture
def ruled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run whose policy file has rules and whose topics hold a catalog entry and a decision; its policy file."""
    policy, now_ms = a_rule_policy(*RULES), START_MS + 3_600_000
    record = a_record(some_inputs(policy, attributes=KNOWN, at_ms=now_ms - 60_000))
    entry = dataclasses.asdict(a_catalog_entry("s1"))
    topics = {
        "decisions": [record | {"tenant": "acme"}], "catalog": [entry], "policy_changes": [],
        "policies": [{"hash": policy.hash, "content": policy.to_dict()}],
    }  # fmt: skip
    for module in (rules, kafka_policies, policy_control):
        monkeypatch.setattr(module, "read_values", lambda bootstrap, name: iter(topics[name]))
    monkeypatch.setattr(catalog, "read_accepted", lambda bootstrap, name: iter(topics[name]))
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({"rules": {"entries": RULES}}))
    monkeypatch.setenv("WALRAS_POLICY", str(path))
    monkeypatch.setenv("WALRAS_TENANT", "acme")
    monkeypatch.setenv("WALRAS_CLOCK", f"sim:{now_ms}:{round(time.time() * 1000)}:1")
    return path


def test_rules_are_listed_by_scope_with_what_they_did(walras: Any, ruled: Path) -> None:
    text = walras("rules").stdout
    assert "default:" in text and "adjust -10.0%" in text and "category: shoes" in text
    assert "1 listing, mean −7.5 %, 0 up, 1 down" in text and "no listing" in text
    data = json.loads(walras("rules", "--json").stdout)
    assert [rule["name"] for rule in data["scopes"][0]["rules"]] == ["down", "bags", "up"]
    assert data["statistics"]["down"]["listings"] == 1


def test_rules_are_reported_and_never_matched_ones_are_named(walras: Any, ruled: Path) -> None:
    text = walras("rules", "report", "--since", "2h").stdout
    assert "  down                 1 listing, mean −7.5 %, 0 up, 1 down\n" in text
    assert "conflict: up lost by priority on 1 listing; down applied" in text
    assert "never matched: bags" in text and "1 listing, 1 decision" in text
    data = json.loads(walras("rules", "report", "--json").stdout)
    assert sum(row["listings"] for row in data["strategies"]) == data["listings"] == 1
    assert walras("rules", "report", "other").exit_code == 1


def test_rules_are_checked_and_an_error_exits_with_1(walras: Any, ruled: Path, tmp_path: Path) -> None:
    found = walras("rules", "check", "acme/web-us-usd")
    assert found.exit_code == 0 and "note: conflict: down (priority 1) applies instead of up" in found.stdout
    assert "warning: fits no listing: bags fits none of 1 active listings" in found.stdout
    file = tmp_path / "rules.yaml"
    file.write_text("- {name: a, adjust: 0.1}\n- {name: b, adjust: 0.2, valid_from: 2025-12-01}\n")
    found = walras("rules", "check", "--file", str(file), "--json")
    assert found.exit_code == 1
    assert [each["severity"] for each in json.loads(found.stdout)["findings"]] == ["error", "warning"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {name: a, adjust: lots}", "rules: policy: rules.entries.0.adjust: input should be a valid number"),
        ("{name: a}", "expected a list of rules"),
        ("- [", "expected a readable YAML file"),
    ],
)
def test_rules_of_a_file_that_are_wrong_exit_with_2(
    walras: Any, ruled: Path, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    found = walras("rules", "check", "--file", str(file))
    assert found.exit_code == 2 and problem in found.stderr


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
