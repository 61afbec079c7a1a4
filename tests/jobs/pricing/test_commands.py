"""Commands: a check suite over all handlers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Output
from jobs.pricing import commands as package
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.commands import COMMANDS, HANDLER_OF, CommandHandler
from schemas.causes import Cause
from schemas.records.operator_events import CommandKind
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command
from tests.jobs.pricing.members import extra_file, member_classes
from tests.jobs.pricing.pricing_builders import MINUTE_MS, START_MS, a_catalog_entry, a_fact, of_stream, restarted

BY_KIND = pytest.mark.parametrize("handler", COMMANDS, ids=lambda handler: handler.kind)
LISTINGS = ("s1", "s2")
OF_LISTINGS = ("decisions", "tables")
"""Streams with a record per listing."""


def a_bucket() -> RepricingLogic:
    """Return a logic with two listings, each with a table."""
    logic, at_ms = RepricingLogic(), START_MS + MINUTE_MS
    entries = tuple(a_catalog_entry(sku) for sku in LISTINGS)
    list(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms)))
    list(logic.on_batch(Batch(0, NOON_MS, now_ms=NOON_MS)))
    return logic


def send(logic: RepricingLogic, kind: str, offset: int = 1, **scope: Any) -> list[Output]:
    """Send a command with all its optional values; return the logic's outputs."""
    values = {"price_minor": 2100, "units": 5, "until_ms": NOON_MS + 86_400_000, "decision_id": "d", "reason": "r"}
    command = a_command(kind, **values, **scope)
    return list(logic.on_fact(a_fact("commands", command, NOON_MS + 1000 * offset, offset)))


def as_bytes(logic: RepricingLogic, *, without: str = "seen") -> bytes:
    """Return a logic's snapshot without the offsets of the facts that it took."""
    snapshot = {name: value for name, value in logic.snapshot().items() if name != without}
    return orjson.dumps(snapshot, default=array_text, option=orjson.OPT_SORT_KEYS)


def test_every_kind_has_one_handler() -> None:
    assert sorted(handler.kind for handler in COMMANDS) == sorted(kind.value for kind in CommandKind)
    assert all(HANDLER_OF[handler.kind] is handler for handler in COMMANDS)


@BY_KIND
def test_handler_has_a_text_for_people(handler: CommandHandler) -> None:
    assert handler.text == handler.text.strip() and handler.text[0].islower() and "_" not in handler.text
    assert not handler.text.endswith(".")


def test_texts_of_handlers_are_distinct() -> None:
    assert len({handler.text for handler in COMMANDS}) == len(COMMANDS)


def test_every_class_in_the_folder_is_in_the_tuple() -> None:
    written = member_classes(package, CommandHandler)
    assert set().union(*written.values()) == {type(handler) for handler in COMMANDS}
    assert all(written.values()), "every file defines a handler"


def test_listing_the_folder_finds_a_file_missing_from_the_tuple(tmp_path: Path) -> None:
    text = "from jobs.pricing.commands.settle import Settle\n\n\nclass NewCommand(Settle):\n    pass\n"
    with extra_file(package, tmp_path, "new_command", text):
        [found] = member_classes(package, CommandHandler)["new_command"]
    assert found.__name__ == "NewCommand" and found not in {type(handler) for handler in COMMANDS}


@BY_KIND
def test_command_is_deterministic(handler: CommandHandler) -> None:
    one, other = a_bucket(), a_bucket()
    assert send(one, handler.kind) == send(other, handler.kind)
    assert as_bytes(one) == as_bytes(other)


@BY_KIND
def test_decision_on_a_command_names_command_and_operator(handler: CommandHandler) -> None:
    for decision in of_stream(send(a_bucket(), handler.kind), "decisions"):
        assert decision["cause"] in (Cause.COMMAND, Cause.SETTLE)
        assert decision["cause_detail"]["command"] == handler.kind
        assert decision["cause_detail"]["operator"] == "ann" and decision["cause_detail"]["reason"] == "r"


@BY_KIND
def test_command_reprices_no_listing_outside_its_scope(handler: CommandHandler) -> None:
    outputs = send(a_bucket(), handler.kind, sku="s2")
    assert {output.key for output in outputs if output.stream in OF_LISTINGS} <= {"acme/web-us-usd/s2"}


@BY_KIND
def test_command_for_another_tenant_changes_nothing(handler: CommandHandler) -> None:
    logic = a_bucket()
    states = orjson.dumps(logic.snapshot()["bucket"], default=array_text)
    command = asdict(a_command(handler.kind, price_minor=2100, units=5, until_ms=NOON_MS * 2)) | {"tenant": "b"}
    outputs = logic.on_fact(a_fact("commands", command, NOON_MS + 1000, 1))
    assert not [output for output in outputs if output.stream in OF_LISTINGS]
    assert orjson.dumps(logic.snapshot()["bucket"], default=array_text) == states


@BY_KIND
def test_command_sent_again_with_the_same_offset_changes_nothing(handler: CommandHandler) -> None:
    logic = a_bucket()
    send(logic, handler.kind)
    before = as_bytes(logic)
    assert not send(logic, handler.kind)
    assert as_bytes(logic) == before


@BY_KIND
def test_effect_of_a_command_survives_a_restart(handler: CommandHandler) -> None:
    logic = a_bucket()
    send(logic, handler.kind)
    again = restarted(logic)
    assert as_bytes(again) == as_bytes(logic)
    assert send(again, CommandKind.SETTLE, 2) == send(logic, CommandKind.SETTLE, 2)


@BY_KIND
@pytest.mark.parametrize("missing", ["price_minor", "units", "until_ms", "decision_id"])
def test_command_without_an_optional_value_is_carried_out(handler: CommandHandler, missing: str) -> None:
    values = {"price_minor": 2100, "units": 5, "until_ms": NOON_MS * 2, "decision_id": "d"}
    command = a_command(handler.kind, **{name: value for name, value in values.items() if name != missing})
    outputs = list(a_bucket().on_fact(a_fact("commands", command, NOON_MS + 1000, 1)))
    assert {output.stream for output in outputs} <= {"decisions", "tables", "policies", "policy_changes"}
