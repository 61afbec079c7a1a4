"""Hostile lines for every input stream.

Most lines are valid records, many of them with values at the limits of the contract. Some have one to three fields
replaced by values that other systems send by mistake or malice, and some are not records at all. The same seed
gives the same lines.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from jobs.hosting.cell_query import Line
from schemas.time_units import MINUTE_MS
from schemas.topics import (
    BIGINT,
    BOOLEAN,
    IDENTIFIER,
    INPUTS,
    MAX_LINE_BYTES,
    NAME,
    STRING,
    TOPICS,
    Check,
)

START_MS = 1_780_000_020_000
TEXTS = (
    "", " ", "/", "a/b", "a//b", "|", "a|b", ":", "{", "}", "{}", "'", '"', "`", "\\", "''; --", "%s", "$(id)",
    "..", "../../x", "<script>alert(1)</script>", "\x00", "a\nb", "\t", "\x7f", "\x85", "\u202eabc", "\u2066x",
    "\u05e2\u05d1\u05e8\u05d9\u05ea", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\U0001f600",
    "\U0001f469\u200d\U0001f469", "\u00e9", "e\u0301", "\uff57\uff45\uff42", "null", "None", "NaN", "-1", "1e999",
    "true", "x" * 32, "x" * 33, "x" * 64, "x" * 65, "x" * 128, "x" * 129, "x" * 1025, "\u00df" * 64,
    "\U0001f600" * 32, "web-us-usd", "USD", "usd", "view", "all", ",", "a,b", "#", "?", "&", "=", "+", "%2F",
    "\ufeff", "\u2028", "\u00a0",
)  # fmt: skip
"""Separators, quotes, control and right-to-left characters, emoji, lengths at the limits."""
NUMBERS = (
    0, 1, -1, 2, 31, 2**31 - 1, 2**31, 2**53 - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30, 0.5,
    1.0, -0.0, 1e-9, 5e-324, 1.7e308, -1.7e308, 1e15,
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [1], {"a": {"b": []}})
LARGE_TEXTS = 50
LARGE_TEXT = "x" * 1_000_000
_BROKEN = (
    b"", b"{", b"[]", b"5", b"null", b'"x"', b'{"a": 1} junk', b'{"a": "\xff\xfe"}', b"\x00\x01\x02",
    b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b'\xef\xbb\xbf{"a": 1}', b'{"a":' * 70 + b"1" + b"}" * 70,
    b'{"event_id": "e", "event_id": 5}', b'{"tick": "yes"}', b'{"tick": true}', b"x" * (MAX_LINE_BYTES + 1),
)  # fmt: skip
_WEIGHTS = {
    "quotes": 30, "clicks": 30, "orders": 15, "offers": 8, "stock": 6, "catalog": 6, "covariates": 4,
    "calendar": 2, "commands": 3,
}  # fmt: skip


@dataclass
class HostileLines:
    """Lines by topic, in the order in which they arrive at a broker.

    Parameters
    ----------
    records : number of lines without ticks; :data:`LARGE_TEXTS` of them contain a text of a megabyte.
    minutes : event minutes over which the lines arrive, from ``start_ms``.
    arrivals : stream, line and Kafka timestamp of every line except ticks, in the order of arrival.
    """

    records: int
    buckets: int
    seed: int = 0
    minutes: int = 90
    start_ms: int = START_MS
    lines: dict[str, list[Line]] = field(default_factory=dict)
    arrivals: list[tuple[str, bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._offsets: dict[tuple[str, int], int] = {}
        self._orders: list[tuple[bytes, int]] = []
        self._listings = [self._a_listing(n) for n in range(40)]
        for n, listing in enumerate(self._listings):
            self._add(
                "catalog",
                self.start_ms,
                json.dumps(self._record("catalog", n, listing, self.start_ms)).encode(),
                n % 2,
            )
        step = self.minutes * MINUTE_MS / self.records
        large = set(self._random.sample(range(self.records), min(LARGE_TEXTS, self.records)))
        minute = self.start_ms // MINUTE_MS
        for n in range(self.records):
            at_ms = self.start_ms + round(n * step)
            while minute < at_ms // MINUTE_MS:
                minute += 1
                self._tick(minute * MINUTE_MS)
            self._one(n, at_ms, large=n in large)
        for last in range(minute + 1, minute + 65):
            self._tick(last * MINUTE_MS)

    def _one(self, n: int, at_ms: int, *, large: bool) -> None:
        pick = self._random
        name = pick.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        partition, kafka_ts_ms = pick.randrange(2), at_ms
        if not large and pick.random() < 0.03:
            self._add(name, kafka_ts_ms, pick.choice(_BROKEN), partition)
            return
        if name == "orders" and self._orders and pick.random() < 0.05:
            self._add(name, kafka_ts_ms, *pick.choice(self._orders))
            return
        record = self._record(name, n, pick.choice(self._listings), self._event_time(at_ms))
        if large:
            record[pick.choice([check.field for check in TOPICS[name].checks])] = LARGE_TEXT
        elif pick.random() < 0.35:
            for check in pick.choices(TOPICS[name].checks, k=pick.randint(1, 3)):
                record[check.field] = self._hostile(check)
        line = _encoded(record)
        if name == "orders":
            self._orders.append((line, partition))
        self._add(name, kafka_ts_ms, line, partition)

    def _event_time(self, at_ms: int) -> int:
        return at_ms + self._random.choice(
            (0, 0, 0, 0, -5_000, -10_000, -10_001, -3_600_000, 59_999, 60_000, 60_001)
        )

    def _a_listing(self, n: int) -> dict[str, str]:
        pick = self._random
        sku = pick.choice([text for text in TEXTS if IDENTIFIER.allows(text) and len(text) <= 100] + ["sku"])
        return {
            "tenant": pick.choice(("acme", "A.b_c-1")), "market": pick.choice(("web-us-usd", "b2b-eu-eur")),
            "sku": f"{sku}{n}", "price_group": pick.choice((f"{sku}{n}", "group/1", "größe 4")),
        }  # fmt: skip

    def _record(self, name: str, n: int, listing: dict[str, str], event_time_ms: int) -> dict[str, Any]:
        """Return a valid record, many of whose values lie at a limit."""
        record: dict[str, Any] = {check.field: self._good(check) for check in TOPICS[name].checks}
        record |= {key: value for key, value in listing.items() if key in record}
        record |= {"event_id": f"e{n}", "event_time_ms": event_time_ms}
        if name == "catalog" and self._random.random() < 0.7:
            record |= {"cost_minor": 600, "list_minor": 999, "floor_minor": 300, "ceiling_minor": 3_000}
            record |= {"pack_size": 1, "active": True}
        if name == "commands" and record["kind"] in ("kill_switch", "freeze") and self._random.random() < 0.9:
            record["kind"] = self._random.choice(("resume", "unfreeze", "settle"))
        if "currency" in record and self._random.random() < 0.9:
            record["currency"] = "EUR" if listing["market"].endswith("eur") else "USD"
        if "price_minor" in record and name in ("quotes", "clicks") and self._random.random() < 0.8:
            record["price_minor"] = self._random.choice((999, 1099, 1199))
        return record

    def _good(self, check: Check) -> Any:
        pick = self._random
        if not check.required and pick.random() < 0.5:
            return None
        if check.type == BOOLEAN:
            return pick.random() < 0.8
        if check.type == STRING:
            if check.values:
                return pick.choice(check.values)
            if check.characters is NAME:
                return "acme"
            allows = (check.characters or IDENTIFIER).allows
            limit = check.max_len or 1_000
            return pick.choice([text for text in TEXTS if allows(text) and len(text) <= limit])
        low = -(2**63) if check.low is None else check.low
        high = 2**63 - 1 if check.high is None else check.high
        whole = check.type == BIGINT
        usual = max(low, min(high, pick.randint(1, 5_000) if whole else pick.random()))
        if check.field.endswith("_ms"):
            usual = max(low, self.start_ms + pick.randrange(-MINUTE_MS, 600 * MINUTE_MS))
        value = pick.choice((low, high)) if pick.random() < 0.04 else usual
        return int(value) if whole else float(value)

    def _hostile(self, check: Check) -> Any:
        pick = self._random
        limits = [bound + step for bound in (check.low, check.high) if bound is not None for step in (-1, 0, 1)]
        usual: tuple[Any, ...] = TEXTS if check.type == STRING else (*limits, *NUMBERS)
        return pick.choice(pick.choice((usual, usual, usual, TEXTS, NUMBERS, OTHERS)))

    def _tick(self, at_ms: int) -> None:
        for bucket in range(self.buckets):
            tick = {"event_time_ms": at_ms, "bucket": bucket, "tick": True}
            self._add("ticks", at_ms, json.dumps(tick).encode(), 0, tick=True)
        for topic in INPUTS:
            if topic.name != "ticks":
                for partition in range(2):
                    tick = {"event_time_ms": at_ms, "bucket": -1, "tick": True}
                    self._add(topic.name, at_ms, json.dumps(tick).encode(), partition, tick=True)

    def _add(self, name: str, kafka_ts_ms: int, line: bytes, partition: int, *, tick: bool = False) -> None:
        topic = TOPICS[name].topic
        if not tick:
            self.arrivals.append((name, line, kafka_ts_ms))
        offset = self._offsets[topic, partition] = self._offsets.get((topic, partition), -1) + 1
        self.lines.setdefault(topic, []).append((partition, offset, kafka_ts_ms, line))


def _encoded(record: dict[str, Any]) -> bytes:
    # As other languages encode JSON: numbers of any size, texts with and without escapes.
    return json.dumps(record, ensure_ascii=len(record) % 2 == 0).encode(errors="replace")
