"""Decider: from a listing and a cause to a decision, and to a price table where there is a new one.

It computes a decision from the inputs that :mod:`jobs.pricing.bucket.input_collector` collects, counts changes
and writes tables: every write is a new version, a renewal keeps its table id. The listings of a price group are
decided together whenever one of them is to be repriced, and their tables have one table id.

The file exceeds 300 lines because a decision, alone or in a group, reads and writes the same listing states.
Split, a reader of one half would have to know which states the other half changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from features.books.demand import DemandBook
from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control
from jobs.pricing.bucket.fallback_changes import stage_of
from jobs.pricing.bucket.input_collector import InputCollector
from jobs.pricing.bucket.listing.listing_state import KEPT_TABLES, DecidedOn, PublishedPrice
from jobs.pricing.bucket.listing.price_experience import published, started
from jobs.pricing.bucket.requests import RepricingRequest
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record, inputs_record
from jobs.pricing.decision.table import is_stricter, with_edge_limits
from jobs.pricing.guardrails import GUARDRAIL_OF
from jobs.pricing.policies import PolicyBook
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import market_time
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from schemas.listings import Listing, group_key
from schemas.price_table import PriceTable, next_version
from schemas.records.results import Decision
from schemas.time_units import MINUTE_MS


class Trigger(NamedTuple):
    """What caused a decision: the fact's or batch's address, its event time, and the Clock's time."""

    address: str
    at_ms: int
    now_ms: int


