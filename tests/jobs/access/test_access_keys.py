"""Keys, roles, sessions and signatures: what is accepted, and that nothing else is."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.bucket_logic import Fact
from jobs.access import EVERY_TENANT, KeyRing, Permission, Role, issue_key
from jobs.access.key_files import ADMIN, local_key, read_key, use_code, write_code
from jobs.access.keys import KeyIssueError, digest_of, kind_of_record
from jobs.access.roles import PERMISSIONS, may
from jobs.access.sessions import ABSOLUTE_MS, IDLE_MS, MOST_SESSIONS, Session, SessionMemory, Sessions
from jobs.access.signatures import Signer, is_signed, public_key, verifier
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.records.operator_events import Command
from tests.jobs.access.access_builders import keys, texts

NOW_MS = 1_790_000_000_000
COMMAND = Command("c1", NOW_MS, "acme", "freeze", "ann", market="web", reason="why")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("keys") / "commands.pem")


def test_every_role_may_at_least_what_narrower_roles_may() -> None:
    ladder = [Role.READER, Role.ANALYST, Role.PRICING_MANAGER, Role.ADMIN]
    for narrow, wide in itertools.pairwise(ladder):
        assert PERMISSIONS[narrow] < PERMISSIONS[wide]
    assert PERMISSIONS[Role.QUOTES] == {Permission.QUOTE}
    assert not any(may("owner", permission) for permission in Permission)


def test_records_hold_no_key_and_each_key_is_its_own() -> None:
    assert len(set(texts.values())) == len(texts)
    for name, text in texts.items():
        assert text not in repr(keys[name]) and text.split("_", 2)[2] not in repr(keys[name])
        assert keys[name].digest == digest_of(text)


@pytest.mark.parametrize(
    ("author", "role", "expires_ms", "field"),
    [
        ("", "reader", 9, "name"),
        ("a b", "reader", 9, "name"),
        ("a", "owner", 9, "role"),
        ("a", "reader", 0, "expires"),
    ],
)
def test_key_that_cannot_be_issued_names_the_field(author: str, role: str, expires_ms: int, field: str) -> None:
    with pytest.raises(KeyIssueError, match=field):
        issue_key(author, role, EVERY_TENANT, now_ms=1, expires_ms=expires_ms)


def test_ten_thousand_wrong_keys_open_nothing() -> None:
    ring, rng = KeyRing(keys.values()), random.Random(7)
    for _ in range(10_000):
        text = texts[rng.choice(sorted(texts))]
        at = rng.randrange(len(text))
        wrong = rng.choice([
            text[:at] + rng.choice("abcXYZ019-_") + text[at + 1 :], text[:at], text + rng.choice("ab1"),
            text.upper(), rng.randbytes(32).hex(), "", text * 4,
        ])  # fmt: skip
        if wrong not in texts.values():
            assert ring.check(wrong, 0) is None, wrong


def test_rotated_and_revoked_keys_are_refused_and_the_new_text_accepted() -> None:
    text, record = issue_key("ann", "reader", "acme", now_ms=0, expires_ms=10)
    new_text, rotated = issue_key("ann", "reader", "acme", now_ms=1, expires_ms=10, key_id=record.key_id)
    ring = KeyRing([record])
    ring.take(rotated)
    assert ring.check(text, 2) is None and ring.check(new_text, 2) is not None
    ring.take(replace(rotated, revoked_ms=3))
    assert ring.check(new_text, 4) is None and len(ring.records()) == 1


def test_session_ends_when_idle_when_old_and_with_its_key() -> None:
    async def check() -> None:
        ring, store = KeyRing(keys.values()), SessionMemory()
        sessions, key_id = Sessions(ring, store=store), keys["reader"].key_id
        cookie = await sessions.begin(key_id, 0)
        now_ms = 0
        while now_ms < ABSOLUTE_MS - IDLE_MS // 2:
            assert await sessions.find(cookie, now_ms) is not None
            now_ms += IDLE_MS // 2
        assert await sessions.find(cookie, ABSOLUTE_MS) is None and len(store) == 0
        cookie = await sessions.begin(key_id, 0)
        ring.take(replace(keys["reader"], revoked_ms=1))
        assert await sessions.find(cookie, 1) is None
        cookie = await sessions.begin(keys["analyst"].key_id, 0)
        await sessions.end(cookie)
        assert await sessions.find(cookie, 1) is None

    asyncio.run(check())


def test_session_outlasts_a_start_at_which_its_key_is_not_read_yet() -> None:
    async def check() -> None:
        ring, store = KeyRing(), SessionMemory()
        sessions = Sessions(ring, store=store)
        cookie = await Sessions(KeyRing(keys.values()), store=store).begin(keys["reader"].key_id, 0)
        assert await sessions.find(cookie, 1) is None
        ring.take(keys["reader"])
        assert await sessions.find(cookie, 2) is not None

    asyncio.run(check())


def test_memory_keeps_the_most_recently_used_sessions() -> None:
    async def check() -> None:
        store = SessionMemory()
        for number in range(MOST_SESSIONS + 5):
            await store.put(str(number), Session("k", 0, 0))
            await store.put("used", Session("k", 0, number))
        assert len(store) == MOST_SESSIONS
        assert await store.get("used") is not None and await store.get("0") is None

    asyncio.run(check())


def test_code_signs_in_once_and_only_in_time(tmp_path: Path) -> None:
    code = write_code(tmp_path, "k1", 0)
    assert not any(code in path.name or code in path.read_text() for path in tmp_path.iterdir())
    assert use_code(tmp_path, code, 1) == "k1"
    assert use_code(tmp_path, code, 1) is None
    assert use_code(tmp_path, write_code(tmp_path, "k1", 0), 10**9) is None


def test_local_key_is_issued_once_signed_and_readable_by_its_user_alone(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / f"{ADMIN}.json"
    first = local_key(path, signer, ADMIN, Role.ADMIN, EVERY_TENANT)
    assert local_key(path, signer, ADMIN, Role.ADMIN, EVERY_TENANT) == first == read_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = public_key(signer.public_key)
    assert is_signed(first.record, key) and not is_signed(replace(first.record, role=Role.QUOTES), key)
    ring = KeyRing([replace(first.record, tenant="acme"), keys["admin"]], lambda record: is_signed(record, key))
    assert ring.records() == [], "a record that the deployment did not sign is ignored"


def _forged(rng: random.Random, signed: Command, other: Signer) -> Command:
    kind = rng.randrange(6)
    if kind == 0:
        name = rng.choice(["event_id", "tenant", "kind", "operator", "market", "sku", "reason", "changes", "role"])
        return replace(signed, **{name: f"{getattr(signed, name) or ''}{rng.choice('abc')}"})
    if kind == 1:
        name = rng.choice(["event_time_ms", "price_minor", "until_ms", "version", "from_ms"])
        return replace(signed, **{name: (getattr(signed, name) or 0) + rng.randint(1, 10**6)})
    if kind == 2:
        return replace(
            signed, signature=rng.choice([None, "", "x", "=", "é", "\ud800", rng.randbytes(64).hex()[:88]])
        )
    if kind == 3:
        return replace(signed, role=rng.choice([None, "", "reader", "analyst", "quotes", "owner"]))
    if kind == 4:
        return other.command(signed, "admin")
    assert signed.signature is not None
    at = rng.randrange(len(signed.signature) - 3)
    new = rng.choice([c for c in "ABCDEFGH01234567" if c != signed.signature[at]])
    return replace(signed, signature=signed.signature[:at] + new + signed.signature[at + 1 :])


def test_ten_thousand_forged_commands_are_refused(signer: Signer, tmp_path: Path) -> None:
    rng, check, other = random.Random(11), verifier(signer.public_key), Signer.create(tmp_path / "other.pem")
    signed = signer.command(COMMAND, "pricing_manager")
    assert check(signed) == ""
    assert all(check(_forged(rng, signed, other)) for _ in range(10_000))


@settings(max_examples=50, deadline=None)
@given(role=st.sampled_from(list(Role)))
def test_roles_without_the_permission_are_refused_although_signed(signer: Signer, role: Role) -> None:
    allowed = verifier(signer.public_key)(signer.command(COMMAND, role)) == ""
    assert allowed == may(role, Permission.COMMAND)


def test_bucket_carries_out_a_signed_command_and_records_the_refusal_of_another(signer: Signer) -> None:
    logic = RepricingLogic(verify=verifier(signer.public_key))

    def send(command: Command, offset: int) -> list[Any]:
        value = {each.name: getattr(command, each.name) for each in fields(command)}
        return list(logic.on_fact(Fact("commands", value, NOW_MS, f"commands-0-{offset}", NOW_MS)))

    [refused] = send(COMMAND, 0)
    assert refused.stream == "refused_commands" and refused.key == "c1"
    assert refused.value["problem"].startswith("role, signature: expected a command signed")
    for offset, signature in enumerate(("é", "x", "=" * 128), 1):
        [refused] = send(replace(COMMAND, role="pricing_manager", signature=signature), offset)
        assert refused.value["problem"] == "signature: not that of the operator port over this command"
    assert send(signer.command(COMMAND, "pricing_manager"), 9) == []


@pytest.mark.parametrize(
    ("stated", "public"), [(None, False), ("backend", False), ("public", True), ("a later kind", True)]
)
def test_key_is_public_unless_it_is_a_backends_or_states_no_kind(stated: str | None, public: bool) -> None:
    text, record = issue_key("shop", "quotes", "acme", now_ms=0, expires_ms=10)
    holder = KeyRing([replace(record, kind=stated)]).check(text, 1)
    assert holder is not None and holder.public is public


def test_new_key_is_public_if_its_role_asks_for_prices() -> None:
    kinds = {role: issue_key("a", role, "acme", now_ms=0, expires_ms=10)[1].kind for role in Role}
    assert {role for role, kind in kinds.items() if kind is not None} == {Role.QUOTES, Role.ADMIN}
    assert set(kinds.values()) == {None, "public"}
    with pytest.raises(KeyIssueError, match="kind: expected one of backend, public; got 'private'"):
        issue_key("a", "quotes", "acme", now_ms=0, expires_ms=10, kind="private")


def test_record_without_a_kind_keeps_its_signature_and_its_meaning(signer: Signer) -> None:
    key = public_key(signer.public_key)
    signed = signer.sign(replace(keys["shop"], kind=None))
    value = {name: value for name, value in asdict(signed).items() if name != "kind"}
    ring = KeyRing(genuine=lambda record: is_signed(record, key))
    ring.take_value(value)
    [read] = ring.records()
    assert read == signed and kind_of_record(read) == "backend"
    ring.take_value(value | {"kind": "public"})
    assert ring.records() == [signed], "the signature covers the kind"
