"""Pending patches: what contradicts or cancels them, and commands that arrive again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from jobs.pricing.policies import PatchError, PolicyBook, live_keys
from jobs.pricing.policies.book import MOST_KNOWN
from jobs.pricing.policies.live_keys import accepts_null, description
from jobs.pricing.policy import Policy
from tests.jobs.pricing.policies.test_policy_book import ENTRY, NEXT_MS, a_patch, with_patches
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS

LATER_MS = START_MS + 40 * MINUTE_MS


def test_patch_that_contradicts_a_later_pending_one_is_refused_and_names_it() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme", 1, LATER_MS, market__cap_trigger_ratio=1.6, limits__max_step=0.05))
    before = book.snapshot()
    for scope in ("acme", "acme/web"):
        with pytest.raises(PatchError, match=rf"{scope}: .*pending patch c1 of acme .*cap_ratio"):
            book.take(a_patch(scope, 2, market__cap_ratio=1.9))
    assert book.snapshot() == before
    book.take(a_patch("acme", 3, market__cap_ratio=1.55))
    book.advance(LATER_MS + MINUTE_MS)
    assert book.of(ENTRY).market.cap_ratio == 1.55 and book.of(ENTRY).limits.max_step == 0.05


def test_pending_patch_that_contradicts_the_policy_file_refuses_no_other_patch() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme/web", 1, LATER_MS, market__cap_ratio=1.9))
    other = PolicyBook(Policy.from_dict({"market": {"cap_trigger_ratio": 1.6, "cap_ratio": 1.2}}))
    other.restore(orjson.loads(orjson.dumps(book.snapshot())))
    other.take(a_patch("acme", 2, limits__max_step=0.05))
    other.advance(LATER_MS + MINUTE_MS)
    assert other.of(ENTRY).limits.max_step == 0.05 and other.of(ENTRY).market.cap_ratio == 1.2


def test_document_that_contradicts_the_policy_file_refuses_no_patch_of_another_scope() -> None:
    book = with_patches(a_patch("acme", 1, market__cap_ratio=1.9), a_patch("acme/web", 2, market__cap_ratio=1.95))
    other = PolicyBook(Policy.from_dict({"market": {"cap_trigger_ratio": 1.6, "cap_ratio": 1.2}}))
    other.restore(orjson.loads(orjson.dumps(book.snapshot())))
    for number, scope in ((3, "acme"), (4, "acme/web")):
        other.take(a_patch(scope, number, replaces=True, limits__max_step=0.05))
    other.advance(NEXT_MS + MINUTE_MS)
    assert other.of(ENTRY).limits.max_step == 0.05


def test_replacing_patch_cancels_the_pending_patches_of_its_scope_from_its_minute_on() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme", 1, NEXT_MS, limits__max_step=0.05))
    book.take(a_patch("acme", 2, LATER_MS, limits__max_step=0.02))
    book.take(a_patch("acme/web", 3, LATER_MS, limits__min_gap_minutes=5))
    assert book.take(a_patch("acme", 4, NEXT_MS + MINUTE_MS, replaces=True, limits__max_step=0.08)) == ["c2"]
    assert book.take(a_patch("acme", 5, NEXT_MS + MINUTE_MS, replaces=True, limits__max_step=0.08)) == ["c4"]
    book.advance(NEXT_MS + MINUTE_MS)
    assert book.of(ENTRY).limits.max_step == 0.05, "a patch whose minute comes before holds until then"
    book.advance(LATER_MS + MINUTE_MS)
    assert (book.of(ENTRY).limits.max_step, book.of(ENTRY).limits.min_gap_minutes) == (0.08, 5)


def test_patches_that_a_rollback_cancels_do_not_depend_on_when_its_command_arrives() -> None:
    commands = [
        a_patch("acme", 1, NEXT_MS + MINUTE_MS, limits__max_step=0.05),
        a_patch("acme", 2, NEXT_MS, replaces=True, limits__max_step=0.08),
    ]
    for passed in (0, 60 * MINUTE_MS):
        book = PolicyBook(Policy())
        book.take(commands[0])
        book.advance(START_MS + passed)
        assert book.take(commands[1]) == ["c1"]
        book.advance(START_MS + 61 * MINUTE_MS)
        assert book.of(ENTRY).limits.max_step == 0.08


def test_rollback_that_would_contradict_a_pending_patch_of_another_scope_is_refused() -> None:
    book = with_patches(a_patch("acme", 1, market__cap_trigger_ratio=1.6))
    book.take(a_patch("acme", 2, LATER_MS, market__cap_trigger_ratio=1.95))
    book.take(a_patch("acme/web", 3, LATER_MS + MINUTE_MS, market__cap_ratio=1.9))
    with pytest.raises(PatchError, match=r"acme: the pending patch c3 of acme/web could not be applied"):
        book.take(a_patch("acme", 4, replaces=True, market__cap_trigger_ratio=1.6))


@pytest.mark.parametrize("restart", [False, True])
def test_repeated_command_changes_nothing_after_its_patch_was_replaced(restart: bool) -> None:
    first, second = a_patch("acme", 1, limits__max_step=0.05), a_patch("acme", 2, limits__max_step=0.02)
    book = with_patches(first, second)
    if restart:
        saved, book = orjson.loads(orjson.dumps(book.snapshot())), PolicyBook(Policy())
        book.restore(saved)
    before = book.snapshot()
    assert book.take(first) is None and book.snapshot() == before
    book.advance(START_MS + 61 * MINUTE_MS)
    assert book.of(ENTRY).limits.max_step == 0.02


def test_repeated_command_does_not_bring_a_cancelled_patch_back() -> None:
    book = PolicyBook(Policy())
    pending = a_patch("acme", 1, LATER_MS, limits__max_step=0.05)
    book.take(pending)
    book.take(a_patch("acme", 2, replaces=True))
    assert book.take(pending) is None
    book.advance(LATER_MS + MINUTE_MS)
    assert book.of(ENTRY) is book.base


def test_remembered_commands_are_bounded() -> None:
    book = PolicyBook(Policy())
    for number in range(MOST_KNOWN + 5):
        book.take(a_patch("acme", number, replaces=True, limits__max_step=0.05))
    assert len(book.snapshot()["known"]) == MOST_KNOWN


def test_pending_patch_is_remembered_until_its_minute_whatever_follows_it() -> None:
    book = PolicyBook(Policy())
    book.take(a_patch("acme", 0, LATER_MS, limits__max_step=0.05))
    for number in range(1, MOST_KNOWN + 5):
        book.take(a_patch("other", number, replaces=True, limits__max_step=0.05))
    assert book.take(a_patch("acme", 999, replaces=True)) == ["c0"]


def test_snapshot_without_remembered_commands_restores() -> None:
    book = PolicyBook(Policy())
    pending = a_patch("acme", 1, LATER_MS, limits__max_step=0.05)
    book.take(pending)
    old = {name: value for name, value in book.snapshot().items() if name != "known"}
    restored = PolicyBook(Policy())
    restored.restore(orjson.loads(orjson.dumps(old)))
    assert restored.take(pending) is None
    assert restored.take(a_patch("acme", 2, replaces=True)) == ["c1"]


@pytest.mark.parametrize(
    "key",
    ["roles.kvi", "roles.long_tail", "tables.unconfirmed_minutes", "fallback.max_estimate_age_minutes",
     "target_lp.units"],
)  # fmt: skip
def test_null_where_null_is_a_value_of_the_key_is_refused_unless_it_removes_the_key(key: str) -> None:
    book, name = PolicyBook(Policy()), key.replace(".", "__")
    null: dict[str, Any] = {name: None}
    five: dict[str, Any] = {name: 5}
    message = rf"{key}: null removes a key from the scope, .*null.*policy file"
    with pytest.raises(PatchError, match=message):
        book.take(a_patch("acme", 1, **null))
    book.take(a_patch("acme", 2, **five))
    with pytest.raises(PatchError, match=message):
        book.take(a_patch("acme", 3, replaces=True, **null))
    book.take(a_patch("acme", 4, NEXT_MS + MINUTE_MS, **null))
    book.advance(LATER_MS)
    assert book.of(ENTRY) is book.base


def test_every_live_key_with_a_null_value_says_what_null_means() -> None:
    keys = [key for key in live_keys() if accepts_null(key)]
    assert len(keys) == 7 and all("null: " in description(key) for key in keys)
