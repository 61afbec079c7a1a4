"""RepricingLogic: what one bucket believes of its listings, and what it does about it.

The way of a minute: catalog, offers and stock are taken, demand is booked, the watcher steps; what it
triggers, what a pace limit postponed and what has no table yet is re-priced; tables near their end are
renewed. The way of a fact: it is taken, and where it may make a price wrong (a rival's move, a
stock-out, a command) the listing is looked at once, outside the false-alarm account.

Event time (a minute's end, a fact's time) decides everything; the Clock's time (``now_ms``) only stamps
versions, publication and expiry. A decision's id is a hash of listing, cause and the address that
caused it, so that a repeat is recognised.

Over 300 lines: one state machine, whose two entrances share every step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from features.demand import DemandBook
from features.judgement import CatalogBook, judge_cells
from features.logic import Batch, Fact, Output, SnapshotError
from jobs.pricing.control import Control, applies, covers, scope_of
from jobs.pricing.listing_state import KEPT_TABLES, ListingState
from jobs.pricing.policy import MINUTE_MS, Policy
from jobs.pricing.reprice import Result, make_inputs, reprice, rivals_of, table_record
from jobs.pricing.valuation import demand_settings
from jobs.pricing.watcher import GroupWatcher, Minute, Verdict, Watcher, WatcherSettings
from schemas.codes import Cause, GuardrailCode, OutcomeCode
from schemas.events import (
    CalendarEvent,
    CatalogEntry,
    Cell,
    Command,
    CommandKind,
    Decision,
    Evidence,
    Listing,
    Offer,
    Stock,
)
from schemas.price_table import PriceTable, next_version
from schemas.topics import TOPICS

DAY_MS = 86_400_000
PARKED_ESTIMATES = 4_096
_PRICE, _SHIPPING, _IN_STOCK, _AT_MS, _VALIDITY, _PACK, _SET_ASIDE = range(7)


def watcher_settings(policy: Policy) -> WatcherSettings:
    """The watcher's settings, as the policy states them."""
    watch = policy.watch
    return WatcherSettings(
        false_alarm_every=watch.false_alarm_every,
        own_share=watch.own_share,
        group_share=watch.group_share,
        zone_share=max(0.0, 1.0 - watch.own_share - watch.group_share),
    )


