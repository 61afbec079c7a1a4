"""A listing whose catalog entry changes its price group, and with it its bucket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.books.products import CatalogBook
from features.bucket_logic import Output, parse_batch
from jobs.hosting.cell_query import CellQuery
from jobs.hosting.chain import REPRICING, BucketJobs, Call, Chain
from jobs.pricing.policy import Policy
from schemas.time_units import MINUTE_MS
from tests.jobs.hosting.catalog_builders import (
    BUCKETS,
    START_MS,
    Arrival,
    an_entry,
    bucket_of_group,
    group_in,
    lines,
)

MINUTES, MOVED_AT = 40, 10
LISTING = "demo/web/s1"
POLICY = Policy().overridden({"tables": {"life_minutes": 8}})
"""Tables of eight minutes, so that a bucket renews the table of an active listing every six."""
FORMER, NEW = group_in(0), group_in(1)
NEIGHBOUR = group_in(0, but=FORMER)
"""A group in the bucket of the former one."""


def minute(number: float) -> int:
    return START_MS + int(number * MINUTE_MS)


def ticks() -> list[Arrival]:
    """Return the ticks that give every bucket a batch in each minute."""
    return [
        Arrival(minute(n), "ticks", {"event_time_ms": minute(n), "bucket": bucket, "tick": True})
        for n in range(MINUTES)
        for bucket in range(BUCKETS)
    ]


class Recording(BucketJobs):
    """The jobs of a chain, with the repricing outputs by bucket."""

    def __init__(self, policy: Policy, **how: Any) -> None:
        super().__init__(policy, **how)
        self.repriced: list[tuple[int, Output]] = []

    def take(self, call: Call) -> list[Output]:
        outputs = super().take(call)
        if call.job == REPRICING:
            self.repriced += [(int(call.key), output) for output in outputs]
        return outputs


def repriced(*entries: Arrival, **how: Any) -> list[tuple[int, Output]]:
    """Return bucket and output of every record of repricing, over all minutes."""
    recording = Recording(POLICY, **how)
    list(Chain(POLICY, BUCKETS, runner=recording, **how).run(lines([*ticks(), *entries])))
    return recording.repriced


def tables_of(found: Iterable[tuple[int, Output]], key: str = LISTING) -> list[tuple[int, Output]]:
    return [(bucket, output) for bucket, output in found if (output.stream, output.key) == ("tables", key)]


STAYS = an_entry(minute(0), FORMER, sku="s2")
MOVE = (an_entry(minute(0), FORMER), STAYS, an_entry(minute(MOVED_AT), NEW))


@pytest.mark.parametrize("how", [{}, {"restart_every": 1}, {"restart_every": 7}, {"duplicate": True}])
def test_one_bucket_publishes_a_listing_from_the_minute_in_which_its_group_changes(how: dict[str, Any]) -> None:
    tables = tables_of(repriced(*MOVE, **how))
    assert {bucket for bucket, output in tables if output.event_time_ms <= minute(MOVED_AT)} == {0}
    after = [(bucket, output) for bucket, output in tables if output.event_time_ms > minute(MOVED_AT)]
    assert {bucket for bucket, _ in after} == {1}
    assert after[0][1].event_time_ms == minute(MOVED_AT + 1), "the minute of the change has a table"
    assert len(after) > 3, "the table is renewed"


def test_versions_of_a_moved_listing_rise_and_its_tables_name_the_new_group() -> None:
    tables = [output for _, output in tables_of(repriced(*MOVE))]
    versions = [int(output.value["version"]) for output in tables]
    assert versions == sorted(set(versions))
    groups = [(output.event_time_ms > minute(MOVED_AT), output.value["price_group"]) for output in tables]
    assert set(groups) == {(False, FORMER), (True, NEW)}


def test_former_group_is_decided_without_a_moved_listing() -> None:
    settle = Arrival(
        minute(20.5), "commands",
        {"event_id": "c", "event_time_ms": minute(20.5), "tenant": "demo", "kind": "settle", "operator": "ann"},
    )  # fmt: skip
    decided = [(bucket, output) for bucket, output in repriced(*MOVE, settle) if output.stream == "decisions"]
    settled = {(bucket, o.key): o.value for bucket, o in decided if o.value["cause"] == "SETTLE"}
    assert settled.keys() == {(0, "demo/web/s2"), (1, LISTING)}
    assert settled[0, "demo/web/s2"]["inputs"]["group"] is None


@pytest.mark.parametrize("group", [FORMER, NEW])
def test_command_and_offer_after_the_change_make_tables_in_the_new_bucket_alone(group: str) -> None:
    at = minute(20.5)
    record = {"event_id": "e", "event_time_ms": at, "tenant": "demo", "market": "web", "sku": "s1"}
    by_hand = record | {"kind": "manual_price", "operator": "ann", "price_minor": 1050}
    offer = record | {
        "price_group": group, "competitor": "rival", "price_minor": 900, "shipping_minor": 0, "in_stock": True,
        "currency": "USD", "pack_size": 1, "source": "feed", "match_confidence": 1.0,
    }  # fmt: skip
    arrivals = (Arrival(at, "offers", offer), Arrival(at + 1, "commands", by_hand))
    tables = [each for each in tables_of(repriced(*MOVE, *arrivals)) if each[1].event_time_ms >= at]
    assert {bucket for bucket, _ in tables} == {1}
    assert {output.value["default_minor"] for _, output in tables[1:]} == {"1050"}
    offers = {output.value["offer_minor"] for _, output in tables[1:]}
    assert offers == ({"900"} if group == NEW else {""}), "an offer of the former group is not used"


def test_listing_that_returns_to_its_former_group_is_published_there_alone() -> None:
    tables = tables_of(repriced(*MOVE, an_entry(minute(20), FORMER)))
    versions = [int(output.value["version"]) for _, output in tables]
    assert versions == sorted(set(versions))
    assert {bucket for bucket, output in tables if output.event_time_ms > minute(20)} == {0}


def test_change_to_a_group_of_the_same_bucket_keeps_the_listing_active() -> None:
    tables = tables_of(repriced(an_entry(minute(0), FORMER), an_entry(minute(MOVED_AT), NEIGHBOUR)))
    assert {bucket for bucket, _ in tables} == {0}
    assert tables[-1][1].event_time_ms > minute(MINUTES - 8), "the table is renewed"


def test_listing_that_is_withdrawn_while_it_moves_is_published_by_no_bucket() -> None:
    tables = tables_of(repriced(an_entry(minute(0), FORMER), an_entry(minute(MOVED_AT), NEW, active=False)))
    assert all(output.event_time_ms <= minute(MOVED_AT) for _, output in tables)


def test_late_entry_of_another_group_activates_no_bucket() -> None:
    late = an_entry(minute(5), group_in(2), kafka_ts_ms=minute(MOVED_AT + 5))
    assert {bucket for bucket, _ in tables_of(repriced(*MOVE, late))} == {0, 1}


def books(arrivals: Iterable[Arrival]) -> list[dict[int, CatalogBook]]:
    """Return the catalogs by bucket, after each minute that has a batch."""
    found: list[dict[int, CatalogBook]] = []
    catalogs: dict[int, CatalogBook] = {}
    ended = 0
    for end_ms, bucket, rows in CellQuery(lines(arrivals)).batches(BUCKETS):
        if ended not in (0, end_ms):
            found.append(_copied(catalogs))
        ended = end_ms
        batch = parse_batch(orjson.dumps({"bucket": bucket, "window_end_ms": end_ms, "rows": rows}))
        for entry in batch.catalog:
            assert bucket_of_group(entry.price_group) == bucket
            catalogs.setdefault(bucket, CatalogBook()).observe(entry)
    return [*found, _copied(catalogs)]


def _copied(catalogs: dict[int, CatalogBook]) -> dict[int, CatalogBook]:
    copied = {}
    for bucket, catalog in catalogs.items():
        copied[bucket] = CatalogBook()
        for entry in catalog.values():
            copied[bucket].observe(entry)
    return copied


def active_in(catalogs: dict[int, CatalogBook], key: str) -> list[int]:
    return [bucket for bucket, catalog in sorted(catalogs.items()) if key in catalog and catalog[key].active]


seconds = st.integers(0, 300)
entries = st.lists(
    st.tuples(seconds, st.integers(0, 90), st.sampled_from(["s1", "s2"]), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(entries)
def test_newest_entry_decides_the_bucket_of_a_listing_in_any_order_of_arrival(
    drawn: list[tuple[int, int, str, int]],
) -> None:
    arrivals = [
        an_entry(at := START_MS + 1000 * second, f"g{group}", sku=sku, kafka_ts_ms=at + 1000 * delay)
        for second, delay, sku, group in drawn
    ]
    catalogs = books(arrivals)[-1]
    for sku in {each.value["sku"] for each in arrivals}:
        of_sku = [e for e in sorted(arrivals, key=lambda e: e.kafka_ts_ms) if e.value["sku"] == sku]
        newest = max(enumerate(of_sku), key=lambda each: (each[1].value["event_time_ms"], each[0]))[1].value
        bucket = bucket_of_group(newest["price_group"])
        assert active_in(catalogs, f"demo/web/{sku}") == [bucket]
        assert catalogs[bucket][f"demo/web/{sku}"].price_group == newest["price_group"]


@settings(max_examples=15, deadline=None)
@given(entries)
def test_each_minute_has_one_bucket_for_a_listing_whose_entries_arrive_in_order(
    drawn: list[tuple[int, int, str, int]],
) -> None:
    arrivals = [an_entry(START_MS + 1000 * second, f"g{group}", sku=sku) for second, _, sku, group in drawn]
    for catalogs in books(arrivals):
        for key in {key for catalog in catalogs.values() for key in catalog}:
            assert len(active_in(catalogs, key)) == 1
