"""The cell query on DuckDB, compared with cells counted by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cells.lines import read_line
from features.cells.query import COUNTS, DUCKDB, FLINK, bucket_sql, verdict_sql
from jobs.replay.backfill import CellQuery, compare, stream_cells
from schemas.listings import bucket_of
from schemas.records.counts import CELL_COUNTS
from schemas.topics import INPUTS, TOPICS

T0 = 1_780_000_020_000
MINUTE = 60_000


def a_click(at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"c{at_ms}", "event_time_ms": at_ms, "tenant": "demo", "market": "web", "sku": "s1",
        "price_group": "s1", "kind": "view", "customer": "ann", "session": "x", "segment": "all", "arm": "base",
        "price_minor": 1000, "currency": "USD",
    } | changes  # fmt: skip


def a_quote(at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    quote = a_click(at_ms) | {"propensity": 0.5, "table_id": "t1", "version": 3, "source": "table"}
    del quote["kind"]
    return quote | changes


def an_order(at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    order = a_click(at_ms, kind="placed") | {
        "order_id": "o1", "line": 0, "quoted_price_minor": 1000, "price_paid_minor": 900, "discount_minor": 100,
        "quantity": 2,
    }  # fmt: skip
    del order["price_minor"]
    return order | changes


def a_backfill(*events: tuple[str, Any] | tuple[str, Any, int]) -> CellQuery:
    """Build a backfill from (topic, record or bytes[, Kafka timestamp]) in the order of their offsets."""
    lines: dict[str, list[tuple[int, int, int, bytes | None]]] = {}
    for name, record, *at in events:
        line = record if isinstance(record, bytes | None) else json.dumps(record).encode()
        kafka_ts_ms = at[0] if at else record["event_time_ms"]
        of_topic = lines.setdefault(TOPICS[name].topic, [])
        of_topic.append((0, len(of_topic), kafka_ts_ms, line))
    return CellQuery(lines)


def cells_of(backfill: CellQuery) -> list[dict[str, Any]]:
    """Return the cells without common fields and zero counts."""
    shared = ("tenant", "market", "sku", "price_group", "arm", "segment", "currency")
    return [{k: v for k, v in row.items() if k not in shared and v != 0} for row in backfill.rows("cells")]


def codes_of(backfill: CellQuery) -> list[tuple[str, str]]:
    return [(row["field"], row["code"]) for row in backfill.rows("rejected")]


END = 1_780_000_080_000
assert T0 % MINUTE == 0 and END == T0 + MINUTE


def test_counts_of_the_query_equal_those_of_the_record() -> None:
    assert tuple(COUNTS) == CELL_COUNTS


def test_views_and_orders_are_summed_per_minute_and_quoted_price() -> None:
    backfill = a_backfill(
        ("clicks", a_click(T0)), ("clicks", a_click(T0 + 59_999)), ("clicks", a_click(T0 + MINUTE)),
        ("clicks", a_click(T0, kind="checkout")), ("clicks", a_click(T0, bot=True)),
        ("orders", an_order(T0 + 5)), ("orders", an_order(T0 + 6, kind="paid")),
    )  # fmt: skip
    assert cells_of(backfill) == [
        {"window_end_ms": END, "price_minor": 1000, "views": 2, "orders": 1, "units": 2, "revenue_minor": 1800},
        {"window_end_ms": END + MINUTE, "price_minor": 1000, "views": 1},
    ]


def test_revenue_of_maximum_order_lines_fits_into_64_bits() -> None:
    largest = {"price_paid_minor": 10_000_000_000, "quantity": 10_000_000}
    backfill = a_backfill(*(("orders", an_order(T0 + i, order_id=f"o{i}", **largest)) for i in range(100)))
    (cell,) = cells_of(backfill)
    assert (cell["units"], cell["revenue_minor"]) == (10**9, 10**15)


def test_cancellations_and_returns_are_subtracted_in_their_own_minute() -> None:
    backfill = a_backfill(
        ("orders", an_order(T0)),
        ("orders", an_order(T0 + MINUTE, kind="cancelled", quantity=1)),
        ("orders", an_order(T0 + 2 * MINUTE, kind="returned", quantity=1)),
    )
    subtracted = {"price_minor": 1000, "orders": -1, "units": -1, "revenue_minor": -900}
    assert cells_of(backfill)[1:] == [
        {"window_end_ms": END + MINUTE, **subtracted},
        {"window_end_ms": END + 2 * MINUTE, **subtracted, "returns": 1},
    ]


def test_exposure_counts_once_per_customer_table_and_day() -> None:
    day = 86_400_000
    backfill = a_backfill(
        ("quotes", a_quote(T0)), ("quotes", a_quote(T0 + 1)), ("quotes", a_quote(T0 + MINUTE)),
        ("quotes", a_quote(T0, customer="bob")), ("quotes", a_quote(T0, bot=True, customer="crawler")),
        ("quotes", a_quote(T0 + MINUTE, table_id="t2")), ("quotes", a_quote(T0 + day)),
    )  # fmt: skip
    assert [(c["window_end_ms"], c["exposures"]) for c in cells_of(backfill)] == [
        (END, 2), (END + MINUTE, 1), (END + day, 1),
    ]  # fmt: skip


def test_repeated_order_line_is_rejected_for_seven_days() -> None:
    week = 7 * 86_400_000
    backfill = a_backfill(
        ("orders", an_order(T0)), ("orders", an_order(T0)), ("orders", an_order(T0 + 1, line=1)),
        ("orders", an_order(T0 + 2, kind="paid")), ("orders", an_order(T0 + week)),
        ("orders", an_order(T0 + 3 * week)),
    )  # fmt: skip
    assert codes_of(backfill) == [("order_id", "DUPLICATE_ORDER"), ("order_id", "DUPLICATE_ORDER")]
    assert sum(row["orders"] for row in backfill.rows("cells")) == 3


def test_late_record_counts_in_the_minute_of_its_arrival() -> None:
    backfill = a_backfill(
        ("clicks", a_click(T0), T0 + 10_000),
        ("clicks", a_click(T0), T0 + 10 * MINUTE),
        ("clicks", a_click(T0 + MINUTE), T0),
        ("clicks", a_click(T0 + MINUTE + 1), T0),
    )
    assert cells_of(backfill) == [
        {"window_end_ms": END, "price_minor": 1000, "views": 1},
        {"window_end_ms": END + MINUTE, "price_minor": 1000, "views": 1},
        {"window_end_ms": END + 10 * MINUTE, "price_minor": 1000, "views": 1},
    ]
    assert codes_of(backfill) == [("event_time_ms", "FROM_THE_FUTURE")]
    assert [row["late"] for row in backfill.rows("ledger")] == [0, 0, 1]


def test_searches_and_carts_mature_at_the_end_of_their_session() -> None:
    gap = 30 * MINUTE
    backfill = a_backfill(
        ("clicks", a_click(T0, kind="search")), ("clicks", a_click(T0 + gap, kind="cart", price_minor=1100)),
        ("clicks", a_click(T0, kind="search", session="y")), ("orders", an_order(T0 + 5, session="y")),
        ("clicks", a_click(T0 + 2 * gap + 1, kind="search")),
    )  # fmt: skip
    ended = {c["window_end_ms"]: c for c in cells_of(backfill) if "searches_matured" in c}
    assert ended == {
        # Session y: a search and an order.
        END + gap: {"window_end_ms": END + gap, "price_minor": 1000, "searches_matured": 1},
        # Session x: a gap of exactly 30 minutes does not end it; it counts at its first price.
        T0 + 2 * gap: {"window_end_ms": T0 + 2 * gap, "price_minor": 1000, "searches_matured": 1,
                       "searches_abandoned": 1, "carts_matured": 1, "carts_abandoned": 1},
        END + 3 * gap: {"window_end_ms": END + 3 * gap, "price_minor": 1000, "searches_matured": 1,
                        "searches_abandoned": 1},
    }  # fmt: skip


def test_ledger_balances() -> None:
    backfill = a_backfill(
        ("clicks", a_click()), ("clicks", b"{", T0), ("clicks", {"tick": True}, T0),
        ("clicks", a_click(), T0 + 20_000),
        ("orders", an_order()), ("orders", an_order()), ("ticks", {"event_time_ms": T0, "bucket": 1}),
        ("ticks", {"bucket": 1}, T0), ("catalog", None, T0),
    )  # fmt: skip
    for row in backfill.rows("ledger"):
        assert row["offsets_read"] == row["on_time"] + row["late"] + row["rejected"] + row["ticks"]
    totals = {
        topic: tuple(sum(r[k] for r in backfill.rows("ledger") if r["topic"] == TOPICS[topic].topic)
                     for k in ("offsets_read", "on_time", "late", "rejected", "ticks"))
        for topic in ("clicks", "orders", "ticks", "catalog")
    }  # fmt: skip
    assert totals == {
        "clicks": (4, 1, 1, 1, 1), "orders": (2, 1, 0, 1, 0), "ticks": (2, 0, 0, 1, 1), "catalog": (1, 0, 0, 1, 0),
    }  # fmt: skip


def test_segments_count_purchases_above_the_rivals_price() -> None:
    backfill = a_backfill(
        ("orders", an_order(T0, offer_minor=900)),
        ("orders", an_order(T0 + 1, order_id="o2", offer_minor=1000)),
        ("orders", an_order(T0 + 2, order_id="o3")),
        ("orders", an_order(T0 + 3, kind="returned", offer_minor=900)),
    )  # fmt: skip
    assert backfill.rows("segments") == [
        {"tenant": "demo", "customer": "ann", "purchases": 2, "above_offer": 1, "event_time_ms": T0 + 1}
    ]


def test_purchases_are_counted_per_period() -> None:
    period = 30 * 86_400_000
    start = T0 // period * period
    backfill = a_backfill(
        *(("orders", an_order(at, order_id=f"o{at}", offer_minor=900), at)
          for at in (start, start + period - 1, start + period, start + 5 * period))
    )  # fmt: skip
    assert [(row["purchases"], row["event_time_ms"]) for row in backfill.rows("segments")] == [
        (1, start + period),
        (1, start + 5 * period),
        (2, start + period - 1),
    ]


def test_rejection_states_field_code_and_expected_value() -> None:
    (rejection,) = a_backfill(("clicks", a_click(price_minor=-5))).rows("rejected")
    assert (rejection["field"], rejection["code"]) == ("price_minor", "OUT_OF_RANGE")
    assert rejection["detail"] == "expected a whole number from 1 to 10000000000"
    assert json.loads(rejection["line_bytes"])["price_minor"] == -5


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b'{"a": 1} junk', "NOT_JSON_OBJECT"), (b'[{"a": 1}]', "NOT_JSON_OBJECT"), (b"5", "NOT_JSON_OBJECT"),
        (b"", "NOT_JSON_OBJECT"), (None, "NOT_JSON_OBJECT"), (b'{"a": NaN}', "NOT_JSON_OBJECT"),
        (b'\xef\xbb\xbf{"a": 1}', "NOT_JSON_OBJECT"), (b'{"a": 1e999}', "NOT_JSON_OBJECT"),
        (b'{"a": "\\ud800"}', "NOT_JSON_OBJECT"), (b'{"a":' * 65 + b"1" + b"}" * 65, "NOT_JSON_OBJECT"),
        (b'{"a": "\xff"}', "INVALID_UTF8"), (b'{"a": "' + b"x" * 70_000 + b'"}', "TOO_LARGE"),
        (b'{"a": 1, "a": 2}', None), (b' {"a": {"b": []}} \n', None), (b'{"a":' * 64 + b"1" + b"}" * 64, None),
    ],
)  # fmt: skip
def test_line_must_be_one_json_object_in_utf8(line: bytes | None, verdict: str | None) -> None:
    assert read_line(line)[0] == verdict


values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**11), st.integers(2**62, 2**64), st.floats(allow_nan=False,
    allow_infinity=False, width=32), st.text(max_size=140), st.sampled_from(["view", "USD", "cart", "", "base"]),
)  # fmt: skip


changed = st.dictionaries(st.sampled_from([c.field for c in TOPICS["clicks"].checks]), values, max_size=4)


@settings(max_examples=4, deadline=None)
@given(st.lists(changed, min_size=40, max_size=60))
def test_sql_and_python_verdicts_agree(records: list[dict[str, Any]]) -> None:
    backfill = a_backfill(*(("clicks", a_click() | changes, T0) for changes in records))
    found = {row["offset"]: (row["field"], row["code"]) for row in backfill.rows("rejected")}
    verdicts = {i: TOPICS["clicks"].validate(a_click() | changes, T0) for i, changes in enumerate(records)}
    assert found == {i: verdict for i, verdict in verdicts.items() if verdict is not None}


def test_bucket_is_the_same_in_sql_and_python() -> None:
    import duckdb

    keys = [f"demo/web/s{i}" for i in range(300)]
    sql = f"SELECT {bucket_sql('k', 32)} FROM (SELECT unnest($keys) AS k)"
    assert [row[0] for row in duckdb.execute(sql, {"keys": keys}).fetchall()] == [bucket_of(k, 32) for k in keys]


def test_dialects_differ_only_in_syntax() -> None:
    for topic in INPUTS:
        text = DUCKDB.text(verdict_sql(topic)).replace('"', "`").replace("regexp_matches(", "REGEXP(")
        assert text == FLINK.text(verdict_sql(topic))


def test_repeated_batch_counts_once() -> None:
    backfill = a_backfill(("clicks", a_click()))
    row = {k: v for k, v in backfill.rows("cells")[0].items() if k != "window_end_ms"}
    batch = json.dumps({"bucket": 1, "window_end_ms": END, "rows": [{"kind": "cell", **row}]})
    assert compare([batch, batch], backfill) == []


def test_differing_batch_is_reported() -> None:
    backfill = a_backfill(("clicks", a_click()))
    row = {k: v for k, v in backfill.rows("cells")[0].items() if k != "window_end_ms"}
    batch = json.dumps({"bucket": 1, "window_end_ms": END, "rows": [{"kind": "cell", **row}]})
    empty = json.dumps({"bucket": 1, "window_end_ms": END, "rows": []})
    assert compare([empty], backfill)[0].startswith("only in the backfill")
    with pytest.raises(ValueError, match="two batches that differ"):
        stream_cells([batch, empty])
