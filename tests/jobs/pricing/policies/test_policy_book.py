"""Policy patches: scopes and their order, what is refused, and when a patch holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.pricing.policies import PatchError, PolicyBook, PolicyScope, ScopeError, live_keys
from jobs.pricing.policies.live_keys import all_keys, description
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS

ENTRY = CatalogEntry("e", 1, "acme", "web", "s1", "g1", "shoes", "kvi", "USD", 1, True, 700, 1000)
NEXT_MS = START_MS + 2 * MINUTE_MS


def a_patch(
    scope: str, number: int = 1, from_ms: int = NEXT_MS, replaces: bool = False, **changes: Any
) -> Command:
    """Return a policy command for a scope; ``section__key=value`` sets a key."""
    parsed = PolicyScope.parse(scope)
    sections: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        section, _, key = name.partition("__")
        sections.setdefault(section, {})[key] = value
    return Command(
        f"c{number}", START_MS, parsed.tenant, "policy", "ann", parsed.market or None,
        selection=f"{parsed.field}={parsed.value}" if parsed.field else None,
        changes=orjson.dumps(sections).decode(), from_ms=from_ms, replaces=replaces,
    )  # fmt: skip


def with_patches(*commands: Command) -> PolicyBook:
    """Return a book whose patches hold."""
    book = PolicyBook(Policy())
    for command in commands:
        book.take(command)
    book.advance(START_MS + 60 * MINUTE_MS)
    return book


def test_narrower_scopes_override_wider_ones_whatever_the_order_of_the_commands() -> None:
    scopes = ["acme", "acme/web", "acme:category=shoes", "acme/web:category=shoes", "acme:role=kvi",
              "acme:price_group=g1", "acme:sku=s1"]  # fmt: skip
    for count in range(1, len(scopes) + 1):
        patches = [a_patch(scope, i, limits__max_step=0.01 * (i + 1)) for i, scope in enumerate(scopes[:count])]
        for order in (patches, patches[::-1]):
            assert with_patches(*order).of(ENTRY).limits.max_step == 0.01 * count


def test_patch_holds_only_in_its_scope_and_keeps_other_keys() -> None:
    book = with_patches(a_patch("acme:category=shoes", limits__max_step=0.05))
    assert book.of(ENTRY).limits.max_step == 0.05
    assert book.of(ENTRY).limits.min_gap_minutes == Policy().limits.min_gap_minutes
    for other in ("hats", "shoes-2"):
        assert book.of(_with(category=other)) is book.base
    assert book.of(_with(tenant="b")) is book.base


def test_patch_holds_from_its_minute_on() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme", limits__max_step=0.05))
    assert not book.advance(NEXT_MS) and book.of(ENTRY) is book.base
    assert book.is_due(NEXT_MS + MINUTE_MS) and book.advance(NEXT_MS + MINUTE_MS)
    assert book.of(ENTRY).limits.max_step == 0.05


def test_removed_key_takes_the_wider_scopes_value_again() -> None:
    book = with_patches(
        a_patch("acme", 1, limits__max_step=0.05),
        a_patch("acme/web", 2, limits__max_step=0.03, limits__min_gap_minutes=5),
        a_patch("acme/web", 3, from_ms=NEXT_MS + MINUTE_MS, limits__max_step=None),
    )
    assert book.of(ENTRY).limits.max_step == 0.05 and book.of(ENTRY).limits.min_gap_minutes == 5


def test_replacing_patch_takes_the_scope_back() -> None:
    book = with_patches(
        a_patch("acme", 1, limits__max_step=0.05, tables__life_minutes=60),
        a_patch("acme", 2, from_ms=NEXT_MS + MINUTE_MS, replaces=True),
    )
    assert book.of(ENTRY) is book.base and book.scopes_of(ENTRY) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (a_patch("acme", limits__max_stp=0.05), r"limits.max_stp: expected a key.*limits.max_step"),
        (a_patch("acme", limits__max_step="a lot"), r"limits.max_step: .*got 'a lot'"),
        (a_patch("acme", limits__max_step=7), r"limits.max_step: .*less than or equal to 1.*got 7"),
        (a_patch("acme", elasticity__period_minutes=30), r"elasticity.period_minutes: a deployment key"),
        (a_patch("acme", market__cap_ratio=3.0), r"expected cap_ratio ≤ cap_trigger_ratio"),
        (a_patch("acme", from_ms=START_MS + MINUTE_MS, limits__max_step=0.1), "at least 2 minutes"),
        (a_patch("acme", from_ms=NEXT_MS + 1, limits__max_step=0.1), "start of a market minute"),
        (Command("c", START_MS, "acme", "policy", "ann", changes="{", from_ms=NEXT_MS), "expected a JSON"),
        (Command("c", START_MS, "acme", "policy", "ann", changes="[]", from_ms=NEXT_MS), "expected section"),
        (Command("c", START_MS, "acme", "policy", "ann", selection="colour=red", changes="{}", from_ms=NEXT_MS),
         r"scope: expected tenant.*:category=….*got 'acme:colour=red'"),
    ],
)  # fmt: skip
def test_bad_patch_is_refused_by_key_and_changes_nothing(command: Command, message: str) -> None:
    book = PolicyBook(Policy())
    before = book.snapshot()
    with pytest.raises(PatchError, match=message):
        book.take(command)
    assert book.snapshot() == before


def test_contradiction_between_two_scopes_is_refused_and_names_both() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme:category=shoes", 1, market__cap_ratio=1.9))
    with pytest.raises(PatchError, match=r"acme/web together with scope acme:category=shoes: .*cap_ratio"):
        book.take(a_patch("acme/web", 2, market__cap_trigger_ratio=1.7, market__cap_ratio=1.2))
    book.take(a_patch("acme/web:category=hats", 3, market__cap_trigger_ratio=1.7, market__cap_ratio=1.2))


def test_document_that_no_longer_fits_the_policy_file_is_left_out() -> None:
    book = with_patches(a_patch("acme", 1, market__cap_ratio=1.9), a_patch("acme/web", 2, limits__max_step=0.05))
    other = PolicyBook(Policy.from_dict({"market": {"cap_trigger_ratio": 1.6, "cap_ratio": 1.2}}))
    other.restore(orjson.loads(orjson.dumps(book.snapshot())))
    assert other.of(ENTRY).market.cap_ratio == 1.2 and other.of(ENTRY).limits.max_step == 0.05


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "acme/web", "acme:category=shoes", "acme:sku=s1"]),
        st.integers(2, 9),
        st.sampled_from([0.02, 0.05, None]),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 12))
def test_restart_at_any_minute_changes_nothing(steps: list[Any], restart: int) -> None:
    def run(restart_at: int | None) -> list[float]:
        book, seen = PolicyBook(Policy()), []
        for i, (scope, minute, value, replaces) in enumerate(steps):
            from_ms = START_MS + minute * MINUTE_MS
            book.take(a_patch(scope, i, from_ms, replaces, limits__max_step=value))
        for minute in range(12):
            if minute == restart_at:
                saved, book = orjson.loads(orjson.dumps(book.snapshot())), PolicyBook(Policy())
                book.restore(saved)
            book.advance(START_MS + minute * MINUTE_MS)
            seen.append(book.of(ENTRY).limits.max_step)
        return seen

    assert run(restart) == run(None)


@pytest.mark.parametrize("text", ["", "/web", "acme/", "acme:", "acme:colour=red", "acme:sku=", "acme/web/s1"])
def test_text_that_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ScopeError, match="scope: expected tenant or tenant/market"):
        PolicyScope.parse(text)


def test_every_key_is_live_or_needs_a_restart_and_has_a_description() -> None:
    assert set(live_keys()) < set(all_keys())
    assert all(description(key) for key in all_keys())
    for key in ("elasticity.period_minutes", "segments.names", "watch.warmup_minutes", "objective.period_minutes",
                "features.season_events", "tables.arm"):  # fmt: skip
        assert key not in live_keys()


def _with(**changes: Any) -> CatalogEntry:
    values = {name: getattr(ENTRY, name) for name in CatalogEntry.__dataclass_fields__}
    return CatalogEntry(**{**values, **changes})
