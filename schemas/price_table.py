"""The serving contract: the Redis layout of a price table and the selection of a customer's price.

A reader needs two look-ups and an MD5 function, and none of this project's code::

    HGETALL price:{tenant:market}:<sku>
    GET     segment:{tenant:<first 2 hex of md5(pseudonym)>}:<pseudonym>

The field ``table`` contains, per arm and segment, the prices in minor units and their cumulative selection
probabilities as unsigned 32-bit integers. ``u`` is the first four bytes of ``MD5(table_id|customer|"price")``
as a big-endian unsigned integer. The customer gets the first price whose cumulative value is at least ``u``.
MD5 is used instead of CRC-32 because CRC is linear: with CRC the selections of one customer would be correlated
across listings and arms.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT
from schemas.listings import Listing, group_key
from schemas.money import EXPONENTS
from schemas.redis_keys import price_key

FULL = 0xFFFFFFFF


class PriceTableError(ValueError):
    """Invalid price table; the message states the expected and the actual value."""


def unit_draw(salt: str, customer: str, purpose: str = "price") -> int:
    """Return the first four bytes of ``MD5(salt|customer|purpose)`` as an unsigned integer.

    >>> 0 <= unit_draw("t1", "c1") <= FULL
    True
    """
    digest = hashlib.md5(f"{salt}|{customer}|{purpose}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True, slots=True)
class PriceList:
    """Ascending prices in minor units with cumulative 32-bit selection probabilities that end at FULL."""

    prices: tuple[int, ...]
    cumulative: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that prices and cumulative values are ascending and complete."""
        if not self.prices or len(self.prices) != len(self.cumulative):
            raise PriceTableError(f"expected as many cumulative values as prices, got {self}")
        if list(self.prices) != sorted(set(self.prices)) or self.prices[0] <= 0:
            raise PriceTableError(f"prices: expected positive, ascending and distinct, got {self.prices}")
        steps = [b - a for a, b in zip((-1, *self.cumulative), self.cumulative, strict=False)]
        if min(steps) < 0 or self.cumulative[-1] != FULL:
            raise PriceTableError(f"cumulative: expected to rise to {FULL}, got {self.cumulative}")

    @classmethod
    def from_propensities(cls, prices: Sequence[int], propensities: Sequence[float]) -> PriceList:
        """Build a list from selection probabilities; prices with probability 0 are omitted.

        >>> PriceList.from_propensities([100, 110], [0.25, 0.75]).cumulative
        (1073741823, 4294967295)
        """
        kept = sorted((p, q) for p, q in zip(prices, propensities, strict=True) if q > 0)
        total = sum(q for _, q in kept)
        if not kept or not total > 0:
            raise PriceTableError(f"propensities: expected a positive sum, got {list(propensities)}")
        cumulative, running = [], 0.0
        for _, q in kept:
            running += q
            cumulative.append(min(FULL, max(0, round(running / total * (FULL + 1)) - 1)))
        cumulative[-1] = FULL
        return cls(tuple(p for p, _ in kept), tuple(cumulative))

    def pick(self, draw: int) -> tuple[int, float]:
        """Return the price and its propensity for a draw in [0, FULL]."""
        i = bisect_left(self.cumulative, draw)
        below = self.cumulative[i - 1] if i else -1
        return self.prices[i], (self.cumulative[i] - below) / (FULL + 1)

    @property
    def default(self) -> int:
        """Return the price with the highest propensity, the lowest of several."""
        below = (-1, *self.cumulative[:-1])
        widths = [c - b for b, c in zip(below, self.cumulative, strict=True)]
        return self.prices[widths.index(max(widths))]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of one listing per arm and segment.

    ``version`` is a hybrid logical clock and increases with every write. ``table_id`` changes only when the prices
    change. It is the salt of the selection, so a renewal leaves every customer's price unchanged.

    The last five fields are for the edge alone and never part of a public reply. Redis holds each of them only if
    it differs from its default, which is what a table without it means. ``session_minutes``: how long a session
    keeps a quoted price; 0: not at all. ``session_from_version``: the lowest version whose prices sessions may
    still keep. ``hard_low_minor``, ``hard_high_minor``: the prices that the hard limits of the last decision
    allow, inclusive; None: no limit. ``unconfirmed_minutes``: how long an edge serves the table without a
    confirmation that it is the newest; None: until it expires.
    """

    listing: Listing
    price_group: str
    version: int
    table_id: str
    published_ms: int
    expires_ms: int
    currency: str
    table: Mapping[str, Mapping[str, PriceList]]
    list_minor: int
    offer_minor: int | None
    reason: str
    decision_id: str
    session_minutes: int = 0
    session_from_version: int = 0
    hard_low_minor: int | None = None
    hard_high_minor: int | None = None
    unconfirmed_minutes: int | None = None
    # Cache of to_redis: every snapshot of the bucket contains the table, but the table rarely changes.
    _redis: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def default_minor(self) -> int:
        """Return ``current_price``: the most probable price of the default arm and segment."""
        segments = self.table.get(DEFAULT_ARM) or next(iter(self.table.values()))
        return (segments.get(DEFAULT_SEGMENT) or segments[min(segments)]).default

    @property
    def price_scope(self) -> str:
        """What has these prices: the listing, or its price group after a joint decision.

        A joint decision's table id is the group's; a decision on one listing gives the table its own id.
        """
        if self.table_id == self.decision_id:
            return f"listing {self.listing.key}"
        return f"group {group_key(self.listing.tenant, self.listing.market, self.price_group)}"

    def allows(self, price_minor: int) -> bool:
        """Return whether the hard limits of the last decision allow a price."""
        low, high = self.hard_low_minor, self.hard_high_minor
        return (low is None or price_minor >= low) and (high is None or price_minor <= high)

    def price_list(self, arm: str, segment: str) -> PriceList:
        """Return the prices of an arm and segment; an unknown one falls back to the default."""
        segments = self.table.get(arm) or self.table.get(DEFAULT_ARM) or self.table[min(self.table)]
        return segments.get(segment) or segments.get(DEFAULT_SEGMENT) or segments[min(segments)]

    def pick(self, customer: str, segment: str = DEFAULT_SEGMENT, arm: str = DEFAULT_ARM) -> tuple[int, float]:
        """Return a customer's price in minor units and its propensity.

        The result is constant for a given ``table_id``.
        """
        return self.price_list(arm, segment).pick(unit_draw(self.table_id, customer))

    def to_redis(self) -> dict[str, str]:
        """Return the Redis hash; all values are strings."""
        fields = self._redis
        if fields is None:
            fields = self._to_redis()
            object.__setattr__(self, "_redis", fields)
        return dict(fields)

    def _to_redis(self) -> dict[str, str]:
        return {
            "version": str(self.version),
            "table_id": self.table_id,
            "published_ms": str(self.published_ms),
            "expires_ms": str(self.expires_ms),
            "currency": self.currency,
            "table": json.dumps(
                {
                    arm: {seg: {"p": pl.prices, "c": pl.cumulative} for seg, pl in sorted(segs.items())}
                    for arm, segs in sorted(self.table.items())
                },
                separators=(",", ":"),
            ),
            "default_minor": str(self.default_minor),
            "list_minor": str(self.list_minor),
            "offer_minor": "" if self.offer_minor is None else str(self.offer_minor),
            "reason": self.reason,
            "decision_id": self.decision_id,
            "price_group": self.price_group,
            **{
                name: str(value)
                for name, default in _OPTIONAL.items()
                if (value := getattr(self, name)) != default
            },
        }

    @classmethod
    def from_redis(cls, listing: Listing, fields: Mapping[str, str]) -> PriceTable:
        """Build a table from its Redis hash.

        Raises
        ------
        PriceTableError
            If a field is missing or malformed, or the currency is unknown.
        """
        try:
            table = _price_lists(fields["table"])
            if fields["currency"] not in EXPONENTS:
                raise PriceTableError(f"currency: expected one of {', '.join(EXPONENTS)}")
            return cls(
                listing=listing,
                price_group=fields.get("price_group") or listing.sku,
                version=int(fields["version"]),
                table_id=fields["table_id"],
                published_ms=int(fields["published_ms"]),
                expires_ms=int(fields["expires_ms"]),
                currency=fields["currency"],
                table=table,
                list_minor=int(fields["list_minor"]),
                offer_minor=int(fields["offer_minor"]) if fields.get("offer_minor") else None,
                reason=fields["reason"],
                decision_id=fields["decision_id"],
                **{name: int(fields[name]) for name in _OPTIONAL if fields.get(name)},
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise PriceTableError(f"{price_key(listing)}: not a price table: {error!r}") from error

    def to_record(self) -> dict[str, Any]:
        """Return the value of the `tables` topic: the Redis hash and the listing."""
        where = self.listing
        return {"tenant": where.tenant, "market": where.market, "sku": where.sku, **self.to_redis()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PriceTable:
        """Build a table from a `tables` value as written by :meth:`to_record`."""
        table = cls.from_redis(Listing(record["tenant"], record["market"], record["sku"]), record)
        written = {name: record.get(name) for name in _FIELDS}
        written |= {name: record[name] for name in _OPTIONAL if record.get(name)}
        if all(isinstance(value, str) for value in written.values()):
            object.__setattr__(table, "_redis", written)
        return table


def _price_lists(text: str) -> dict[str, dict[str, PriceList]]:
    table = {
        arm: {seg: PriceList(_integers(v["p"]), _integers(v["c"])) for seg, v in segs.items()}
        for arm, segs in json.loads(text).items()
    }
    if not table or not all(table.values()):
        raise PriceTableError("table: expected at least one arm, and a segment of each")
    return table


def _integers(values: list[object]) -> tuple[int, ...]:
    found = tuple(value for value in values if type(value) is int)
    if len(found) != len(values):
        raise PriceTableError(f"expected integers, got {values}")
    return found


_FIELDS = (
    "version", "table_id", "published_ms", "expires_ms", "currency", "table", "default_minor", "list_minor",
    "offer_minor", "reason", "decision_id", "price_group",
)  # fmt: skip
"""Fields of every Redis hash."""
_OPTIONAL: Mapping[str, int | None] = {
    "session_minutes": 0, "session_from_version": 0, "hard_low_minor": None, "hard_high_minor": None,
    "unconfirmed_minutes": None,
}  # fmt: skip
"""Fields that a hash holds only if they differ from these values."""


def next_version(last_version: int, now_ms: int) -> int:
    """Return the next value of the hybrid logical clock: above all earlier versions and at least ``now_ms``.

    >>> next_version(5, 3), next_version(5, 100)
    (6, 100)
    """
    return max(last_version + 1, now_ms)
