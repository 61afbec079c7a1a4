"""Reference price of a listing: the rivals' mean price and its range.

Features, elasticity, repricing, the simulator's quotes and the mappings use this one definition of the rivals'
price.

Data: offers o_j of rival j for one listing at event time t_j: price, shipping, stock, currency,
pack size, match confidence, validity. At time t:

  (1) only the newest offer of each rival counts (ties: the later in canonical order);
  (2) it is *comparable* if it has the listing's currency and pack size and a match confidence ≥ .5;
  (3) it is *fresh* if t − t_j ≤ validity_j (the source's, else the policy's 24 h);
  (4) effective price e_j = price + shipping (what the shopper would pay there);
  (5) reference price ō(t) = mean of e_j over comparable, fresh offers that are in stock; when there
      are none, the mean over comparable ones in stock of any age, marked stale: it triggers no
      price change but still limits increases (science § 8, STALE_OFFERS);
  (6) offers are of two kinds: a rival's (the same item at another shop) and a reference (another item
      that shoppers compare with). Both count in ō(t), on which demand depends. Our prices are bounded by
      the mean of (5) over the rivals' offers alone (``rivals_only``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from features.bucket_logic import refuse_other_version
from schemas.events import Offer, OfferKind
from schemas.listings import Listing
from schemas.time_units import DAY_MS


@dataclass(frozen=True, slots=True)
class RivalSettings:
    """Parameters of the reference price; the defaults are the policy's.

    Parameters
    ----------
    validity_ms : maximum age of a fresh offer without a validity of its own.
    min_match_confidence : offers with a lower match confidence are ignored.
    max_rivals : rivals kept per listing; the one with the oldest offer is removed first.
    """

    validity_ms: int = DAY_MS
    min_match_confidence: float = 0.5
    max_rivals: int = 16


class RivalOffer(NamedTuple):
    """One rival's newest comparable offer of a listing; ``offer_kind`` None: a rival's."""

    competitor: str
    price_minor: int
    shipping_minor: int
    in_stock: bool
    at_ms: int
    validity_ms: int | None = None
    offer_kind: str | None = None

    @property
    def effective_minor(self) -> int:
        """Price and shipping (4)."""
        return self.price_minor + self.shipping_minor

    @property
    def bounds_prices(self) -> bool:
        """Whether the offer is a rival's, not a reference (6)."""
        return self.offer_kind != OfferKind.REFERENCE


@dataclass(frozen=True, slots=True)
class ReferenceOffer:
    """Rivals' price for one listing at one time.

    ``mean_minor`` is exact. ``reference_minor`` is rounded to a whole minor unit, as in quotes, orders and price
    tables. ``fresh`` is False if no offer is within its validity; the mean is then that of the newest known
    offers.
    """

    mean_minor: float
    min_minor: int
    max_minor: int
    rivals: int
    newest_ms: int
    fresh: bool

    @property
    def reference_minor(self) -> int:
        """Return the reference price in minor units; half a unit rounds to even."""
        return round(self.mean_minor)


def reference_offer(
    offers: Iterable[Offer],
    now_ms: int,
    *,
    currency: str,
    pack_size: int = 1,
    settings: RivalSettings | None = None,
    rivals_only: bool = False,
) -> ReferenceOffer | None:
    """Return the reference price of one listing at ``now_ms`` (1-6).

    Parameters
    ----------
    offers : offers of this listing, any number per rival, in canonical order.
    now_ms : event time of the reference price; later offers do not count.
    currency, pack_size : the listing's, from the catalog.
    settings : see :class:`RivalSettings`.
    rivals_only : exclude reference offers, for the mean that bounds prices.

    Returns
    -------
    ReferenceOffer | None
        None if no comparable rival in stock is known.

    Examples
    --------
    >>> def offer(rival, price, at, **more):
    ...     base = dict(shipping_minor=0, in_stock=True, currency="USD", pack_size=1, source="t",
    ...                 match_confidence=1.0) | more
    ...     return Offer("e", at, "acme", "web", "s1", "s1", rival, price, **base)
    >>> seen = [offer("a", 1000, 0), offer("b", 1100, 0, shipping_minor=100), offer("a", 900, 5)]
    >>> ref = reference_offer(seen, 10, currency="USD")
    >>> ref.mean_minor, ref.min_minor, ref.max_minor, ref.rivals, ref.fresh
    (1050.0, 900, 1200, 2, True)
    >>> reference_offer(seen, 3 * 86_400_000, currency="USD").fresh
    False
    """
    settings = settings or RivalSettings()
    newest: dict[str, Sequence[Any]] = {}
    for row in map(_ROW, (offer for offer in offers if offer.bounds_prices or not rivals_only)):
        held = newest.get(row[_RIVAL])
        if row[_AT] <= now_ms and (held is None or row[_AT] >= held[_AT]):
            newest[row[_RIVAL]] = row
    comparable = (row for row in newest.values() if _is_comparable(row, currency, pack_size, settings))
    return reference_of(map(_rival_offer, comparable), now_ms, settings.validity_ms)


