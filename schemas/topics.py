"""TOPICS: record type, key, event time, lateness, topic settings and contract of every stream.

A contract is a list of checks of single fields. A check compiles to one SQL predicate for Flink and DuckDB and
also runs in Python for adapters and tests. A property test verifies that all three give the same result. A
rejection names the field and the reason code of the first failing check.

The file exceeds 300 lines because it declares all streams in one list, each with its contract. The checks and the
helpers that build them are read together with this list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas import events
from schemas.codes import RejectCode
from schemas.listings import group_key
from schemas.money import EXPONENTS
from schemas.records import counts, operator_events, results
from schemas.time_units import DAY_MS, MINUTE_MS

FUTURE_TOLERANCE_MS = MINUTE_MS
"""Maximum lead of an event time over the Kafka timestamp; later events are rejected."""
OLDEST_MS = 315_532_800_000
"""Minimum event time: 1980-01-01."""
MAX_LINE_BYTES = 65_536
MAX_NAME_LENGTH = 64
"""Maximum length of tenants, markets, competitors, sources and names of covariates."""
MAX_PRICE_MINOR = 10_000_000_000
MAX_COVARIATE = 1_000.0
"""Largest absolute value of a covariate. A measure of another size is sent in another unit or as its log."""
MAX_TAGS_LENGTH = 512
"""Maximum length of a catalog entry's tags, commas included."""
MAX_CHANGES_LENGTH = 16_384
"""Maximum length of a policy patch's changes, as JSON."""
MAX_COUNT = 10_000_000
"""Maximum of an order line's quantity, line number and pack size.

In recorded data one line may be the weekly sales of a whole chain, and without order ids the line number may count
all rows of a file.
"""
ORDER_DEDUP_MS = 7 * DAY_MS
SESSION_GAP_MS = 30 * MINUTE_MS

STRING, BIGINT, DOUBLE, BOOLEAN = "STRING", "BIGINT", "DOUBLE", "BOOLEAN"


@dataclass(frozen=True, slots=True)
class Characters:
    """Characters that an identifier may contain (decision 39).

    ``pattern`` is a regular expression that the whole text must match, in the syntax common to Java, RE2 and
    Python. ``words`` describes it in error messages.

    Examples
    --------
    >>> NAME.allows("web-us-usd"), NAME.allows("web/eu"), IDENTIFIER.allows("größe 4/7"), IDENTIFIER.allows("a|b")
    (True, False, True, False)
    """

    pattern: str
    words: str

    def allows(self, text: str) -> bool:
        """Return whether the whole text matches the pattern."""
        return re.fullmatch(self.pattern, text) is not None


_SEPARATORS = r"\x00-\x1F\x7F-\x9F|"
NAME = Characters(
    "[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes and underscores, starting with a letter or digit"
)
"""A tenant or market: it precedes other components in keys, Redis hash tags and URL paths."""
IDENTIFIER = Characters(f"[^{_SEPARATORS}]+", "no control characters, no vertical bar")
"""Any other identifier; ``|`` is the separator in digests."""
LIST_ITEM = Characters(f"[^{_SEPARATORS},]+", "no control characters, no vertical bar, no comma")
"""An identifier for comma-separated lists."""


