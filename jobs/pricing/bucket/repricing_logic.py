"""RepricingLogic: one bucket's beliefs about its listings, and its decisions on their prices.

A minute's batch: catalog, offers and stock are taken, demand is counted, the watcher steps. Listings that it
triggered, that a pace limit postponed, or that have no table yet are repriced; tables near their expiry are
renewed. A single fact is taken at once, and where it may make a price wrong (a rival's move, a stock-out, a
command) the listing is repriced at once, outside the false-alarm budget.

Event time (a minute's end, a fact's time) decides everything; the Clock's time (``now_ms``) only stamps versions,
publication and expiry. A decision's id is a hash of listing, cause and address, so that a repeat is recognised.

Parts: :mod:`bucket_state` (what is known), :mod:`bucket_watch` (evidence), :mod:`price_experience` (observed
prices), :mod:`fallback_changes` (stages of the fallback chain), :mod:`input_collector` and :mod:`decider`
(decisions and tables), :mod:`accepted_commands` and :mod:`jobs.pricing.commands` (operators' commands),
:mod:`control` (freezes, calendar); the demand book counts.

The file exceeds 300 lines because it holds the order of a minute's steps and of what each fact does. The steps
themselves are in the modules named above.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from features.books.demand import DemandBook
from features.books.products import validate_cells
from features.bucket_logic import Batch, Fact, Output, refuse_other_version
from features.cells.lines import record_values
from jobs.pricing.bucket.accepted_commands import AcceptedCommands
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.bucket_watch import BucketWatch
from jobs.pricing.bucket.control import Control, applies
from jobs.pricing.bucket.decider import Decider, Trigger
from jobs.pricing.bucket.fallback_changes import FallbackChanges
from jobs.pricing.bucket.input_collector import InputCollector
from jobs.pricing.bucket.listing.price_experience import grown, observe_cells
from jobs.pricing.bucket.requests import RepricingRequests
from jobs.pricing.commands import CommandContext, apply_command
from jobs.pricing.commands.base import refusal_of
from jobs.pricing.decision.inputs import DealCounts
from jobs.pricing.guardrails.extrapolation import ExtrapolationSettings, brought_gain
from jobs.pricing.guardrails.forward_buying import is_bought_ahead
from jobs.pricing.policies import PolicyBook
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import demand_settings, market_time
from jobs.pricing.rules.turning import TimedRule, timed_rules, turn_of
from schemas.causes import Cause
from schemas.events import CalendarEvent, CatalogEntry, Offer, Stock
from schemas.listings import Listing, bucket_of
from schemas.records.operator_events import Command
from schemas.time_units import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.topics import TOPICS

FACTS = ("offers", "stock", "calendar", "commands")
"""Inputs whose records repricing processes on arrival."""
REPLAY_FACTS = ("calendar", "commands")
"""The inputs that it processes on arrival in a replay: those whose records no batch contains."""


class RepricingLogic:
    """The repricing of one bucket (a :class:`features.bucket_logic.BucketLogic`).

    Outputs: ``evidence``, ``decisions`` (``asdict(Decision)``), ``tables`` (``PriceTable.to_record()``; the host
    publishes them to Redis), ``policies`` (each policy before its first decision) and ``policy_changes``.

    Parameters
    ----------
    policy : the business numbers; not part of the snapshot.
    decider : what decides on a listing; another one in a simulation of another shop.
    verify : returns what is wrong with a command's author, role or signature; "" for nothing. A command that
        passes is carried out once (:mod:`accepted_commands`). None, as in a replay: every command counts as its
        operator's.

    Examples
    --------
    A listing becomes known, and gets its first table at the list price.

    >>> logic = RepricingLogic()
    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
    >>> outputs = list(logic.on_batch(Batch(0, 60_000, catalog=(entry,), now_ms=60_500)))
    >>> [output.stream for output in outputs], outputs[2].value["default_minor"]
    (['policies', 'decisions', 'tables'], '1000')
    """

    name = "repricing"
    version = 1

    def __init__(
        self,
        policy: Policy | None = None,
        decider: type[Decider] = Decider,
        verify: Callable[[Command], str] | None = None,
    ) -> None:
        self.policy = policy or Policy()
        self._verify = verify
        self._policies = PolicyBook(self.policy)
        self._bucket = BucketState(self._policies)
        self._market_time = market_time(self.policy)
        self._book = DemandBook(demand_settings(self.policy), self._market_time)
        self._control = Control()
        self._commands = AcceptedCommands()
        self._watch = BucketWatch(self.policy, self._bucket, self._book)
        self._decider = decider(self._policies, self._bucket, self._book, self._control)
        self._collector = InputCollector(self._policies, self._bucket, self._book, self._control)
        self._fallback_changes = FallbackChanges(self._policies, self._bucket, self._collector)
        self._extrapolation = self.policy.section(ExtrapolationSettings)
        self._seen: dict[str, int] = {}
        self._own_minute: dict[
            str, int
        ] = {}  # of the hour; not part of the snapshot, since it follows from the key
        self._time_ms = 0

    def on_batch(self, batch: Batch) -> Iterable[Output]:
        """Take one minute of the bucket; one not newer than the last changes nothing."""
        if batch.window_end_ms <= self._time_ms:
            return []
        at_ms, before_ms = batch.window_end_ms, self._time_ms or batch.window_end_ms - MINUTE_MS
        now_ms = batch.now_ms or at_ms
        requests = RepricingRequests()
        for entry in batch.catalog:
            self._take_catalog(entry, requests)
        self._advance_policies(at_ms, requests)
        for key in self._bucket.take_offers(batch.offers, at_ms, requests):
            self._watch.add_fact(key, "rivals")
        for stock in batch.stock:
            self._bucket.take_stock(stock, requests, early=False)
        self._bucket.close_minute(at_ms)
        cells, _ = validate_cells(batch.cells, self._bucket.catalog)
        states = self._bucket.states
        empty = {key for key, state in states.items() if state.stock and state.stock.on_hand <= 0}
        offers = {key: self._bucket.recorded_rivals_mean(key, at_ms) for key in {Listing.key_of(c) for c in cells}}
        self._book.observe(dataclasses.replace(batch, cells=tuple(cells)), offer_of=offers.get, out_of_stock=empty)
        observe_cells(states, cells, self._extrapolation)
        self._bucket.bandits.observe(cells, self._bucket.catalog, empty)
        if at_ms // HOUR_MS != before_ms // HOUR_MS:
            self._book.learn_segment_deviations(self._elasticity_of)
        bought: dict[tuple[str, str], DealCounts] = {}
        for key in self._hourly_turns(before_ms, at_ms):
            self._request_on_step(key, requests)
            self._request_on_growth(key, requests)
            self._request_on_deals(key, requests, bought)
            self._fallback_changes.request(key, at_ms, requests)
        self._time_ms = at_ms
        outputs = self._watch.step(at_ms, cells, empty, requests)
        for event, starts in self._control.turning(before_ms, at_ms):
            self._take_event_change(event, starts, requests)
        self._control.forget_before(at_ms - DAY_MS)
        self._request_on_rules(before_ms, at_ms, requests)
        for key, state in states.items():
            if state.continue_at_ms is not None and at_ms >= state.continue_at_ms:
                planned = {"planned_ms": state.continue_at_ms, "after": state.continue_after}
                requests.add(key, Cause.CONTINUED, planned)
            elif not state.has_table and state.needs_start:
                requests.add(key, Cause.COLD_START, {})
        trigger = Trigger(f"batch-{at_ms}", at_ms, now_ms)
        outputs += self._decider.decide_all(requests, trigger)
        return outputs + self._decider.renewals(trigger)

    def on_fact(self, fact: Fact) -> Iterable[Output]:
        """Take one offer, stock level, calendar entry, command or estimate at once.

        A fact whose address is not newer than the last of its partition, and one that its topic's
        contract refuses (demand_job reports it), change nothing.
        """
        topic = TOPICS[fact.kind]
        if self._repeated(fact.address) or topic.validate(fact.value) is not None:
            return []
        value = record_values(topic, fact.value) if topic.input else fact.value
        at_ms = max(self._time_ms, min(fact.event_time_ms, fact.now_ms) if fact.now_ms else fact.event_time_ms)
        now_ms = fact.now_ms or at_ms
        requests = RepricingRequests()
        match fact.kind:
            case "offers" | "stock" if fact.event_time_ms < self._time_ms:
                return []  # its minute is on record
            case "offers":
                offer = Offer(**value)
                if self._bucket.take_offer(offer, requests):
                    self._watch.add_fact(Listing.key_of(offer), "rivals")
            case "stock":
                self._bucket.take_stock(Stock(**value), requests, early=True)
            case "catalog":
                self._take_catalog(CatalogEntry(**value), requests)
            case "calendar":
                event = CalendarEvent(**value)
                self._control.announce(event)
                if event.start_ms <= self._time_ms < event.end_ms:
                    self._take_event_change(event, True, requests)
            case "estimates":
                if self._bucket.take_estimate(value, requests):
                    self._book.fade(Listing.key_in(value), self.policy.drift.keep_counts)
                self._fallback_changes.request(Listing.key_in(value), at_ms, requests)
            case "commands":
                command = Command(**value)
                if problem := self._refuse(command):
                    return [refusal_of(command, problem)]
                trigger = Trigger(fact.address, at_ms, now_ms)
                context = CommandContext(
                    command,
                    trigger,
                    self._bucket,
                    self._book,
                    self._control,
                    self._decider,
                    self._policies,
                )
                return apply_command(context)
            case _:
                expected = "offers, stock, catalog, calendar, commands or estimates"
                raise ValueError(f"fact.kind: expected {expected}; got {fact.kind!r}")
        return self._decider.decide_all(requests, Trigger(fact.address, at_ms, now_ms))

    def _repeated(self, address: str) -> bool:
        """Return whether a fact was taken already; offsets of a partition are in order."""
        partition, _, offset = address.rpartition("-")
        if not partition or not offset.isdigit():
            return False
        if int(offset) <= self._seen.get(partition, -1):
            return True
        self._seen[partition] = int(offset)
        return False

    def _refuse(self, command: Command) -> str:
        """Return what is wrong with a command, and remember it if that is nothing; "" for nothing."""
        if self._verify is None:
            return ""
        problem = self._verify(command) or self._commands.problem(command)
        if not problem:
            self._commands.add(command)
        return problem

    def _hourly_turns(self, before_ms: int, at_ms: int) -> list[str]:
        """Return the listings whose minute of the hour has come; each has its own, which spreads the load.

        >>> logic = RepricingLogic()
        >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
        >>> _ = list(logic.on_batch(Batch(0, 60_000, catalog=(entry,), now_ms=60_500)))
        >>> sum(len(logic._hourly_turns(m * 60_000, (m + 1) * 60_000)) for m in range(60))
        1
        >>> logic._hourly_turns(0, HOUR_MS)
        ['acme/web/s1']
        """
        for key in self._bucket.index[len(self._own_minute) :]:
            # Not the key alone: its hash is what put these listings into one bucket.
            self._own_minute[key] = bucket_of(f"{key}|turn", HOUR_MS // MINUTE_MS)
        first, last = before_ms // MINUTE_MS + 1, at_ms // MINUTE_MS
        due = {minute % (HOUR_MS // MINUTE_MS) for minute in range(max(first, last - 59), last + 1)}
        return [key for key, minute in self._own_minute.items() if minute in due]

    def _request_on_growth(self, key: str, requests: RepricingRequests) -> None:
        """Request a repricing where the counts grew much since the last decision, or a bandit has its reward.

        Often at first, then less and less often, as a logarithm of the counts; never without new requests.
        """
        state = self._bucket.states[key]
        if not state.has_table or state.decided_on is None:
            return
        counted, before, beliefs = self._book.requests(key), state.decided_on.requests, self.policy.beliefs
        has_more = counted >= max(beliefs.least_requests, beliefs.look_when_grown * before)
        if has_more or self._bucket.bandits.awaits_decision(key, self._bucket.catalog[key]):
            requests.add(key, Cause.BELIEFS_MOVED, {"requests": counted, "before": before})

    def _request_on_step(self, key: str, requests: RepricingRequests) -> None:
        """Widen the range of observed prices and request a repricing where the last step outside it paid."""
        result, state = self._collector.step_result(key), self._bucket.states[key]
        if result is None or not brought_gain(result, self._extrapolation):
            return
        state.experience = seen = grown(state.experience, self._policy_of(key).limits.max_step)
        detail = {
            "range_low_minor": seen.low_minor,
            "range_high_minor": seen.high_minor,
            "confidence": result.confidence,
        }
        requests.add(key, Cause.BELIEFS_MOVED, detail)

    def _request_on_deals(
        self, key: str, requests: RepricingRequests, bought_of: dict[tuple[str, str], DealCounts]
    ) -> None:
        """Request a repricing where a table holds a deal and deals are now believed to be bought ahead.

        ``bought_of`` keeps :meth:`BucketState.bought` by tenant and category during one minute.
        """
        state = self._bucket.states[key]
        if state.table is None or state.usual_log is None:
            return
        lists = (prices for arm in state.table.table.values() for prices in arm.values())
        lowest = min(price for price_list in lists for price in price_list.prices)
        entry, usual = self._bucket.catalog[key], math.exp(state.usual_log)
        category = (entry.tenant, entry.category)
        if category not in bought_of:
            bought_of[category] = self._bucket.bought(entry)
        bought = bought_of[category]
        if is_bought_ahead(lowest, usual, bought, self._policy_of(key)):
            detail = {"lowest_minor": lowest, "usual_minor": round(usual), "bought": list(bought)}
            requests.add(key, Cause.BELIEFS_MOVED, detail)

    def _policy_of(self, key: str) -> Policy:
        return self._policies.of(self._bucket.catalog[key])

    def _elasticity_of(self, key: str) -> float:
        """Return the own-price elasticity as believed now; the prior's for a listing without a catalog entry."""
        return self._bucket.elasticity(key)[0]

    def _take_catalog(self, entry: CatalogEntry, requests: RepricingRequests) -> None:
        key = Listing.key_of(entry)
        known = self._bucket.catalog.get(key)
        former = [] if known is None else self._decider.members_of(key)
        if self._bucket.take_catalog(entry, requests):
            self._watch.grow(entry)
        if known is not None and self._bucket.catalog[key].currency != known.currency:
            self._book.forget_prices(key)
        self._request_of_former_group(key, former, requests)

    def _request_of_former_group(self, key: str, former: Iterable[str], requests: RepricingRequests) -> None:
        """Request a repricing of the listings that were decided together with a listing and are so no more.

        Without it they may have another price, or a price at all.
        """
        members = set(self._decider.members_of(key))
        for member in former:
            if member not in members:
                requests.add(member, Cause.GROUP_LEFT, {"listing": key})

    def _advance_policies(self, at_ms: int, requests: RepricingRequests) -> None:
        """Apply the patches that hold from this minute on; request a repricing of the listings they change."""
        if not self._policies.is_due(at_ms):
            return
        before = {key: self._policy_of(key).hash for key in self._bucket.index}
        groups = {key: self._decider.members_of(key) for key in self._bucket.index}
        self._policies.advance(at_ms)
        for key, known in before.items():
            entry = self._bucket.catalog[key]
            policy = self._policies.of(entry)
            if policy.hash != known:
                detail = {"policy": policy.hash, "before": known, "scopes": self._policies.scopes_of(entry)}
                requests.add(key, Cause.POLICY_CHANGED, detail)
        for key, former in groups.items():
            self._request_of_former_group(key, former, requests)

    def _request_on_rules(self, before_ms: int, at_ms: int, requests: RepricingRequests) -> None:
        """Request a repricing of the priced listings for which a pricing rule was turned on or off by time."""
        if not self._policies.has_timed_rules():
            return
        timed: dict[tuple[str, str], tuple[TimedRule, ...]] = {}
        for key in self._bucket.index:
            entry, state = self._bucket.catalog[key], self._bucket.states[key]
            policy = self._policies.of(entry)
            if not policy.rules.timed or not state.has_table:
                continue
            where = (policy.hash, entry.market)
            if where not in timed:
                timed[where] = timed_rules(policy.rules, entry.market, self._market_time, before_ms, at_ms)
            turn = turn_of(timed[where], entry, state.since_ms, before_ms, at_ms)
            if turn is not None:
                turned = "began" if turn.is_on else "ended"
                requests.add(key, Cause.RULE_TURNED, {"rule": turn.rule.name, "turned": turned})

    def _take_event_change(self, event: CalendarEvent, starts: bool, requests: RepricingRequests) -> None:
        """Request a repricing of the listings of an event that starts or ends."""
        for key in self._bucket.index:
            if applies(event, self._bucket.catalog[key]):
                cause = Cause.EVENT_STARTED if starts else Cause.EVENT_ENDED
                requests.add(key, cause, {"event": event.name, "kind": event.kind})
                self._watch.add_fact(key, "events")

    def snapshot(self) -> dict[str, Any]:
        """Return all that must survive a restart; about 3 kB a listing as JSON."""
        return {
            "v": self.version,
            "time_ms": self._time_ms,
            "seen": dict(self._seen),
            "bucket": self._bucket.snapshot(),
            "demand": self._book.snapshot(),
            "watch": self._watch.snapshot(),
            "control": self._control.snapshot(),
            "commands": self._commands.snapshot(),
            "policies": self._policies.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back.

        Raises
        ------
        SnapshotError
            If the snapshot is of another version.
        """
        refuse_other_version("repricing", self.version, snapshot)
        self._time_ms = snapshot["time_ms"]
        self._own_minute = {}
        self._seen = dict(snapshot["seen"])
        self._bucket.restore(snapshot["bucket"])
        self._book.restore(snapshot["demand"])
        self._watch.restore(snapshot["watch"])
        self._control.restore(snapshot["control"])
        self._commands.restore(snapshot.get("commands", {}))
        if "policies" in snapshot:  # absent in snapshots from before policies had scopes
            self._policies.restore(snapshot["policies"])
