"""The serving contract: how a price table lies in Redis and how a customer's price is picked from it.

A reader needs two look-ups and an MD5, and no library of ours::

    HGETALL price:{tenant:market}:<sku>
    GET     segment:{tenant:<first 2 hex of md5(pseudonym)>}:<pseudonym>

The field ``table`` holds, per arm and segment, the prices in minor units with their cumulative
select probabilities as unsigned 32-bit integers. The first four bytes of
``MD5(table_id|customer|"price")``, read as a big-endian unsigned integer ``u``, pick the first
price whose cumulative value is greater than or equal to ``u``. MD5 and not CRC-32: CRC is linear,
so the same customer's picks would be tied together across listings and arms.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.events import DEFAULT_ARM, DEFAULT_SEGMENT, Listing

FULL = 0xFFFFFFFF
READY_KEY = "ready"


class PriceTableError(ValueError):
    """A table that cannot be served; says what was expected and what came."""


def price_key(listing: Listing) -> str:
    """Redis key of a listing's table, hash-tagged by tenant and market.

    >>> price_key(Listing("acme", "web-us-usd", "sku-1"))
    'price:{acme:web-us-usd}:sku-1'
    """
    return f"price:{{{listing.tenant}:{listing.market}}}:{listing.sku}"


def segment_key(tenant: str, customer: str) -> str:
    """Redis key of a customer's segment; a pseudonym's first two hex digits spread them over 256 hash tags.

    >>> segment_key("demo", "9f86d081")
    'segment:{demo:9f}:9f86d081'
    """
    return f"segment:{{{tenant}:{customer[:2]}}}:{customer}"


def purchases_key(tenant: str, customer: str) -> str:
    """Redis key of a customer's purchases: a hash from period (its first day) to ``<purchases>:<above rivals>``.

    It is our own record, from which the segment is decided; a reader of prices does not need it.

    >>> purchases_key("demo", "9f86d081")
    'purchases:{demo:9f}:9f86d081'
    """
    return f"purchases:{{{tenant}:{customer[:2]}}}:{customer}"


def updates_channel(tenant: str, market: str) -> str:
    """Pub/sub channel of a market's price changes (a hint: messages may be lost)."""
    return f"price-updates:{{{tenant}:{market}}}"


def unit_draw(salt: str, customer: str, purpose: str = "price") -> int:
    """First four bytes of ``MD5(salt|customer|purpose)`` as an unsigned integer.

    >>> 0 <= unit_draw("t1", "c1") <= FULL
    True
    """
    digest = hashlib.md5(f"{salt}|{customer}|{purpose}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices in minor units, ascending, with cumulative 32-bit select probabilities ending at FULL."""

    prices: tuple[int, ...]
    cumulative: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prices or len(self.prices) != len(self.cumulative):
            raise PriceTableError(f"expected as many cumulative values as prices, got {self}")
        if list(self.prices) != sorted(set(self.prices)) or self.prices[0] <= 0:
            raise PriceTableError(f"prices: expected positive, ascending and distinct, got {self.prices}")
        steps = [b - a for a, b in zip((-1, *self.cumulative), self.cumulative, strict=False)]
        if min(steps) < 0 or self.cumulative[-1] != FULL:
            raise PriceTableError(f"cumulative: expected to rise to {FULL}, got {self.cumulative}")

    @classmethod
    def from_propensities(cls, prices: Sequence[int], propensities: Sequence[float]) -> PriceList:
        """Build from select probabilities; prices without any are left out.

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
        """Price and its propensity for a draw in [0, FULL]."""
        i = bisect_left(self.cumulative, draw)
        below = self.cumulative[i - 1] if i else -1
        return self.prices[i], (self.cumulative[i] - below) / (FULL + 1)

    @property
    def default(self) -> int:
        """The price of highest propensity; of equals the lowest."""
        below = (-1, *self.cumulative[:-1])
        widths = [c - b for b, c in zip(below, self.cumulative, strict=True)]
        return self.prices[widths.index(max(widths))]


@dataclass(frozen=True, slots=True)
class PriceTable:
    """One listing's prices per arm and segment.

    ``version`` is a hybrid logical clock and rises with every write; ``table_id`` changes with the
    prices only and salts the pick, so a renewal makes no customer see a flicker.
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
    # A table is written into every snapshot of its bucket, once a minute, and changes once in hours.
    _redis: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def default_minor(self) -> int:
        """``current_price``: the default arm's and first segment's price of highest propensity."""
        segments = self.table.get(DEFAULT_ARM) or next(iter(self.table.values()))
        return (segments.get(DEFAULT_SEGMENT) or segments[min(segments)]).default

    def price_list(self, arm: str, segment: str) -> PriceList:
        """Prices for an arm and segment; an unknown one falls back to the defaults."""
        segments = self.table.get(arm) or self.table.get(DEFAULT_ARM) or self.table[min(self.table)]
        return segments.get(segment) or segments.get(DEFAULT_SEGMENT) or segments[min(segments)]

    def pick(self, customer: str, segment: str = DEFAULT_SEGMENT, arm: str = DEFAULT_ARM) -> tuple[int, float]:
        """A customer's price in minor units and its propensity; constant while ``table_id`` lasts."""
        return self.price_list(arm, segment).pick(unit_draw(self.table_id, customer))

    def to_redis(self) -> dict[str, str]:
        """The Redis hash, every value a string."""
        if self._redis is None:
            object.__setattr__(self, "_redis", self._to_redis())
        assert self._redis is not None
        return dict(self._redis)

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
        }

    @classmethod
    def from_redis(cls, listing: Listing, fields: Mapping[str, str]) -> PriceTable:
        """Read a table back from its hash.

        Raises
        ------
        PriceTableError
            If a field is missing or not what the layout says.
        """
        try:
            table = {
                arm: {seg: PriceList(tuple(v["p"]), tuple(v["c"])) for seg, v in segs.items()}
                for arm, segs in json.loads(fields["table"]).items()
            }
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
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PriceTableError(f"{price_key(listing)}: not a price table: {error!r}") from error

    def to_record(self) -> dict[str, Any]:
        """The `tables` topic's value: the Redis hash with the listing beside it."""
        return {
            "tenant": self.listing.tenant,
            "market": self.listing.market,
            "sku": self.listing.sku,
            **self.to_redis(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PriceTable:
        """Read a `tables` topic value, as :meth:`to_record` writes it."""
        table = cls.from_redis(Listing(record["tenant"], record["market"], record["sku"]), record)
        written = {name: record.get(name) for name in _FIELDS}
        if all(isinstance(value, str) for value in written.values()):
            object.__setattr__(table, "_redis", written)
        return table


_FIELDS = (
    "version", "table_id", "published_ms", "expires_ms", "currency", "table", "default_minor", "list_minor",
    "offer_minor", "reason", "decision_id", "price_group",
)  # fmt: skip
"""Of the Redis hash."""


def next_version(last_version: int, now_ms: int) -> int:
    """Hybrid logical clock: higher than all before, and near the Clock's time.

    >>> next_version(5, 3), next_version(5, 100)
    (6, 100)
    """
    return max(last_version + 1, now_ms)
