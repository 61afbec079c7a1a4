"""BucketState: what one bucket knows of its listings from catalog, rivals, stock and estimates.

Taking a fact changes what is known and may ask for a look at a listing, with its cause; what is done
about it is decided elsewhere. Offers and stock levels come twice: alone at once, and in the batch of
their minute, in event-time order. The batch is the record, and what is counted (which reference price
stood beside a cell, whether stock was out) rests on it alone, so that counts do not depend on how far
ahead of its minute a fact was told; what came alone lies over the record until its minute is closed.

(Over 300 lines: what is known of a listing, and the two ways in which each fact comes, are one thing.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from features.books.products import CatalogBook
from jobs.pricing.bucket.listing_state import ROW, ListingState
from jobs.pricing.decision.record import rivals_of
from jobs.pricing.guardrails.inputs import costs_agree, is_cost_jump
from jobs.pricing.policy import MINUTE_MS, Policy
from schemas.codes import Cause
from schemas.events import CatalogEntry, Listing, Offer, OfferKind, Stock

PARKED_ESTIMATES = 4_096
MOST_EARLY = 64
"""Offers of one listing that lie over its record at a time; the batch tells all of them in any case."""
_LEAST_IMPLIED = -1.1
"""A list price so far above cost that it implies less says nothing more about the elasticity."""
_PRICE, _SHIPPING, _IN_STOCK, _AT_MS, _VALIDITY, _SET_ASIDE, _USUAL, _KIND = range(8)
_WATCHED = ("cost_minor", "list_minor", "floor_minor", "ceiling_minor", "active")

Looks = dict[str, tuple[Cause, dict[str, Any]]]
"""Listings to look at: key → cause and its detail."""


class BucketState:
    """Listings by key, in the order in which they became known.

    Parameters
    ----------
    policy : the business numbers; not part of the snapshot.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.catalog = CatalogBook()
        self.states: dict[str, ListingState] = {}
        self.index: list[str] = []
        self._parked: dict[str, list[Any]] = {}
        self._means: dict[str, tuple[int, int, float | None]] = {}
        self._ahead: set[str] = set()  # listings of which something came ahead of its minute

    def take_catalog(self, entry: CatalogEntry, looks: Looks) -> bool:
        """Take a catalog entry; answers whether its listing is new."""
        key = Listing.key_of(entry)
        known = self.catalog.get(key)
        if not self.catalog.observe(entry):
            return False
        state = self.states.get(key)
        is_new = state is None
        if state is None:
            state = self.states[key] = ListingState(entry.price_group, estimate=self._parked.pop(key, None))
            self.index.append(key)
        self._means.pop(key, None)
        state.price_group = entry.price_group
        was_trusted = state.trusted_cost_minor
        confirmed = self._trust_cost(state, entry)
        state.needs_start = state.needs_start or not state.has_table
        if known is not None and state.has_table:
            changed = {name: [getattr(known, name), getattr(entry, name)] for name in _WATCHED}
            changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
            if confirmed:
                # The price was held for want of a trusted cost; the entry itself may repeat the one before.
                changed["trusted_cost_minor"] = [was_trusted, state.trusted_cost_minor]
            if changed:
                looks[key] = (Cause.COST_CHANGED, changed)
        return is_new

    def _trust_cost(self, state: ListingState, entry: CatalogEntry) -> bool:
        """Trust a cost within the policy's jump at once, one beyond it when confirmed; return whether confirmed.

        A cost beyond the jump is confirmed by one that agrees with it and comes later by the policy's time. Each
        agreeing cost becomes the one to agree with, so that a drifting cost is confirmed too. Costs that agree
        with none before them are trusted in the end, when all of a longer time lay beyond the jump on one side.
        """
        margin, cost, trusted = self.policy.margin, entry.cost_minor, state.trusted_cost_minor
        if cost is None or cost <= 0:
            return False
        if trusted is None or not is_cost_jump(cost, trusted, margin):
            state.trusted_cost_minor, state.odd_cost = cost, None
            return False
        at_ms = agrees_since = odd_since = entry.event_time_ms
        if state.odd_cost is not None:
            before, agreed_since, *more = state.odd_cost
            if costs_agree(cost, before, margin):
                agrees_since = agreed_since
            if (cost > trusted) == (before > trusted):
                odd_since = more[0] if more else agreed_since
        confirmed = state.odd_cost is not None and (
            (agrees_since < at_ms and at_ms - agrees_since >= margin.confirm_after_minutes * MINUTE_MS)
            or (odd_since < at_ms and at_ms - odd_since >= margin.trust_after_minutes * MINUTE_MS)
        )
        if confirmed:
            state.trusted_cost_minor, state.odd_cost = cost, None
        else:
            state.odd_cost = [cost, agrees_since, odd_since]
        return confirmed

    def take_offer(self, offer: Offer, looks: Looks) -> bool:
        """Take a rival's offer ahead of its minute; return whether it moved enough to request a repricing."""
        key = Listing.key_of(offer)
        state = self.states.get(key)
        if state is None or not self._is_comparable(key, offer):
            return False
        before = self._offers_now(state)
        state.early_offers.append(_offer_row(offer))
        state.early_offers.sort(key=lambda row: row[1 + _AT_MS])
        del state.early_offers[:-MOST_EARLY]
        self._ahead.add(key)
        return self._tell_of_rival(key, offer, before, looks)

    def take_offers(self, offers: Iterable[Offer], end_ms: int, looks: Looks) -> list[str]:
        """Take the rivals' offers of the minute that ends at ``end_ms``.

        Returns
        -------
        Keys of the listings for which a rival moved enough to request a repricing.
        """
        moved: list[str] = []
        by_listing: dict[str, list[Offer]] = {}
        for offer in offers:
            by_listing.setdefault(Listing.key_of(offer), []).append(offer)
        for key, told in by_listing.items():
            comparable = [offer for offer in told if self._is_comparable(key, offer)]
            if not comparable:
                continue
            state = self.states[key]
            before = self._offers_now(state)
            for offer in comparable:
                self._fold(state.offers, *_offer_row(offer))
            self._forget_early(key, end_ms)
            early = {row[0] for row in state.early_offers}
            for name in state.requested_on.keys() - state.offers.keys() - early:
                del state.requested_on[name]  # the rivals that were dropped for newer ones
            rivals = {offer.competitor: offer for offer in comparable}
            news = [self._tell_of_rival(key, offer, before, looks) for offer in rivals.values()]
            if any(news):
                moved.append(key)
        return moved

    def _is_comparable(self, key: str, offer: Offer) -> bool:
        entry = self.catalog.get(key)
        if entry is None or key not in self.states:
            return False
        sure = offer.match_confidence >= self.policy.market.min_match_confidence
        return sure and offer.currency == entry.currency and offer.pack_size == entry.pack_size

    def _fold(
        self,
        offers: dict[str, list[Any]],
        name: str,
        price: int,
        shipping: int,
        in_stock: bool,
        at_ms: int,
        validity_ms: int | None,
        kind: str | None = None,
    ) -> None:
        """Let a rival's offer follow on those known."""
        held, set_aside, usual, market = offers.get(name), None, 0.0, self.policy.market
        if held is not None and held[_AT_MS] > at_ms:
            return
        jumped = held is not None and abs(price / held[_PRICE] - 1) > market.offer_jump
        if held and jumped and (held[_SET_ASIDE] != price or held[_AT_MS] == at_ms):
            # One wild price is more often an error than a move: it counts when it is seen twice.
            price, set_aside = held[_PRICE], price
        if held is not None:
            usual = held[_USUAL]
            move = _log_move(held[_PRICE] + held[_SHIPPING], price + shipping)
            if move > 0 and not jumped:
                usual += market.usual_weight * (move - usual)
        offers[name] = [price, shipping, in_stock, at_ms, validity_ms, set_aside, usual, kind]
        if len(offers) > market.max_rivals:
            del offers[min(offers, key=lambda name: (offers[name][_AT_MS], name))]

    def _offers_now(self, state: ListingState) -> dict[str, list[Any]]:
        """The record with what came ahead of its minute laid over it."""
        if not state.early_offers:
            return dict(state.offers)
        offers = dict(state.offers)
        for row in state.early_offers:
            self._fold(offers, *row)
        return offers

    def _tell_of_rival(self, key: str, offer: Offer, before: Mapping[str, list[Any]], looks: Looks) -> bool:
        """Request a repricing when a rival moved enough since its last request; return whether it did.

        Its price must have moved by the policy's least share, and by a part of the mean size of its own moves;
        steps add up. A new rival, and one that sold out or is back, always requests one.
        """
        self._means.pop(key, None)
        state, name = self.states[key], offer.competitor
        row = self._offers_now(state).get(name)
        if row is None:
            return False
        price_minor, in_stock = row[_PRICE] + row[_SHIPPING], row[_IN_STOCK]
        held = before.get(name)
        rests_on = state.requested_on.get(name) if held is not None else None
        if rests_on is None and held is not None:
            rests_on = state.requested_on[name] = [held[_PRICE] + held[_SHIPPING], held[_IN_STOCK]]
        if rests_on is not None and held is not None:
            market = self.policy.market
            least = max(math.log1p(market.move_share), market.move_of_usual * held[_USUAL])
            same = rests_on[1] == in_stock and held[_KIND] == row[_KIND]
            if same and _log_move(rests_on[0], price_minor) < least:
                return False
        detail = {
            "competitor": name,
            "price_minor": price_minor,
            "before_minor": rests_on[0] if rests_on else None,
            "in_stock": in_stock,
            "offer_kind": row[_KIND] or OfferKind.RIVAL.value,
        }
        state.requested_on[name] = [price_minor, in_stock]
        looks.setdefault(key, (Cause.RIVAL_MOVED, detail))
        return True

    def close_minute(self, end_ms: int) -> None:
        """Forget what came ahead of a minute that is now on record."""
        for key in sorted(self._ahead):
            self._forget_early(key, end_ms)

    def _forget_early(self, key: str, end_ms: int) -> None:
        state = self.states[key]
        state.early_offers = [row for row in state.early_offers if row[1 + _AT_MS] >= end_ms]
        if state.early_stock is not None and state.early_stock[0] < end_ms:
            state.early_stock = None
        if not state.early_offers and state.early_stock is None:
            self._ahead.discard(key)
        self._means.pop(key, None)

    def take_stock(self, stock: Stock, looks: Looks, *, early: bool) -> None:
        """Take a stock level, ``early`` or with its minute; running out and coming back ask for a look."""
        key = Listing.key_of(stock)
        state = self.states.get(key)
        if state is None:
            return
        before = state.stock_now
        row = [stock.event_time_ms, stock.on_hand, stock.inbound, stock.lead_time_days]
        if early:
            if before is not None and before[0] >= stock.event_time_ms:
                return
            state.early_stock = row
            self._ahead.add(key)
        elif state.stock is None or state.stock[0] < stock.event_time_ms:
            state.stock = row
            if state.early_stock is not None and state.early_stock[0] <= stock.event_time_ms:
                state.early_stock = None
        now = state.stock_now
        if before is None or now is None or (before[1] <= 0) == (now[1] <= 0):
            return
        cause = Cause.STOCK_OUT if now[1] <= 0 else Cause.RESTOCKED
        looks.setdefault(key, (cause, {"on_hand": now[1], "inbound": now[2]}))

    def take_estimate(self, value: Mapping[str, Any], looks: Looks) -> None:
        """Take a listing's own-price elasticity; one for a listing not known yet is parked.

        A price that was right under old beliefs may be wrong under new ones, and no evidence will say so
        while demand stays what it is: a belief that moved since the last decision asks for a look.
        """
        if value["name"] != "own_price_elasticity" or value["scope"] != "listing" or value["segment"] != "all":
            return
        key = Listing.key_in(value)
        extra = value.get("extra") or {}
        beliefs = self.policy.beliefs
        row = [
            value["window_end_ms"],
            float(value["mean"]),
            float(value["sd"]),
            float(extra.get("rival_elasticity", beliefs.rival_elasticity)),
            float(extra.get("rival_elasticity_sd", 0.0)),
        ]
        if not all(math.isfinite(number) for number in row) or row[2] <= 0:
            return
        state = self.states.get(key)
        if state is None:
            self._parked[key] = row
            if len(self._parked) > PARKED_ESTIMATES:
                del self._parked[next(iter(self._parked))]
        elif state.estimate is None or state.estimate[0] <= row[0]:
            state.estimate = row
            before, (eps, eps_sd, _, _) = state.decided_on, self.elasticity(key)
            if before and state.has_table and abs(eps - before[0]) > beliefs.look_when_moved_sd * eps_sd:
                detail = {"before": before[0], "now": eps, "sd": eps_sd}
                looks.setdefault(key, (Cause.BELIEFS_MOVED, detail))

    def elasticity(self, key: str) -> tuple[float, float, float, float]:
        """ε, its sd, η, its sd, as they are believed now; clipped to sense.

        ε is the estimate where there is one (else the policy's prior), met with what the list price says: a
        merchant who set a price P on a unit cost c believed in about ε = −P/(P − c), the elasticity for
        which P is best (Lerner); right within ``list_price_sd`` of log price, dε = ε(1 + ε) d log P.
        """
        beliefs, state, entry = self.policy.beliefs, self.states.get(key), self.catalog.get(key)
        eps, eps_sd = beliefs.elasticity_mean, beliefs.elasticity_sd
        eta, eta_sd = beliefs.rival_elasticity, 0.0
        if state is not None and state.estimate is not None:
            _, eps, eps_sd, eta, eta_sd = state.estimate
        list_minor, cost_minor = (entry.list_minor, entry.cost_minor) if entry else (None, None)
        if list_minor and cost_minor and 0 < cost_minor < list_minor:
            implied = min(-list_minor / (list_minor - cost_minor), _LEAST_IMPLIED)
            implied_sd = beliefs.list_price_sd * implied * (1 + implied)
            weight, prior = eps_sd**-2, implied_sd**-2
            eps = (weight * eps + prior * implied) / (weight + prior)
            eps_sd = (weight + prior) ** -0.5
        return min(eps, beliefs.elasticity_max), eps_sd, max(eta, 0.0), eta_sd

    def bought(self, entry: CatalogEntry) -> list[int]:
        """Orders and units at deals, and at all other prices, of the listings of an entry's tenant and category.

        Of the category, since what keeps in a pantry is a trait of goods, and one listing's deals are few.
        """
        shelf = (entry.tenant, entry.category)
        entries = ((self.catalog[key], state) for key, state in self.states.items())
        alike = (state.bought for each, state in entries if (each.tenant, each.category) == shelf)
        return [sum(column) for column in zip((0, 0, 0, 0), *alike, strict=True)]

    def offers(self, state: ListingState) -> list[dict[str, Any]]:
        """Rivals' offers known now, as a decision embeds them, by competitor's name."""
        return self._embedded(self._offers_now(state))

    @staticmethod
    def _embedded(offers: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        return [
            {
                "competitor": name,
                "price_minor": row[_PRICE],
                "shipping_minor": row[_SHIPPING],
                "in_stock": row[_IN_STOCK],
                "at_ms": row[_AT_MS],
                "validity_ms": row[_VALIDITY],
                "offer_kind": row[_KIND] or OfferKind.RIVAL.value,
            }
            for name, row in sorted(offers.items())
        ]

    def rivals_mean(self, key: str, at_ms: int) -> float | None:
        """Today's fresh rivals' mean, as a decision would see it.

        Remembered until the next offer or the end of the first validity: it is asked every minute. Not
        part of the snapshot, since it can be had again.
        """
        state = self.states.get(key)
        if state is None or not (state.offers or state.early_offers):
            return None
        known = self._means.get(key)
        if known is not None and known[0] <= at_ms < known[1]:
            return known[2]
        offers = self._offers_now(state)
        mean = self._mean_of(key, offers, at_ms)
        validity_ms = self.policy.market.offer_validity_minutes * MINUTE_MS
        turns = (row[_AT_MS] + age for row in offers.values() for age in (0, row[_VALIDITY] or validity_ms))
        until_ms = min((turn for turn in turns if turn >= at_ms), default=at_ms + validity_ms)
        self._means[key] = (at_ms, until_ms, mean)
        return mean

    def recorded_rivals_mean(self, key: str, at_ms: int) -> float | None:
        """:meth:`rivals_mean` of the closed minutes alone: the one that is counted."""
        state = self.states.get(key)
        if state is None or not state.early_offers:
            return self.rivals_mean(key, at_ms)
        return self._mean_of(key, state.offers, at_ms)

    def _mean_of(self, key: str, offers: Mapping[str, list[Any]], at_ms: int) -> float | None:
        entry = self.catalog.get(key)
        if entry is None or not offers:
            return None
        asked = {
            "listing": key,
            "at_ms": at_ms,
            "currency": entry.currency,
            "catalog": {"pack_size": entry.pack_size},
            "offers": self._embedded(offers),
        }
        got = rivals_of(asked, self.policy)
        return got.mean_minor if got and got.fresh else None

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "index": list(self.index),
            "state_row": list(ROW),
            "states": [self.states[key].to_row() for key in self.index],
            "catalog": self.catalog.snapshot(),
            "parked": {key: list(row) for key, row in self._parked.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """:meth:`snapshot` back."""
        self._means = {}
        self.index = list(snapshot["index"])
        names = snapshot.get("state_row")
        if names == list(ROW):
            rows = (ListingState(*row) for row in snapshot["states"])
        else:
            # An older version's names; before there were any, each row was a mapping of its own.
            given = (dict(zip(names, row, strict=True)) if names else row for row in snapshot["states"])
            rows = (ListingState.from_row(row) for row in given)
        self.states = dict(zip(self.index, rows, strict=True))
        self.catalog.restore(snapshot["catalog"])
        self._parked = {key: list(row) for key, row in snapshot["parked"].items()}
        self._ahead = {key for key, s in self.states.items() if s.early_offers or s.early_stock is not None}


def _log_move(before_minor: int, now_minor: int) -> float:
    """Return the size of a price move, |ln(now/before)|.

    >>> round(_log_move(13138, 13125), 5)
    0.00099
    """
    return abs(math.log(now_minor / before_minor))


def _offer_row(offer: Offer) -> list[Any]:
    """What is kept of an offer, its rival first."""
    return [
        offer.competitor,
        offer.price_minor,
        offer.shipping_minor,
        offer.in_stock,
        offer.event_time_ms,
        offer.validity_ms,
        None if offer.bounds_prices else OfferKind.REFERENCE.value,
    ]