class RepricingLogic:
    """The repricing of one bucket (a :class:`features.logic.BucketLogic`).

    Outputs: ``evidence``, ``decisions`` (``asdict(Decision)``) and ``tables`` (``PriceTable.to_record()``);
    the host publishes the latter to Redis.

    Parameters
    ----------
    policy : the business numbers; not part of the snapshot.

    Examples
    --------
    A listing becomes known, and gets its first table by the cold-start rule.

    >>> logic = RepricingLogic()
    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
    >>> outputs = list(logic.on_batch(Batch(0, 60_000, catalog=(entry,), now_ms=60_500)))
    >>> [output.stream for output in outputs], outputs[1].value["default_minor"]
    (['decisions', 'tables'], '999')
    """

    name = "repricing"
    version = 1

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._catalog = CatalogBook()
        self._book = DemandBook(demand_settings(self.policy))
        self._watcher = Watcher(watcher_settings(self.policy))
        self._group_watcher = GroupWatcher(watcher_settings(self.policy))
        self._control = Control()
        self._states: dict[str, ListingState] = {}
        self._index: list[str] = []
        self._categories: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._grouped: list[int] = []
        self._parked: dict[str, list[Any]] = {}
        self._seen: dict[str, int] = {}
        self._shown: list[str] = []
        self._time_ms = 0

    # -- a minute ------------------------------------------------------------------------------

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Take one minute of the bucket."""
        if batch.window_end_ms <= self._time_ms:
            return []
        at_ms, before_ms = batch.window_end_ms, self._time_ms or batch.window_end_ms - MINUTE_MS
        now_ms = batch.now_ms or at_ms
        address = f"batch-{at_ms}"
        looks: dict[str, tuple[Cause, dict[str, Any]]] = {}
        for entry in batch.catalog:
            self._take_catalog(entry, looks)
        for offer in batch.offers:
            self._take_offer(offer, looks)
        for stock in batch.stock:
            self._take_stock(stock, looks)
        cells, _ = judge_cells(batch.cells, self._catalog)
        empty = {key for key, state in self._states.items() if state.stock and state.stock[1] <= 0}
        offers = {cell.listing.key: self._rivals_mean(cell.listing.key, at_ms) for cell in cells}
        self._book.observe(replace(batch, cells=tuple(cells)), offer_of=offers.get, out_of_stock=empty)
        self._time_ms = at_ms
        outputs = self._watch(at_ms, cells, empty, looks)
        for event, starts in self._control.turning(before_ms, at_ms):
            self._turn(event, starts, looks)
        self._control.forget_before(at_ms - DAY_MS)
        for key, state in self._states.items():
            if state.continue_at_ms is not None and at_ms >= state.continue_at_ms:
                looks.setdefault(key, (Cause.CONTINUED, {"planned_ms": state.continue_at_ms}))
            elif state.table is None and state.needs_start:
                looks.setdefault(key, (Cause.COLD_START, {}))
        for key in [key for key in self._index if key in looks]:
            outputs += self._decide(key, *looks[key], address, at_ms, now_ms)
        outputs += self._renewals(at_ms, now_ms)
        return outputs

    def _watch(
        self, at_ms: int, cells: list[Cell], empty: set[str], looks: dict[str, tuple[Cause, dict[str, Any]]]
    ) -> list[Output]:
        """Step both watchers; triggers join the looks, what is worth showing becomes evidence."""
        count = len(self._index)
        if not count:
            return []
        minute = self._minute(at_ms, cells, empty)
        levels = self._watcher.levels.copy()
        verdict = self._watcher.step(minute)
        outputs: list[Output] = []
        if self._grouped:
            groups = self._group_watcher.step(_part(minute, self._grouped), levels[self._grouped])
            for g in np.flatnonzero(groups.triggered).tolist():
                for member in self._group_watcher.members(g).tolist():
                    looks[self._index[self._grouped[member]]] = (Cause.GROUP_EVIDENCE, groups.why(g))
        for i in np.flatnonzero(verdict.triggered).tolist():
            looks[self._index[i]] = (Cause.EVIDENCE, verdict.why(i))
        ranked = np.lexsort((np.arange(count), -verdict.score))[: self.policy.watch.top].tolist()
        top = [self._index[i] for i in ranked if verdict.score[i] > 0.05]
        show = set(np.flatnonzero(verdict.triggered | (verdict.score >= self.policy.watch.show_above)).tolist())
        show |= {i for i in ranked if self._index[i] in top and self._index[i] not in self._shown}
        self._shown = top
        for i in sorted(show):
            outputs.append(self._evidence(i, verdict))
        return outputs

    def _evidence(self, i: int, verdict: Verdict) -> Output:
        key = self._index[i]
        listing = Listing.parse(key)
        why = verdict.why(i)
        record = Evidence(
            listing.tenant, listing.market, listing.sku, verdict.window_end_ms, why["score"], why["evidence"],  # type: ignore[arg-type]
            why["signal"], why["effect"], bool(verdict.triggered[i]), verdict.parts_of(i),  # type: ignore[arg-type]
        )  # fmt: skip
        return Output("evidence", key, asdict(record), verdict.window_end_ms)

    def _minute(self, at_ms: int, cells: list[Cell], empty: set[str]) -> Minute:
        """The cells as arrays over the bucket's listings, in the watcher's order."""
        at = {key: i for i, key in enumerate(self._index)}
        sums = np.zeros((4, len(at)))
        shown: dict[str, list[float]] = {}
        for cell in cells:
            key = cell.listing.key
            sums[:, at[key]] += (cell.orders, cell.units, cell.searches_matured, cell.searches_abandoned)
            if cell.exposures > 0:
                quoted = shown.setdefault(key, [0.0, 0.0])
                quoted[0] += cell.exposures
                quoted[1] += cell.exposures * math.log(cell.price_minor)
            target = self._states[key].target
            if target is not None:
                target[0] -= cell.units
        for key, (n, weighted) in shown.items():
            self._quote(self._states[key], n, weighted)
        plan = np.full(len(at), np.nan)
        for key, i in at.items():
            target = self._states[key].target
            if target is not None and target[2] > at_ms:
                plan[i] = max(0.0, target[0] * MINUTE_MS / (target[2] - at_ms + MINUTE_MS))
        return Minute.of(
            len(at),
            at_ms,
            orders=sums[0],
            units=sums[1],
            price_factor=[math.exp(self._states[key].log_price_factor) for key in self._index],
            searches_matured=np.maximum(sums[2], 0.0),
            searches_abandoned=np.clip(sums[3], 0.0, np.maximum(sums[2], 0.0)),
            plan_units=plan,
            in_stock=[0.0 if key in empty else 1.0 for key in self._index],
        )

    def _quote(self, state: ListingState, exposures: float, weighted_log_price: float) -> None:
        """Follow the price that shoppers see: its changes times ε are the predicted effect on orders.

        Chained, so that a new ε moves nothing by itself; half an hour's exposures, so that the mix of
        explored prices of one minute is not taken for a price change.
        """
        n, total, last = state.quoted
        n, total = n * 0.97 + exposures, total * 0.97 + weighted_log_price
        mean = total / n
        if last:
            moved = self._elasticity(state)[0] * (mean - last)
            state.log_price_factor = max(-4.0, min(4.0, state.log_price_factor + moved))
        state.quoted = [n, total, mean]

    def _renewals(self, at_ms: int, now_ms: int) -> list[Output]:
        """Tables near their end again, under the same table id: no customer sees a flicker."""
        left = self.policy.tables.life_minutes * MINUTE_MS * self.policy.tables.renew_share
        outputs = []
        for key in self._index:
            table = self._states[key].table
            if table is None or table.expires_ms - now_ms > left or self._control.killed(table.listing, at_ms):
                continue
            if self._catalog[key].active:
                outputs.append(self._write(key, table, at_ms, now_ms))
        return outputs

    # -- facts ---------------------------------------------------------------------------------

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Take one offer, stock level, calendar entry, command or estimate at once."""
        if self._repeated(fact.address):
            return []
        topic = TOPICS[fact.kind]
        if topic.judge(fact.value) is not None:
            return []
        names = [each.name for each in dataclasses.fields(topic.record)]
        value = {name: fact.value[name] for name in names if name in fact.value}
        at_ms = max(self._time_ms, min(fact.event_time_ms, fact.now_ms) if fact.now_ms else fact.event_time_ms)
        now_ms = fact.now_ms or at_ms
        looks: dict[str, tuple[Cause, dict[str, Any]]] = {}
        match fact.kind:
            case "offers":
                self._take_offer(Offer(**value), looks)
            case "stock":
                self._take_stock(Stock(**value), looks)
            case "catalog":
                self._take_catalog(CatalogEntry(**value), looks)
            case "calendar":
                self._take_event(CalendarEvent(**value), looks, at_ms)
            case "estimates":
                self._take_estimate(value)
            case "commands":
                return self._command(Command(**value), fact.address, at_ms, now_ms)
            case _:
                raise ValueError(
                    f"fact: expected offers, stock, catalog, calendar, commands or estimates; got {fact.kind!r}"
                )
        outputs: list[Output] = []
        for key in [key for key in self._index if key in looks]:
            outputs += self._decide(key, *looks[key], fact.address, at_ms, now_ms)
            outputs += self._requote_rivals(key, at_ms, now_ms)
        return outputs

    def _repeated(self, address: str) -> bool:
        """Whether a fact was taken before: offsets of a partition come in order."""
        partition, _, offset = address.rpartition("-")
        if not partition or not offset.isdigit():
            return False
        if int(offset) <= self._seen.get(partition, -1):
            return True
        self._seen[partition] = int(offset)
        return False

    def _take_catalog(self, entry: CatalogEntry, looks: dict[str, tuple[Cause, dict[str, Any]]]) -> None:
        key = f"{entry.tenant}/{entry.market}/{entry.sku}"
        known = self._catalog.get(key)
        if not self._catalog.observe(entry):
            return
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = ListingState(entry.price_group)
            self._index.append(key)
            category = self._categories.setdefault(
                f"{entry.tenant}/{entry.market}/{entry.category}", len(self._categories)
            )
            self._watcher.grow(1, [category])
            if entry.price_group != entry.sku:
                # A SKU that is its own group is watched already; its sums would be the same again.
                group = f"{entry.tenant}/{entry.market}/{entry.price_group}"
                self._grouped.append(len(self._index) - 1)
                self._group_watcher.grow([self._groups.setdefault(group, len(self._groups))])
            state.estimate = self._parked.pop(key, None)
        state.price_group = entry.price_group
        self._trust_cost(state, entry)
        state.needs_start = state.needs_start or state.table is None
        if known is not None and state.table is not None:
            watched = ("cost_minor", "list_minor", "floor_minor", "ceiling_minor", "active")
            changed = {name: [getattr(known, name), getattr(entry, name)] for name in watched}
            changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
            if changed:
                looks[key] = (Cause.COST_CHANGED, changed)

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

    def _take_offer(self, offer: Offer, looks: dict[str, tuple[Cause, dict[str, Any]]]) -> None:
        key = f"{offer.tenant}/{offer.market}/{offer.sku}"
        entry, state = self._catalog.get(key), self._states.get(key)
        market = self.policy.market
        if (
            entry is None
            or state is None
            or offer.currency != entry.currency
            or offer.pack_size != entry.pack_size
        ):
            return
        if offer.match_confidence < market.min_match_confidence:
            return
        held = state.offers.get(offer.competitor)
        if held is not None and held[_AT_MS] > offer.event_time_ms:
            return
        set_aside = None
        jumped = held is not None and abs(offer.price_minor / held[_PRICE] - 1) > market.offer_jump
        if held and jumped and (held[_SET_ASIDE] != offer.price_minor or held[_AT_MS] == offer.event_time_ms):
            # One wild price is more often an error than a move: it counts when it is seen twice.
            set_aside = offer.price_minor
        price = offer.price_minor if set_aside is None or held is None else held[_PRICE]
        new = [
            price,
            offer.shipping_minor,
            offer.in_stock,
            offer.event_time_ms,
            offer.validity_ms,
            offer.pack_size,
            set_aside,
        ]
        if held == new:
            return
        state.offers[offer.competitor] = new
        if len(state.offers) > market.max_rivals:
            del state.offers[min(state.offers, key=lambda name: (state.offers[name][_AT_MS], name))]
        if held is None or held[:_AT_MS] != new[:_AT_MS]:
            detail = {
                "competitor": offer.competitor,
                "price_minor": offer.price_minor + offer.shipping_minor,
                "before_minor": held[_PRICE] + held[_SHIPPING] if held else None,
                "in_stock": offer.in_stock,
            }
            looks.setdefault(key, (Cause.RIVAL_MOVED, detail))
            self._watcher.add_fact(self._index.index(key), "rivals")

    def _take_stock(self, stock: Stock, looks: dict[str, tuple[Cause, dict[str, Any]]]) -> None:
        key = f"{stock.tenant}/{stock.market}/{stock.sku}"
        state = self._states.get(key)
        if state is None or (state.stock is not None and state.stock[0] >= stock.event_time_ms):
            return
        was_empty = state.stock is not None and state.stock[1] <= 0
        known = state.stock is not None
        state.stock = [stock.event_time_ms, stock.on_hand, stock.inbound, stock.lead_time_days]
        if known and was_empty != (stock.on_hand <= 0):
            cause = Cause.RESTOCKED if was_empty else Cause.STOCK_OUT
            looks.setdefault(key, (cause, {"on_hand": stock.on_hand, "inbound": stock.inbound}))

    def _take_event(
        self, event: CalendarEvent, looks: dict[str, tuple[Cause, dict[str, Any]]], at_ms: int
    ) -> None:
        self._control.announce(event)
        if event.start_ms <= min(at_ms, self._time_ms) < event.end_ms:
            self._turn(event, True, looks)

    def _turn(self, event: CalendarEvent, starts: bool, looks: dict[str, tuple[Cause, dict[str, Any]]]) -> None:
        cause = Cause.EVENT_STARTED if starts else Cause.EVENT_ENDED
        for i, key in enumerate(self._index):
            if applies(event, self._catalog[key]):
                looks.setdefault(key, (cause, {"event": event.name, "kind": event.kind}))
                self._watcher.add_fact(i, "events")

    def _take_estimate(self, value: Mapping[str, Any]) -> None:
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
        state = self._states.get(key)
        if state is None:
            self._parked[key] = row
            if len(self._parked) > PARKED_ESTIMATES:
                del self._parked[next(iter(self._parked))]
        elif state.estimate is None or state.estimate[0] <= row[0]:
            state.estimate = row

    def _requote_rivals(self, key: str, at_ms: int, now_ms: int) -> list[Output]:
        """The rivals' price that quotes carry follows the rivals, under the same table id."""
        table = self._states[key].table
        if table is None or self._control.killed(table.listing, at_ms):
            return []
        mean = self._rivals_mean(key, at_ms)
        offer_minor = None if mean is None else round(mean)
        if offer_minor == table.offer_minor:
            return []
        return [self._write(key, replace(table, offer_minor=offer_minor), at_ms, now_ms)]

    # -- commands ------------------------------------------------------------------------------

    def _command(self, command: Command, address: str, at_ms: int, now_ms: int) -> list[Output]:
        """An operator's word, for the listings of this bucket that it covers."""
        covered = [key for key in self._index if covers(scope_of(command), Listing.parse(key))]
        detail = {"command": command.kind, "operator": command.operator, "reason": command.reason}
        outputs: list[Output] = []
        match CommandKind(command.kind):
            case CommandKind.FREEZE:
                self._control.freeze(command)
            case CommandKind.UNFREEZE:
                self._control.unfreeze(command)
            case CommandKind.KILL_SWITCH:
                self._control.freeze(command, kill=True)
            case CommandKind.RESUME:
                self._control.unfreeze(command, kill=True)
            case CommandKind.SETTLE:
                for key in covered:
                    outputs += self._decide(key, Cause.SETTLE, detail, address, at_ms, now_ms)
                    self._watcher.clear([self._index.index(key)])
            case CommandKind.SALE_TARGET:
                for key in covered:
                    set_off = command.units is None or command.until_ms is None or command.until_ms <= at_ms
                    target = None if set_off else [command.units, at_ms, command.until_ms]
                    self._states[key].target = target  # type: ignore[assignment]
                    outputs += self._decide(
                        key, Cause.COMMAND, detail | {"units": command.units}, address, at_ms, now_ms
                    )
            case CommandKind.MANUAL_PRICE if command.price_minor is not None:
                for key in covered:
                    listing = Listing.parse(key)
                    outputs += self._decide(
                        key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=command.price_minor
                    )
                    pinned = replace(command, market=listing.market, sku=listing.sku)
                    self._control.freeze(pinned, text=f"price set by {command.operator}")
            case CommandKind.ROLLBACK:
                for key in covered:
                    price = self._price_before(self._states[key], command.version)
                    if price is not None:
                        outputs += self._decide(
                            key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=price
                        )
            case CommandKind.APPROVE | CommandKind.REJECT:
                for key in self._index:
                    pending = self._states[key].pending
                    if pending and pending["decision_id"] == command.decision_id:
                        outputs += self._answer(key, command, detail, address, at_ms, now_ms)
            case _:
                pass  # `policy` takes effect by configuration and restart; it is recorded in its own topic
        return outputs

    def _answer(
        self, key: str, command: Command, detail: dict[str, Any], address: str, at_ms: int, now_ms: int
    ) -> list[Output]:
        """An operator's answer to a decision that asked."""
        state = self._states[key]
        pending, state.pending = state.pending or {}, None
        detail = detail | {"decision_id": pending["decision_id"]}
        if command.kind == CommandKind.REJECT or at_ms > pending["until_ms"]:
            state.continue_at_ms = None
            return []
        if pending["what"] == "cost":
            state.trusted_cost_minor, state.odd_cost = self._catalog[key].cost_minor, None
            return self._decide(key, Cause.COMMAND, detail, address, at_ms, now_ms)
        return self._decide(
            key, Cause.COMMAND, detail, address, at_ms, now_ms, approved_minor=pending["price_minor"]
        )

    @staticmethod
    def _price_before(state: ListingState, version: int | None) -> int | None:
        """The default price of a version, or of the table before the present one."""
        if version is not None:
            return next((price for v, price in state.history if v == version), None)
        return state.history[-2][1] if len(state.history) > 1 else None

    # -- deciding ------------------------------------------------------------------------------

    def _decide(
        self,
        key: str,
        cause: Cause,
        detail: dict[str, Any],
        address: str,
        at_ms: int,
        now_ms: int,
        approved_minor: int | None = None,
    ) -> list[Output]:
        """Re-price one listing: the decision, and the new table if there is one."""
        entry, state = self._catalog[key], self._states[key]
        if not entry.active:
            return []
        if state.table is None and approved_minor is None and cause is not Cause.SETTLE:
            if cause not in (Cause.COLD_START, Cause.COST_CHANGED):
                # Nothing is shown but the list price yet; the rule of the start decides first.
                detail = detail | {"after": cause.value}
            cause = Cause.COLD_START
        decision_id = _hash(key, cause.value, address)
        inputs = self.inputs(key, cause, detail, at_ms, int(decision_id[:8], 16), approved_minor)
        result = reprice(inputs, self.policy)
        outputs: list[Output] = []
        table = self._new_table(key, result, decision_id, now_ms)
        decision = Decision(
            decision_id=decision_id,
            tenant=entry.tenant,
            market=entry.market,
            sku=entry.sku,
            price_group=entry.price_group,
            event_time_ms=at_ms,
            decided_at_ms=now_ms,
            cause=cause.value,
            cause_detail=inputs["cause_detail"],
            inputs=inputs,
            result=result.to_record(),
            published=table is not None,
            version=table.version if table else state.last_version,
            table_id=table.table_id if table else (state.table.table_id if state.table else ""),
        )
        outputs.append(Output("decisions", key, asdict(decision), at_ms))
        self._remember(key, result, decision_id, at_ms)
        if table is not None:
            self._changed(key, table, cause, at_ms)
            outputs.append(self._write(key, table, at_ms, now_ms))
        return outputs

    def inputs(
        self, key: str, cause: Cause, detail: Mapping[str, Any], at_ms: int, seed: int, approved_minor: int | None
    ) -> dict[str, Any]:
        """All that a decision on this listing depends on now, as plain data."""
        entry, state, policy = self._catalog[key], self._states[key], self.policy
        period_ms = policy.objective.period_minutes * MINUTE_MS
        shares = self._book.segment_shares(key)
        known = sum(shares.get(name, 0.0) for name in policy.segments.names)
        eps, eps_sd, eta, eta_sd = self._elasticity(state)
        centre = self._book.offer_deviation(key, 1.0)
        target, target_from = self._target(state, at_ms, period_ms)
        current = None
        if state.table is not None:
            arm = state.table.table.get(policy.tables.arm) or state.table.table[min(state.table.table)]
            day, day_ends_ms = self._day(entry.market, at_ms)
            current = {
                "default_minor": state.table.default_minor,
                "segments": table_record(arm),
                "last_change_ms": state.last_change_ms,
                "changes_today": state.changes_today if state.day == day else 0,
                "day_ends_ms": day_ends_ms,
            }
        return make_inputs(
            listing=key,
            at_ms=at_ms,
            cause=cause.value,
            cause_detail=detail,
            seed=seed,
            currency=entry.currency,
            catalog={
                "cost_minor": entry.cost_minor,
                "trusted_cost_minor": state.trusted_cost_minor,
                "list_minor": entry.list_minor,
                "floor_minor": entry.floor_minor,
                "ceiling_minor": entry.ceiling_minor,
                "pack_size": entry.pack_size,
                "role": entry.role,
            },
            current=current,
            offers=self._offers(state),
            offer_centre=None if centre is None else -centre,
            requests=self._book.requests_expected(key, at_ms, period_ms)
            * self._control.demand_factor(entry, at_ms),
            segments={
                name: {
                    "share": shares.get(name, 0.0) / known,
                    "units_per_order": self._book.units_per_order(key, name),
                    "counts": self._book.counts(key, name).to_record(),
                }
                for name in policy.segments.names
            },
            elasticity={"mean": eps, "sd": eps_sd},
            rival_elasticity={"mean": eta, "sd": eta_sd},
            target_units=target,
            target_from=target_from,
            frozen=self._control.frozen(Listing.parse(key), at_ms),
            surge_ban=self._control.emergency(entry, at_ms),
            approved_minor=approved_minor,
            policy=policy,
        )

    def _elasticity(self, state: ListingState) -> tuple[float, float, float, float]:
        """ε, its sd, η, its sd: the estimate where there is one, else the policy's prior; clipped to sense."""
        beliefs = self.policy.beliefs
        if state.estimate is None:
            return beliefs.elasticity_mean, beliefs.elasticity_sd, beliefs.rival_elasticity, 0.0
        _, eps, eps_sd, eta, eta_sd = state.estimate
        return min(eps, beliefs.elasticity_max), eps_sd, max(eta, 0.0), eta_sd

    def _target(self, state: ListingState, at_ms: int, period_ms: int) -> tuple[float | None, str | None]:
        """T of the period: a sale target's part of what is left, else stock that must last until more comes."""
        if state.target is not None and at_ms < state.target[2]:
            part = min(1.0, period_ms / (state.target[2] - at_ms))
            return max(0.0, state.target[0] * part), "sale_target"
        if self.policy.objective.stock_as_target and state.stock is not None and state.stock[1] > 0:
            lead_ms = state.stock[3] * DAY_MS
            if lead_ms > 0:
                return state.stock[1] * min(1.0, period_ms / lead_ms), "stock"
        return None, None

    def _offers(self, state: ListingState) -> list[dict[str, Any]]:
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

    def _rivals_mean(self, key: str, at_ms: int) -> float | None:
        """Today's fresh rivals' mean, as a decision would see it."""
        state, entry = self._states.get(key), self._catalog.get(key)
        if state is None or entry is None or not state.offers:
            return None
        asked = {
            "listing": key,
            "at_ms": at_ms,
            "currency": entry.currency,
            "catalog": {"pack_size": entry.pack_size},
            "offers": self._offers(state),
        }
        got = rivals_of(asked, self.policy)
        return got.mean_minor if got and got.fresh else None

    def _new_table(self, key: str, result: Result, decision_id: str, now_ms: int) -> PriceTable | None:
        if result.table is None:
            return None
        entry, state = self._catalog[key], self._states[key]
        return PriceTable(
            listing=Listing.parse(key),
            price_group=entry.price_group,
            version=next_version(state.last_version, now_ms),
            table_id=decision_id,
            published_ms=now_ms,
            expires_ms=now_ms + self.policy.tables.life_minutes * MINUTE_MS,
            currency=entry.currency,
            table={self.policy.tables.arm: result.table},
            list_minor=entry.list_minor or 0,
            offer_minor=result.reference.reference_minor if result.reference and result.reference.fresh else None,
            reason=result.reason,
            decision_id=decision_id,
        )

    def _write(self, key: str, table: PriceTable, at_ms: int, now_ms: int) -> Output:
        """A table goes out: a new version, a new life."""
        state = self._states[key]
        state.last_version = next_version(state.last_version, now_ms)
        life_ms = self.policy.tables.life_minutes * MINUTE_MS
        state.table = replace(table, version=state.last_version, published_ms=now_ms, expires_ms=now_ms + life_ms)
        return Output("tables", key, state.table.to_record(), at_ms)

    def _changed(self, key: str, table: PriceTable, cause: Cause, at_ms: int) -> None:
        """The account of changes, for pace, rollback and the watcher."""
        state, i = self._states[key], self._index.index(key)
        before = state.table.default_minor if state.table else None
        state.needs_start = False
        if table.default_minor != before:
            day, _ = self._day(table.listing.market, at_ms)
            state.changes_today = state.changes_today + 1 if state.day == day else 1
            state.day, state.last_change_ms = day, at_ms
            state.history = [*state.history, [table.version, table.default_minor]][-KEPT_TABLES:]
        if cause not in (Cause.EVIDENCE, Cause.COLD_START):
            self._watcher.clear([i])

    def _remember(self, key: str, result: Result, decision_id: str, at_ms: int) -> None:
        """What follows from a decision: a plan to go on, a question to people."""
        state = self._states[key]
        state.continue_at_ms = result.continue_at_ms
        if result.outcome in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE) and state.table is None:
            state.needs_start = False  # until the catalog says something new
        what = None
        if any(band.code is GuardrailCode.INPUT_INVALID for band in result.bands) and state.odd_cost is not None:
            what = "cost"
        elif (result.review or result.alert) and result.candidate_minor not in (None, result.default_minor):
            what = "price"
        if what is not None:
            state.pending = {
                "decision_id": decision_id,
                "what": what,
                "price_minor": result.candidate_minor,
                "until_ms": at_ms + self.policy.limits.approval_minutes * MINUTE_MS,
            }

    def _day(self, market: str, at_ms: int) -> tuple[int, int]:
        """The market's day and its end."""
        offset_ms = self.policy.limits.day_offset_minutes.get(market, 0) * MINUTE_MS
        day = (at_ms + offset_ms) // DAY_MS
        return day, (day + 1) * DAY_MS - offset_ms

    # -- restart -------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All that must survive a restart."""
        return {
            "v": self.version,
            "time_ms": self._time_ms,
            "index": list(self._index),
            "states": [self._states[key].to_row() for key in self._index],
            "catalog": self._catalog.snapshot(),
            "demand": self._book.snapshot(),
            "watcher": self._watcher.snapshot(),
            "groups_watcher": self._group_watcher.snapshot(),
            "control": self._control.snapshot(),
            "categories": dict(self._categories),
            "groups": dict(self._groups),
            "grouped": list(self._grouped),
            "parked": {key: list(row) for key, row in self._parked.items()},
            "seen": dict(self._seen),
            "shown": list(self._shown),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        if snapshot.get("v") != self.version:
            raise SnapshotError(f"repricing: expected snapshot version {self.version}, got {snapshot.get('v')!r}")
        self._time_ms = snapshot["time_ms"]
        self._index = list(snapshot["index"])
        rows = (ListingState.from_row(row) for row in snapshot["states"])
        self._states = dict(zip(self._index, rows, strict=True))
        self._catalog.restore(snapshot["catalog"])
        self._book.restore(snapshot["demand"])
        self._watcher.restore(snapshot["watcher"])
        self._group_watcher.restore(snapshot["groups_watcher"])
        self._control.restore(snapshot["control"])
        self._categories = dict(snapshot["categories"])
        self._groups = dict(snapshot["groups"])
        self._grouped = list(snapshot["grouped"])
        self._parked = {key: list(row) for key, row in snapshot["parked"].items()}
        self._seen = dict(snapshot["seen"])
        self._shown = list(snapshot["shown"])


def _part(minute: Minute, rows: list[int]) -> Minute:
    """Some listings of a minute."""
    arrays = {each.name: getattr(minute, each.name) for each in dataclasses.fields(minute)}
    return Minute(**{name: a[rows] if isinstance(a, np.ndarray) else a for name, a in arrays.items()})


def _hash(*parts: str) -> str:
    """Sixteen hex digits that name what happened, the same in every run."""
    return hashlib.md5("|".join(parts).encode(), usedforsecurity=False).hexdigest()[:16]