class Decider:
    """Decides on the listings of a bucket; keeps no state of its own.

    Parameters
    ----------
    policies : the business numbers, by scope.
    bucket, book, control : what is known, what was counted, what operators and the calendar set.
    """

    def __init__(self, policies: PolicyBook, bucket: BucketState, book: DemandBook, control: Control) -> None:
        self.policy, self._policies = policies.base, policies
        self._bucket, self._book, self._control = bucket, book, control
        self._market_time = market_time(self.policy)
        self._collector = InputCollector(policies, bucket, book, control)

    def decide(
        self, key: str, request: RepricingRequest, trigger: Trigger, approved_minor: int | None = None
    ) -> list[Output]:
        """Reprice one listing, and with it the listings of its price group; return as :meth:`decide_all`."""
        return self.decide_all({key: request}, trigger, {} if approved_minor is None else {key: approved_minor})

    def members_of(self, key: str) -> list[str]:
        """Return the listings that are decided together with an active listing, itself included."""
        members = [m for m in self._bucket.members_of(key) if self._policy_of(m).groups.equal_price]
        return members if key in members else [key]

    def decide_all(
        self, requests: Mapping[str, RepricingRequest], trigger: Trigger, approved: Mapping[str, int] | None = None
    ) -> list[Output]:
        """Reprice listings; return the decisions, and the new tables.

        Where the prices stay, the rivals' price that quotes carry is still updated.

        Parameters
        ----------
        requests : by listing key. A price group with several requests is decided once.
        approved : listing key → a price that an operator set or approved; it applies to the listing's group.
        """
        prices, outputs, done = approved or {}, list[Output](), set[str]()
        for key in [key for key in self._bucket.index if key in requests]:
            if key in done or not self._bucket.catalog[key].active:
                continue
            members = self.members_of(key)
            if len(members) < 2:
                outputs += self._decide_alone(key, requests[key], trigger, prices.get(key))
                continue
            done.update(members)
            approved_minor = next((prices[each] for each in members if each in prices), None)
            outputs += self._decide_group(members, key, requests, trigger, approved_minor)
        return outputs

    def _decide_alone(
        self, key: str, request: RepricingRequest, trigger: Trigger, approved_minor: int | None
    ) -> list[Output]:
        inputs, decision_id = self._collect(key, request, trigger, approved_minor)
        return self._record(key, inputs, reprice(inputs), trigger, decision_id, decision_id)

    def _decide_group(
        self,
        members: Sequence[str],
        requested_by: str,
        requests: Mapping[str, RepricingRequest],
        trigger: Trigger,
        approved_minor: int | None,
    ) -> list[Output]:
        """Decide on all members of a price group; each has a record of its own, which embeds what they share."""
        entry = self._bucket.catalog[requested_by]
        group = group_key(entry.tenant, entry.market, entry.price_group)
        plan_id = _hash(group, entry.currency, "group", trigger.address)
        collected = []
        for key in members:
            request = requests.get(key) or self._request_of_member(key, requested_by, requests[requested_by])
            collected.append((key, *self._collect(key, request, trigger, approved_minor)))
            if approved_minor is not None:
                self._bucket.states[key].pending = None
        terms = plan_group((inputs for _, inputs, _ in collected), plan_id, requested_by)
        outputs: list[Output] = []
        for key, own, decision_id in collected:
            inputs = replace(own, group=terms)
            table_id = decision_id if terms.of(key).held is not None else terms.table_id or plan_id
            outputs += self._record(key, inputs, reprice(inputs), trigger, decision_id, table_id)
        return outputs

    def _request_of_member(self, key: str, requested_by: str, request: RepricingRequest) -> RepricingRequest:
        """Return why a member is repriced that was not itself to be: for the cause of the one that was."""
        if request.cause is Cause.COLD_START or not self._bucket.states[requested_by].has_table:
            return RepricingRequest(Cause.GROUP_JOINED, {"listing": requested_by})
        return request

    def _collect(
        self, key: str, request: RepricingRequest, trigger: Trigger, approved_minor: int | None
    ) -> tuple[PricingInputs, str]:
        """Return a listing's inputs and the id of the decision on them."""
        state, (cause, detail) = self._bucket.states[key], request
        if not state.has_table and approved_minor is None and cause is not Cause.SETTLE:
            if cause not in (Cause.COLD_START, Cause.COST_CHANGED):
                # Shoppers see the list price so far; the first price is the cold-start strategy's.
                detail = detail | {"after": cause.value}
            cause = Cause.COLD_START
        if state.table is not None and state.experience.low_minor is None:
            # A snapshot without experience: the range starts at the price in force.
            state.experience = started(state.experience, state.table.default_minor)
        decision_id = _hash(key, cause.value, trigger.address)
        request = RepricingRequest(cause, detail)
        return self._collector.collect(key, request, trigger.at_ms, decision_id, approved_minor), decision_id

    def _record(
        self,
        key: str,
        inputs: PricingInputs,
        result: PricingDecision,
        trigger: Trigger,
        decision_id: str,
        table_id: str,
    ) -> list[Output]:
        """Return a decision's record and its table, and remember in the listing's state what follows from it."""
        entry, state, cause = self._bucket.catalog[key], self._bucket.states[key], inputs.cause
        table = self._new_table(key, inputs, result, decision_id, table_id, trigger.now_ms)
        decision = Decision(
            decision_id=decision_id,
            tenant=entry.tenant,
            market=entry.market,
            sku=entry.sku,
            price_group=entry.price_group,
            event_time_ms=trigger.at_ms,
            decided_at_ms=trigger.now_ms,
            cause=cause.value,
            cause_detail=dict(inputs.cause_detail),
            inputs=inputs_record(inputs),
            result=decision_record(result),
            published=table is not None,
            version=table.version if table else state.last_version,
            table_id=table.table_id if table else (state.table.table_id if state.table else ""),
        )
        # Field by field: asdict would copy the inputs, a thousand numbers that never change again.
        record = {each.name: getattr(decision, each.name) for each in dataclasses.fields(decision)}
        outputs = self._announce(inputs.policy, trigger.at_ms)
        outputs.append(Output("decisions", key, record, trigger.at_ms))
        believed, state.fallback = inputs.beliefs.elasticity, stage_of(inputs)
        state.decided_on = DecidedOn(believed.mean, believed.sd, self._book.requests(key))
        self._remember(key, result, decision_id, cause, trigger.at_ms)
        self._bucket.bandits.start(key, inputs, result)
        if table is None:
            return outputs + self._refresh_table(key, inputs, result, trigger)
        self._learn_prices(key, inputs, result.outcome, table)
        self._count_change(key, table, trigger.at_ms)
        outputs.append(self.write(key, table, trigger))
        return outputs

    def _policy_of(self, key: str) -> Policy:
        return self._policies.of(self._bucket.catalog[key])

    def _life_ms(self, key: str) -> int:
        return self._policy_of(key).tables.life_minutes * MINUTE_MS

    def _announce(self, policy: Policy, at_ms: int) -> list[Output]:
        """Return a policy's content when it is used for the first time: decisions record its hash alone."""
        if not self._policies.first_use(policy):
            return []
        value = {"hash": policy.hash, "content": policy.to_dict(), "event_time_ms": at_ms}
        return [Output("policies", policy.hash, value, at_ms)]

    def _new_table(
        self,
        key: str,
        inputs: PricingInputs,
        result: PricingDecision,
        decision_id: str,
        table_id: str,
        now_ms: int,
    ) -> PriceTable | None:
        if result.table is None:
            return None
        entry, state = self._bucket.catalog[key], self._bucket.states[key]
        version = next_version(state.last_version, now_ms)
        table = PriceTable(
            listing=Listing.parse(key),
            price_group=entry.price_group,
            version=version,
            table_id=table_id,
            published_ms=now_ms,
            expires_ms=now_ms + self._life_ms(key),
            currency=entry.currency,
            table={self.policy.tables.arm: result.table},
            list_minor=entry.list_minor or 0,
            offer_minor=result.reference.reference_minor if result.reference and result.reference.fresh else None,
            reason=result.reason,
            decision_id=decision_id,
            session_from_version=state.table.session_from_version if state.table else 0,
        )
        return with_edge_limits(table, inputs, result.hard, version)

    def write(self, key: str, table: PriceTable, trigger: Trigger) -> Output:
        """Return a table to publish, under a new version and with a new expiry."""
        state, now_ms = self._bucket.states[key], trigger.now_ms
        state.last_version = next_version(state.last_version, now_ms)
        state.table = new = replace(
            table, version=state.last_version, published_ms=now_ms, expires_ms=now_ms + self._life_ms(key)
        )
        return Output("tables", key, new.to_record(), trigger.at_ms)

    def _learn_prices(self, key: str, inputs: PricingInputs, outcome: OutcomeCode, table: PriceTable) -> None:
        """Note the prices of a new table that lie outside the observed ones; a first price starts their range."""
        state, experience = self._bucket.states[key], inputs.experience
        seen, main = state.experience, table.default_minor
        if state.table is None:
            seen = started(seen, main)
        lists = (price_list for of_arm in table.table.values() for price_list in of_arm.values())
        state.experience = published(
            seen,
            {price for price_list in lists for price in price_list.prices},
            main,
            main if state.table is None else state.table.default_minor,
            bounded=(
                experience is not None
                and not experience.sufficient
                and inputs.controls.approved_minor is None
                and not inputs.cause.ignores_pace
                and outcome is not OutcomeCode.HARD_OVER_PACE
            ),
        )

    def _count_change(self, key: str, table: PriceTable, at_ms: int) -> None:
        """Count the change for pace limits and keep its price for a rollback."""
        state = self._bucket.states[key]
        before = state.table.default_minor if state.table else None
        state.needs_start = False
        if table.default_minor != before:
            day = self._market_time.day(table.listing.market, at_ms).number
            state.changes_today = state.changes_today + 1 if state.day == day else 1
            state.day, state.last_change_ms = day, at_ms
            state.history = [*state.history, PublishedPrice(table.version, table.default_minor)][-KEPT_TABLES:]

    def _remember(self, key: str, result: PricingDecision, decision_id: str, cause: Cause, at_ms: int) -> None:
        """Keep what follows from a decision: when it goes on, and what awaits an operator."""
        state = self._bucket.states[key]
        state.continue_at_ms = result.continue_at_ms
        if cause is not Cause.CONTINUED:
            state.continue_after = cause.value
        if result.outcome in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE) and not state.has_table:
            state.needs_start = False  # until the listing's next catalog entry
        what = None
        if any(GUARDRAIL_OF[band.code].questions_cost for band in result.bands) and state.odd_cost is not None:
            what = "cost"
        elif (result.review or result.alert) and result.candidate_minor not in (None, result.default_minor):
            what = "price"
        if what is not None:
            state.pending = {
                "decision_id": decision_id,
                "what": what,
                "price_minor": result.candidate_minor,
                "until_ms": at_ms + self._policy_of(key).limits.approval_minutes * MINUTE_MS,
            }

    def renewals(self, trigger: Trigger) -> list[Output]:
        """Return tables near their expiry again, under the same table id, with the rivals' price of now."""
        outputs: list[Output] = []
        for key in self._bucket.index:
            state = self._bucket.states[key]
            if state.table_expires_ms is None:
                continue
            left = self._life_ms(key) * self._policy_of(key).tables.renew_share
            if state.table_expires_ms - trigger.now_ms > left:
                continue
            table = state.table
            if table is None or self._control.killed(table.listing, trigger.at_ms):
                continue
            if self._bucket.catalog[key].active:
                tables = self._policy_of(key).tables
                table = replace(
                    table,
                    offer_minor=self._offer_minor(key, trigger.at_ms),
                    session_minutes=tables.session_minutes,
                    unconfirmed_minutes=tables.unconfirmed_minutes,
                )
                outputs.append(self.write(key, table, trigger))
        return outputs

    def _offer_minor(self, key: str, at_ms: int) -> int | None:
        mean = self._bucket.rivals_mean(key, at_ms)
        return None if mean is None else round(mean)

    def _refresh_table(
        self, key: str, inputs: PricingInputs, result: PricingDecision, trigger: Trigger
    ) -> list[Output]:
        """Return the table under the same table id if what it carries beside its prices has changed.

        That is the rivals' price of now, and what edges need to keep a session's price. Wider hard limits wait
        for the next table, since an edge with narrower ones quotes no price that they exclude.
        """
        state = self._bucket.states[key]
        table = state.table
        if table is None or self._control.killed(table.listing, trigger.at_ms):
            return []
        version = next_version(state.last_version, trigger.now_ms)
        limited = with_edge_limits(table, inputs, result.hard, version)
        offer_minor = self._offer_minor(key, trigger.at_ms)
        if offer_minor == table.offer_minor and not is_stricter(limited, table):
            return []
        return [self.write(key, replace(limited, offer_minor=offer_minor), trigger)]


def _hash(*parts: str) -> str:
    """Return sixteen hex digits, the same in every run."""
    return hashlib.md5("|".join(parts).encode(), usedforsecurity=False).hexdigest()[:16]