@dataclass(frozen=True, slots=True)
class Check:
    """Contract of one field.

    Parameters
    ----------
    field : field name in the record.
    type : STRING, BIGINT, DOUBLE or BOOLEAN; a value of another type counts as missing.
    required : reject a missing value with MISSING_OR_WRONG_TYPE.
    low, high : inclusive range of a number (OUT_OF_RANGE).
    min_len, max_len : inclusive range of a string's length (MISSING_OR_WRONG_TYPE, TOO_LONG).
    values : allowed strings.
    code : reason code of a string outside ``values``.
    characters : allowed characters of an identifier (BAD_CHARACTERS); checked after all other checks of a record.

    Examples
    --------
    >>> price = Check("price_minor", BIGINT, low=1, high=100)
    >>> price.validate({"price_minor": -5})
    'OUT_OF_RANGE'
    >>> price.validate({}), price.validate({"price_minor": 7})
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
        """Return the failing predicates in order, each with its reason code.

        The predicates are NULL-safe. The check of characters is not included.
        """
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
        """Return a bound as an SQL literal of the field's type.

        A DOUBLE literal has an exponent. Without one Flink reads it as a DECIMAL and then evaluates -0.0 < 0.0 as
        true.
        """
        text = repr(float(bound)) if self.type == DOUBLE else str(bound)
        return f"{text}E0" if self.type == DOUBLE and "e" not in text else text

    def validate(self, record: Mapping[str, Any]) -> str | None:
        """Return the reason code of the first violation, or None."""
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
        """Return whether an identifier that passes :meth:`validate` contains a forbidden character."""
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
    """A stream: its record type, key, contract and Kafka topic settings.

    Parameters
    ----------
    name : short name; the Kafka topic is ``pricing.<name>.v1``.
    record : dataclass of the records.
    key : components of the Kafka key, for documentation and adapters.
    event_time : field with the event time.
    lateness_ms : delay of the watermark behind the Kafka timestamp.
    deduplication_ms : minimum event time for which a repeated record is rejected (orders only).
    input : whether demand_job validates the stream and counts it in the ledger.
    compacted : whether Kafka keeps only the last value per key.
    partitions, retention_ms : Kafka topic settings; -1 keeps records without limit.
    checks : the contract, in order.
    """

    name: str
    record: type
    key: str
    event_time: str = "event_time_ms"
    lateness_ms: int = 10_000
    deduplication_ms: int = 0
    input: bool = False
    compacted: bool = False
    partitions: int = 4
    retention_ms: int = -1
    checks: tuple[Check, ...] = ()

    @property
    def topic(self) -> str:
        """Return the Kafka topic name."""
        return f"pricing.{self.name}.v1"

    @property
    def settings(self) -> dict[str, str]:
        """Return the Kafka topic settings.

        The broker must accept and keep records with timestamps of simulated and historical clocks.
        """
        settings = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "message.timestamp.after.max.ms": str(2**63 - 1),
            "max.message.bytes": str(16 * 1024 * 1024),
        }
        if not self.compacted:
            settings["retention.ms"] = str(self.retention_ms)
        return settings

    def validate(self, record: Mapping[str, Any], kafka_ts_ms: int | None = None) -> tuple[str, str] | None:
        """Return field and reason code of a decoded record's first violation, or None; ignores duplicates."""
        for check in self.checks:
            code = check.validate(record)
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
    return _text(field, required=required, max_len=MAX_NAME_LENGTH, characters=NAME)


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
            "orders", events.Order, "tenant/market/price_group", input=True, deduplication_ms=ORDER_DEDUP_MS,
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
                # The guardrails handle a missing or invalid cost, so that the entry itself is accepted.
                Check("cost_minor", BIGINT, required=False), Check("list_minor", BIGINT, required=False),
                _price("floor_minor", required=False, low=0), _price("ceiling_minor", required=False, low=0),
                _id("tags", required=False, max_len=MAX_TAGS_LENGTH),
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
            "covariates", events.Covariate, "tenant/market/price_group", input=True,
            checks=(
                _ID, _TIME, *_LISTING, _name("name"),
                Check("value", DOUBLE, low=-MAX_COVARIATE, high=MAX_COVARIATE), _id("source", max_len=64),
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
            "commands", operator_events.Command, "tenant", input=True,
            checks=(
                _ID, _TIME, _name("tenant"), _one_of("kind", operator_events.CommandKind),
                _id("operator", max_len=64), _name("market", required=False),
                _id("sku", required=False), _price("price_minor", required=False),
                Check("units", BIGINT, required=False, low=0, high=10**12),
                Check("until_ms", BIGINT, required=False, low=OLDEST_MS),
                _id("decision_id", required=False, max_len=64),
                Check("version", BIGINT, required=False, low=0),
                Check("reason", STRING, required=False, max_len=1024),
                _id("selection", required=False, max_len=160),
                Check("changes", STRING, required=False, max_len=MAX_CHANGES_LENGTH),
                Check("from_ms", BIGINT, required=False, low=OLDEST_MS),
                Check("replaces", BOOLEAN, required=False),
                _id("role", required=False, max_len=32), Check("signature", STRING, required=False, max_len=128),
            ),
        ),
        Topic(
            "ticks", events.Tick, "bucket", input=True, partitions=1,
            checks=(Check("event_time_ms", BIGINT, low=0), Check("bucket", BIGINT, low=-1, high=65_535)),
        ),
        Topic("cells", counts.CellBatch, "bucket", event_time="window_end_ms"),
        Topic("segments", counts.SegmentShare, "tenant:customer:period", compacted=True),
        Topic("features", results.FeatureRow, "listing", event_time="window_end_ms"),
        Topic("estimates", results.Estimate, "estimate scope", event_time="window_end_ms", compacted=True),
        Topic("models", results.ModelReport, "tenant/category", event_time="window_end_ms", compacted=True),
        Topic("drift", results.DriftEvent, "scope/name", event_time="window_end_ms"),
        Topic("evidence", results.Evidence, "listing", event_time="window_end_ms"),
        Topic("decisions", results.Decision, "listing"),
        Topic("policies", results.PolicyContent, "hash", compacted=True),
        Topic("policy_changes", operator_events.PolicyChanged, "command_id", compacted=True),
        Topic("refused_commands", operator_events.RefusedCommand, "command_id", compacted=True),
        Topic(
            "access_keys", operator_events.AccessKey, "key_id", event_time="issued_ms", compacted=True,
            partitions=1,
        ),
        Topic("tables", results.PriceTableRecord, "listing", event_time="published_ms", compacted=True),
        Topic(
            "redemptions", operator_events.Redemption, "lock_id", event_time="redeemed_at_ms",
            retention_ms=30 * DAY_MS,
        ),
        Topic("rejected", counts.Rejected, "topic-partition-offset", event_time="kafka_ts_ms"),
        Topic("quarantine", results.Quarantined, "logic/bucket"),
        Topic("ledger", counts.LedgerEntry, "topic-partition", event_time="window_end_ms"),
        Topic("rejected_cells", counts.RejectedCell, "listing", event_time="window_end_ms"),
    )
}  # fmt: skip
"""All streams by short name."""

