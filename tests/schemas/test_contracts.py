"""Records, contracts, money and the published schemas."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.cells.query import DUCKDB, verdict_sql
from schemas import events, json_schema
from schemas.codes import RejectCode
from schemas.money import EXPONENTS, Money, MoneyError, to_grid
from schemas.price_table import PriceTable
from schemas.topics import BIGINT, BOOLEAN, DOUBLE, INPUTS, STRING, TOPICS, Topic, kafka_key

GOLDEN = Path(__file__).parents[1] / "golden" / "records"
NOW = 1_790_000_000_000


def a_record(topic: Topic) -> dict[str, Any]:
    """A record that the topic's contract accepts."""
    made: dict[str, Any] = {}
    for check in topic.checks:
        if check.type == STRING:
            made[check.field] = check.values[0] if check.values else "x"
        elif check.type == BOOLEAN:
            made[check.field] = False
        else:
            made[check.field] = NOW if check.field.endswith("_ms") else max(check.low or 0, 1)
    return made


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_every_check_names_a_field_of_its_record_and_every_field_is_judged(topic: Topic) -> None:
    fields = {f.name for f in dataclasses.fields(topic.record)} - {"tick"}
    assert {check.field for check in topic.checks} == fields


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_a_good_record_passes_and_each_missing_required_field_is_named(topic: Topic) -> None:
    good = a_record(topic)
    assert topic.validate(good, NOW) is None
    for check in topic.checks:
        if check.required:
            bad = {k: v for k, v in good.items() if k != check.field}
            assert topic.validate(bad, NOW) == (check.field, RejectCode.MISSING_OR_WRONG_TYPE)


def test_a_record_from_more_than_a_minute_ahead_is_from_the_future() -> None:
    topic = TOPICS["stock"]
    record = a_record(topic) | {"event_time_ms": NOW + 60_001}
    assert topic.validate(record, NOW) == ("event_time_ms", RejectCode.FROM_THE_FUTURE)
    assert topic.validate(record | {"event_time_ms": NOW + 60_000}, NOW) is None


_VALUES = {
    STRING: st.one_of(st.none(), st.text("aé/USD", max_size=140), st.text("a|,:{\n\x85\u202e😀-", max_size=9)),
    BIGINT: st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-2, 101)),
    DOUBLE: st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    BOOLEAN: st.one_of(st.none(), st.booleans()),
}
_DUCKDB = {STRING: "VARCHAR", BIGINT: "BIGINT", DOUBLE: "DOUBLE", BOOLEAN: "BOOLEAN"}


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
@given(data=st.data())
def test_the_contract_says_the_same_in_sql_and_in_python(topic: Topic, data: st.DataObject) -> None:
    good = a_record(topic)
    changed = data.draw(st.sets(st.sampled_from([c.field for c in topic.checks]), max_size=3))
    record = good | {c.field: data.draw(_VALUES[c.type]) for c in topic.checks if c.field in changed}
    columns = ", ".join(f'CAST(? AS {_DUCKDB[c.type]}) AS "{c.field}"' for c in topic.checks)
    given = f"{columns}, CAST(NULL AS VARCHAR) AS line_verdict, FALSE AS tick, {NOW} AS kafka_ts_ms"
    text = DUCKDB.text(f"SELECT {verdict_sql(topic)} FROM (SELECT {given})")
    row = duckdb.execute(text, [record.get(c.field) for c in topic.checks]).fetchone()
    assert row is not None
    verdict = topic.validate(record, NOW)
    good = ("TICK",) if topic.name == "ticks" else ("ON_TIME", "LATE")
    assert row[0].rpartition("|")[0] == "|".join(verdict) if verdict else row[0] in good


PARTS = ("tenant", "market", "sku", "price_group", "category", "competitor", "customer")


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_every_part_of_a_key_is_restricted_by_the_contract(topic: Topic) -> None:
    checks = {check.field: check for check in topic.checks}
    for part in PARTS:
        assert part not in checks or checks[part].characters is not None


@pytest.mark.parametrize(
    "value", ["web/eu", "web:eu", "{web}", "web|eu", "web eu", "wëb", "-web", "..", "web\n", "a\x00b"]
)
def test_a_market_that_would_make_keys_ambiguous_is_refused(value: str) -> None:
    topic = TOPICS["catalog"]
    assert topic.validate(a_record(topic) | {"market": value}, NOW) == ("market", RejectCode.BAD_CHARACTERS)


def test_nothing_but_listing_builds_a_listings_key() -> None:
    root = Path(__file__).parents[2]
    by_hand = re.compile(r"""\{\w+(\.|\[['"])tenant(['"]\])?\}/\{""")
    found = [
        str(path.relative_to(root))
        for folder in ("features", "jobs", "infra")
        for path in (root / folder).rglob("*.py")
        if by_hand.search(re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL))
    ]
    assert found == []


