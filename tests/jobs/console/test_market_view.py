"""The followed view: changes with their cause, in any order of the topics, in bounded memory."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest
from rich.console import Console

from features.registry import EVENT_TIMESTAMP, FEATURES
from jobs.connectors.kafka.reading import Record
from jobs.console.live_view import plain_change, plain_line, screen
from jobs.console.market_view import MarketView
from jobs.console.page import policies_data
from jobs.monitoring.component import ComponentHealth
from jobs.runtime.settings import Settings
from schemas.topics import TOPICS


def a_view(**limits: int) -> MarketView:
    return MarketView("127.0.0.1:1", **limits)


def take(view: MarketView, name: str, *, live: bool = True, **value: Any) -> None:
    value = {"tenant": "acme", "market": "web-us-usd", "sku": "sku-1"} | value
    view.take(Record(TOPICS[name].topic, 0, 0, 0, None, orjson.dumps(value)), live=live)


def a_table(version: int, price: int, **more: Any) -> dict[str, Any]:
    return {
        "version": str(version), "default_minor": str(price), "currency": "USD", "reason": "EVIDENCE: PUBLISHED",
        "published_ms": "9000", "expires_ms": "99000", "list_minor": "2999", "offer_minor": "",
        "table_id": f"t-{version}", "decision_id": f"d-{version}",
    } | more  # fmt: skip


def a_decision(version: int, cause: str, **more: Any) -> dict[str, Any]:
    return {
        "decision_id": f"d-{version}", "cause": cause, "cause_detail": {"signal": "orders", "effect": 0.7},
        "event_time_ms": 3000, "decided_at_ms": 9000, "published": True, "version": version,
        "inputs": {"requests": 12.5},
        "result": {"outcome": "PUBLISHED", "bands": [{"code": "MIN_MARGIN", "low": 700}]},
    } | more  # fmt: skip


@pytest.mark.parametrize("decision_first", [True, False])
def test_change_has_cause_and_latency_in_either_order(decision_first: bool) -> None:
    view = a_view()
    take(view, "tables", **a_table(1, 1999, reason="a reason without a code"))
    if decision_first:
        take(view, "decisions", **a_decision(2, "RIVAL_MOVED"))
    take(view, "tables", **a_table(2, 1899, reason="a reason without a code"))
    if not decision_first:
        take(view, "decisions", **a_decision(2, "RIVAL_MOVED"))
    [change] = view.changes()
    assert (change.old_minor, change.new_minor, change.cause, change.latency_ms) == (
        1999,
        1899,
        "RIVAL_MOVED",
        6000,
    )
    assert view.moved() == 1


def test_learned_state_is_that_of_the_newest_row() -> None:
    view = a_view()
    row = {spec.public: 0 for spec in FEATURES} | {"listing": "acme/web-us-usd/sku-1", EVENT_TIMESTAMP: 60_000}
    assert view.learned("acme/web-us-usd/sku-1") is None
    for state in ("prior", "provisional"):
        take(view, "features", **row | {"own_price_elasticity_state": state})
    learned = view.learned("acme/web-us-usd/sku-1")
    assert learned is not None and learned["elasticity"] == {"state": "provisional"}


def test_changes_by_timers_operators_and_backlog_do_not_count_as_moved() -> None:
    view = a_view()
    take(view, "tables", live=False, **a_table(1, 1999))
    take(view, "tables", live=False, **a_table(2, 1899))
    for version, cause in enumerate(["BELIEFS_MOVED", "COMMAND", "SETTLE", "COLD_START"], 3):
        take(view, "tables", **a_table(version, 1000 + version, reason=f"{cause}: PUBLISHED"))
    assert len(view.changes()) == 5 and view.moved() == 0


def test_repeated_older_or_equal_table_is_no_change() -> None:
    view = a_view()
    take(view, "tables", **a_table(5, 1999))
    take(view, "tables", **a_table(5, 1899))
    take(view, "tables", **a_table(4, 1899))
    take(view, "tables", **a_table(6, 1999))
    assert view.changes() == []


def test_top_evidence_is_sorted_and_recent() -> None:
    view = a_view(points=3)
    for minute in range(5):
        for sku, evidence in (("a", 5.0), ("b", 50.0 if minute == 4 else 1.0)):
            take(view, "evidence", sku=sku, window_end_ms=60_000 * minute + 10**9, score=1.0, evidence=evidence,
                 signal="orders", effect=0.7, triggered=evidence > 10)  # fmt: skip
    take(
        view, "evidence", sku="old", window_end_ms=0, score=9, evidence=999.0, signal="", effect=1, triggered=False
    )
    assert [p["listing"].split("/")[2] for p in view.top_evidence()] == ["b", "a"]
    assert len(view.evidence("acme/web-us-usd/a")) == 3
    assert view.totals["triggers"] == 1


def test_collections_are_bounded() -> None:
    view = a_view(max_listings=10, recent=20)
    for i in range(300):
        take(view, "tables", sku=f"s{i}", **a_table(1, 1000))
        take(view, "tables", sku=f"s{i}", **a_table(2, 1100))
        take(view, "decisions", sku=f"s{i}", **a_decision(i, "EVIDENCE"))
        take(
            view,
            "evidence",
            sku=f"s{i}",
            window_end_ms=i,
            score=1,
            evidence=1,
            signal="",
            effect=1,
            triggered=False,
        )
        take(
            view, "rejected", topic="t", partition=0, offset=i, field="f", code="OUT_OF_RANGE", detail="", line="x"
        )
    assert len(view.listings()) == 10 and len(view.changes(999)) == 20 and len(view.decisions(999)) == 20
    assert len(view.top_evidence(999)) == 10 and len(view.rejected(999)) == 20
    assert view.rejected_codes["OUT_OF_RANGE"] == 300


def test_cells_are_counted_by_rows() -> None:
    view = a_view()
    rows = [{"kind": "cell"}, {"kind": "cell"}, {"kind": "offers"}]
    take(view, "cells", bucket=1, window_end_ms=60_000, rows=rows)
    assert view.totals["cells"] == 2


def test_summary_can_be_encoded_as_json() -> None:
    view = a_view()
    take(view, "tables", **a_table(1, 1999))
    take(view, "tables", **a_table(2, 1899))
    assert orjson.loads(orjson.dumps(view.summary()))["changes"][0]["new_minor"] == 1899


def test_live_view_shows_prices_reasons_and_problems() -> None:
    view = a_view()
    take(view, "tables", **a_table(1, 1999))
    take(view, "tables", **a_table(2, 1899))
    take(
        view,
        "evidence",
        window_end_ms=60_000,
        score=7,
        evidence=1234.0,
        signal="velocity",
        effect=0.7,
        triggered=True,
    )
    health = [ComponentHealth("broker", True, ""), ComponentHealth("redis", False, "not ready")]
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(screen(view, health, Settings(), 12.0))
    drawn = console.export_text()
    for word in (
        "web-us-usd/sku-1",
        "19.99 → 18.99 USD (−5.0 %)",
        "demand changed",
        "not ready",
        "repricing started",
    ):
        assert word in drawn
    assert "PROBLEM: redis (not ready)" in plain_line(view, health, 1.0)
    assert "19.99 → 18.99 USD" in plain_change(view.changes()[0])


def test_summary_has_words_for_codes() -> None:
    view = a_view()
    take(view, "tables", **a_table(1, 1999))
    take(view, "tables", **a_table(2, 1899, reason="RIVAL_MOVED: PUBLISHED 19.99 USD → 18.99 USD (STEP_LIMIT)"))
    take(view, "decisions", **a_decision(2, "RIVAL_MOVED"))
    take(view, "rejected", topic="t", partition=0, offset=0, field="price_minor", code="OUT_OF_RANGE", detail="")
    summary = view.summary()
    assert summary["changes"][0]["why"] == "a competitor's price or stock changed; limited by: step limit"
    assert summary["decisions"][0]["why"] == "a competitor's price or stock changed"
    assert summary["decisions"][0]["result"] == "new prices were published"
    assert summary["decisions"][0]["price_from"] == ""
    assert summary["refused"] == [["a number is out of range", 1]]


def test_summary_names_where_the_price_of_a_fallback_comes_from() -> None:
    view = a_view()
    decision = a_decision(2, "FALLBACK_CHANGED")
    take(view, "decisions", **decision | {"result": {"outcome": "HELD", "fallback": "last_table"}})
    assert view.summary()["decisions"][0]["price_from"] == "the last price table"


def test_live_view_shows_when_late_minutes_will_have_caught_up() -> None:
    health = [ComponentHealth("minutes", True, "12 minutes ago: catching up, done in about 15 s", notable=True)]
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(screen(MarketView("nowhere"), health, Settings(), 12.0))
    assert "done in about 15 s" in console.export_text()
    assert "minutes 12 minutes ago: catching up" in plain_line(MarketView("nowhere"), health, 1.0)


def test_policies_in_force_pending_and_refused_are_rows_of_the_page() -> None:
    view = a_view()
    patch = {
        "event_time_ms": 1000, "market": "", "selection": "category=shoes", "replaces": False,
        "operator": "ann", "reason": "spring", "accepted": True, "problem": "",
        "changes": '{"limits": {"max_step": 0.05}}', "from_ms": 60_000,
    }  # fmt: skip
    for number, more in enumerate(
        (
            {},
            {"from_ms": 600_000, "changes": '{"limits": {"max_step": null}}'},
            {"accepted": False, "problem": "no"},
        )
    ):
        value = patch | {"tenant": "acme", "command_id": f"c{number}"} | more
        view.take(Record(TOPICS["policy_changes"].topic, 0, 0, 0, None, orjson.dumps(value)))
    rows = policies_data(view.policy_history(), 120_000)
    assert [(row["state"], row["scope"], row["what"], row["reason"]) for row in rows] == [
        ("in force", "acme:category=shoes", "limits.max_step=0.05", "spring"),
        ("pending", "acme:category=shoes", "limits.max_step unset", "spring"),
        ("refused", "acme:category=shoes", "limits.max_step=0.05", "spring: no"),
    ]
    assert [row["state"] for row in policies_data(view.policy_history(), 600_001)] == ["refused"]


def test_key_of_a_tenant_sees_that_tenant_alone() -> None:
    view = a_view()
    for tenant in ("acme", "acme2"):
        take(view, "tables", tenant=tenant, **a_table(1, 1999))
        take(view, "tables", tenant=tenant, **a_table(2, 1899))
        take(view, "decisions", tenant=tenant, **a_decision(2, "RIVAL_MOVED"))
        take(
            view, "refused_commands", tenant=tenant, command_id=f"c-{tenant}", event_time_ms=1, kind="freeze",
            operator="ann", problem="signature",
        )  # fmt: skip
    take(view, "rejected", topic="t", partition=0, offset=0, field="price_minor", code="OUT_OF_RANGE", detail="")
    own, every = view.summary("acme"), view.summary()
    assert "acme2" not in orjson.dumps(own).decode() and own["refused"] == [] == own["drift"]
    assert len(own["changes"]) == len(own["decisions"]) == own["listings"] == len(own["refused_commands"]) == 1
    assert len(every["changes"]) == every["listings"] == 2 and every["refused"]
    prices = view.summary("acme", prices_only=True)
    assert prices["changes"] == own["changes"] and not prices["decisions"] and not prices["refused_commands"]
