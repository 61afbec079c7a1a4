"""TOPICS: for every stream its record, key, event time, lateness, topic settings and contract.

The contract is a list of checks on single fields. A check compiles to one SQL predicate that Flink
and DuckDB both run, and runs in Python for adapters and tests; the three answers are equal (a
property test holds them to it). The first failing check names the field and the reason code.
Over 300 lines: one list of streams, each with the contract that it is judged by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas import events
from schemas.codes import RejectCode
from schemas.money import EXPONENTS
from schemas.time_units import DAY_MS, MINUTE_MS

FUTURE_TOLERANCE_MS = MINUTE_MS
"""An event more than this ahead of its Kafka timestamp is refused."""
OLDEST_MS = 315_532_800_000
"""1980-01-01: an event time before this is no event time."""
MAX_LINE_BYTES = 65_536
MAX_PRICE_MINOR = 10_000_000_000
MAX_COUNT = 10_000_000
"""Largest quantity of an order line, line number and pack size. Recorded data aggregate: a line may be a chain's
week of an item, and where order ids are missing, lines may count through a whole file."""
ORDER_DEDUP_MS = 7 * DAY_MS
SESSION_GAP_MS = 30 * MINUTE_MS

STRING, BIGINT, DOUBLE, BOOLEAN = "STRING", "BIGINT", "DOUBLE", "BOOLEAN"


@dataclass(frozen=True, slots=True)
class Characters:
    """Which characters an identifier may hold (decision 39).

    ``pattern`` is a regular expression that the whole text must match, in the syntax that Java, RE2 and Python
    share; ``words`` says the same to a person.

    >>> NAME.allows("web-us-usd"), NAME.allows("web/eu"), IDENTIFIER.allows("größe 4/7"), IDENTIFIER.allows("a|b")
    (True, False, True, False)
    """

    pattern: str
    words: str

    def allows(self, text: str) -> bool:
        """Whether every character may stand where it does."""
        return re.fullmatch(self.pattern, text) is not None


_SEPARATORS = r"\x00-\x1F\x7F-\x9F|"
NAME = Characters("[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes and underscores, no sign first")
"""A tenant or a market: it stands before another part in keys, in Redis hash tags and in URL paths."""
IDENTIFIER = Characters(f"[^{_SEPARATORS}]+", "no control characters, no vertical bar")
"""Any other identifier; ``|`` separates identifiers in digests."""
LIST_ITEM = Characters(f"[^{_SEPARATORS},]+", "no control characters, no vertical bar, no comma")
"""An identifier that may stand in a comma-separated list."""


@dataclass(frozen=True, slots=True)
class Check:
    """One field's contract.

    Parameters
    ----------
    field : name on the wire.
    type : STRING, BIGINT, DOUBLE or BOOLEAN; a value of another type reads as missing.
    required : a missing value is refused with MISSING_OR_WRONG_TYPE.
    low, high : inclusive range of a number (OUT_OF_RANGE).
    max_len, values : longest string (TOO_LONG) and allowed strings (NOT_IN_SET).
    characters : what an identifier may hold (BAD_CHARACTERS); judged after all other checks of a record.
    code : reason code of a value outside ``values``.

    Examples
    --------
    >>> price = Check("price_minor", BIGINT, low=1, high=100)
    >>> price.judge({"price_minor": -5})
    'OUT_OF_RANGE'
    >>> price.judge({}), price.judge({"price_minor": 7})
    ('MISSING_OR_WRONG_TYPE', None)
    """

    field: str
    type: str
    required: bool = True
    low: float | None = None
    high: float | None = None
    min_len: int = 0
    max_len: int | None = None
    values: tuple[str, ...] | None = None
    code: RejectCode = RejectCode.NOT_IN_SET
    characters: Characters | None = None

    def sql(self, column: str | None = None) -> list[tuple[str, str]]:
        """Failing predicates in order, each with its reason code; NULL-safe. Characters apart."""
        c = column or f"`{self.field}`"
        cases: list[tuple[str, str]] = []
        if self.required:
            cases.append((f"{c} IS NULL", RejectCode.MISSING_OR_WRONG_TYPE))
        if self.type == STRING:
            if self.min_len:
                cases.append((f"CHAR_LENGTH({c}) < {self.min_len}", RejectCode.MISSING_OR_WRONG_TYPE))
            if self.max_len is not None:
                cases.append((f"CHAR_LENGTH({c}) > {self.max_len}", RejectCode.TOO_LONG))
            if self.values is not None:
                listed = ", ".join(f"'{v}'" for v in self.values)
                cases.append((f"{c} NOT IN ({listed})", self.code))
        else:
            if self.low is not None:
                cases.append((f"{c} < {self._number(self.low)}", RejectCode.OUT_OF_RANGE))
            if self.high is not None:
                cases.append((f"{c} > {self._number(self.high)}", RejectCode.OUT_OF_RANGE))
        return cases

    def _number(self, bound: float) -> str:
        """A bound as an SQL literal of the field's type: beside a DECIMAL, Flink takes -0.0 for less than 0.0."""
        text = repr(float(bound)) if self.type == DOUBLE else str(bound)
        return f"{text}E0" if self.type == DOUBLE and "e" not in text else text

    def judge(self, record: Mapping[str, Any]) -> str | None:
        """Reason code of the refusal, or None."""
        value = record.get(self.field)
        if not self._typed(value):
            value = None
        if value is None:
            return RejectCode.MISSING_OR_WRONG_TYPE.value if self.required else None
        if self.type == STRING:
            if len(value) < self.min_len:
                return RejectCode.MISSING_OR_WRONG_TYPE.value
            if self.max_len is not None and len(value) > self.max_len:
                return RejectCode.TOO_LONG.value
            if self.values is not None and value not in self.values:
                return self.code.value
        elif self.type != BOOLEAN:
            if self.low is not None and value < self.low:
                return RejectCode.OUT_OF_RANGE.value
            if self.high is not None and value > self.high:
                return RejectCode.OUT_OF_RANGE.value
        return None

    def has_bad_characters(self, record: Mapping[str, Any]) -> bool:
        """Whether an identifier that passed :meth:`judge` holds a character that it may not hold."""
        value = record.get(self.field)
        return (
            self.characters is not None
            and isinstance(value, str)
            and value != ""
            and not self.characters.allows(value)
        )

    def _typed(self, value: Any) -> bool:
        match self.type:
            case "STRING":
                return isinstance(value, str)
            case "BOOLEAN":
                return isinstance(value, bool)
            case "BIGINT":
                return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
            case _:
                return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Topic:
    """A stream: what travels, keyed how, judged how, kept how long.

    ``input``: judged by demand_job and counted in the ledger. ``compacted``: Kafka keeps the last
    value per key. ``remembers_ms``: event time within which a repeated record is refused at least (orders alone).
    ``key``: what the Kafka key is made of (documentation and adapters).
    """

    name: str
    record: type
    key: str
    event_time: str = "event_time_ms"
    lateness_ms: int = 10_000
    remembers_ms: int = 0
    input: bool = False
    compacted: bool = False
    partitions: int = 4
    retention_ms: int = -1
    checks: tuple[Check, ...] = ()

    @property
    def topic(self) -> str:
        """Kafka topic name."""
        return f"pricing.{self.name}.v1"

    @property
    def settings(self) -> dict[str, str]:
        """Kafka topic settings: simulated and historical clocks must be neither refused nor deleted."""
        settings = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "message.timestamp.after.max.ms": str(2**63 - 1),
            "max.message.bytes": str(16 * 1024 * 1024),
        }
        if not self.compacted:
            settings["retention.ms"] = str(self.retention_ms)
        return settings

    def judge(self, record: Mapping[str, Any], kafka_ts_ms: int | None = None) -> tuple[str, str] | None:
        """Field and reason code of the refusal of a decoded record, or None (duplicates apart)."""
        for check in self.checks:
            code = check.judge(record)
            if code is not None:
                return check.field, code
        for check in self.checks:
            if check.has_bad_characters(record):
                return check.field, RejectCode.BAD_CHARACTERS.value
        if kafka_ts_ms is not None and record[self.event_time] > kafka_ts_ms + FUTURE_TOLERANCE_MS:
            return self.event_time, RejectCode.FROM_THE_FUTURE.value
        return None