INPUTS: tuple[Topic, ...] = tuple(topic for topic in TOPICS.values() if topic.input)


def inputs_at_speed(speed: float) -> tuple[Topic, ...]:
    """Return INPUTS with the lateness and deduplication time of a run at this clock speed; at speed 1 unchanged.

    Delays and repeats happen in wall time. With a faster clock, lateness is at least one wall second, and orders
    are deduplicated for three wall minutes, because the order lines of seven days of event time would arrive
    within hours and exceed the state.

    Examples
    --------
    >>> {topic.lateness_ms for topic in inputs_at_speed(60)}, inputs_at_speed(1) == INPUTS
    ({60000}, True)
    >>> next(topic.deduplication_ms for topic in inputs_at_speed(60) if topic.name == "orders") // 3_600_000
    3
    """
    if speed == 1:
        return INPUTS
    late, memory = min_lateness_ms(speed), max(MINUTE_MS, round(180_000 * speed) // MINUTE_MS * MINUTE_MS)
    return tuple(
        replace(
            topic, lateness_ms=max(topic.lateness_ms, late), deduplication_ms=min(topic.deduplication_ms, memory)
        )
        for topic in INPUTS
    )


def min_lateness_ms(speed: float) -> int:
    """Return the minimum lateness: the event time of one wall second in milliseconds, or 0 at speed 1.

    Examples
    --------
    >>> min_lateness_ms(60), min_lateness_ms(1)
    (60000, 0)
    """
    return 0 if speed == 1 else round(1000 * speed)


def kafka_key(name: str, record: Mapping[str, Any]) -> str:
    """Return the Kafka key of an input record as declared by ``Topic.key``.

    Examples
    --------
    >>> kafka_key("stock", {"tenant": "a", "market": "m", "sku": "s", "price_group": "g"})
    'a/m/g'
    """
    parts = TOPICS[name].key
    if parts == "tenant/market/price_group":
        return group_key(record["tenant"], record["market"], record["price_group"])
    return "/".join(str(record[part]) for part in parts.split("/"))