def reference_of(
    offers: Iterable[RivalOffer], now_ms: int, validity_ms: int, *, rivals_only: bool = False
) -> ReferenceOffer | None:
    """Return the reference price over comparable offers, one per rival (3-6).

    Parameters
    ----------
    validity_ms : age up to which an offer that states no validity is fresh.
    rivals_only : leave reference offers out: the mean that bounds prices.

    Returns
    -------
    None when no offer is in stock.

    Examples
    --------
    >>> reference_of([RivalOffer("a", 900, 0, True, 5), RivalOffer("b", 1100, 100, True, 0)], 10, 60).mean_minor
    1050.0
    """
    usable = [o for o in offers if o.in_stock and o.at_ms <= now_ms and (o.bounds_prices or not rivals_only)]
    if not usable:
        return None
    fresh = [offer for offer in usable if now_ms - offer.at_ms <= (offer.validity_ms or validity_ms)]
    counted = fresh or usable
    prices = [offer.price_minor + offer.shipping_minor for offer in counted]
    # Integer sum: the mean does not depend on the order in which rivals came.
    return ReferenceOffer(
        mean_minor=sum(prices) / len(prices),
        min_minor=min(prices),
        max_minor=max(prices),
        rivals=len(prices),
        newest_ms=max(offer.at_ms for offer in counted),
        fresh=bool(fresh),
    )


_FIELDS = tuple(f for f in Offer.__dataclass_fields__ if f not in ("tenant", "market", "sku"))
_ROW = attrgetter(*_FIELDS)
"""Returns an offer's values in the order of ``_FIELDS``; tenant, market and SKU are in the listing key."""
_AT, _RIVAL, _CURRENCY, _PACK, _CONFIDENCE = (
    _FIELDS.index(name)
    for name in ("event_time_ms", "competitor", "currency", "pack_size", "match_confidence")
)  # fmt: skip
_WHERE = tuple(Offer.__dataclass_fields__).index("tenant")
"""Position of tenant, market and SKU in the fields of an ``Offer``."""


def _is_comparable(row: Sequence[Any], currency: str, pack_size: int, settings: RivalSettings) -> bool:
    """Return whether an offer has the listing's currency and pack size and a sufficient match confidence (2)."""
    comparable: bool = (
        row[_CURRENCY] == currency
        and row[_PACK] == pack_size
        and row[_CONFIDENCE] >= settings.min_match_confidence
    )
    return comparable


_OF_ROW = itemgetter(
    *(
        _FIELDS.index(name)
        for name in (
            "competitor", "price_minor", "shipping_minor", "in_stock", "event_time_ms", "validity_ms",
            "offer_kind",
        )
    )
)  # fmt: skip


def _rival_offer(row: Sequence[Any]) -> RivalOffer:
    return RivalOffer._make(_OF_ROW(row))


class RivalBook:
    """Newest offer of each rival, per listing of a bucket; bounded.

    An offer that is not comparable does not replace a comparable one.
    """

    version = 1

    def __init__(self, settings: RivalSettings | None = None) -> None:
        self._settings = settings or RivalSettings()
        # By listing and rival, as rows: computing a reference price needs no Offer objects.
        self._offers: dict[str, dict[str, Sequence[Any]]] = {}

    def observe(self, offer: Offer, *, currency: str, pack_size: int = 1) -> bool:
        """Store an offer; return whether it is now its rival's newest comparable one."""
        row = _ROW(offer)
        if not _is_comparable(row, currency, pack_size, self._settings):
            return False
        key = Listing.key_of(offer)
        rivals = self._offers.setdefault(key, {})
        held = rivals.get(offer.competitor)
        if held is not None and held[_AT] > offer.event_time_ms:
            return False
        rivals[offer.competitor] = row
        if len(rivals) > self._settings.max_rivals:
            del rivals[min(rivals, key=lambda name: (rivals[name][_AT], name))]
        return True

    def reference(
        self, listing_key: str, now_ms: int, *, currency: str, pack_size: int = 1
    ) -> ReferenceOffer | None:
        """Return :func:`reference_offer` of a listing's stored offers."""
        offers = self._offers.get(listing_key)
        if not offers:
            return None
        comparable = (row for row in offers.values() if _is_comparable(row, currency, pack_size, self._settings))
        return reference_of(map(_rival_offer, comparable), now_ms, self._settings.validity_ms)

    def effective_minor(
        self, listing_key: str, competitor: str, now_ms: int, *, currency: str, pack_size: int = 1
    ) -> int | None:
        """Return price plus shipping of one competitor's fresh, comparable offer in stock, or None without one."""
        row = self._offers.get(listing_key, {}).get(competitor)
        if row is None or not _is_comparable(row, currency, pack_size, self._settings):
            return None
        found = reference_of([_rival_offer(row)], now_ms, self._settings.validity_ms)
        return found.min_minor if found is not None and found.fresh else None

    def offers(self, listing_key: str) -> tuple[Offer, ...]:
        """Return a listing's stored offers, sorted by rival."""
        held, listing = self._offers.get(listing_key, {}), Listing.parse(listing_key)
        where = (listing.tenant, listing.market, listing.sku)
        rows = (held[name] for name in sorted(held))
        return tuple(Offer(*[*row[:_WHERE], *where, *row[_WHERE:]]) for row in rows)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data: per listing one row per rival; tenant, market and SKU are in the key."""
        return {
            "v": self.version,
            "listings": {key: [_saved(row) for row in rivals.values()] for key, rivals in self._offers.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from a snapshot.

        Raises
        ------
        SnapshotError
            If the snapshot has another version.
        """
        refuse_other_version("RivalBook", self.version, snapshot)
        self._offers = {
            key: {row[_RIVAL]: [*row, *[None] * (len(_FIELDS) - len(row))] for row in rows}
            for key, rows in snapshot["listings"].items()
        }


def _saved(row: Sequence[Any]) -> list[Any]:
    """Return a row for the snapshot: without ``offer_kind`` if it is absent, as in older snapshots."""
    return list(row if row[-1] is not None else row[:-1])