def _text(field: str, *, required: bool = True, max_len: int = 128, characters: Characters | None = None) -> Check:
    return Check(
        field, STRING, required=required, min_len=1 if required else 0, max_len=max_len, characters=characters
    )


def _name(field: str, *, required: bool = True) -> Check:
    return _text(field, required=required, max_len=64, characters=NAME)


def _id(field: str, *, required: bool = True, max_len: int = 128) -> Check:
    return _text(field, required=required, max_len=max_len, characters=IDENTIFIER)


def _one_of(field: str, values: Any, *, required: bool = True) -> Check:
    return Check(field, STRING, required=required, values=tuple(str(v) for v in values))


def _price(field: str, *, required: bool = True, low: int = 1) -> Check:
    return Check(field, BIGINT, required=required, low=low, high=MAX_PRICE_MINOR)


_TIME = Check("event_time_ms", BIGINT, low=OLDEST_MS)
_CURRENCY = Check("currency", STRING, values=tuple(sorted(EXPONENTS)), code=RejectCode.BAD_CURRENCY)
_ID = _text("event_id")
_LISTING = (_name("tenant"), _name("market"), _id("sku"), _id("price_group"))
_SHOPPER = (_id("customer"), _id("session"), _id("segment", max_len=32), _id("arm", max_len=32))

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(
            "quotes", events.Quote, "tenant/market/price_group", input=True,
            checks=(
                _ID, _TIME, *_LISTING, *_SHOPPER, _price("price_minor"), _CURRENCY,
                Check("propensity", DOUBLE, low=1e-9, high=1.0),
                _id("table_id", max_len=64),
                Check("version", BIGINT, low=0),
                _one_of("source", events.QuoteSource),
                _price("offer_minor", required=False),
                Check("bot", BOOLEAN, required=False),
            ),
        ),
        Topic(
            "clicks", events.Click, "tenant/market/price_group", input=True,
            checks=(
                _ID, _TIME, *_LISTING, _one_of("kind", events.ClickKind), *_SHOPPER,
                _price("price_minor"), _CURRENCY,
                _text("device", required=False, max_len=32), _text("geo", required=False, max_len=64),
                _text("day_part", required=False, max_len=32), Check("bot", BOOLEAN, required=False),
            ),
        ),
        Topic(
            "orders", events.Order, "tenant/market/price_group", input=True, remembers_ms=ORDER_DEDUP_MS,
            checks=(
                _ID, _TIME, *_LISTING, _one_of("kind", events.OrderKind), _id("order_id"),
                Check("line", BIGINT, low=0, high=MAX_COUNT), *_SHOPPER,
                _price("quoted_price_minor"), _price("price_paid_minor", low=0),
                _price("discount_minor", low=0), Check("quantity", BIGINT, low=1, high=MAX_COUNT), _CURRENCY,
                _text("quote_id", required=False), _price("offer_minor", required=False),
            ),
        ),
        Topic(
            "offers", events.Offer, "tenant/market/price_group", input=True,
            checks=(
                _ID, _TIME, *_LISTING, _id("competitor", max_len=64), _price("price_minor"),
                _price("shipping_minor", low=0), Check("in_stock", BOOLEAN), _CURRENCY,
                Check("pack_size", BIGINT, low=1, high=MAX_COUNT), _id("source", max_len=64),
                Check("match_confidence", DOUBLE, low=0.0, high=1.0),
                Check("validity_ms", BIGINT, required=False, low=1),
                _one_of("offer_kind", events.OfferKind, required=False),
            ),
        ),
        Topic(
            "catalog", events.CatalogEntry, "tenant/market/sku", input=True, compacted=True,
            checks=(
                _ID, _TIME, *_LISTING, _text("category", characters=LIST_ITEM),
                _one_of("role", events.Role), _CURRENCY,
                Check("pack_size", BIGINT, low=1, high=MAX_COUNT), Check("active", BOOLEAN),
                # A missing or senseless cost holds the price (guardrails), it does not lose the entry.
                Check("cost_minor", BIGINT, required=False), Check("list_minor", BIGINT, required=False),
                _price("floor_minor", required=False, low=0), _price("ceiling_minor", required=False, low=0),
            ),
        ),
        Topic(
            "stock", events.Stock, "tenant/market/price_group", input=True,
            checks=(
                _ID, _TIME, *_LISTING, Check("on_hand", BIGINT, low=0, high=10**12),
                Check("inbound", BIGINT, low=0, high=10**12),
                Check("lead_time_days", DOUBLE, low=0.0, high=3650.0),
            ),
        ),
        Topic(
            "calendar", events.CalendarEvent, "tenant", input=True,
            checks=(
                _ID, _TIME, _name("tenant"), _one_of("kind", events.CalendarKind), _id("name"),
                Check("zone", STRING, max_len=64), Check("categories", STRING, max_len=1024),
                Check("start_ms", BIGINT, low=OLDEST_MS), Check("end_ms", BIGINT, low=OLDEST_MS),
                Check("expected_factor", DOUBLE, low=0.01, high=100.0),
                Check("spend_minor", BIGINT, required=False, low=0),
            ),
        ),
        Topic(
            "commands", events.Command, "tenant", input=True,
            checks=(
                _ID, _TIME, _name("tenant"), _one_of("kind", events.CommandKind),
                _id("operator", max_len=64), _name("market", required=False),
                _id("sku", required=False), _price("price_minor", required=False),
                Check("units", BIGINT, required=False, low=0, high=10**12),
                Check("until_ms", BIGINT, required=False, low=OLDEST_MS),
                _id("decision_id", required=False, max_len=64),
                Check("version", BIGINT, required=False, low=0),
                Check("reason", STRING, required=False, max_len=1024),
            ),
        ),
        Topic(
            "ticks", events.Tick, "bucket", input=True, partitions=1,
            checks=(Check("event_time_ms", BIGINT, low=0), Check("bucket", BIGINT, low=-1, high=65_535)),
        ),
        Topic("cells", events.CellBatch, "bucket", event_time="window_end_ms"),
        Topic("segments", events.SegmentShare, "tenant:customer:period", compacted=True),
        Topic("features", events.FeatureRow, "listing", event_time="window_end_ms"),
        Topic("estimates", events.Estimate, "estimate scope", event_time="window_end_ms", compacted=True),
        Topic("evidence", events.Evidence, "listing", event_time="window_end_ms"),
        Topic("decisions", events.Decision, "listing"),
        Topic("tables", events.PriceTableRecord, "listing", event_time="published_ms", compacted=True),
        Topic("rejected", events.Rejected, "topic-partition-offset", event_time="kafka_ts_ms"),
        Topic("quarantine", events.Quarantined, "logic/bucket"),
        Topic("ledger", events.LedgerEntry, "topic-partition", event_time="window_end_ms"),
        Topic("rejected_cells", events.RejectedCell, "listing", event_time="window_end_ms"),
    )
}  # fmt: skip
"""Every stream by its short name."""