@pytest.mark.parametrize("value", ["a|b", "a\tb", "a\x7fb", "a\x9fb", "a\n"])
def test_a_sku_with_a_control_character_or_a_bar_is_refused(value: str) -> None:
    topic = TOPICS["stock"]
    assert topic.validate(a_record(topic) | {"sku": value}, NOW) == ("sku", RejectCode.BAD_CHARACTERS)


@pytest.mark.parametrize("value", ["größe 4/7", "a:b", "{a}", '"quoted"', "\u202eabc", "😀", "a'b"])
def test_a_sku_may_hold_any_other_character(value: str) -> None:
    topic = TOPICS["stock"]
    assert topic.validate(a_record(topic) | {"sku": value}, NOW) is None


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_published_schemas_are_those_of_the_code(topic: Topic) -> None:
    written = json.loads((json_schema.FOLDER / f"{topic.name}.v1.json").read_text())
    assert written == json_schema.topic_schema(topic), "stale: run `python -m schemas.json_schema`"
    jsonschema.Draft202012Validator.check_schema(written)


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_published_schemas_accept_what_the_contract_accepts(topic: Topic) -> None:
    jsonschema.validate(a_record(topic), json_schema.topic_schema(topic))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.v*.json")), ids=lambda p: p.stem)
def test_every_past_version_of_a_record_stays_readable(path: Path) -> None:
    name = path.name.split(".")[0]
    record = json.loads(path.read_text())
    jsonschema.validate(record, json_schema.topic_schema(TOPICS[name]))
    if name == "tables":
        assert PriceTable.from_record(record).to_record() == record
    elif TOPICS[name].input:
        assert TOPICS[name].validate(record) is None
        TOPICS[name].record(**record)


def test_every_stream_has_a_golden_record() -> None:
    assert {p.name.split(".")[0] for p in GOLDEN.glob("*.v*.json")} == set(TOPICS)


def test_public_names_of_topics_do_not_change() -> None:
    assert sorted(t.topic for t in TOPICS.values()) == json.loads((GOLDEN.parent / "topics.json").read_text())


def test_inputs_are_keyed_by_price_group_so_that_a_listing_meets_in_one_partition() -> None:
    for name in ("quotes", "clicks", "orders", "offers", "stock"):
        record = a_record(TOPICS[name]) | {"tenant": "t", "market": "m", "price_group": "g"}
        assert kafka_key(name, record) == "t/m/g"


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [(None, None), ("rival", None), ("reference", None), ("shelf", ("offer_kind", "NOT_IN_SET"))],
)
def test_offer_kind_is_rival_or_reference_or_absent(kind: str | None, verdict: tuple[str, str] | None) -> None:
    record = a_record(TOPICS["offers"]) | {"offer_kind": kind}
    assert TOPICS["offers"].validate(record) == verdict
    assert (verdict is None) is jsonschema.Draft202012Validator(
        json_schema.topic_schema(TOPICS["offers"])
    ).is_valid(record)


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(EXPONENTS)))
def test_money_reads_back_what_it_writes(minor: int, currency: str) -> None:
    amount, _ = str(Money(minor, currency)).split()
    assert Money.from_major(amount, currency).minor == minor


@pytest.mark.parametrize("amount", ["", "abc", "nan", "inf", "1,50"])
def test_an_amount_that_is_no_number_is_refused_with_what_came(amount: str) -> None:
    with pytest.raises(MoneyError, match="expected a"):
        Money.from_major(amount, "USD")


def test_an_unknown_currency_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(MoneyError, match="USD"):
        Money(1, "usd")


@given(st.integers(1, 10**9), st.integers(1, 1000), st.data())
def test_the_price_grid_rounds_to_the_side_asked_for(value: int, step: int, data: st.DataObject) -> None:
    ending = data.draw(st.integers(0, step - 1))
    up, down = to_grid(value, step, ending, up=True), to_grid(value, step, ending, up=False)
    assert down <= value <= up
    assert (up + ending) % step == 0
    assert up - value < step
    assert value - down < step


@given(st.text("abc-", min_size=1, max_size=9), st.text("xyz/", min_size=1, max_size=9))
def test_a_listing_reads_back_from_its_key(tenant: str, sku: str) -> None:
    listing = events.Listing(tenant, "m", sku)
    assert events.Listing.parse(listing.key) == listing


@pytest.mark.parametrize("field", ["quantity", "line"])
def test_an_order_line_may_be_a_whole_chains_week_of_an_item(field: str) -> None:
    orders = TOPICS["orders"]
    assert orders.validate(a_record(orders) | {field: 10_000_000}) is None
    assert orders.validate(a_record(orders) | {field: 10_000_001}) == (field, RejectCode.OUT_OF_RANGE)
