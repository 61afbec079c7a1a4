"""BucketState: what one bucket knows of its listings from catalog, rivals, stock and estimates.

Taking a fact changes what is known and may ask for a look at a listing, with its cause; what is done
about it is decided elsewhere. A fact that is not newer than what is known changes nothing, so it does
not matter whether a fact comes alone, in its minute's batch, or both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from features.judgement import CatalogBook
from jobs.pricing.listing_state import ROW, ListingState
from jobs.pricing.policy import MINUTE_MS, Policy
from jobs.pricing.record import rivals_of
from schemas.codes import Cause
from schemas.events import CatalogEntry, Offer, Stock

PARKED_ESTIMATES = 4_096
_LEAST_IMPLIED = -1.1
"""A list price so far above cost that it implies less says nothing more about the elasticity."""
_PRICE, _SHIPPING, _IN_STOCK, _AT_MS, _VALIDITY, _SET_ASIDE = range(6)
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

    def take_catalog(self, entry: CatalogEntry, looks: Looks) -> bool:
        """Take a catalog entry; answers whether its listing is new."""
        key = f"{entry.tenant}/{entry.market}/{entry.sku}"
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
        self._trust_cost(state, entry)
        state.needs_start = state.needs_start or state.table is None
        if known is not None and state.table is not None:
            changed = {name: [getattr(known, name), getattr(entry, name)] for name in _WATCHED}
            changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
            if changed:
                looks[key] = (Cause.COST_CHANGED, changed)
        return is_new

    def _trust_cost(self, state: ListingState, entry: CatalogEntry) -> None:
        """A cost within the policy's jump is trusted; a larger jump when it comes again later."""
        cost, trusted = entry.cost_minor, state.trusted_cost_minor
        if cost is None or cost <= 0:
            return
        if trusted is None or abs(cost / trusted - 1) <= self.policy.margin.cost_jump:
            state.trusted_cost_minor, state.odd_cost = cost, None
        elif state.odd_cost is None or state.odd_cost[0] != cost:
            state.odd_cost = [cost, entry.event_time_ms]
        elif entry.event_time_ms - state.odd_cost[1] >= self.policy.margin.confirm_after_minutes * MINUTE_MS:
            state.trusted_cost_minor, state.odd_cost = cost, None

    def take_offer(self, offer: Offer, looks: Looks) -> bool:
        """Take a rival's offer; answers whether it says something new."""
        key = f"{offer.tenant}/{offer.market}/{offer.sku}"
        entry, state = self.catalog.get(key), self.states.get(key)
        market = self.policy.market
        if entry is None or state is None or offer.match_confidence < market.min_match_confidence:
            return False
        if offer.currency != entry.currency or offer.pack_size != entry.pack_size:
            return False
        held = state.offers.get(offer.competitor)
        if held is not None and held[_AT_MS] > offer.event_time_ms:
            return False
        price, set_aside = offer.price_minor, None
        jumped = held is not None and abs(offer.price_minor / held[_PRICE] - 1) > market.offer_jump
        if held and jumped and (held[_SET_ASIDE] != offer.price_minor or held[_AT_MS] == offer.event_time_ms):
            # One wild price is more often an error than a move: it counts when it is seen twice.
            price, set_aside = held[_PRICE], offer.price_minor
        row = [price, offer.shipping_minor, offer.in_stock, offer.event_time_ms, offer.validity_ms, set_aside]
        state.offers[offer.competitor] = row
        self._means.pop(key, None)
        if len(state.offers) > market.max_rivals:
            del state.offers[min(state.offers, key=lambda name: (state.offers[name][_AT_MS], name))]
        if held is not None and held[:_AT_MS] == row[:_AT_MS]:
            return False
        looks.setdefault(
            key,
            (
                Cause.RIVAL_MOVED,
                {
                    "competitor": offer.competitor,
                    "price_minor": offer.price_minor + offer.shipping_minor,
                    "before_minor": held[_PRICE] + held[_SHIPPING] if held else None,
                    "in_stock": offer.in_stock,
                },
            ),
        )
        return True

    def take_stock(self, stock: Stock, looks: Looks) -> None:
        """Take a stock level; running out and coming back ask for a look."""
        key = f"{stock.tenant}/{stock.market}/{stock.sku}"
        state = self.states.get(key)
        if state is None or (state.stock is not None and state.stock[0] >= stock.event_time_ms):
            return
        was_empty = state.stock is not None and state.stock[1] <= 0
        known = state.stock is not None
        state.stock = [stock.event_time_ms, stock.on_hand, stock.inbound, stock.lead_time_days]
        if known and was_empty != (stock.on_hand <= 0):
            cause = Cause.RESTOCKED if was_empty else Cause.STOCK_OUT
            looks.setdefault(key, (cause, {"on_hand": stock.on_hand, "inbound": stock.inbound}))

    def take_estimate(self, value: Mapping[str, Any], looks: Looks) -> None:
        """Take a listing's own-price elasticity; one for a listing not known yet is parked.

        A price that was right under old beliefs may be wrong under new ones, and no evidence will say so
        while demand stays what it is: a belief that moved since the last decision asks for a look.
        """
        if value["name"] != "own_price_elasticity" or value["scope"] != "listing" or value["segment"] != "all":
            return
        key = f"{value['tenant']}/{value['market']}/{value['sku']}"
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
            if before and state.table and abs(eps - before[0]) > beliefs.look_when_moved_sd * eps_sd:
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

    def offers(self, state: ListingState) -> list[dict[str, Any]]:
        """Rivals' offers as a decision embeds them, by competitor's name."""
        return [
            {
                "competitor": name,
                "price_minor": row[_PRICE],
                "shipping_minor": row[_SHIPPING],
                "in_stock": row[_IN_STOCK],
                "at_ms": row[_AT_MS],
                "validity_ms": row[_VALIDITY],
            }
            for name, row in sorted(state.offers.items())
        ]

    def rivals_mean(self, key: str, at_ms: int) -> float | None:
        """Today's fresh rivals' mean, as a decision would see it.

        Remembered until the next offer or the end of the first validity: it is asked every minute. Not
        part of the snapshot, since it can be had again.
        """
        state, entry = self.states.get(key), self.catalog.get(key)
        if state is None or entry is None or not state.offers:
            return None
        known = self._means.get(key)
        if known is not None and known[0] <= at_ms < known[1]:
            return known[2]
        asked = {
            "listing": key,
            "at_ms": at_ms,
            "currency": entry.currency,
            "catalog": {"pack_size": entry.pack_size},
            "offers": self.offers(state),
        }
        got = rivals_of(asked, self.policy)
        mean = got.mean_minor if got and got.fresh else None
        validity_ms = self.policy.market.offer_validity_minutes * MINUTE_MS
        turns = (row[_AT_MS] + age for row in state.offers.values() for age in (0, row[_VALIDITY] or validity_ms))
        until_ms = min((turn for turn in turns if turn >= at_ms), default=at_ms + validity_ms)
        self._means[key] = (at_ms, until_ms, mean)
        return mean

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
        # Before there were names, each row was a mapping of its own.
        given = (dict(zip(names, row, strict=True)) if names else row for row in snapshot["states"])
        rows = (ListingState.from_row(row) for row in given)
        self.states = dict(zip(self.index, rows, strict=True))
        self.catalog.restore(snapshot["catalog"])
        self._parked = {key: list(row) for key, row in snapshot["parked"].items()}
