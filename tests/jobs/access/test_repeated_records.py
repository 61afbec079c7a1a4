"""Signed records that are appended to Kafka once more: no ring and no price table changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.array_text import array_text
from features.bucket_logic import Batch, Output
from jobs.access import KeyRing, issue_key
from jobs.access.keys import changed_ms
from jobs.access.signatures import Signer, is_signed, public_key, verifier
from jobs.pricing.bucket.accepted_commands import HORIZON_MS, MOST_COMMANDS
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from schemas.records.operator_events import AccessKey, Command
from tests.jobs.pricing.bucket_builders import NOON_MS, decision_of, price_of
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, of_stream

ISSUED = issue_key("ann", "quotes", "acme", now_ms=10, expires_ms=1000, key_id="k1")[1]
ROTATED = issue_key("ann", "quotes", "acme", now_ms=20, expires_ms=1000, key_id="k1")[1]
KIND_SET = replace(ROTATED, kind="backend", changed_ms=30)
REVOKED = replace(KIND_SET, revoked_ms=40, changed_ms=40)
HISTORIES = {
    "rotated": [ISSUED, ROTATED],
    "kind set": [ISSUED, ROTATED, KIND_SET],
    "revoked": [ISSUED, REVOKED],
    "everything": [ISSUED, ROTATED, KIND_SET, REVOKED],
    "without the time of the change": [
        replace(record, changed_ms=None) for record in (ISSUED, ROTATED, replace(ROTATED, revoked_ms=40))
    ],
}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("keys") / "commands.pem")


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_key_record_appended_again_never_changes_the_ring(history: list[AccessKey], signer: Signer) -> None:
    key, signed = public_key(signer.public_key), [signer.sign(record) for record in history]
    ring = KeyRing(signed, lambda record: is_signed(record, key))
    known, generation = ring.records(), ring.generation
    assert known == signed[-1:]
    for record in signed:
        ring.take_value(asdict(record))
        assert (ring.records(), ring.generation) == (known, generation)
    holder = ring.holder("k1", 50)
    assert (holder is None) is (history[-1].revoked_ms is not None)


@given(st.permutations([ISSUED, ROTATED, KIND_SET, REVOKED, ISSUED, KIND_SET]), st.integers(0, 6))
def test_ring_does_not_depend_on_the_order_of_records(order: list[AccessKey], known: int) -> None:
    ring = KeyRing(order[:known])
    for record in order:
        ring.take(record)
    assert ring.records() == [REVOKED]


def test_revocation_is_final_even_for_a_newer_record() -> None:
    ring = KeyRing([REVOKED, replace(KIND_SET, changed_ms=99)])
    assert ring.records() == [REVOKED] and ring.holder("k1", 50) is None


def test_record_without_the_time_of_its_change_has_that_of_its_issue_or_revocation() -> None:
    bare = replace(ISSUED, changed_ms=None)
    assert (changed_ms(bare), changed_ms(replace(bare, revoked_ms=15)), changed_ms(KIND_SET)) == (10, 15, 30)


def a_command(kind: str, number: int, at_ms: int, **more: Any) -> Command:
    """Return command ``c<number>`` for the one market."""
    more = {"market": "web-us-usd"} | more
    return Command(f"c{number}", at_ms, "acme", kind, "ann", **more)


class Bucket:
    """A bucket with one listing that verifies commands; each fact has the next offset."""

    def __init__(self, signer: Signer) -> None:
        self._signer, self._offsets = signer, itertools.count(1)
        self.logic = RepricingLogic(verify=verifier(signer.public_key))
        start = Batch(0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(),), now_ms=START_MS + MINUTE_MS)
        self.outputs = list(self.logic.on_batch(start)) + list(
            self.logic.on_batch(Batch(0, NOON_MS, now_ms=NOON_MS))
        )

    def send(self, command: Command, now_ms: int | None = None) -> list[Output]:
        """Send a command with a signature."""
        signed = self._signer.command(command, "pricing_manager")
        fact = a_fact("commands", signed, now_ms or command.event_time_ms, next(self._offsets))
        return list(self.logic.on_fact(fact))

    def restart(self) -> None:
        """Continue from a snapshot."""
        snapshot = self.logic.snapshot()
        self.logic = RepricingLogic(verify=verifier(self._signer.public_key))
        self.logic.restore(snapshot)


def state_of(logic: RepricingLogic) -> Any:
    """Return a logic's snapshot without the addresses that it has seen."""
    state = {name: value for name, value in logic.snapshot().items() if name != "seen"}
    return orjson.dumps(state, default=array_text)