INPUTS: tuple[Topic, ...] = tuple(topic for topic in TOPICS.values() if topic.input)


def inputs_of_clock(speed: float) -> tuple[Topic, ...]:
    """INPUTS as a run with a clock of this speed treats them; at speed 1 as they are.

    Delays and repeats are a matter of wall time. On a faster clock a record is given at least a wall second
    before it counts as late, and an order is remembered for three wall minutes, since all that is remembered of
    seven days would arrive within hours.

    >>> {topic.lateness_ms for topic in inputs_of_clock(60)}, inputs_of_clock(1) == INPUTS
    ({60000}, True)
    >>> next(topic.remembers_ms for topic in inputs_of_clock(60) if topic.name == "orders") // 3_600_000
    3
    """
    if speed == 1:
        return INPUTS
    late, memory = lateness_of_clock(speed), max(MINUTE_MS, round(180_000 * speed) // MINUTE_MS * MINUTE_MS)
    return tuple(
        replace(topic, lateness_ms=max(topic.lateness_ms, late), remembers_ms=min(topic.remembers_ms, memory))
        for topic in INPUTS
    )


def lateness_of_clock(speed: float) -> int:
    """Event milliseconds of a wall second on a clock that runs faster than the wall's, else 0: the least lateness.

    >>> lateness_of_clock(60), lateness_of_clock(1)
    (60000, 0)
    """
    return 0 if speed == 1 else round(1000 * speed)


def kafka_key(name: str, record: Mapping[str, Any]) -> str:
    """Kafka key of an input record, as its ``Topic.key`` says.

    >>> kafka_key("stock", {"tenant": "a", "market": "m", "sku": "s", "price_group": "g"})
    'a/m/g'
    """
    parts = TOPICS[name].key
    if parts == "tenant/market/price_group":
        return events.group_key(record["tenant"], record["market"], record["price_group"])
    return "/".join(str(record[part]) for part in parts.split("/"))
