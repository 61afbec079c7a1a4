"""explain: the text of every decision is complete and holds no codes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from jobs.pricing.commands import HANDLER_OF
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.texts.explain import WIDTH, explain
from jobs.pricing.guardrails import GUARDRAILS, Guardrail
from jobs.pricing.policy import Policy
from jobs.pricing.watcher.signals import SIGNALS, Signal
from schemas import public_texts
from schemas.causes import Cause
from schemas.codes import EstimateWarning, InsufficientReason, OutcomeCode, RejectCode, Sufficiency
from schemas.events import OfferKind, Role
from schemas.records.operator_events import CommandKind
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_current,
    a_record,
    an_offer_row,
    catalog_of,
    some_inputs,
)

EVIDENCE = {"signal": "velocity", "effect": 0.8, "observed_orders": 3.0, "expected_orders": 9.5, "score": 0.96}
OF_CATALOG = {
    "cost_minor": [None, 1250], "active": [False, True], "ceiling_minor": [2000, None],
    "trusted_cost_minor": [600, 1250],
}  # fmt: skip
CAUSE_TEXTS: tuple[tuple[Cause, dict[str, Any], str], ...] = (
    (Cause.EVIDENCE, EVIDENCE, "Demand changed: orders ×0.8; 3 orders seen, 9.5 forecast"),
    (Cause.GROUP_EVIDENCE, EVIDENCE, "Demand changed across the price group: orders"),
    (Cause.GROUP_JOINED, {"listing": "acme/web-us-usd/s2"},
     "Another listing of the price group got its first price: acme/web-us-usd/s2."),
    (Cause.GROUP_LEFT, {"listing": "acme/web-us-usd/s2"},
     "Another listing left the price group or is not for sale: acme/web-us-usd/s2."),
    (Cause.RIVAL_MOVED, {"competitor": "r", "price_minor": 900, "before_minor": 950, "in_stock": True},
     "A competitor's price or stock changed: r at 9.00 USD (9.50 USD at its last repricing)."),
    (Cause.RIVAL_MOVED, {"competitor": "r", "price_minor": 900, "before_minor": None, "in_stock": False},
     "r at 9.00 USD, out of stock (first seen)"),
    (Cause.RIVAL_MOVED, {"competitor": "shelf", "price_minor": 900, "before_minor": 950, "in_stock": True,
                         "offer_kind": "reference"}, "reference price of shelf at 9.00 USD"),
    (Cause.DEMAND_CHANGED, {"changed_ms": 1_767_571_200_000},
     "A change in how shoppers respond was confirmed."),
    (Cause.FALLBACK_CHANGED, {"fallback": ["rule", "not_identified"], "fallback_before": []},
     "now a rule from the margin and the rivals' average, without the demand model, before the strategy that the"),
    (Cause.STOCK_OUT, {"on_hand": 0, "inbound": 1200}, "The item sold out: 0 units in stock, 1,200 on the way."),
    (Cause.RESTOCKED, {"on_hand": 40, "inbound": 0}, "The item is back in stock: 40 units"),
    (Cause.COST_CHANGED, OF_CATALOG,
     "for sale no → yes; ceiling 20.00 USD → none; cost none → 12.50 USD; confirmed cost 6.00 USD → 12.50 USD."),
    (Cause.COST_CHANGED, {"role": ["kvi", "margin"], "category": ["shoes", "boots"], "pack_size": [1, 1200]},
     "category shoes → boots; pack size 1 → 1,200; role known value item → margin item."),
    (Cause.COLD_START, {"currency": ["USD", "JPY"], "active": [False, True]},
     "First price of the listing: for sale no → yes; currency USD → JPY."),
    (Cause.BELIEFS_MOVED, {"requests": 168.36, "before": 0.0},
     "The demand estimate changed: 168 price requests counted, 0 at the last decision."),
    (Cause.BELIEFS_MOVED, {"before": -2.0, "now": -1.61, "sd": 0.2},
     "elasticity -1.61 ± 0.20, -2.00 at the last decision"),
    (Cause.BELIEFS_MOVED, {"lowest_minor": 900, "usual_minor": 1000, "bought": [9, 12, 80, 81]},
     "customers stock up at deals such as 9.00 USD instead of the usual 10.00 USD"),
    (Cause.BELIEFS_MOVED, {"range_low_minor": 900, "range_high_minor": 1100, "confidence": 0.72},
     "the last step outside the observed prices brought a gain (probability 72%); prices from 9.00 USD to 11.00"),
    (Cause.EVENT_STARTED, {"event": "spring sale", "kind": "campaign"},
     "A calendar event started: spring sale (campaign)."),
    (Cause.EVENT_ENDED, {"event": "spring sale", "kind": "campaign"}, "A calendar event ended: spring sale"),
    (Cause.POLICY_CHANGED, {"policy": "0f3a", "before": "77ab", "scopes": ["acme", "acme/web:category=shoes"]},
     "The policy changed: acme; acme/web:category=shoes."),
    (Cause.RULE_TURNED, {"rule": "evening price", "turned": "began"},
     "A pricing rule began or ended: evening price (began)."),
    (Cause.COMMAND, {"command": "sale_target", "operator": "mo", "reason": None, "units": 40},
     "An operator's command: mo set a sale target of 40 units."),
    (Cause.COMMAND, {"command": "approve", "operator": "mo", "reason": "agreed", "decision_id": "d7"},
     "mo approved the change of decision d7 (agreed)."),
    (Cause.SETTLE, {"command": "settle", "operator": "mo", "reason": "new season"},
     "An operator requested new prices: mo requested new prices (new season)."),
    (Cause.COLD_START, {}, "First price of the listing."),
    (Cause.CONTINUED, {"planned_ms": 1, "after": "RIVAL_MOVED"},
     "Next step of an earlier change: first cause: a competitor's price or stock changed."),
    (Cause.CONTINUED, {"planned_ms": 1, "after": None}, "Next step of an earlier change."),
    (Cause.GROUP_EVIDENCE, {"what_is_new": 3}, "Demand changed across the price group."),
)  # fmt: skip
CODES = {code.value for enum in (Cause, OutcomeCode) for code in enum} | {each.code for each in GUARDRAILS}
LEAK = re.compile(r"None|True|False|nan|inf\b|_minor|[{}\[\]<>]|[a-z]_[a-z]")
WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "first": {"current": None, "cause": "COLD_START"},
    "no cost": {"catalog_cost_minor": None, "catalog_trusted_cost_minor": None},
    "cost is zero": {"catalog_cost_minor": 0},
    "cost jumped": {"catalog_cost_minor": 2268},
    "no list price": {"catalog_list_minor": None, "current": None},
    "unknown currency": {"currency": "XXX"},
    "frozen": {"frozen": "frozen by ann: stocktaking"},
    "emergency": {"surge_ban": "storm"},
    "capped": {"offers": [an_offer_row(700, START_MS - 1)], "catalog_role": "long_tail"},
    "approved": {"approved_minor": 4500},
    "stale": {"offers": [an_offer_row(1900, START_MS - 10**9)]},
    "far away": {"elasticity": {"mean": -1.5, "sd": 0.05}, "offers": []},
    "just changed": {"current": a_current(1999, last_change_ms=START_MS - 60_000)},
    "changed often": {"current": a_current(1999, changes_today=9)},
    "stocked up": {"elasticity": {"mean": -9.0, "sd": 0.05}, "usual_minor": 2000.0, "bought": (40, 120, 400, 480)},
    "few deals": {"elasticity": {"mean": -9.0, "sd": 0.05}, "usual_minor": 2000.0, "bought": (0, 0, 400, 480)},
    "near the known prices": {
        "experience": {
            "sufficient": False,
            "start_minor": 1999,
            "low_minor": 1949,
            "high_minor": 1999,
            "step": {"from_minor": 1999, "to_minor": 2099, "orders": 7.0, "confidence": 0.4},
        }
    },
    "unsure": {"elasticity": {"mean": -2.7, "sd": 0.9}},
    "scarce": {"target_units": 1.0, "target_from": "stock"},
    "with a reference": {"offers": [an_offer_row(900, START_MS - 1, "shelf", "reference")]},
    "no limit meets": {"catalog_ceiling_minor": 1300},
    "by rules": {
        "policy": Policy.from_dict(
            {
                "rules": {
                    "entries": [
                        {"name": "cheap", "band": {"most": 0.9}},
                        {"name": "less", "adjust": -0.05, "priority": 2},
                        {"name": "more", "adjust": 0.05},
                        {"name": "plain", "strategy": "cost_plus"},
                    ]
                }
            }
        )
    },
    "held by a rule": {"policy": Policy.from_dict({"rules": {"entries": [{"name": "stop", "hold": True}]}})},
    "one of a group": {
        "group": plan_group(
            [a_member("s1"), a_member("s2"), a_member("s3")], "p1", "acme/web-us-usd/s1"
        ).to_record()
    },
}


def leaks(text: str) -> set[str]:
    """Return the codes, and the values without a text, in an explanation."""
    text = re.sub(r"policy \S+, \S+$", "", text)
    return CODES.intersection(re.findall(r"[A-Z_]{3,}", text)) | set(LEAK.findall(text))


def one_line(record: dict[str, Any]) -> str:
    """Return an explanation without line breaks."""
    return " ".join(explain(record, catalog_of()).split())


@pytest.mark.parametrize(("cause", "detail", "expected"), CAUSE_TEXTS)
def test_cause_has_its_text(cause: Cause, detail: dict[str, Any], expected: str) -> None:
    assert expected in one_line(a_record(some_inputs()) | {"cause": cause.value, "cause_detail": detail})


def test_explanation_of_every_cause_and_outcome_holds_no_codes() -> None:
    record = a_record(some_inputs(offers=[], elasticity={"mean": -1.5, "sd": 0.05}))
    for cause, detail, _ in CAUSE_TEXTS:
        for outcome in OutcomeCode:
            result = record["result"] | {"outcome": outcome.value, "review": True}
            text = explain(record | {"cause": cause.value, "cause_detail": detail, "result": result}, catalog_of())
            assert not leaks(text), text


def test_every_cause_has_an_expected_text_here() -> None:
    assert {cause for cause, _, _ in CAUSE_TEXTS} == set(Cause)


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_explanation_of_every_kind_of_decision_holds_no_codes(world: str) -> None:
    inputs = some_inputs(**WORLDS[world])
    text = explain(a_record(inputs), catalog_of(inputs.policy))
    assert not leaks(text), text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_decisions_explained_here_show_every_guardrail() -> None:
    records = [a_record(some_inputs(**world)) for world in WORLDS.values()]
    shown = {band["code"] for record in records for band in record["result"]["bands"]}
    # LOW_CONFIDENCE is explained below.
    assert {guardrail.code for guardrail in GUARDRAILS} - shown <= {"LOW_CONFIDENCE"}


@pytest.mark.parametrize("guardrail", GUARDRAILS, ids=lambda guardrail: guardrail.code)
def test_explanation_of_every_limit_names_it(guardrail: Guardrail) -> None:
    record = a_record(
        some_inputs(surge_ban="storm", usual_minor=2000.0, bought=(0, 0, 9, 9), frozen="frozen by mo")
    )
    band = {"code": guardrail.code, "kind": "pace", "low": 1900, "high": 2100, "keeps": "main", "alert": False,
            "until_ms": START_MS, "detail": "as recorded"}  # fmt: skip
    record["result"]["bands"] = [band]
    if guardrail.questions_cost:
        record["inputs"]["catalog"]["list_minor"] = None
    text = explain(record, catalog_of())
    assert guardrail.title in text and not leaks(text), text


@pytest.mark.parametrize(
    ("codes", "texts"),
    [
        (Cause, public_texts.CAUSES), (Cause, public_texts.SHOPPER_CAUSES), (OutcomeCode, public_texts.OUTCOMES),
        (RejectCode, public_texts.REJECTIONS), (Sufficiency, public_texts.SUFFICIENCY), (Role, public_texts.ROLES),
        (InsufficientReason, public_texts.INSUFFICIENT), (EstimateWarning, public_texts.WARNINGS),
    ],
)  # fmt: skip
def test_every_code_has_a_public_text(codes: Any, texts: Any) -> None:
    assert set(texts) == set(codes) and all(texts.values())


@pytest.mark.parametrize("kind", CommandKind)
def test_explanation_of_a_command_holds_its_handlers_text(kind: CommandKind) -> None:
    detail = {"command": kind.value, "operator": "mo", "reason": None}
    record = a_record(some_inputs()) | {"cause": Cause.COMMAND.value, "cause_detail": detail}
    assert f"mo {HANDLER_OF[kind.value].text}." in one_line(record)


def test_explanation_of_an_unknown_command_names_its_operator() -> None:
    detail = {"command": "dance", "operator": "mo", "reason": None}
    record = a_record(some_inputs()) | {"cause": Cause.COMMAND.value, "cause_detail": detail}
    assert "mo gave a command." in one_line(record)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_explanation_of_evidence_holds_its_signals_text(signal: type[Signal]) -> None:
    record = a_record(some_inputs()) | {"cause": "EVIDENCE", "cause_detail": EVIDENCE | {"signal": signal.name}}
    text = one_line(record)
    assert signal.text and f"Demand changed: {signal.text} ×0.8;" in text and not leaks(text)


def test_explanation_names_the_price_that_the_role_allows() -> None:
    text = one_line(a_record(some_inputs()))
    assert "As a margin item the listing costs at most 125% of that average: 23.75 USD." in text


def test_explanation_distinguishes_a_reference_from_rivals() -> None:
    offers = [an_offer_row(1900, START_MS - 1), an_offer_row(1000, START_MS - 1, "shelf", OfferKind.REFERENCE)]
    text = one_line(a_record(some_inputs(offers=offers)))
    assert "1 rival at 19.00 USD on average. Demand answers to a reference price of 14.50 USD" in text


def test_limit_that_changed_the_price_is_marked() -> None:
    lines = explain(
        a_record(some_inputs(offers=[], elasticity={"mean": -1.5, "sd": 0.05})), catalog_of()
    ).splitlines()
    marked = [line.strip() for line in lines if line.strip().startswith(("* ", "limits     *"))]
    assert any("Step limit" in line for line in marked) and not any("Minimum margin" in line for line in marked)


def test_explanation_of_a_large_change_holds_the_command_that_approves_it() -> None:
    text = one_line(a_record(some_inputs(offers=[], elasticity={"mean": -1.5, "sd": 0.05})))
    assert (
        "Until 2026-01-02 00:00 UTC `walras approve acme/web-us-usd/s1 d1` lets the price go to 24.99 USD." in text
    )
    assert "This decision needs an operator; no notification is sent." in text


def test_share_of_a_segment_below_one_per_cent_is_not_rounded_to_zero() -> None:
    inputs = some_inputs()
    segments = dict(inputs.beliefs.segments)
    segments[min(segments)] = replace(segments[min(segments)], share=0.001)
    inputs = replace(inputs, beliefs=replace(inputs.beliefs, segments=segments))
    assert "less than 1% of requests" in one_line(a_record(inputs))


@pytest.mark.parametrize(
    ("deal_orders", "text"), [(4, "4 orders at deals so far, 5 are needed"), (5, "customers stock up at deals")]
)
def test_explanation_reports_forward_buying_from_the_least_orders_on(deal_orders: int, text: str) -> None:
    bought = (deal_orders, 4 * deal_orders, 400, 480)
    inputs = some_inputs(elasticity={"mean": -9.0, "sd": 0.05}, usual_minor=2000.0, bought=bought)
    assert text in one_line(a_record(inputs))
