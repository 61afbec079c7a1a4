"""Policies of a deployment from the records of its patches: what is in force, pending, different."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.policy import parse_changes
from jobs.policies import PolicyUseError, ScopeHistory
from jobs.policies.control import first_minute
from jobs.policies.documents import nested
from jobs.pricing.policies import PolicyBook, PolicyScope
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command, PolicyChanged
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS

ENTRY = CatalogEntry("e", 1, "acme", "web", "s1", "g1", "shoes", "kvi", "USD", 1, True, 700, 1000)


def a_change(number: int, scope: str, minute: int, changes: dict[str, Any], **more: Any) -> PolicyChanged:
    """Return the record of an accepted patch that holds from a minute on."""
    parsed = PolicyScope.parse(scope)
    values = {
        "selection": f"{parsed.field}={parsed.value}" if parsed.field else "",
        "changes": orjson.dumps(changes).decode(), "from_ms": START_MS + minute * MINUTE_MS, "replaces": False,
        "operator": "ann", "reason": "", "accepted": True, "problem": "",
    }  # fmt: skip
    return PolicyChanged(f"c{number}", START_MS, parsed.tenant, parsed.market, **(values | more))


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
        records.append(record)
        sent = {name: getattr(record, name) for name in ("changes", "from_ms", "replaces", "selection", "market")}
        book.take(Command(record.command_id, START_MS, "acme", "policy", "ann", **sent))
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
