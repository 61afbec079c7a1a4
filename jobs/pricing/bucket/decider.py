"""Decider: from a listing and a cause to a decision, and to a price table where there is a new one.

It collects a decision's inputs, calls :func:`jobs.pricing.decision.reprice.reprice`, counts changes, and writes
tables: every write is a new version, a renewal keeps its table id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import replace
from typing import NamedTuple

from features.books.demand import DemandBook
from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control
from jobs.pricing.bucket.listing_state import KEPT_TABLES, DecidedOn, PublishedPrice
from jobs.pricing.bucket.price_experience import known_price, published, started
from jobs.pricing.bucket.requests import RepricingRequest
from jobs.pricing.decision.inputs import (
    Belief,
    Controls,
    CurrentTable,
    DemandBeliefs,
    Experience,
    Habits,
    PricingInputs,
    Product,
    SegmentBeliefs,
    StepResult,
    Target,
)
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record, inputs_record
from jobs.pricing.guardrails import GUARDRAIL_OF
from jobs.pricing.guardrails.extrapolation import step_result
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import market_time
from jobs.pricing.sale_target import target_part
from jobs.pricing.strategies.cold_start import ColdStartSettings
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from schemas.events import Decision, Listing
from schemas.price_table import PriceTable, next_version
from schemas.time_units import DAY_MS, MINUTE_MS


class Trigger(NamedTuple):
    """What caused a decision: the fact's or batch's address, its event time, and the Clock's time."""

    address: str
    at_ms: int
    now_ms: int


