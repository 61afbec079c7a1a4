"""Policies of a deployment from the records of its patches: what is in force, pending, different."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.policy import parse_changes
from jobs.cli.policy_texts import change_lines
from jobs.policies import PolicyUseError, ScopeHistory
from jobs.policies.control import first_minute
from jobs.policies.documents import cancelled, nested
from jobs.policies.rollbacks import plan_rollback
from jobs.pricing.policies import PolicyBook, PolicyPatch, PolicyScope
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command, PolicyChanged
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS

ENTRY = CatalogEntry("e", 1, "acme", "web", "s1", "g1", "shoes", "kvi", "USD", 1, True, 700, 1000)


def a_change(number: int, scope: str, minute: int, changes: dict[str, Any], **more: Any) -> PolicyChanged:
    """Return the record of an accepted patch that holds from a minute on."""
    parsed = PolicyScope.parse(scope)
    values: dict[str, Any] = {
        "selection": f"{parsed.field}={parsed.value}" if parsed.field else "",
        "changes": orjson.dumps(changes).decode(), "from_ms": START_MS + minute * MINUTE_MS, "replaces": False,
        "operator": "ann", "reason": "", "accepted": True, "problem": "",
    }  # fmt: skip
    return PolicyChanged(f"c{number}", START_MS, parsed.tenant, parsed.market, **(values | more))


def taken(book: PolicyBook, record: PolicyChanged) -> PolicyChanged:
    """Return the record of a patch after a bucket accepted it."""
    sent = {name: getattr(record, name) for name in ("changes", "from_ms", "replaces", "selection", "market")}
    cancels = book.take(Command(record.command_id, START_MS, record.tenant, "policy", "ann", **sent))
    assert cancels is not None
    return dataclasses.replace(record, cancels=cancels)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "acme/web", "acme:category=shoes", "acme/web:role=kvi"]),
        st.integers(2, 9),
        st.sampled_from([0.02, 0.05, None]),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_policy_in_force_by_the_topic_is_the_one_of_the_buckets(steps: list[Any]) -> None:
    book, records = PolicyBook(Policy()), []
    for number, (scope, minute, value, replaces) in enumerate(steps):
        record = a_change(number, scope, minute, {"limits": {"max_step": value}}, replaces=replaces)
        records.append(taken(book, record))
    found = ScopeHistory(tuple(records))
    scope = PolicyScope("acme", "web", "sku", "s1")
    for minute in range(12):
        at_ms = START_MS + minute * MINUTE_MS
        book.advance(at_ms)
        assert found.view(Policy(), scope, at_ms, ENTRY).hash == book.of(ENTRY).hash


def test_view_names_the_scope_of_every_key_and_pending_patches() -> None:
    shoes = "acme:category=shoes"
    records = (
        a_change(1, "acme", 2, {"limits": {"max_step": 0.05, "min_gap_minutes": 5}}),
        a_change(2, shoes, 3, {"limits": {"max_step": 0.02}}),
        a_change(3, shoes, 90, {"grid": {"ending_minor": 5}}),
        a_change(4, shoes, 3, {"limits": {"max_stp": 1}}, accepted=False, problem="limits.max_stp: unknown"),
        a_change(5, "acme:category=hats", 3, {"limits": {"max_step": 0.01}}),
    )
    view = ScopeHistory(records).view(Policy(), PolicyScope.parse(shoes), START_MS + 10 * MINUTE_MS)
    assert view.values["limits.max_step"] == (0.02, shoes)
    assert view.values["limits.min_gap_minutes"] == (5, "acme")
    assert view.values["grid.ending_minor"] == (Policy().grid.ending_minor, "default")
    assert view.scopes == ("acme", shoes) and [each.command_id for each in view.pending] == ["c3"]


@pytest.mark.parametrize("text", ["limits", "=3", "limits.max_step", "limits.max_step="])
def test_assignment_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises((PolicyUseError, ValueError), match="expected"):
        nested(parse_changes([text], None))


@pytest.mark.parametrize("speed", [1, 60])
def test_patch_without_a_time_begins_after_every_bucket_has_it(speed: int) -> None:
    now_ms = START_MS + 12_345
    from_ms = first_minute(now_ms, speed, None)
    assert from_ms % MINUTE_MS == 0 and from_ms >= now_ms + (2 + speed) * MINUTE_MS


def test_time_too_near_is_refused() -> None:
    with pytest.raises(PolicyUseError, match="at least 2 minutes ahead, got '1m'"):
        first_minute(START_MS, 1, "1m")


# -- documents that cannot be applied --------------------------------------------------------------

CHANGED_FILE = Policy.from_dict({"market": {"cap_trigger_ratio": 1.6, "cap_ratio": 1.2}})
"""A policy file that changed after a scope set ``market.cap_ratio`` to 1.9."""


def test_view_leaves_out_a_document_that_contradicts_the_policy_file_and_names_it() -> None:
    records = (
        a_change(1, "acme", 2, {"market": {"cap_ratio": 1.9}}),
        a_change(2, "acme/web", 2, {"limits": {"max_step": 0.05}}),
    )
    at_ms = START_MS + 10 * MINUTE_MS
    view = ScopeHistory(records).view(CHANGED_FILE, PolicyScope("acme", "web"), at_ms)
    assert view.scopes == ("acme/web",) and list(view.left_out) == ["acme"]
    assert "expected cap_ratio ≤ cap_trigger_ratio" in view.left_out["acme"]
    assert view.values["market.cap_ratio"] == (1.2, "default")
    assert view.values["limits.max_step"] == (0.05, "acme/web")
    wide, narrow = ScopeHistory(records).overview(at_ms, CHANGED_FILE).scopes
    assert "cap_trigger_ratio" in wide.problem and narrow.problem == ""


def test_view_leaves_out_the_narrowest_of_three_scopes_that_contradict_each_other_only_together() -> None:
    base = Policy.from_dict({"strategies": {"by_role": {"kvi": "profit_lp"}}})
    book, records = PolicyBook(base), []
    for number, (scope, keys) in enumerate(
        (
            ("acme", {"default": "cost_plus"}),
            ("acme/web", {"allowed_by_role": {"kvi": ["profit_lp"]}}),
            ("acme:category=shoes", {"by_role": {}}),
        )
    ):
        records.append(taken(book, a_change(number, scope, 2, {"strategies": keys})))
    at_ms, sku = START_MS + 10 * MINUTE_MS, PolicyScope("acme", "web", "sku", "s1")
    view = ScopeHistory(tuple(records)).view(base, sku, at_ms, ENTRY)
    book.advance(at_ms)
    assert list(view.left_out) == ["acme:category=shoes"] and view.hash == book.of(ENTRY).hash


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acme", "acme/web", "acme:category=shoes", "acme/web:role=kvi", "acme:sku=s1"]),
            st.sampled_from([{"cap_ratio": 1.9}, {"cap_ratio": 1.3}, {"cap_trigger_ratio": 1.4}]),
        ),
        max_size=5,
    )
)
def test_view_and_bucket_leave_out_the_same_documents(steps: list[Any]) -> None:
    at_ms = START_MS + 5 * MINUTE_MS
    records = tuple(a_change(n, scope, 2, {"market": keys}) for n, (scope, keys) in enumerate(steps))
    found, book = ScopeHistory(records), PolicyBook(CHANGED_FILE)
    documents = {scope.text: document for scope, document in found.documents(at_ms).items()}
    book.restore({"documents": documents, "pending": [], "published": []})
    view = found.view(CHANGED_FILE, PolicyScope("acme", "web", "sku", "s1"), at_ms, ENTRY)
    assert view.hash == book.of(ENTRY).hash


# -- rollbacks ---------------------------------------------------------------------------------------

TEN_MS = START_MS + 10 * MINUTE_MS
SLOW, FAST = {"limits": {"max_step": 0.02}}, {"limits": {"max_step": 0.05}}


def ids(records: Iterable[PolicyChanged]) -> list[str]:
    return [record.command_id for record in records]


def test_rollback_cancels_the_pending_patch_that_was_sent_last_and_keeps_what_is_in_force() -> None:
    history = ScopeHistory((a_change(1, "acme", 2, SLOW), a_change(2, "acme", 90, FAST)))
    plan = plan_rollback(history, PolicyScope("acme"), TEN_MS)
    assert plan.document == SLOW and plan.taken_back is not None
    assert ids([plan.taken_back]) == ids(plan.cancelled) == ["c2"]


def test_rollback_takes_back_the_patch_in_force_that_was_sent_last_and_cancels_pending_ones() -> None:
    history = ScopeHistory(
        (a_change(1, "acme", 90, {"grid": {"ending_minor": 5}}), a_change(2, "acme", 2, SLOW),
         a_change(3, "acme", 3, FAST), a_change(4, "acme/web", 95, FAST))
    )  # fmt: skip
    plan = plan_rollback(history, PolicyScope("acme"), TEN_MS)
    assert plan.document == SLOW and plan.taken_back is not None and plan.taken_back.command_id == "c3"
    assert ids(plan.cancelled) == ["c1"]


def test_rollback_from_a_minute_after_the_pending_patch_lets_it_hold_until_then() -> None:
    history = ScopeHistory((a_change(1, "acme", 2, SLOW), a_change(2, "acme", 5, FAST)))
    plan = plan_rollback(history, PolicyScope("acme"), TEN_MS)
    assert plan.document == SLOW and plan.cancelled == ()
    assert plan.taken_back is not None and plan.taken_back.command_id == "c2"


def test_rollback_to_a_patch_restores_the_document_after_it_and_cancels_pending_ones() -> None:
    history = ScopeHistory(
        (a_change(1, "acme", 2, SLOW), a_change(2, "acme", 3, FAST), a_change(3, "acme", 90, FAST))
    )
    for to, document in (("c1", SLOW), ("c2", FAST)):
        plan = plan_rollback(history, PolicyScope("acme"), TEN_MS, to)
        assert (plan.document, plan.taken_back, ids(plan.cancelled)) == (document, None, ["c3"])
    with pytest.raises(PolicyUseError, match=r"--to: expected a patch in force by then \(c1, c2\), got 'c3'"):
        plan_rollback(history, PolicyScope("acme"), TEN_MS, "c3")


def test_rollback_that_would_change_nothing_is_refused() -> None:
    cancelling = a_change(2, "acme", 3, {}, replaces=True, cancels=["c1"])
    history = ScopeHistory((a_change(1, "acme", 90, SLOW), cancelling))
    with pytest.raises(PolicyUseError, match=r"the last patch c2 .* changed nothing that could be taken back"):
        plan_rollback(history, PolicyScope("acme"), TEN_MS)
    with pytest.raises(PolicyUseError, match="expected a scope with an accepted patch"):
        plan_rollback(history, PolicyScope("other"), TEN_MS)


def test_cancelled_patch_is_neither_pending_nor_in_force_and_the_history_names_its_rollback() -> None:
    records = (
        a_change(1, "acme", 90, FAST),
        a_change(2, "acme", 3, {}, replaces=True, cancels=["c1"]),
    )
    history = ScopeHistory(records)
    assert history.pending(START_MS) == [records[1]]
    assert history.documents(START_MS + 100 * MINUTE_MS) == {} and cancelled(records) == {"c1": "c2"}
    first, second = change_lines(list(records))
    assert first.endswith("cancelled by c2") and "cancels c1" in second and second.endswith("accepted")


@settings(max_examples=80, deadline=None)
@given(STEPS, st.integers(3, 9))
def test_rollback_cancels_in_the_buckets_what_its_plan_names(steps: list[Any], minute: int) -> None:
    book, records = PolicyBook(Policy()), []
    for number, (scope, from_minute, value, replaces) in enumerate(steps):
        record = a_change(number, scope, from_minute, {"limits": {"max_step": value}}, replaces=replaces)
        records.append(taken(book, record))
    from_ms, scope = START_MS + minute * MINUTE_MS, PolicyScope("acme")
    try:
        plan = plan_rollback(ScopeHistory(tuple(records)), scope, from_ms)
    except PolicyUseError:
        return
    rollback = taken(book, a_change(99, "acme", minute, dict(plan.document), replaces=True))
    assert rollback.cancels == sorted(ids(plan.cancelled))
    found = ScopeHistory((*records, rollback)).documents(START_MS + 60 * MINUTE_MS)
    assert found.get(scope, {}) == plan.document


def test_patch_is_planned_on_the_documents_of_its_own_minute() -> None:
    history = ScopeHistory((a_change(1, "acme", 5, SLOW), a_change(2, "acme:category=shoes", 90, FAST)))
    patch = PolicyPatch("new", PolicyScope("acme"), {"grid": {"ending_minor": 5}}, TEN_MS, sent_ms=START_MS)
    assert history.planned(Policy(), patch) == {PolicyScope("acme"): SLOW | {"grid": {"ending_minor": 5}}}


def test_null_as_an_assigned_value_is_refused_and_says_what_it_would_mean() -> None:
    with pytest.raises(PolicyUseError, match=r"roles.long_tail: null as its value \(.*null: none.*policy file"):
        parse_changes(["roles.long_tail=null"], None)
    with pytest.raises(PolicyUseError, match=r"limits.max_step: expected a value, got 'null'"):
        parse_changes(["limits.max_step=null"], None)
