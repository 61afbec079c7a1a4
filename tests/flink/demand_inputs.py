"""Input records of the demand_job tests: valid, invalid, and at the limits of JSON."""

from __future__ import annotations

import json
from typing import Any

MINUTE = 60_000


def a_click(at_ms: int, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"c{at_ms}", "event_time_ms": at_ms, "tenant": "set by the run", "market": "web", "sku": "s1",
        "price_group": "s1", "kind": "view", "customer": "ann", "session": "x", "segment": "all", "arm": "base",
        "price_minor": 1000, "currency": "USD",
    } | changes  # fmt: skip


def a_quote(at_ms: int, **changes: Any) -> dict[str, Any]:
    quote = a_click(at_ms) | {"propensity": 0.5, "table_id": "t1", "version": 3, "source": "table"}
    del quote["kind"]
    return quote | changes


def an_order(at_ms: int, **changes: Any) -> dict[str, Any]:
    order = a_click(at_ms, kind="placed") | {
        "order_id": "o1", "line": 0, "quoted_price_minor": 1000, "price_paid_minor": 900, "discount_minor": 100,
        "quantity": 2, "offer_minor": 950,
    }  # fmt: skip
    del order["price_minor"]
    return order | changes


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != field}


def encoded(record: Any, tenant: str) -> bytes | None:
    if isinstance(record, bytes | None):
        return record
    return json.dumps(record | {"tenant": tenant} if "tenant" in record else record).encode()


def broken_inputs(t: int) -> list[tuple[str, Any, str, str]]:
    """Return topic, record or line, and the field and code of its refusal."""
    line, missing, ranged = "line", "MISSING_OR_WRONG_TYPE", "OUT_OF_RANGE"
    whole = json.dumps(a_click(t)).encode()
    return [
        ("clicks", b"{not json", line, "NOT_JSON_OBJECT"),
        ("clicks", b"", line, "NOT_JSON_OBJECT"),
        ("clicks", b"[" + whole + b"," + whole + b"]", line, "NOT_JSON_OBJECT"),
        ("clicks", b"42", line, "NOT_JSON_OBJECT"),
        ("clicks", whole + b" and more", line, "NOT_JSON_OBJECT"),
        ("clicks", b"\xef\xbb\xbf" + whole, line, "NOT_JSON_OBJECT"),
        ("clicks", whole.replace(b"1000", b"NaN"), line, "NOT_JSON_OBJECT"),
        ("clicks", whole.replace(b"ann", b"an\xff"), line, "INVALID_UTF8"),
        ("clicks", whole.replace(b"ann", b"a" * 70_000), line, "TOO_LARGE"),
        ("clicks", a_click(t, customer="a" * 1000), "customer", "TOO_LONG"),
        ("clicks", a_click(t, market="web/eu"), "market", "BAD_CHARACTERS"),
        ("clicks", a_click(t, customer="a|b"), "customer", "BAD_CHARACTERS"),
        ("covariates", a_fact(t, name="display", value=1001, source="shelf"), "value", ranged),
        ("clicks", a_click(t, session="a\nb"), "session", "BAD_CHARACTERS"),
        ("clicks", a_click(t, sku="\x85"), "sku", "BAD_CHARACTERS"),
        ("clicks", a_click(t, price_minor="1000"), "price_minor", missing),
        ("clicks", a_click(t, price_minor=9.99), "price_minor", missing),
        ("clicks", a_click(t, price_minor={"sku": "s2"}), "price_minor", missing),
        ("clicks", without(a_click(t), "sku"), "sku", missing),
        ("clicks", a_click(t, price_minor=-5), "price_minor", ranged),
        ("quotes", a_quote(t, price_minor=10**12), "price_minor", ranged),
        ("quotes", a_quote(t, propensity=1.5), "propensity", ranged),
        ("clicks", a_click(t, kind="teleport"), "kind", "NOT_IN_SET"),
        ("clicks", a_click(t, currency="DOUBLOON"), "currency", "BAD_CURRENCY"),
        ("clicks", a_click(4_070_908_800_000), "event_time_ms", "FROM_THE_FUTURE"),
        ("clicks", a_click(5), "event_time_ms", ranged),
        ("orders", an_order(t, quantity=0), "quantity", ranged),
        ("orders", an_order(t), "order_id", "DUPLICATE_ORDER"),
        ("catalog", None, line, "NOT_JSON_OBJECT"),
        ("ticks", {"event_time_ms": t, "tick": True}, "bucket", missing),
    ]  # fmt: skip


