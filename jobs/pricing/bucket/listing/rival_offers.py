"""Rivals' offers of one listing: those of closed minutes, and a layer of those received early.

Offers come twice: alone at once, and in the batch of their minute, in event-time order. The batch is the
record, and counts use it alone, so that they do not depend on how early an offer was received. An offer
received ahead of its minute overrides the recorded one in decisions until that minute closes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from features.books.offers import RivalOffer
from jobs.pricing.bucket.listing.listing_state import HeldOffer, ListingState, RequestedOn
from jobs.pricing.bucket.requests import RepricingRequests
from jobs.pricing.policy_limits import Market
from schemas.causes import Cause
from schemas.events import Offer, OfferKind

MOST_EARLY = 64
"""Offers of one listing that are kept ahead of their minute; the batch repeats all of them in any case."""

Held = dict[str, HeldOffer]
"""Offers by rival."""


def rival_offer(offer: Offer) -> RivalOffer:
    """Return what is kept of an offer."""
    kind = None if offer.bounds_prices else OfferKind.REFERENCE.value
    return RivalOffer(
        offer.competitor, offer.price_minor, offer.shipping_minor, offer.in_stock, offer.event_time_ms,
        offer.validity_ms, kind,
    )  # fmt: skip


def take(offers: Held, offer: RivalOffer, market: Market) -> None:
    """Replace a rival's offer by a newer one.

    A price that moved by more than the policy's jump is set aside until it comes again: one such price is more
    often an error than a move. The rival seen longest ago is dropped when there are too many.
    """
    held, set_aside, usual, price = offers.get(offer.competitor), None, 0.0, offer.price_minor
    if held is not None and held.at_ms > offer.at_ms:
        return
    jumped = held is not None and abs(price / held.price_minor - 1) > market.offer_jump
    if held is not None and jumped and (held.set_aside_minor != price or held.at_ms == offer.at_ms):
        price, set_aside = held.price_minor, price
    if held is not None:
        usual = held.usual_move
        move = log_move(held.effective_minor, price + offer.shipping_minor)
        if move > 0 and not jumped:
            usual += market.usual_weight * (move - usual)
    offers[offer.competitor] = HeldOffer(
        price, offer.shipping_minor, offer.in_stock, offer.at_ms, offer.validity_ms, set_aside, usual,
        offer.offer_kind,
    )  # fmt: skip
    if len(offers) > market.max_rivals:
        del offers[min(offers, key=lambda name: (offers[name].at_ms, name))]


def current_offers(state: ListingState, market: Market) -> Held:
    """Return the recorded offers, overridden by those received ahead of their minute."""
    offers = dict(state.offers)
    for offer in state.early_offers:
        take(offers, offer, market)
    return offers


def take_early(state: ListingState, offer: RivalOffer) -> None:
    """Keep an offer until its minute closes."""
    state.early_offers.append(offer)
    state.early_offers.sort(key=lambda each: each.at_ms)
    del state.early_offers[:-MOST_EARLY]


def as_rival_offers(offers: Mapping[str, HeldOffer]) -> tuple[RivalOffer, ...]:
    """Return offers as a decision embeds them, by rival's name."""
    return tuple(
        RivalOffer(
            name, o.price_minor, o.shipping_minor, o.in_stock, o.at_ms, o.validity_ms,
            o.offer_kind or OfferKind.RIVAL.value,
        )
        for name, o in sorted(offers.items())
    )  # fmt: skip


def request_on_move(
    key: str,
    state: ListingState,
    rival: str,
    before: Mapping[str, HeldOffer],
    market: Market,
    requests: RepricingRequests,
) -> bool:
    """Request a repricing when a rival moved enough since its last request; return whether it did.

    Its price must have moved by the policy's least share, and by a part of the mean size of its own moves;
    steps add up. A new rival, and one that sold out or is back in stock, always requests one.
    """
    now = current_offers(state, market).get(rival)
    if now is None:
        return False
    held = before.get(rival)
    rests_on = state.requested_on.get(rival) if held is not None else None
    if rests_on is None and held is not None:
        rests_on = state.requested_on[rival] = RequestedOn(held.effective_minor, held.in_stock)
    if rests_on is not None and held is not None:
        least = max(math.log1p(market.move_share), market.move_of_usual * held.usual_move)
        same = rests_on.in_stock == now.in_stock and held.offer_kind == now.offer_kind
        if same and log_move(rests_on.effective_minor, now.effective_minor) < least:
            return False
    state.requested_on[rival] = RequestedOn(now.effective_minor, now.in_stock)
    detail = {
        "competitor": rival,
        "price_minor": now.effective_minor,
        "before_minor": rests_on.effective_minor if rests_on else None,
        "in_stock": now.in_stock,
        "offer_kind": now.offer_kind or OfferKind.RIVAL.value,
    }
    requests.add(key, Cause.RIVAL_MOVED, detail)
    return True


def log_move(before_minor: int, now_minor: int) -> float:
    """Return the size of a price move, |ln(now/before)|.

    >>> round(log_move(13138, 13125), 5)
    0.00099
    """
    return abs(math.log(now_minor / before_minor))
