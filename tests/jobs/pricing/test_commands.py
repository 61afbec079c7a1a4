"""Commands: a check suite over all handlers."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.array_text import array_text
from features.bucket_logic import Batch, Output
from jobs.pricing import commands as package
from jobs.pricing.bucket.listing.listing_state import ROW
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.commands import COMMANDS, HANDLER_OF, CommandHandler
from jobs.pricing.policy import Policy
from schemas.causes import Cause
from schemas.records.operator_events import Command, CommandKind
from tests.jobs.pricing.bucket_builders import NOON_MS, a_command, an_estimate
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


# -- targets ------------------------------------------------------------------------------------


@BY_KIND
@pytest.mark.parametrize("target", [{"market": None, "sku": None}, {"market": None}, {"sku": None}, {"sku": ""}])
def test_command_for_one_listing_without_market_and_sku_is_refused_and_changes_nothing(
    handler: CommandHandler, target: dict[str, Any]
) -> None:
    logic = a_bucket()
    before = as_bytes(logic)
    outputs = send(logic, handler.kind, **target)
    if handler.scope == "listing":
        [refused] = outputs
        assert refused.stream == "refused_commands" and as_bytes(logic) == before
        assert refused.value["problem"].startswith(
            f"target: expected one listing, by market and SKU, for {handler.kind}"
        )
    else:
        assert not list(of_stream(outputs, "refused_commands"))


def test_commands_that_order_amounts_or_units_are_for_one_listing() -> None:
    assert {handler.kind for handler in COMMANDS if handler.scope == "listing"} == {
        "approve", "reject", "manual_price", "sale_target", "rollback",
    }  # fmt: skip


BETA = "beta/web-us-usd/s1"


def a_bucket_of_two_tenants() -> RepricingLogic:
    """Return a logic with listing s1 of two tenants, each with a change that awaits an approval."""
    logic = RepricingLogic(Policy.from_dict({"limits": {"min_confidence": 0.0}}))
    tenants, at_ms = ("acme", "beta"), START_MS + MINUTE_MS
    entries = tuple(replace(a_catalog_entry(), tenant=tenant) for tenant in tenants)
    list(logic.on_batch(Batch(0, at_ms, catalog=entries, now_ms=at_ms)))
    list(logic.on_batch(Batch(0, NOON_MS, now_ms=NOON_MS)))
    for offset, tenant in enumerate(tenants):
        logic.on_fact(a_fact("estimates", replace(an_estimate(-1.6), tenant=tenant), NOON_MS + 1, offset))
    assert all(each["pending"] for each in states_of(logic).values())
    return logic


def states_of(logic: RepricingLogic) -> dict[str, dict[str, Any]]:
    """Return the state of each listing by name of its values."""
    bucket = logic.snapshot()["bucket"]
    return {
        key: dict(zip(ROW, row, strict=True)) for key, row in zip(bucket["index"], bucket["states"], strict=True)
    }


@st.composite
def commands_of_acme(draw: st.DrawFn) -> list[Command]:
    """Draw commands of every kind by tenant acme; decision ids are those of tenant beta too."""
    decision_ids = [each["pending"]["decision_id"] for each in states_of(a_bucket_of_two_tenants()).values()]
    return [
        a_command(
            kind,
            market=draw(st.sampled_from([None, "web-us-usd"])),
            sku=draw(st.sampled_from([None, "s1", "s2"])),
            price_minor=draw(st.sampled_from([None, 1, 2100, 9900])),
            units=draw(st.sampled_from([None, 5])),
            until_ms=draw(st.sampled_from([None, NOON_MS + 86_400_000])),
            decision_id=draw(st.sampled_from([None, *decision_ids])),
            version=draw(st.sampled_from([None, 1])),
            changes=draw(st.sampled_from([None, '{"margin": {"min_margin": 0.3}}'])),
            from_ms=draw(st.sampled_from([None, NOON_MS + 86_400_000])),
        )
        for kind in draw(st.lists(st.sampled_from([each.value for each in CommandKind]), min_size=1, max_size=4))
    ]


@settings(max_examples=60, deadline=None)
@given(commands=commands_of_acme())
def test_commands_of_one_tenant_concern_no_listing_of_another(commands: list[Command]) -> None:
    logic, untouched = a_bucket_of_two_tenants(), a_bucket_of_two_tenants()
    for offset, command in enumerate(commands):
        outputs = list(logic.on_fact(a_fact("commands", command, NOON_MS + 1000 + offset, offset)))
        assert not [output for output in outputs if output.key == BETA]
    assert states_of(logic)[BETA] == states_of(untouched)[BETA]
    pending = states_of(untouched)[BETA]["pending"]["decision_id"]
    approval = replace(a_command("approve", decision_id=pending), tenant="beta")
    for one in (logic, untouched):
        assert list(one.on_fact(a_fact("commands", approval, NOON_MS + 2000, 99)))
    assert states_of(logic)[BETA] == states_of(untouched)[BETA]


@pytest.mark.parametrize("kind", ["approve", "reject"])
@pytest.mark.parametrize("scope", [{}, {"market": None, "sku": None}])
def test_decision_of_another_tenant_is_not_answered(kind: str, scope: dict[str, Any]) -> None:
    logic = a_bucket_of_two_tenants()
    pending = states_of(logic)[BETA]["pending"]
    command = a_command(kind, decision_id=pending["decision_id"], **scope)
    outputs = list(logic.on_fact(a_fact("commands", command, NOON_MS + 1000, 1)))
    assert not list(of_stream(outputs, "decisions")) and states_of(logic)[BETA]["pending"] == pending


# -- decisions ----------------------------------------------------------------------------------


@BY_KIND
def test_handler_says_whether_it_decides_at_once(handler: CommandHandler) -> None:
    logic = a_bucket_of_two_tenants()
    pending = states_of(logic)["acme/web-us-usd/s1"]["pending"]["decision_id"]
    command = a_command("manual_price", price_minor=2100)
    list(logic.on_fact(a_fact("commands", command, NOON_MS + 1000, 1)))  # a price to return from
    if handler.kind in ("approve", "reject"):
        logic = a_bucket_of_two_tenants()
    command = a_command(handler.kind, price_minor=2200, decision_id=pending)
    outputs = list(logic.on_fact(a_fact("commands", command, NOON_MS + 2000, 2)))
    assert bool(list(of_stream(outputs, "decisions"))) == handler.decides
