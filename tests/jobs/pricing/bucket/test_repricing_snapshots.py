"""Snapshots of RepricingLogic: a restart changes nothing, and snapshots of earlier versions are restored.

``repricing.v1.json`` holds a snapshot, a decision, and the outputs of :func:`go_on` from that snapshot and from
the older ``repricing_snapshot_before_0042.json`` and ``repricing_snapshot_before_0051.json``. After a deliberate
change of decisions, ``python -m tests.jobs.pricing.bucket.test_repricing_snapshots`` writes these outputs again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from features.array_text import array_text
from features.bucket_logic import Batch, Output, SnapshotError
from jobs.pricing.bucket.listing.listing_state import ROW, HeldEstimate, ListingState
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy
from schemas.listings import Listing
from schemas.price_table import PriceTable
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    RivalFeed,
    a_cell,
    a_command,
    a_running_logic,
    state_value,
)
from tests.jobs.pricing.pricing_builders import (
    MINUTE_MS,
    START_MS,
    SmallMarket,
    a_catalog_entry,
    a_fact,
    an_offer,
    of_stream,
    restarted,
)

SNAPSHOTS = Path(__file__).parents[3] / "golden" / "snapshots"
STORED = SNAPSHOTS / "repricing.v1.json"
VERSION_1 = orjson.loads(STORED.read_bytes())
BEFORE_0042 = orjson.loads((SNAPSHOTS / "repricing_snapshot_before_0042.json").read_bytes())
BEFORE_0051 = orjson.loads((SNAPSHOTS / "repricing_snapshot_before_0051.json").read_bytes())
CONTINUED = {
    "continued": VERSION_1["snapshot"],
    "continued_before_0042": BEFORE_0042,
    "continued_before_0051": BEFORE_0051,
}
"""Key of the stored outputs → the snapshot that they follow."""
ALONE = Policy().overridden(
    {
        "groups": {"equal_price": False},
        "tables": {"session_minutes": 0, "unconfirmed_minutes": None},
    }
)
"""The policy of the version that wrote the outputs, which decided listings alone, without windows."""


def plain(value: Any) -> Any:
    """Return a value after a JSON round trip."""
    return orjson.loads(orjson.dumps(value, default=array_text))


def restored(snapshot: Mapping[str, Any], policy: Policy | None = None) -> RepricingLogic:
    """Return a logic with a copy of a snapshot."""
    logic = RepricingLogic(policy)
    logic.restore(plain(snapshot))
    return logic


def go_on(logic: RepricingLogic) -> list[list[Any]]:
    """Send a minute, approvals, a rollback, a cost, an hour's counts, a settlement and a day's end.

    Returns
    -------
    Per output but policies: stream, listing, main price, and digest of its value without a decision's inputs.
    """
    snapshot = logic.snapshot()
    states = [dict(zip(ROW, row, strict=True)) for row in snapshot["bucket"]["states"]]
    skus = [Listing.parse(key).sku for key in snapshot["bucket"]["index"]]
    pending = [
        (sku, state["pending"]["decision_id"]) for sku, state in zip(skus, states, strict=True) if state["pending"]
    ]
    start_ms, outputs, offset = snapshot["time_ms"], [], 2000

    def send(kind: str, value: Any, at_ms: int) -> None:
        nonlocal offset
        offset += 1
        outputs.extend(logic.on_fact(a_fact(kind, value, at_ms, offset)))

    def command(kind: str, at_ms: int, sent_ms: int, **more: Any) -> None:
        send("commands", replace(a_command(kind, **more), event_time_ms=at_ms), sent_ms)

    def batch(at_ms: int, **content: Any) -> None:
        outputs.extend(logic.on_batch(Batch(0, at_ms, now_ms=at_ms + 500, **content)))

    at_ms = start_ms + MINUTE_MS
    cells = (a_cell(1999, 50, 3, 3), a_cell(2099, 40, 1, 1, sku="s2"))
    offer = an_offer(1780, start_ms + 900)
    batch(at_ms, cells=tuple(replace(cell, price_group="g") for cell in cells), offers=(offer,))
    for sku, decision_id in pending:
        command("approve", at_ms, at_ms + 1000, sku=sku, decision_id=decision_id)
    address = dict(logic.snapshot()["seen"])
    for sku in skus:
        # All have the address of one fact: the version that wrote the outputs had one command for all listings.
        logic.restore(plain(logic.snapshot() | {"seen": address}))
        command("rollback", at_ms, at_ms + 2000, sku=sku)
        offset -= 1
    offset += 1
    at_ms += 61 * MINUTE_MS
    send("catalog", a_catalog_entry("s3", at_ms=at_ms, cost_minor=410), at_ms)
    batch(at_ms, cells=(replace(a_cell(1999, 900, 40, 40), price_group="g"),))
    command("settle", at_ms, at_ms + 1000)
    batch(at_ms + 20 * 60 * MINUTE_MS)
    return [_line(output) for output in outputs if output.stream != "policies"]


def _line(output: Output) -> list[Any]:
    value = {name: each for name, each in plain(output.value).items() if name != "inputs"}
    digest = hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    priced = value["result"] if output.stream == "decisions" else value
    return [output.stream, output.key, priced["default_minor"], digest]


# -- snapshots of earlier versions --------------------------------------------------------------


def test_snapshot_of_version_1_is_restored_without_a_loss() -> None:
    assert plain(restored(VERSION_1["snapshot"]).snapshot()) == with_estimates_of_now(VERSION_1["snapshot"])


def with_estimates_of_now(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot with what was added since: fields of estimates and rows, no patch, no command."""
    at, bucket = ROW.index("estimate"), snapshot["bucket"]

    def of_now(row: list[Any] | None) -> list[Any] | None:
        return None if row is None else list(HeldEstimate(*row))

    states = [[*row[:at], of_now(row[at]), *row[at + 1 : -1], None, [], row[-1]] for row in bucket["states"]]
    parked = {key: of_now(row) for key, row in bucket["parked"].items()}
    policies = {"documents": {}, "pending": [], "known": [], "published": []}
    now = bucket | {"states": states, "parked": parked, "state_row": list(ROW)}
    return snapshot | {"bucket": now, "policies": policies, "commands": {}}


