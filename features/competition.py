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
      price but stays a cap on increases (science § 8, STALE_OFFERS).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from features.logic import refuse_other_version
from schemas.events import Offer

DAY_MS = 86_400_000


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


def effective_price_minor(offer: Offer) -> int:
    """Price with shipping: what the shopper would pay there (4)."""
    return offer.price_minor + offer.shipping_minor


def is_comparable(offer: Offer, currency: str, pack_size: int, settings: RivalSettings | None = None) -> bool:
    """Whether an offer is of the listing's currency and pack size and surely enough the same item (2)."""
    limit = (settings or RivalSettings()).min_match_confidence
    return offer.currency == currency and offer.pack_size == pack_size and offer.match_confidence >= limit


def reference_offer(
    offers: Iterable[Offer],
    now_ms: int,
    *,
    currency: str,
    pack_size: int = 1,
    settings: RivalSettings | None = None,
) -> ReferenceOffer | None:
    """The rivals' reference price of one listing at ``now_ms`` (1-5).

    Parameters
    ----------
    offers : offers of this listing, any number per rival, in canonical order.
    now_ms : event time at which the reference is asked; offers from after it do not count.
    currency, pack_size : the listing's, from the catalog.

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
    settings = settings or RivalSettings()
    newest: dict[str, Offer] = {}
    for offer in offers:
        if offer.event_time_ms > now_ms:
            continue
        held = newest.get(offer.competitor)
        if held is None or offer.event_time_ms >= held.event_time_ms:
            newest[offer.competitor] = offer
    usable = [o for o in newest.values() if o.in_stock and is_comparable(o, currency, pack_size, settings)]
    if not usable:
        return None
    fresh = [o for o in usable if now_ms - o.event_time_ms <= (o.validity_ms or settings.validity_ms)]
    counted = fresh or usable
    prices = [effective_price_minor(o) for o in counted]
    # Integer sum: the mean does not depend on the order in which rivals came.
    return ReferenceOffer(
        mean_minor=sum(prices) / len(prices),
        min_minor=min(prices),
        max_minor=max(prices),
        rivals=len(prices),
        newest_ms=max(o.event_time_ms for o in counted),
        fresh=bool(fresh),
    )


class RivalBook:
    """The newest offer of each rival, per listing of a bucket; bounded, restartable.

    Offers that are not comparable replace nothing: a wrong currency must not hide a good price.
    """

    version = 1

    def __init__(self, settings: RivalSettings | None = None) -> None:
        self._settings = settings or RivalSettings()
        self._offers: dict[str, dict[str, Offer]] = {}

    def observe(self, offer: Offer, *, currency: str, pack_size: int = 1) -> bool:
        """Take an offer; answers whether it is now its rival's newest comparable one."""
        if not is_comparable(offer, currency, pack_size, self._settings):
            return False
        key = f"{offer.tenant}/{offer.market}/{offer.sku}"
        rivals = self._offers.setdefault(key, {})
        held = rivals.get(offer.competitor)
        if held is not None and held.event_time_ms > offer.event_time_ms:
            return False
        rivals[offer.competitor] = offer
        if len(rivals) > self._settings.max_rivals:
            del rivals[min(rivals, key=lambda name: (rivals[name].event_time_ms, name))]
        return True

    def reference(
        self, listing_key: str, now_ms: int, *, currency: str, pack_size: int = 1
    ) -> ReferenceOffer | None:
        """:func:`reference_offer` of a listing from the offers held."""
        offers = self._offers.get(listing_key)
        if not offers:
            return None
        return reference_offer(
            offers.values(), now_ms, currency=currency, pack_size=pack_size, settings=self._settings
        )

    def offers(self, listing_key: str) -> tuple[Offer, ...]:
        """The offers held of a listing, by rival's name."""
        held = self._offers.get(listing_key, {})
        return tuple(held[name] for name in sorted(held))

    def snapshot(self) -> dict[str, Any]:
        """Plain data: per listing, one row per rival (listing and group are the key's)."""
        return {
            "v": self.version,
            "listings": {
                key: [[getattr(offer, f) for f in _OFFER_FIELDS] for offer in rivals.values()]
                for key, rivals in self._offers.items()
            },
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("RivalBook", self.version, snapshot)
        self._offers = {}
        for key, rows in snapshot["listings"].items():
            where = key.split("/", 2)
            rivals = (Offer(*row[:_WHERE], *where, *row[_WHERE:]) for row in rows)
            self._offers[key] = {offer.competitor: offer for offer in rivals}


_OFFER_FIELDS = tuple(f for f in Offer.__dataclass_fields__ if f not in ("tenant", "market", "sku"))
_WHERE = tuple(Offer.__dataclass_fields__).index("tenant")
"""Where an offer's values have its listing's three, which a row leaves out."""
