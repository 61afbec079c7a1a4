"""What rivals charge: the reference price of a listing, and its spread.

One definition, used by features, elasticity, repricing, the simulator's quotes and the mappings,
so that "the rivals' price" is the same number wherever it stands.

Data: offers o_j of rival j for one listing at event time t_j: price, shipping, stock, currency,
pack size, match confidence, validity. At time t:

  (1) only the newest offer of each rival counts (ties: the later in canonical order);
  (2) it is *comparable* if in the listing's currency and pack size and matched with confidence ≥ .5;
  (3) it is *fresh* if t − t_j ≤ validity_j (the source's, else the policy's 24 h);
  (4) effective price e_j = price + shipping (what the shopper would pay there);
  (5) reference price ō(t) = mean of e_j over comparable, fresh offers that are in stock; when there
      are none, the mean over comparable ones in stock whatever their age, marked stale: it moves no
      price but stays a cap on increases (science § 8, STALE_OFFERS);
  (6) offers are of two kinds: a rival's (the same item at another shop) and a reference (another item
      that shoppers compare with). Both count in ō(t), which demand answers to. What bounds our prices is
      the mean of (5) over the rivals' offers alone (``rivals_only``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from features.bucket_logic import refuse_other_version
from schemas.events import Listing, Offer
from schemas.time_units import DAY_MS


@dataclass(frozen=True, slots=True)
class RivalSettings:
    """How offers are read; defaults are the policy's.

    Parameters
    ----------
    validity_ms : age up to which an offer that states none is fresh.
    min_match_confidence : offers matched with less are set aside.
    max_rivals : rivals kept per listing; the one seen longest ago leaves first.
    """

    validity_ms: int = DAY_MS
    min_match_confidence: float = 0.5
    max_rivals: int = 16


@dataclass(frozen=True, slots=True)
class ReferenceOffer:
    """The rivals' price for one listing at one time.

    ``mean_minor`` is exact, ``reference_minor`` the same rounded to a whole minor unit (what quotes,
    orders and price tables carry); ``fresh`` False: nothing within validity, the last mean known.
    """

    mean_minor: float
    min_minor: int
    max_minor: int
    rivals: int
    newest_ms: int
    fresh: bool

    @property
    def reference_minor(self) -> int:
        """The reference price in minor units, half to even."""
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
    now_ms : event time at which the reference is asked; offers from after it do not count.
    currency, pack_size : the listing's, from the catalog.
    rivals_only : leave reference offers out: the mean that bounds prices.

    Returns
    -------
    None when no comparable rival in stock is known.

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
    counted = (offer for offer in offers if offer.bounds_prices or not rivals_only)
    return _reference(map(_ROW, counted), now_ms, currency, pack_size, settings or RivalSettings())


_FIELDS = tuple(f for f in Offer.__dataclass_fields__ if f not in ("tenant", "market", "sku"))
_ROW = attrgetter(*_FIELDS)
"""An offer's values in that order: what of it is kept per rival; the listing's three are the key's."""
_AT, _RIVAL, _PRICE, _SHIPPING, _IN_STOCK, _CURRENCY, _PACK, _CONFIDENCE, _VALIDITY = (
    _FIELDS.index(name)
    for name in (
        "event_time_ms", "competitor", "price_minor", "shipping_minor", "in_stock", "currency", "pack_size",
        "match_confidence", "validity_ms",
    )
)  # fmt: skip
_WHERE = tuple(Offer.__dataclass_fields__).index("tenant")
"""Where an offer's values have its listing's three."""


def _is_comparable(row: Sequence[Any], currency: str, pack_size: int, settings: RivalSettings) -> bool:
    """Return whether an offer is of the listing's currency and pack size and surely enough the same item (2)."""
    return (
        row[_CURRENCY] == currency
        and row[_PACK] == pack_size
        and row[_CONFIDENCE] >= settings.min_match_confidence
    )  # fmt: skip


def _reference(
    rows: Iterable[Sequence[Any]], now_ms: int, currency: str, pack_size: int, settings: RivalSettings
) -> ReferenceOffer | None:
    """:func:`reference_offer` of rows: a bucket's book asks for it every minute of every listing."""
    newest: dict[str, Sequence[Any]] = {}
    for row in rows:
        if row[_AT] > now_ms:
            continue
        held = newest.get(row[_RIVAL])
        if held is None or row[_AT] >= held[_AT]:
            newest[row[_RIVAL]] = row
    usable = [r for r in newest.values() if r[_IN_STOCK] and _is_comparable(r, currency, pack_size, settings)]
    if not usable:
        return None
    fresh = [r for r in usable if now_ms - r[_AT] <= (r[_VALIDITY] or settings.validity_ms)]
    counted = fresh or usable
    prices = [row[_PRICE] + row[_SHIPPING] for row in counted]
    # Integer sum: the mean does not depend on the order in which rivals came.
    return ReferenceOffer(
        mean_minor=sum(prices) / len(prices),
        min_minor=min(prices),
        max_minor=max(prices),
        rivals=len(prices),
        newest_ms=max(row[_AT] for row in counted),
        fresh=bool(fresh),
    )


class RivalBook:
    """The newest offer of each rival, per listing of a bucket; bounded, restartable.

    Offers that are not comparable replace nothing: a wrong currency must not hide a good price.
    """

    version = 1

    def __init__(self, settings: RivalSettings | None = None) -> None:
        self._settings = settings or RivalSettings()
        # By listing and rival, as rows: most are only asked for their reference, so that no Offer is made of them.
        self._offers: dict[str, dict[str, Sequence[Any]]] = {}

    def observe(self, offer: Offer, *, currency: str, pack_size: int = 1) -> bool:
        """Take an offer; answers whether it is now its rival's newest comparable one."""
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
        """:func:`reference_offer` of a listing from the offers held."""
        offers = self._offers.get(listing_key)
        if not offers:
            return None
        return _reference(offers.values(), now_ms, currency, pack_size, self._settings)

    def offers(self, listing_key: str) -> tuple[Offer, ...]:
        """The offers held of a listing, by rival's name."""
        held, listing = self._offers.get(listing_key, {}), Listing.parse(listing_key)
        where = (listing.tenant, listing.market, listing.sku)
        rows = (held[name] for name in sorted(held))
        return tuple(Offer(*[*row[:_WHERE], *where, *row[_WHERE:]]) for row in rows)

    def snapshot(self) -> dict[str, Any]:
        """Plain data: per listing, one row per rival (listing and group are the key's)."""
        return {
            "v": self.version,
            "listings": {key: [_saved(row) for row in rivals.values()] for key, rivals in self._offers.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("RivalBook", self.version, snapshot)
        self._offers = {
            key: {row[_RIVAL]: [*row, *[None] * (len(_FIELDS) - len(row))] for row in rows}
            for key, rows in snapshot["listings"].items()
        }


def _saved(row: Sequence[Any]) -> list[Any]:
    """Return a row as it is saved: without an absent ``offer_kind``, as before offers had one."""
    return list(row if row[-1] is not None else row[:-1])