def test_snapshot_of_version_1_holds_every_kind_of_listing_state() -> None:
    names = VERSION_1["snapshot"]["bucket"]["state_row"]
    states = [dict(zip(names, row, strict=True)) for row in VERSION_1["snapshot"]["bucket"]["states"]]
    empty = {name for name in names if not any(state[name] for state in states)}
    assert empty == {"needs_start"}, "every listing has a table"


@pytest.mark.parametrize("key", CONTINUED)
def test_restored_snapshot_goes_on_as_the_version_that_wrote_the_outputs(key: str) -> None:
    assert go_on(restored(CONTINUED[key], ALONE)) == VERSION_1[key]


@pytest.mark.parametrize("key", CONTINUED)
def test_restored_snapshot_goes_on_the_same_after_another_restart(key: str) -> None:
    assert go_on(restarted(restored(CONTINUED[key], ALONE))) == VERSION_1[key]


@pytest.mark.parametrize("key", CONTINUED)
def test_listings_of_an_older_snapshot_are_brought_to_one_price_and_one_table(key: str) -> None:
    logic = restored(CONTINUED[key])
    go_on(logic)
    groups: dict[str, set[str]] = {}
    for row in logic.snapshot()["bucket"]["states"]:
        state = dict(zip(ROW, row, strict=True))
        if state["table"] is not None:
            groups.setdefault(state["price_group"], set()).add(
                state["table"]["table_id"] + state["table"]["table"]
            )
    assert {len(tables) for tables in groups.values()} == {1}


def test_odd_cost_of_a_snapshot_before_0042_is_confirmed_within_the_tolerance() -> None:
    logic = restored(BEFORE_0042)
    assert state_value(logic, "odd_cost")[0] == 2500
    at_ms = START_MS + DAY_MS
    logic.on_fact(a_fact("catalog", a_catalog_entry(at_ms=at_ms, cost_minor=2480), at_ms, 2))
    assert state_value(logic, "trusted_cost_minor") == 2480