class Decider:
    """Decides on the listings of a bucket; keeps no state of its own.

    Parameters
    ----------
    policy : the business numbers.
    bucket, book, control : what is known, what was counted, what operators and the calendar set.
    """

    def __init__(self, policy: Policy, bucket: BucketState, book: DemandBook, control: Control) -> None:
        self.policy = policy
        self._bucket, self._book, self._control = bucket, book, control
        self._market_time = market_time(policy)

    def decide(
        self, key: str, request: RepricingRequest, trigger: Trigger, approved_minor: int | None = None
    ) -> list[Output]:
        """Reprice one listing; return the decision, and the new table if there is one.

        Where the prices stay, the rivals' price that quotes carry is still updated.
        """
        entry, state = self._bucket.catalog[key], self._bucket.states[key]
        if not entry.active:
            return []
        cause, detail = request
        if not state.has_table and approved_minor is None and cause is not Cause.SETTLE:
            if cause not in (Cause.COLD_START, Cause.COST_CHANGED):
                # Shoppers see the list price so far; the first price is the cold-start strategy's.
                detail = detail | {"after": cause.value}
            cause = Cause.COLD_START
        if state.table is not None and state.experience.low_minor is None:
            # A snapshot without experience: the range starts at the price in force.
            state.experience = started(state.experience, state.table.default_minor)
        decision_id = _hash(key, cause.value, trigger.address)
        inputs = self.inputs(key, RepricingRequest(cause, detail), trigger.at_ms, decision_id, approved_minor)
        result = reprice(inputs)
        table = self._new_table(key, result, decision_id, trigger.now_ms)
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
        outputs = [Output("decisions", key, record, trigger.at_ms)]
        believed = inputs.beliefs.elasticity
        state.decided_on = DecidedOn(believed.mean, believed.sd, self._book.requests(key))
        self._remember(key, result, decision_id, cause, trigger.at_ms)
        if table is None:
            return outputs + self._update_rivals_price(key, trigger)
        self._learn_prices(key, inputs, result.outcome, table)
        self._count_change(key, table, trigger.at_ms)
        outputs.append(self.write(key, table, trigger))
        return outputs

    def inputs(
        self, key: str, request: RepricingRequest, at_ms: int, decision_id: str, approved_minor: int | None
    ) -> PricingInputs:
        """Return everything that a decision on this listing depends on now."""
        entry, state, listing = self._bucket.catalog[key], self._bucket.states[key], Listing.parse(key)
        return PricingInputs(
            listing=listing,
            at_ms=at_ms,
            cause=request.cause,
            cause_detail=request.detail,
            seed=int(decision_id[:8], 16),
            currency=entry.currency,
            product=Product(
                cost_minor=entry.cost_minor,
                trusted_cost_minor=state.trusted_cost_minor,
                list_minor=entry.list_minor,
                floor_minor=entry.floor_minor,
                ceiling_minor=entry.ceiling_minor,
                pack_size=entry.pack_size,
                role=entry.role,
            ),
            current=self._current(key, at_ms),
            offers=self._bucket.offers(state),
            beliefs=self._beliefs(key, at_ms),
            target=self._target(key, at_ms),
            controls=Controls(
                self._control.frozen(listing, at_ms), self._control.emergency(entry, at_ms), approved_minor
            ),
            habits=Habits(self._usual_minor(key), self._bucket.bought(entry)),
            experience=self._experience(key),
            policy=self.policy,
        )

    def _usual_minor(self, key: str) -> float | None:
        """Return the price that shoppers are used to; before the first table that is the known price itself."""
        state = self._bucket.states[key]
        return None if state.usual_log is None or not state.has_table else math.exp(state.usual_log)

    def _experience(self, key: str) -> Experience:
        state = self._bucket.states[key]
        seen, estimate = state.experience, state.estimate
        start_minor = seen.start_minor
        if not state.has_table:
            start_minor = known_price(seen, self.policy.section(ColdStartSettings).least_orders)
        return Experience(
            sufficient=estimate is not None and estimate.sufficient,
            start_minor=start_minor,
            low_minor=seen.low_minor,
            high_minor=seen.high_minor,
            step=self.step_result(key),
        )

    def step_result(self, key: str) -> StepResult | None:
        """Return what the listing's last step outside its observed prices brought; None without one."""
        state, entry = self._bucket.states[key], self._bucket.catalog[key]
        step = state.experience.step
        if step is None:
            return None
        counts = [self._book.counts(key, name) for name in self.policy.segments.names]
        return step_result(*step, counts, (entry.cost_minor or 0) * self.policy.objective.cost_weight)

    def _current(self, key: str, at_ms: int) -> CurrentTable | None:
        entry, state = self._bucket.catalog[key], self._bucket.states[key]
        if state.table is None:
            return None
        tables, day = state.table.table, self._market_time.day(entry.market, at_ms)
        return CurrentTable(
            default_minor=state.table.default_minor,
            prices=tables.get(self.policy.tables.arm) or tables[min(tables)],
            last_change_ms=state.last_change_ms,
            changes_today=state.changes_today if state.day == day.number else 0,
            day_ends_ms=day.ends_ms,
        )

    def _beliefs(self, key: str, at_ms: int) -> DemandBeliefs:
        entry, policy = self._bucket.catalog[key], self.policy
        period_ms = policy.objective.period_minutes * MINUTE_MS
        shares = self._book.segment_shares(key)
        known = sum(shares.get(name, 0.0) for name in policy.segments.names)
        eps, eps_sd, eta, eta_sd = self._bucket.elasticity(key)
        centre = self._book.offer_deviation(key, 1.0)
        return DemandBeliefs(
            requests=self._book.requests_expected(key, at_ms, period_ms)
            * self._control.demand_factor(entry, at_ms),
            segments={
                name: self._segment(key, name, shares.get(name, 0.0) / known, Belief(eps, eps_sd))
                for name in policy.segments.names
            },
            elasticity=Belief(eps, eps_sd),
            rival_elasticity=Belief(eta, eta_sd),
            offer_centre=None if centre is None else -centre,
        )

    def _segment(self, key: str, name: str, share: float, elasticity: Belief) -> SegmentBeliefs:
        counts = self._book.counts(key, name)
        mean, sd = self._book.segment_elasticity(name, counts, elasticity)
        return SegmentBeliefs(
            share=share,
            units_per_order=self._book.units_per_order(counts),
            counts=counts,
            elasticity=Belief(min(mean, self.policy.beliefs.elasticity_max), sd),
        )

    def _target(self, key: str, at_ms: int) -> Target:
        """Return the period's target: of a sale target, else of stock that must last until more comes."""
        state, period_ms = self._bucket.states[key], self.policy.objective.period_minutes * MINUTE_MS
        target, stock = state.target, state.stock_now
        if target is not None and at_ms < target.until_ms:
            part = target_part(self.policy, self._book, key, at_ms, period_ms, target.until_ms)
            return Target(max(0.0, target.units_left * part), "sale_target")
        if self.policy.objective.stock_as_target and stock is not None and stock.on_hand > 0:
            lead_ms = stock.lead_time_days * DAY_MS
            if lead_ms > 0:
                return Target(stock.on_hand * min(1.0, period_ms / lead_ms), "stock")
        return Target()

    def _new_table(self, key: str, result: PricingDecision, decision_id: str, now_ms: int) -> PriceTable | None:
        if result.table is None:
            return None
        entry, state = self._bucket.catalog[key], self._bucket.states[key]
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

    def write(self, key: str, table: PriceTable, trigger: Trigger) -> Output:
        """Return a table to publish, under a new version and with a new expiry."""
        state, now_ms = self._bucket.states[key], trigger.now_ms
        state.last_version = next_version(state.last_version, now_ms)
        life_ms = self.policy.tables.life_minutes * MINUTE_MS
        state.table = new = replace(
            table, version=state.last_version, published_ms=now_ms, expires_ms=now_ms + life_ms
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
                "until_ms": at_ms + self.policy.limits.approval_minutes * MINUTE_MS,
            }

    def renewals(self, trigger: Trigger) -> list[Output]:
        """Return tables near their expiry again, under the same table id, with the rivals' price of now."""
        left = self.policy.tables.life_minutes * MINUTE_MS * self.policy.tables.renew_share
        outputs: list[Output] = []
        for key in self._bucket.index:
            state = self._bucket.states[key]
            if state.table_expires_ms is None or state.table_expires_ms - trigger.now_ms > left:
                continue
            table = state.table
            if table is None or self._control.killed(table.listing, trigger.at_ms):
                continue
            if self._bucket.catalog[key].active:
                table = replace(table, offer_minor=self._offer_minor(key, trigger.at_ms))
                outputs.append(self.write(key, table, trigger))
        return outputs

    def _offer_minor(self, key: str, at_ms: int) -> int | None:
        mean = self._bucket.rivals_mean(key, at_ms)
        return None if mean is None else round(mean)

    def _update_rivals_price(self, key: str, trigger: Trigger) -> list[Output]:
        """Return the table under the same table id with the rivals' price of now, if that changed."""
        table = self._bucket.states[key].table
        if table is None or self._control.killed(table.listing, trigger.at_ms):
            return []
        offer_minor = self._offer_minor(key, trigger.at_ms)
        if offer_minor == table.offer_minor:
            return []
        return [self.write(key, replace(table, offer_minor=offer_minor), trigger)]


def _hash(*parts: str) -> str:
    """Return sixteen hex digits, the same in every run."""
    return hashlib.md5("|".join(parts).encode(), usedforsecurity=False).hexdigest()[:16]
