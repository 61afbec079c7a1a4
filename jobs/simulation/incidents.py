"""Broken records as foreign systems send them, each with the refusal that the contract gives.

``DIRTY`` is the one list: the simulator adds its records to a market on demand, and the tests of the contract, of
the SQL and of the platform send every kind of it.

To add a kind: one :class:`Incident` here. ``corrupt`` takes a valid record (a dict that it may change) and returns
the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from schemas.codes import RejectCode

Record = dict[str, Any]
YEAR_2099_MS = 4_070_908_800_000
_NO_FIELD = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One kind of broken record.

    Parameters
    ----------
    name : its name.
    topic : short name of the input to which it is sent.
    code : the code of its refusal.
    field : the field that the refusal names; empty when the whole line is refused.
    corrupt : returns the bytes, made from a valid record of that topic.
    by : "line": demand_job refuses the record; "cell": the catalog check refuses the cell in which it counts.
    repeats : the valid record is sent first and accepted; the broken one is its repeat.
    """

    name: str
    topic: str
    code: RejectCode
    field: str
    corrupt: Callable[[Record], bytes]
    by: Literal["line", "cell"] = "line"
    repeats: bool = False

    def lines(self, good: Mapping[str, Any]) -> list[bytes]:
        """Return the lines to send, in order, made from a valid record; the last one is the broken one."""
        first = [orjson.dumps(dict(good))] if self.repeats else []
        return [*first, self.corrupt(dict(good))]


def _set(**changes: Any) -> Callable[[Record], bytes]:
    return lambda record: orjson.dumps(record | changes)


def _without(field: str) -> Callable[[Record], bytes]:
    return lambda record: orjson.dumps({k: v for k, v in record.items() if k != field})


def _raw(line: bytes) -> Callable[[Record], bytes]:
    return lambda record: line


def _nan(record: Record) -> bytes:
    return orjson.dumps(record | {"price_minor": 0}).replace(b'"price_minor":0', b'"price_minor":NaN')


def _not_utf8(record: Record) -> bytes:
    return orjson.dumps(record | {"customer": "@@"}).replace(b"@@", b"caf\xe9\xff")


_MISSING, _RANGE = RejectCode.MISSING_OR_WRONG_TYPE, RejectCode.OUT_OF_RANGE

DIRTY: tuple[Incident, ...] = (
    Incident("bad JSON", "clicks", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, lambda r: orjson.dumps(r)[:-9]),
    Incident("no JSON at all", "quotes", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, _raw(b"price;19,99;EUR")),
    Incident("array instead of object", "orders", RejectCode.NOT_JSON_OBJECT, _NO_FIELD,
             lambda r: orjson.dumps([r])),
    Incident("number instead of object", "stock", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, _raw(b"42")),
    Incident("JSON null", "offers", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, _raw(b"null")),
    Incident("empty line", "clicks", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, _raw(b"")),
    Incident("trailing junk", "orders", RejectCode.NOT_JSON_OBJECT, _NO_FIELD,
             lambda r: orjson.dumps(r) + b" junk"),
    Incident("NaN as a number", "quotes", RejectCode.NOT_JSON_OBJECT, _NO_FIELD, _nan),
    Incident("invalid UTF-8", "clicks", RejectCode.INVALID_UTF8, _NO_FIELD, _not_utf8),
    Incident("1 MB string", "clicks", RejectCode.TOO_LARGE, _NO_FIELD, _set(geo="x" * 1_000_000)),
    Incident("empty object", "offers", _MISSING, "event_id", _raw(b"{}")),
    Incident("missing field", "quotes", _MISSING, "price_minor", _without("price_minor")),
    Incident("null field", "quotes", _MISSING, "customer", _set(customer=None)),
    Incident("wrong type: words for a price", "quotes", _MISSING, "price_minor", _set(price_minor="cheap")),
    Incident("wrong type: a price as text", "offers", _MISSING, "price_minor", _set(price_minor="1999")),
    Incident("wrong type: an object", "clicks", _MISSING, "session", _set(session={"id": 1})),
    Incident("price in major units", "orders", _MISSING, "quoted_price_minor", _set(quoted_price_minor=19.99)),
    Incident("boolean as text", "offers", _MISSING, "in_stock", _set(in_stock="true")),
    Incident("empty name", "orders", _MISSING, "order_id", _set(order_id="")),
    Incident("negative price", "quotes", _RANGE, "price_minor", _set(price_minor=-1999)),
    Incident("zero price", "offers", _RANGE, "price_minor", _set(price_minor=0)),
    Incident("absurd price", "offers", _RANGE, "price_minor", _set(price_minor=10**15)),
    Incident("zero quantity", "orders", _RANGE, "quantity", _set(quantity=0)),
    Incident("propensity above one", "quotes", _RANGE, "propensity", _set(propensity=1.5)),
    Incident("negative stock", "stock", _RANGE, "on_hand", _set(on_hand=-3)),
    Incident("ancient", "clicks", _RANGE, "event_time_ms", _set(event_time_ms=1_000)),
    Incident("seconds for milliseconds", "orders", _RANGE, "event_time_ms",
             lambda r: orjson.dumps(r | {"event_time_ms": r["event_time_ms"] // 1000})),
    Incident("far future", "clicks", RejectCode.FROM_THE_FUTURE, "event_time_ms",
             _set(event_time_ms=YEAR_2099_MS)),
    Incident("huge string", "quotes", RejectCode.TOO_LONG, "sku", _set(sku="s" * 5_000)),
    Incident("separator in a market", "offers", RejectCode.BAD_CHARACTERS, "market", _set(market="web/eu")),
    Incident("control character in a session", "clicks", RejectCode.BAD_CHARACTERS, "session",
             _set(session="a\x00b")),
    Incident("unknown kind", "clicks", RejectCode.NOT_IN_SET, "kind", _set(kind="teleport")),
    Incident("unknown source", "quotes", RejectCode.NOT_IN_SET, "source", _set(source="guess")),
    Incident("lower-case currency", "quotes", RejectCode.BAD_CURRENCY, "currency", _set(currency="usd")),
    Incident("no such currency", "orders", RejectCode.BAD_CURRENCY, "currency", _set(currency="XXX")),
    Incident("duplicate order", "orders", RejectCode.DUPLICATE_ORDER, "order_id",
             lambda r: orjson.dumps(r | {"event_id": f"{r['event_id']}-again"}), repeats=True),
    Incident("unknown SKU", "quotes", RejectCode.UNKNOWN_LISTING, "sku",
             _set(sku="unknown-sku", price_group="unknown-sku"), by="cell"),
    Incident("wrong currency", "quotes", RejectCode.WRONG_CURRENCY, "currency",
             _set(currency="CHF"), by="cell"),
)  # fmt: skip
"""Every kind of broken record, each with the code of its refusal."""