def test_estimate_of_a_snapshot_before_0051_counts_as_sufficient() -> None:
    rows = dict(zip(BEFORE_0051["bucket"]["index"], BEFORE_0051["bucket"]["states"], strict=True))
    at = BEFORE_0051["bucket"]["state_row"].index("estimate")
    estimated = {key for key, row in rows.items() if row[at] is not None}
    settle = replace(a_command("settle"), event_time_ms=BEFORE_0051["time_ms"])
    outputs = list(restored(BEFORE_0051).on_fact(a_fact("commands", settle, BEFORE_0051["time_ms"], 3000)))
    found = {
        each["inputs"]["listing"]: each["inputs"]["experience"]["sufficient"]
        for each in of_stream(outputs, "decisions")
    }
    assert estimated and {key for key, sufficient in found.items() if sufficient} == estimated & found.keys()


def test_snapshot_whose_rows_are_mappings_is_restored() -> None:
    logic, _ = a_running_logic()
    snapshot = plain(logic.snapshot())
    names = snapshot["bucket"].pop("state_row")
    snapshot["bucket"]["states"] = [dict(zip(names, row, strict=True)) for row in snapshot["bucket"]["states"]]
    assert plain(restored(snapshot).snapshot()) == plain(logic.snapshot())


def test_rival_of_a_snapshot_without_requests_is_compared_with_its_held_price() -> None:
    feed = RivalFeed()
    snapshot = plain(feed.logic.snapshot())
    for row in snapshot["bucket"]["states"]:
        row[ROW.index("requested_on")] = {}
    feed.logic = restored(snapshot)
    assert not feed.requests(13125)


def test_snapshot_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(SnapshotError, match="repricing: expected snapshot version 1, got 9"):
        RepricingLogic().restore({"v": 9})


# -- restarts -----------------------------------------------------------------------------------


def test_restart_changes_nothing_for_a_listing_just_added_in_a_market_with_a_time_zone() -> None:
    zones = {"local_time": {"time_zones": {"web-us-usd": "Asia/Tokyo"}}}
    straight, market = RepricingLogic(Policy.from_dict(zones)), SmallMarket(1)
    straight.on_batch(market.minute(0))
    again = restarted(straight)
    for number in range(1, 30):
        for logic in (straight, again):
            list(logic.on_batch(market.minute(number)))
    assert plain(again.snapshot()) == plain(straight.snapshot())


def test_snapshot_of_32_listings_takes_less_than_4_kb_a_listing() -> None:
    market, logic = SmallMarket(32, 40.0), RepricingLogic()
    for number in range(30):
        market.take(list(logic.on_batch(market.minute(number))))
    size = len(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert size / 32 < 4096


def a_state_read_back() -> tuple[ListingState, ListingState]:
    """Return a listing's state with a table, and the same read back from its row."""
    _, outputs = a_running_logic()
    state = ListingState("g")
    state.table = PriceTable.from_record(next(of_stream(outputs, "tables")))
    return state, ListingState.of_row(orjson.loads(orjson.dumps(state.to_row())))


def test_table_of_a_state_that_was_read_back_is_the_same() -> None:
    state, again = a_state_read_back()
    assert again.table == state.table


def test_expiry_of_a_table_that_was_read_back_is_the_same_without_building_the_table() -> None:
    state, again = a_state_read_back()
    assert again.has_table and again.table_expires_ms == state.table_expires_ms
    assert isinstance(again.kept_table, dict)


def test_row_of_a_state_is_the_same_before_and_after_its_table_is_built() -> None:
    state, again = a_state_read_back()
    row = state.to_row()
    assert again.to_row() == row
    assert again.table is not None and again.table_expires_ms == state.table_expires_ms
    assert again.to_row() == row


if __name__ == "__main__":
    written = VERSION_1 | {key: go_on(restored(snapshot, ALONE)) for key, snapshot in CONTINUED.items()}
    STORED.write_bytes(orjson.dumps(written) + b"\n")
