"""Records, contracts, money and the published JSON Schemas."""

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
from schemas import json_schema
from schemas.codes import RejectCode
from schemas.listings import Listing
from schemas.money import EXPONENTS, Money, MoneyError, to_grid
from schemas.price_table import PriceTable
from schemas.topics import BIGINT, BOOLEAN, DOUBLE, INPUTS, STRING, TOPICS, Topic, kafka_key

GOLDEN = Path(__file__).parents[1] / "golden" / "records"
NOW = 1_790_000_000_000


def a_record(topic: Topic) -> dict[str, Any]:
    """Return a record that passes the topic's contract."""
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
def test_checks_cover_exactly_the_fields_of_the_record(topic: Topic) -> None:
    fields = {f.name for f in dataclasses.fields(topic.record)} - {"tick"}
    assert {check.field for check in topic.checks} == fields


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_valid_record_passes(topic: Topic) -> None:
    assert topic.validate(a_record(topic), NOW) is None


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_missing_required_field_is_rejected(topic: Topic) -> None:
    valid = a_record(topic)
    for check in topic.checks:
        if check.required:
            record = {k: v for k, v in valid.items() if k != check.field}
            assert topic.validate(record, NOW) == (check.field, RejectCode.MISSING_OR_WRONG_TYPE)


def test_event_time_more_than_a_minute_ahead_is_rejected() -> None:
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
def test_sql_and_python_contracts_agree(topic: Topic, data: st.DataObject) -> None:
    valid = a_record(topic)
    changed = data.draw(st.sets(st.sampled_from([c.field for c in topic.checks]), max_size=3))
    record = valid | {c.field: data.draw(_VALUES[c.type]) for c in topic.checks if c.field in changed}
    columns = ", ".join(f'CAST(? AS {_DUCKDB[c.type]}) AS "{c.field}"' for c in topic.checks)
    given = f"{columns}, CAST(NULL AS VARCHAR) AS line_verdict, FALSE AS tick, {NOW} AS kafka_ts_ms"
    text = DUCKDB.text(f"SELECT {verdict_sql(topic)} FROM (SELECT {given})")
    [row] = duckdb.execute(text, [record.get(c.field) for c in topic.checks]).fetchall()
    verdict = topic.validate(record, NOW)
    accepted = ("TICK",) if topic.name == "ticks" else ("ON_TIME", "LATE")
    assert row[0].rpartition("|")[0] == "|".join(verdict) if verdict else row[0] in accepted


PARTS = ("tenant", "market", "sku", "price_group", "category", "competitor", "customer")


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_contract_restricts_the_characters_of_key_components(topic: Topic) -> None:
    checks = {check.field: check for check in topic.checks}
    for part in PARTS:
        assert part not in checks or checks[part].characters is not None


@pytest.mark.parametrize(
    "value", ["web/eu", "web:eu", "{web}", "web|eu", "web eu", "wëb", "-web", "..", "web\n", "a\x00b"]
)
def test_market_with_a_separator_character_is_rejected(value: str) -> None:
    topic = TOPICS["catalog"]
    assert topic.validate(a_record(topic) | {"market": value}, NOW) == ("market", RejectCode.BAD_CHARACTERS)


def test_only_listing_builds_listing_keys() -> None:
    root = Path(__file__).parents[2]
    pattern = re.compile(r"""\{\w+(\.|\[['"])tenant(['"]\])?\}/\{""")
    found = [
        str(path.relative_to(root))
        for folder in ("features", "jobs", "infra")
        for path in (root / folder).rglob("*.py")
        if pattern.search(re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL))
    ]
    assert found == []


@pytest.mark.parametrize("value", ["a|b", "a\tb", "a\x7fb", "a\x9fb", "a\n"])
def test_sku_with_a_control_character_or_vertical_bar_is_rejected(value: str) -> None:
    topic = TOPICS["stock"]
    assert topic.validate(a_record(topic) | {"sku": value}, NOW) == ("sku", RejectCode.BAD_CHARACTERS)


@pytest.mark.parametrize("value", ["größe 4/7", "a:b", "{a}", '"quoted"', "\u202eabc", "😀", "a'b"])
def test_sku_with_any_other_character_is_accepted(value: str) -> None:
    topic = TOPICS["stock"]
    assert topic.validate(a_record(topic) | {"sku": value}, NOW) is None


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda t: t.name)
def test_published_schema_equals_the_generated_schema(topic: Topic) -> None:
    published = json.loads((json_schema.FOLDER / f"{topic.name}.v1.json").read_text())
    assert published == json_schema.topic_schema(topic), "stale: run `python -m schemas.json_schema`"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("topic", INPUTS, ids=lambda t: t.name)
def test_published_schema_accepts_a_valid_record(topic: Topic) -> None:
    jsonschema.validate(a_record(topic), json_schema.topic_schema(topic))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.v*.json")), ids=lambda p: p.stem)
def test_golden_records_of_all_versions_are_readable(path: Path) -> None:
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


def test_topic_names_equal_the_golden_names() -> None:
    assert sorted(t.topic for t in TOPICS.values()) == json.loads((GOLDEN.parent / "topics.json").read_text())


def test_inputs_are_keyed_by_price_group() -> None:
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
def test_money_survives_a_text_round_trip(minor: int, currency: str) -> None:
    amount, _ = str(Money(minor, currency)).split()
    assert Money.from_major(amount, currency).minor == minor


@pytest.mark.parametrize("amount", ["", "abc", "nan", "inf", "1,50"])
def test_non_numeric_amount_is_rejected(amount: str) -> None:
    with pytest.raises(MoneyError, match="expected a"):
        Money.from_major(amount, "USD")


def test_error_of_an_unknown_currency_lists_known_currencies() -> None:
    with pytest.raises(MoneyError, match="USD"):
        Money(1, "usd")


@given(st.integers(1, 10**9), st.integers(1, 1000), st.data())
def test_price_grid_rounds_in_the_given_direction(value: int, step: int, data: st.DataObject) -> None:
    ending = data.draw(st.integers(0, step - 1))
    up, down = to_grid(value, step, ending, up=True), to_grid(value, step, ending, up=False)
    assert down <= value <= up
    assert (up + ending) % step == 0
    assert up - value < step
    assert value - down < step


@given(st.text("abc-", min_size=1, max_size=9), st.text("xyz/", min_size=1, max_size=9))
def test_listing_survives_a_key_round_trip(tenant: str, sku: str) -> None:
    listing = Listing(tenant, "m", sku)
    assert Listing.parse(listing.key) == listing


@pytest.mark.parametrize("field", ["quantity", "line"])
def test_order_line_accepts_ten_million_units(field: str) -> None:
    orders = TOPICS["orders"]
    assert orders.validate(a_record(orders) | {field: 10_000_000}) is None
    assert orders.validate(a_record(orders) | {field: 10_000_001}) == (field, RejectCode.OUT_OF_RANGE)
