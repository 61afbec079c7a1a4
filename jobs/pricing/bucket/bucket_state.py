"""BucketState: a bucket's listings with their catalog entries, rivals, stock levels and estimates.

The file exceeds 300 lines because each kind of fact has a method that takes it and requests repricings. They write
the same listing states, which the snapshot below them lists.

Taking a fact changes what is known and may request a repricing, with its cause; other modules decide. Offers and
stock levels come twice, alone and in the batch of their minute;
:mod:`jobs.pricing.bucket.listing.rival_offers` describes how the two are combined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from features.books.offers import RivalOffer, reference_of
from features.books.products import CatalogBook
from jobs.pricing.bucket.listing.cost_trust import trust_cost
from jobs.pricing.bucket.listing.held_estimates import held_estimate
from jobs.pricing.bucket.listing.listing_state import ROW, HeldEstimate, ListingState, StockLevel
from jobs.pricing.bucket.listing.rival_offers import (
    Held,
    as_rival_offers,
    current_offers,
    request_on_move,
    rival_offer,
    take,
    take_early,
)
from jobs.pricing.bucket.price_bandits import PriceBandits
from jobs.pricing.bucket.requests import RepricingRequests
from jobs.pricing.decision.inputs import DealCounts
from jobs.pricing.policies import PolicyBook
from schemas.causes import Cause
from schemas.events import CatalogEntry, Offer, Stock
from schemas.listings import Listing, group_key
from schemas.records.results import OWN_PRICE_ELASTICITY
from schemas.time_units import MINUTE_MS

PARKED_ESTIMATES = 4_096
_AMOUNTS = ("cost_minor", "list_minor", "floor_minor", "ceiling_minor")
_ATTRIBUTES = ("active", "price_group", "tags", "role", "category", "pack_size", "currency")


class BucketState:
    """Listings by key, in the order in which they became known.

    Parameters
    ----------
    policies : the business numbers, by scope; not part of the snapshot.
    """

    def __init__(self, policies: PolicyBook) -> None:
        self.policy = policies.base
        self.catalog = CatalogBook()
        self.states: dict[str, ListingState] = {}
        self.index: list[str] = []
        self.bandits = PriceBandits(policies)
        self._parked: dict[str, HeldEstimate] = {}
        self._means: dict[str, tuple[int, int, float | None]] = {}
        self._groups: dict[str, list[str]] = {}
        self._ahead: set[str] = set()  # listings with a fact received ahead of its minute

    def take_catalog(self, entry: CatalogEntry, requests: RepricingRequests) -> bool:
        """Take a catalog entry; return whether its listing is new.

        A listing whose currency changes starts as at a first price, since its amounts are those of the old one.
        """
        key = Listing.key_of(entry)
        known = self.catalog.get(key)
        if not self.catalog.observe(entry):
            return False
        state = self.states.get(key)
        is_new = state is None
        if state is None:
            state = self.states[key] = ListingState(
                entry.price_group, estimate=self._parked.pop(key, None), since_ms=entry.event_time_ms
            )
            self.index.append(key)
        self._means.pop(key, None)
        state.price_group = entry.price_group
        self._join_group(key, entry, known)
        has_new_currency = known is not None and known.currency != entry.currency
        if has_new_currency:
            state.forget_amounts()
            self.bandits.forget(key)
        elif known is not None and known.pack_size != entry.pack_size:
            state.forget_offers()
        was_trusted = state.trusted_cost_minor
        confirmed = trust_cost(state, entry.cost_minor, entry.event_time_ms, self.policy.margin)
        state.needs_start = state.needs_start or not state.has_table
        if known is not None and (state.has_table or has_new_currency):
            # A record never compares amounts of two currencies.
            watched = _ATTRIBUTES if has_new_currency else (*_AMOUNTS, *_ATTRIBUTES)
            changed = {name: [getattr(known, name), getattr(entry, name)] for name in watched}
            changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
            if confirmed:
                # The price was held for want of a trusted cost; the entry itself may repeat the one before.
                changed["trusted_cost_minor"] = [was_trusted, state.trusted_cost_minor]
            if changed:
                requests.replace(key, Cause.COST_CHANGED, changed)
        return is_new

    def _join_group(self, key: str, entry: CatalogEntry, known: CatalogEntry | None) -> None:
        before, now = (None if each is None else _group_of(each) for each in (known, entry))
        if before != now and before is not None:
            self._groups[before].remove(key)
        if before != now and now is not None:
            self._groups.setdefault(now, []).append(key)

    def members_of(self, key: str) -> list[str]:
        """Return the active listings of a listing's price group with its currency, itself included, sorted."""
        entry = self.catalog[key]
        alike = (other for other in self._groups[_group_of(entry)] if self.catalog[other].active)
        return sorted(other for other in alike if self.catalog[other].currency == entry.currency)

    def take_offer(self, offer: Offer, requests: RepricingRequests) -> bool:
        """Take an offer ahead of its minute; return whether it moved enough to request a repricing."""
        key = Listing.key_of(offer)
        state = self.states.get(key)
        if state is None or not self._is_comparable(key, offer):
            return False
        market = self.policy.market
        before = current_offers(state, market)
        take_early(state, rival_offer(offer))
        self._ahead.add(key)
        self._means.pop(key, None)
        return request_on_move(key, state, offer.competitor, before, market, requests)

    def take_offers(self, offers: Iterable[Offer], end_ms: int, requests: RepricingRequests) -> list[str]:
        """Take the offers of the minute that ends at ``end_ms``.

        Returns
        -------
        Keys of the listings for which a rival moved enough to request a repricing.
        """
        moved: list[str] = []
        by_listing: dict[str, list[Offer]] = {}
        for offer in offers:
            by_listing.setdefault(Listing.key_of(offer), []).append(offer)
        for key, given in by_listing.items():
            comparable = [rival_offer(offer) for offer in given if self._is_comparable(key, offer)]
            if not comparable:
                continue
            state, market = self.states[key], self.policy.market
            before = current_offers(state, market)
            for offer_now in comparable:
                take(state.offers, offer_now, market)
            self._forget_early(key, end_ms)
            early = {offer.competitor for offer in state.early_offers}
            for name in state.requested_on.keys() - state.offers.keys() - early:
                del state.requested_on[name]  # rivals that were dropped for newer ones
            rivals = dict.fromkeys(offer.competitor for offer in comparable)
            requested = [request_on_move(key, state, name, before, market, requests) for name in rivals]
            if any(requested):
                moved.append(key)
        return moved

    def _is_comparable(self, key: str, offer: Offer) -> bool:
        entry = self.catalog.get(key)
        if entry is None or key not in self.states:
            return False
        sure = offer.match_confidence >= self.policy.market.min_match_confidence
        return sure and offer.currency == entry.currency and offer.pack_size == entry.pack_size

    def close_minute(self, end_ms: int) -> None:
        """Drop what was received ahead of a minute that is now closed."""
        for key in sorted(self._ahead):
            self._forget_early(key, end_ms)

    def _forget_early(self, key: str, end_ms: int) -> None:
        state = self.states[key]
        state.early_offers = [offer for offer in state.early_offers if offer.at_ms >= end_ms]
        if state.early_stock is not None and state.early_stock.at_ms < end_ms:
            state.early_stock = None
        if not state.early_offers and state.early_stock is None:
            self._ahead.discard(key)
        self._means.pop(key, None)

    def take_stock(self, stock: Stock, requests: RepricingRequests, *, early: bool) -> None:
        """Take a stock level, ``early`` or with its minute; running out and coming back request a repricing."""
        key = Listing.key_of(stock)
        state = self.states.get(key)
        if state is None:
            return
        before = state.stock_now
        level = StockLevel(stock.event_time_ms, stock.on_hand, stock.inbound, stock.lead_time_days)
        if early:
            if before is not None and before.at_ms >= level.at_ms:
                return
            state.early_stock = level
            self._ahead.add(key)
        elif state.stock is None or state.stock.at_ms < level.at_ms:
            state.stock = level
            if state.early_stock is not None and state.early_stock.at_ms <= level.at_ms:
                state.early_stock = None
        now = state.stock_now
        if before is None or now is None or (before.on_hand <= 0) == (now.on_hand <= 0):
            return
        cause = Cause.STOCK_OUT if now.on_hand <= 0 else Cause.RESTOCKED
        requests.add(key, cause, {"on_hand": now.on_hand, "inbound": now.inbound})

    def take_estimate(self, value: Mapping[str, Any], requests: RepricingRequests) -> bool:
        """Take a listing's own-price elasticity; one for a listing not known yet is parked.

        A price that was best under old beliefs may not be under new ones, and while demand stays the same no
        evidence shows it: an elasticity that moved enough since the last decision requests a repricing, and so
        does a confirmed change of demand.

        Returns
        -------
        Whether demand changed since the last estimate.
        """
        if value["name"] != OWN_PRICE_ELASTICITY or value["scope"] != "listing" or value["segment"] != "all":
            return False
        key = Listing.key_in(value)
        beliefs, state = self.policy.beliefs, self.states.get(key)
        estimate = held_estimate(value, self._parked.get(key) if state is None else state.estimate, beliefs)
        if state is None:
            self._parked[key] = estimate
            if len(self._parked) > PARKED_ESTIMATES:
                del self._parked[next(iter(self._parked))]
        elif state.estimate is None or state.estimate.window_end_ms <= estimate.window_end_ms:
            changed = estimate.changed_ms > (state.estimate.changed_ms if state.estimate is not None else 0)
            state.estimate = estimate
            before, (eps, eps_sd, _, _) = state.decided_on, self.elasticity(key)
            moved = before is not None and abs(eps - before.elasticity) > beliefs.look_when_moved_sd * eps_sd
            if before is not None and state.has_table and moved:
                detail = {"before": before.elasticity, "now": eps, "sd": eps_sd}
                requests.add(key, Cause.BELIEFS_MOVED, detail)
            if changed and state.has_table:
                requests.replace(key, Cause.DEMAND_CHANGED, {"changed_ms": estimate.changed_ms})
            return changed
        return False

    def elasticity(self, key: str) -> tuple[float, float, float, float]:
        """Return ε, its sd, η, its sd, as believed now, within the policy's bounds.

        ε is the estimate where there is one (else the policy's prior), combined with what the list price
        implies: a merchant who set a price P on a unit cost c believed in about ε = −P/(P − c), the elasticity
        for which P is best (Lerner), at most ``implied_elasticity_max``; right within ``list_price_sd`` of log
        price, dε = ε(1 + ε) d log P. The list price dates from before any change of demand, so that the sd which
        changes added to ε is part of its error.
        """
        beliefs, state, entry = self.policy.beliefs, self.states.get(key), self.catalog.get(key)
        eps, eps_sd = beliefs.elasticity_mean, beliefs.elasticity_sd
        eta, eta_sd, changed_sd = beliefs.rival_elasticity, 0.0, 0.0
        if state is not None and state.estimate is not None:
            _, eps, eps_sd, eta, eta_sd, _, _, changed_sd, _ = state.estimate
        list_minor, cost_minor = (entry.list_minor, entry.cost_minor) if entry else (None, None)
        if list_minor and cost_minor and 0 < cost_minor < list_minor:
            implied = min(-list_minor / (list_minor - cost_minor), beliefs.implied_elasticity_max)
            implied_sd = math.hypot(beliefs.list_price_sd * implied * (1 + implied), changed_sd)
            weight, prior = eps_sd**-2, implied_sd**-2
            eps = (weight * eps + prior * implied) / (weight + prior)
            eps_sd = (weight + prior) ** -0.5
        return min(eps, beliefs.elasticity_max), eps_sd, max(eta, 0.0), eta_sd

    def bought(self, entry: CatalogEntry) -> DealCounts:
        """Return orders and units at deals, and at all other prices, of an entry's tenant and category.

        Of the category, since stocking up is a trait of goods, and one listing's deals are few.
        """
        category = (entry.tenant, entry.category)
        entries = ((self.catalog[key], state) for key, state in self.states.items())
        alike = (state.bought for each, state in entries if (each.tenant, each.category) == category)
        return DealCounts(*(sum(column) for column in zip(DealCounts(), *alike, strict=True)))

    def offers(self, state: ListingState) -> tuple[RivalOffer, ...]:
        """Return the rivals' offers known now, as a decision embeds them."""
        return as_rival_offers(current_offers(state, self.policy.market))

    def rivals_mean(self, key: str, at_ms: int) -> float | None:
        """Return the fresh rivals' mean as a decision would see it; None without one.

        Cached until the next offer or the end of the first validity, since it is read every minute. The cache
        is not part of the snapshot.
        """
        state = self.states.get(key)
        if state is None or not (state.offers or state.early_offers):
            return None
        known = self._means.get(key)
        if known is not None and known[0] <= at_ms < known[1]:
            return known[2]
        offers = current_offers(state, self.policy.market)
        mean = self._mean_of(key, offers, at_ms)
        validity_ms = self.policy.market.offer_validity_minutes * MINUTE_MS
        turns = (o.at_ms + age for o in offers.values() for age in (0, o.validity_ms or validity_ms))
        until_ms = min((turn for turn in turns if turn >= at_ms), default=at_ms + validity_ms)
        self._means[key] = (at_ms, until_ms, mean)
        return mean

    def recorded_rivals_mean(self, key: str, at_ms: int) -> float | None:
        """Return :meth:`rivals_mean` of the closed minutes alone: the one that counts use."""
        state = self.states.get(key)
        if state is None or not state.early_offers:
            return self.rivals_mean(key, at_ms)
        return self._mean_of(key, state.offers, at_ms)

    def _mean_of(self, key: str, offers: Held, at_ms: int) -> float | None:
        if key not in self.catalog or not offers:
            return None
        got = reference_of(as_rival_offers(offers), at_ms, self.policy.market.offer_validity_minutes * MINUTE_MS)
        return got.mean_minor if got and got.fresh else None

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        bandits = self.bandits.snapshot()
        return ({"bandits": bandits} if bandits else {}) | {
            "index": list(self.index),
            "state_row": list(ROW),
            "states": [self.states[key].to_row() for key in self.index],
            "catalog": self.catalog.snapshot(),
            "parked": {key: list(estimate) for key, estimate in self._parked.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take :meth:`snapshot` back."""
        self._means = {}
        self.index = list(snapshot["index"])
        names = snapshot.get("state_row")
        if names == list(ROW):
            states = [ListingState.of_row(row) for row in snapshot["states"]]
        else:
            # An older version wrote its own names, or a mapping per row.
            given = (dict(zip(names, row, strict=True)) if names else row for row in snapshot["states"])
            states = [ListingState.of_names(row) for row in given]
        self.states = dict(zip(self.index, states, strict=True))
        self.catalog.restore(snapshot["catalog"])
        self._groups = {}
        for key in self.index:
            self._join_group(key, self.catalog[key], None)
        self._parked = {key: HeldEstimate(*row) for key, row in snapshot["parked"].items()}
        self.bandits.restore(snapshot.get("bandits", {}))
        self._ahead = {key for key, s in self.states.items() if s.early_offers or s.early_stock is not None}


def _group_of(entry: CatalogEntry) -> str:
    return group_key(entry.tenant, entry.market, entry.price_group)