def odd_lines(t: int) -> list[bytes]:
    """Return lines at the limits of JSON and of the types, which Flink and Python must read alike."""
    whole = json.dumps(a_click(t)).encode()
    prices = [b"1e3", b"1000.0", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-0",
              b"18446744073709551616", b"01", b"+1", b"1.", b"1e400", b"1" * 400, b"true", b"null", b"[1]",
              b'{"price_minor": 5}', b'"\\u0031"', b"Infinity"]  # fmt: skip
    unknown = [b"1e400", b"1e-400", b"1" * 5000, b"[" * 63 + b"]" * 63, b"[" * 64 + b"]" * 64, b'"\\ud800"',
               b'"\\ud83d\\ude00"', b'"\\u0000"', b'"tab\there"', b'"\x7f"', b'{"sku": "s9"}', b"tru",
               b'{"a": "\\udc00"}', b'{"\\ud800": 1}', b"'one'", b'"\xc0\x80"', b'"\xed\xa0\x80"',
               b'"\xf0\x9f\x98\x80"', b"1 /* why */"]  # fmt: skip
    lines = [whole.replace(b"1000", price) for price in prices]
    lines += [whole[:-1] + b', "extra": ' + value + b"}" for value in unknown]
    lines += [whole[:-1] + b', "price_minor": 7}', whole[:-1] + b', "price_minor": "7"}', whole[:-1] + b",}"]
    lines += [whole.decode().encode("utf-16"), b" \n\t" + whole + b"\r\n", whole + b"\x00", b"\x00" + whole]
    return lines


def good_inputs(t: int) -> list[tuple[str, Any, int]]:
    """Return topic, record and Kafka timestamp."""
    events: list[tuple[str, Any]] = [
        *(("clicks", a_click(t + 100 * i, kind=("view", "search", "cart")[i % 3], session=f"x{i % 7}",
                             sku=f"s{i % 5}", price_group=f"s{i % 5}")) for i in range(300)),
        *(("quotes", a_quote(t + 100 * i, customer=f"k{i % 40}", sku=f"s{i % 5}", price_group=f"s{i % 5}"))
          for i in range(300)),
        *(("orders", an_order(t + 5000 * i, order_id=f"o{i}", sku=f"s{i % 5}", price_group=f"s{i % 5}",
                              session=f"x{i % 3}", kind=("placed", "placed", "returned", "paid")[i % 4]))
          for i in range(2, 20)),
        ("orders", an_order(t)),
        ("clicks", a_click(t, session="long", kind="search")),
        ("clicks", a_click(t + 30 * MINUTE, session="long", kind="cart", price_minor=1100)),
        ("clicks", a_click(t, kind="view", geo="Zürich €😀")),
        ("stock", a_fact(t, on_hand=5, inbound=0, lead_time_days=-0.0)),
        ("clicks", a_click(t, customer="größe: 4/7 {😀}", session="\u202eabc", arm="a'b", segment='"')),
        ("offers", a_fact(t, competitor="rival", price_minor=950, shipping_minor=0, in_stock=True, currency="USD",
                          pack_size=1, source="feed", match_confidence=0.9)),
        ("stock", a_fact(t, on_hand=5, inbound=0, lead_time_days=1.5)),
        ("covariates", a_fact(t, name="display", value=0.75, source="shelf")),
        ("covariates", a_fact(t, name="temperature", value=-3, source="weather")),
        ("catalog", a_fact(t, category="shoes", role="kvi", currency="USD", pack_size=1, active=True)),
    ]  # fmt: skip
    late = [("clicks", a_click(t - 15_000), t), ("clicks", a_click(t - 3 * 3_600_000), t + 1000)]
    return sorted([(n, r, r["event_time_ms"]) for n, r in events] + late, key=lambda e: e[2])


def a_fact(at_ms: int, **fields: Any) -> dict[str, Any]:
    common = ("event_id", "event_time_ms", "tenant", "market", "sku", "price_group")
    return {k: v for k, v in a_click(at_ms).items() if k in common} | fields