T = NOON_MS + 1000
SEQUENCES: dict[str, list[Command]] = {
    "manual price": [
        a_command("manual_price", 1, T, sku="s1", price_minor=2500),
        a_command("unfreeze", 2, T + 1000, sku="s1"),
        a_command("manual_price", 3, T + 2000, sku="s1", price_minor=2100),
    ],
    "kill switch": [
        a_command("kill_switch", 1, T), a_command("resume", 2, T + 1000), a_command("kill_switch", 3, T + 2000),
    ],
    "freeze": [a_command("freeze", 1, T), a_command("unfreeze", 2, T + 1000), a_command("freeze", 3, T + 2000)],
    "rollback": [
        a_command("manual_price", 1, T, sku="s1", price_minor=2100), a_command("rollback", 2, T + 1000, sku="s1"),
    ],
    "settle": [a_command("settle", 1, T), a_command("freeze", 2, T + 1000)],
}  # fmt: skip
LATER: dict[str, Callable[[Bucket], None]] = {
    "at once": lambda bucket: None,
    "after a restart": Bucket.restart,
    "a month later": lambda bucket: (bucket.send(a_command("freeze", 9, T + 30 * HORIZON_MS, sku="none")), None)[
        1
    ],
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize("commands", SEQUENCES.values(), ids=SEQUENCES)
def test_command_appended_again_is_refused_and_changes_no_table(
    commands: list[Command], later: Callable[[Bucket], None], signer: Signer
) -> None:
    bucket = Bucket(signer)
    for command in commands:
        assert not list(of_stream(bucket.send(command), "refused_commands"))
    later(bucket)
    before = state_of(bucket.logic)
    for command in commands:
        [refused] = bucket.send(command, T + 40 * HORIZON_MS)
        assert refused.stream == "refused_commands" and refused.key == command.event_id
    assert state_of(bucket.logic) == before


def test_repeated_command_names_what_was_expected(signer: Signer) -> None:
    bucket = Bucket(signer)
    first = a_command("manual_price", 1, T, sku="s1", price_minor=2500)
    assert price_of(bucket.send(first)) == 2500
    [again] = bucket.send(first)
    assert again.value["problem"] == "event_id: expected a new command, got one that was accepted before"
    bucket.send(a_command("settle", 2, T + 2 * HORIZON_MS))
    [old] = bucket.send(a_command("settle", 3, T + HORIZON_MS - 1))
    assert old.value["problem"].startswith("event_time_ms: expected at most 24 hours before the newest command")


def test_command_within_the_horizon_is_accepted_in_any_order(signer: Signer) -> None:
    bucket = Bucket(signer)
    bucket.send(a_command("manual_price", 1, T + HORIZON_MS, sku="s1", price_minor=2500))
    assert price_of(bucket.send(a_command("manual_price", 2, T, sku="s1", price_minor=2100))) == 2100


def test_commands_of_another_tenant_do_not_age_those_of_this_one(signer: Signer) -> None:
    bucket = Bucket(signer)
    bucket.send(replace(a_command("settle", 1, T + 9 * HORIZON_MS), tenant="other"))
    assert price_of(bucket.send(a_command("manual_price", 2, T, sku="s1", price_minor=2100))) == 2100


def test_remembered_commands_are_bounded_and_none_of_the_forgotten_is_accepted_again(signer: Signer) -> None:
    bucket = Bucket(signer)
    commands = [a_command("settle", n, T + n, sku="none") for n in range(MOST_COMMANDS + 50)]
    for command in commands:
        bucket.send(command)
    assert len(bucket.logic.snapshot()["commands"]["acme"][1]) == MOST_COMMANDS
    assert all(bucket.send(command) for command in commands[:60])


def test_bucket_without_verification_carries_out_repeated_commands() -> None:
    logic = RepricingLogic()
    start = Batch(0, START_MS + MINUTE_MS, catalog=(a_catalog_entry(),), now_ms=START_MS + MINUTE_MS)
    list(logic.on_batch(start))
    command = a_command("settle", 1, T)
    for offset in (1, 2):
        assert decision_of(list(logic.on_fact(a_fact("commands", command, T, offset))))
    assert logic.snapshot()["commands"] == {}


def test_snapshot_without_commands_is_restored(signer: Signer) -> None:
    bucket = Bucket(signer)
    old = {name: value for name, value in bucket.logic.snapshot().items() if name != "commands"}
    bucket.logic.restore(old)
    assert price_of(bucket.send(a_command("manual_price", 1, T, sku="s1", price_minor=2500))) == 2500
