"""BucketWatch: a minute's cells as arrays for the watcher, its verdict as repricing requests and evidence records.

The watcher (:mod:`jobs.pricing.watcher`) reads arrays without keys and prices; this class maps both. A price
change for another reason does not reset the evidence: its effect on orders is predicted, so the rest is still
evidence.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from operator import add
from typing import Any

import numpy as np

from features.books.demand import DemandBook
from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.listing.listing_state import ListingState, QuotedPrice
from jobs.pricing.bucket.requests import RepricingRequests
from jobs.pricing.decision.inputs import DealCounts
from jobs.pricing.guardrails.forward_buying import ForwardBuyingSettings
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import market_time, watcher_settings
from jobs.pricing.sale_target import target_part
from jobs.pricing.watcher import GroupWatcher, Minute, Verdict, Watcher
from schemas.causes import Cause
from schemas.events import CatalogEntry
from schemas.listings import Listing, category_key, group_key
from schemas.records.counts import Cell
from schemas.records.results import Evidence
from schemas.time_units import MINUTE_MS

WORTH_RANKING = 0.05
"""Least score of a leading listing."""
QUOTED_MEMORY = 0.97
"""Weight that past exposures keep per minute with exposures: about half an hour."""


class BucketWatch:
    """Watches a bucket's listings, alone and by price group.

    Parameters
    ----------
    policy : the business numbers; not part of the snapshot.
    bucket : the listings, in whose order the watcher counts.
    book : their demand, for targets that follow it.
    """

    def __init__(self, policy: Policy, bucket: BucketState, book: DemandBook) -> None:
        self.policy = policy
        self._bucket, self._book = bucket, book
        self._market_time = market_time(policy)
        self._markets: list[str] = []
        self._watcher = Watcher(watcher_settings(policy))
        self._group_watcher = GroupWatcher(watcher_settings(policy))
        self._categories: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._grouped: list[int] = []
        self._shown: list[str] = []
        self._forward_buying = policy.section(ForwardBuyingSettings)

    def grow(self, entry: CatalogEntry) -> None:
        """Add the listing that the bucket just added."""
        self._markets.append(entry.market)
        category = category_key(entry.tenant, entry.market, entry.category)
        i = self._watcher.grow(1, [self._categories.setdefault(category, len(self._categories))])
        if entry.price_group != entry.sku:
            # A SKU that is its own group is watched already; its sums would be the same again.
            group = group_key(entry.tenant, entry.market, entry.price_group)
            self._grouped.append(i)
            self._group_watcher.grow([self._groups.setdefault(group, len(self._groups))])

    def add_fact(self, key: str, signal: str) -> None:
        """``rivals`` moved, or ``events`` began: start mass from the next minute on."""
        self._watcher.add_fact(self._bucket.index.index(key), signal)

    def step(
        self, at_ms: int, cells: Sequence[Cell], empty: Collection[str], requests: RepricingRequests
    ) -> list[Output]:
        """Take a minute: triggers request repricings; notable evidence is returned as records."""
        index = self._bucket.index
        if not index:
            return []
        minute = self._minute(at_ms, cells, empty)
        levels = self._watcher.levels.copy()
        verdict = self._watcher.step(minute)
        if self._grouped:
            groups = self._group_watcher.step(_part(minute, self._grouped), levels[self._grouped])
            for g in np.flatnonzero(groups.triggered).tolist():
                for member in self._group_watcher.members(g).tolist():
                    requests.replace(index[self._grouped[member]], Cause.GROUP_EVIDENCE, groups.cause_details(g))
        for i in np.flatnonzero(verdict.triggered).tolist():
            requests.replace(index[i], Cause.EVIDENCE, verdict.cause_details(i))
        return [self._evidence(i, verdict) for i in self._worth_showing(verdict)]

    def _worth_showing(self, verdict: Verdict) -> list[int]:
        """Return triggers, high scores, and listings that are new among the leading ones."""
        index, watch = self._bucket.index, self.policy.watch
        ranked = np.lexsort((np.arange(len(index)), -verdict.score))[: watch.top].tolist()
        leaders = [i for i in ranked if verdict.score[i] > WORTH_RANKING]
        show = set(np.flatnonzero(verdict.triggered | (verdict.score >= watch.show_above)).tolist())
        show |= {i for i in leaders if index[i] not in self._shown}
        self._shown = [index[i] for i in leaders]
        return sorted(show)

    def _evidence(self, i: int, verdict: Verdict) -> Output:
        key = self._bucket.index[i]
        listing = Listing.parse(key)
        record = Evidence(
            tenant=listing.tenant,
            market=listing.market,
            sku=listing.sku,
            window_end_ms=verdict.window_end_ms,
            score=float(verdict.score[i]),
            evidence=float(verdict.evidence[i]),
            signal=verdict.signal_name(i),
            effect=float(verdict.effect[i]),
            triggered=bool(verdict.triggered[i]),
            parts=verdict.parts_of(i),
        )
        return Output("evidence", key, asdict(record), verdict.window_end_ms)

    def _minute(self, at_ms: int, cells: Sequence[Cell], empty: Collection[str]) -> Minute:
        """Return the cells as arrays over the bucket's listings, in the watcher's order."""
        index, states = self._bucket.index, self._bucket.states
        at = {key: i for i, key in enumerate(index)}
        # Plain lists: a numpy call for each of some hundred cells would cost as much as all the rest.
        summed = [[0.0] * 6 for _ in index]
        deals = [_deal(states[key], self._forward_buying.deal_depth) for key in index]
        for cell in cells:
            n = max(cell.exposures, 0)
            i = at[Listing.key_of(cell)]
            row = summed[i]
            if cell.orders > 0:
                state, units = states[index[i]], max(cell.units, 0)
                deal = cell.price_minor < deals[i]
                added = (cell.orders, units, 0, 0) if deal else (0, 0, cell.orders, units)
                state.bought = DealCounts(*map(add, state.bought, added))
            row[0] += cell.orders
            row[1] += cell.units
            row[2] += cell.searches_matured
            row[3] += cell.searches_abandoned
            row[4] += n
            row[5] += n * math.log(cell.price_minor)
        sums = np.array(summed, dtype=float).reshape(len(index), 6).T
        plan = np.full(len(index), np.nan)
        for i in np.flatnonzero(sums.any(axis=0)).tolist():
            state = states[index[i]]
            if state.target is not None:
                state.target = state.target._replace(units_left=state.target.units_left - int(sums[1, i]))
            if sums[4, i] > 0:
                self._follow_quoted_price(index[i], state, float(sums[4, i]), float(sums[5, i]))
                self._follow_usual_price(index[i], state, float(sums[5, i] / sums[4, i]))
        for i, key in enumerate(index):
            target = states[key].target
            if target is not None and target.until_ms > at_ms:
                part = target_part(self.policy, self._book, key, at_ms - MINUTE_MS, MINUTE_MS, target.until_ms)
                plan[i] = max(0.0, target.units_left * part)
        return Minute.of(
            len(index),
            at_ms,
            orders=sums[0],
            units=sums[1],
            price_factor=[math.exp(states[key].log_price_factor) for key in index],
            searches_matured=np.maximum(sums[2], 0.0),
            searches_abandoned=np.clip(sums[3], 0.0, np.maximum(sums[2], 0.0)),
            plan_units=plan,
            in_stock=[0.0 if key in empty else 1.0 for key in index],
            utc_offset=self._utc_offset(at_ms),
        )

    def _utc_offset(self, at_ms: int) -> list[float]:
        """Return by how many minutes each listing's market is ahead of UTC in the minute that ends here."""
        of = {market: self._market_time.offset_ms(market, at_ms - 1) / MINUTE_MS for market in set(self._markets)}
        return [of[market] for market in self._markets]

    def _follow_usual_price(self, key: str, state: ListingState, log_price: float) -> None:
        """Update the price that shoppers are used to; before any quote it is the list price."""
        if state.usual_log is None:
            entry = self._bucket.catalog.get(key)
            list_minor = entry.list_minor if entry else None
            state.usual_log = math.log(list_minor) if list_minor and list_minor > 0 else log_price
        minutes = self._forward_buying.usual_days * 1_440
        state.usual_log += (log_price - state.usual_log) / max(minutes, 1.0)

    def _follow_quoted_price(
        self, key: str, state: ListingState, exposures: float, weighted_log_price: float
    ) -> None:
        """Update the price that shoppers see: its changes times ε are the predicted effect on orders.

        Chained, so that a new ε has no effect by itself; over half an hour's exposures, so that one minute's
        mix of explored prices does not count as a price change.
        """
        n, total, last = state.quoted
        n, total = n * QUOTED_MEMORY + exposures, total * QUOTED_MEMORY + weighted_log_price
        mean = total / n
        if last:
            moved = self._bucket.elasticity(key)[0] * (mean - last)
            state.log_price_factor = max(-4.0, min(4.0, state.log_price_factor + moved))
        state.quoted = QuotedPrice(n, total, mean)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "watcher": self._watcher.snapshot(),
            "group_watcher": self._group_watcher.snapshot(),
            "categories": dict(self._categories),
            "groups": dict(self._groups),
            "grouped": list(self._grouped),
            "shown": list(self._shown),
            "local_time": True,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take :meth:`snapshot` back."""
        self._markets = [Listing.parse(key).market for key in self._bucket.index]
        self._watcher.restore(snapshot["watcher"])
        self._group_watcher.restore(snapshot["group_watcher"])
        if not snapshot.get("local_time"):
            self._restore_utc()
        self._categories = dict(snapshot["categories"])
        self._groups = dict(snapshot["groups"])
        self._grouped = list(snapshot["grouped"])
        self._shown = list(snapshot["shown"])

    def _restore_utc(self) -> None:
        """Bring a snapshot whose daily profiles are in UTC to the markets' local time.

        The groups share one profile over all markets, so they start empty where a market has an offset.
        """
        offset = np.array(self._utc_offset(self._watcher.last_end_ms), float)
        if offset.any():
            self._watcher.null.shift(offset)
            groups = self._group_watcher.groups.tolist()
            self._group_watcher = GroupWatcher(watcher_settings(self.policy), groups)


def _deal(state: ListingState, depth: float) -> float:
    """Return the price in minor units below which a listing's price is a deal; 0 without a usual price."""
    return 0.0 if state.usual_log is None else (1 - depth) * math.exp(state.usual_log)


def _part(minute: Minute, rows: list[int]) -> Minute:
    """Return some listings of a minute."""
    return Minute(
        minute.window_end_ms, minute.orders[rows], minute.units[rows], minute.price_factor[rows],
        minute.searches_matured[rows], minute.searches_abandoned[rows], minute.plan_units[rows],
        minute.present[rows], minute.in_stock[rows], minute.utc_offset[rows],
    )  # fmt: skip
