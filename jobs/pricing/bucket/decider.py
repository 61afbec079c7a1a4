"""Decider: from a listing and a cause to a decision, and to a price table where there is a new one.

It gathers what a decision depends on, has it decided (:mod:`jobs.pricing.decision.reprice`, pure), keeps the
account of changes, and writes tables: every write is a new version, a renewal keeps its table id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from features.books.demand import DemandBook
from features.bucket_logic import Output
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control
from jobs.pricing.bucket.listing_state import KEPT_TABLES, ListingState
from jobs.pricing.decision.record import Result, make_inputs, table_record
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.policy import MINUTE_MS, Policy
from jobs.pricing.policy_settings import market_time
from jobs.pricing.sale_target import target_part
from schemas.codes import Cause, GuardrailCode, OutcomeCode
from schemas.events import Decision, Listing
from schemas.price_table import PriceTable, next_version

DAY_MS = 86_400_000


class Decider:
    """Decides on the listings of a bucket; keeps no state of its own.

    Parameters
    ----------
    policy : the business numbers.
    bucket, book, control : what is known, what was counted, what people and the calendar said.
    """

    def __init__(
        self,
        policy: Policy,
        bucket: BucketState,
        book: DemandBook,
        control: Control,
    ) -> None:
        self.policy = policy
        self._bucket, self._book, self._control = bucket, book, control
        self._market_time = market_time(policy)

    def decide(
        self,
        key: str,
        cause: Cause,
        detail: dict[str, Any],
        address: str,
        at_ms: int,
        now_ms: int,
        approved_minor: int | None = None,
    ) -> list[Output]:
        """Re-price one listing: the decision, and the new table if there is one.

        Where the prices stay, the rivals' price that quotes carry still follows the rivals, however the decision
        came about: by a fact alone, by its minute's batch, or by settle.
        """
        entry, state = self._bucket.catalog[key], self._bucket.states[key]
        if not entry.active:
            return []
        if not state.has_table and approved_minor is None and cause is not Cause.SETTLE:
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
        # Field by field: asdict would copy the inputs, a thousand numbers that nobody changes any more.
        record = {each.name: getattr(decision, each.name) for each in dataclasses.fields(decision)}
        outputs.append(Output("decisions", key, record, at_ms))
        believed = inputs["elasticity"]
        state.decided_on = [believed["mean"], believed["sd"], self._book.requests(key)]
        self._remember(key, result, decision_id, cause, at_ms)
        if table is None:
            return outputs + self._requote_rivals(key, at_ms, now_ms)
        self._changed(key, table, at_ms)
        outputs.append(self.write(key, table, at_ms, now_ms))
        return outputs

    def inputs(
        self, key: str, cause: Cause, detail: Mapping[str, Any], at_ms: int, seed: int, approved_minor: int | None
    ) -> dict[str, Any]:
        """All that a decision on this listing depends on now, as plain data."""
        entry, state, policy = self._bucket.catalog[key], self._bucket.states[key], self.policy
        period_ms = policy.objective.period_minutes * MINUTE_MS
        shares = self._book.segment_shares(key)
        known = sum(shares.get(name, 0.0) for name in policy.segments.names)
        eps, eps_sd, eta, eta_sd = self._bucket.elasticity(key)
        centre = self._book.offer_deviation(key, 1.0)
        target, target_from = self._target(key, state, at_ms, period_ms)
        current = None
        if state.table is not None:
            arm = state.table.table.get(policy.tables.arm) or state.table.table[min(state.table.table)]
            day = self._market_time.day(entry.market, at_ms)
            current = {
                "default_minor": state.table.default_minor,
                "segments": table_record(arm),
                "last_change_ms": state.last_change_ms,
                "changes_today": state.changes_today if state.day == day.number else 0,
                "day_ends_ms": day.ends_ms,
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
            offers=self._bucket.offers(state),
            offer_centre=None if centre is None else -centre,
            requests=self._book.requests_expected(key, at_ms, period_ms)
            * self._control.demand_factor(entry, at_ms),
            segments={
                name: self._segment(key, name, shares.get(name, 0.0) / known, (eps, eps_sd))
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
            usual_minor=None if state.usual_log is None else math.exp(state.usual_log),
            bought=self._bucket.bought(entry),
        )

    def _segment(self, key: str, name: str, share: float, elasticity: tuple[float, float]) -> dict[str, Any]:
        """What is believed of one segment of a listing."""
        counts = self._book.counts(key, name)
        mean, sd = self._book.segment_elasticity(name, counts, elasticity)
        return {
            "share": share,
            "units_per_order": self._book.units_per_order(counts),
            "elasticity": {"mean": min(mean, self.policy.beliefs.elasticity_max), "sd": sd},
            "counts": counts.to_record(),
        }

    def _target(
        self, key: str, state: ListingState, at_ms: int, period_ms: int
    ) -> tuple[float | None, str | None]:
        """T of the period: a sale target's part of what is left, else stock that must last until more comes."""
        if state.target is not None and at_ms < state.target[2]:
            part = target_part(self.policy, self._book, key, at_ms, period_ms, state.target[2])
            return max(0.0, state.target[0] * part), "sale_target"
        stock = state.stock_now
        if self.policy.objective.stock_as_target and stock is not None and stock[1] > 0:
            lead_ms = stock[3] * DAY_MS
            if lead_ms > 0:
                return stock[1] * min(1.0, period_ms / lead_ms), "stock"
        return None, None

    def _new_table(self, key: str, result: Result, decision_id: str, now_ms: int) -> PriceTable | None:
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

    def write(self, key: str, table: PriceTable, at_ms: int, now_ms: int) -> Output:
        """A table goes out: a new version, a new life."""
        state = self._bucket.states[key]
        state.last_version = next_version(state.last_version, now_ms)
        life_ms = self.policy.tables.life_minutes * MINUTE_MS
        state.table = new = replace(
            table, version=state.last_version, published_ms=now_ms, expires_ms=now_ms + life_ms
        )
        return Output("tables", key, new.to_record(), at_ms)

    def _changed(self, key: str, table: PriceTable, at_ms: int) -> None:
        """The account of changes, for pace and rollback."""
        state = self._bucket.states[key]
        before = state.table.default_minor if state.table else None
        state.needs_start = False
        if table.default_minor != before:
            day = self._market_time.day(table.listing.market, at_ms).number
            state.changes_today = state.changes_today + 1 if state.day == day else 1
            state.day, state.last_change_ms = day, at_ms
            state.history = [*state.history, [table.version, table.default_minor]][-KEPT_TABLES:]

    def _remember(self, key: str, result: Result, decision_id: str, cause: Cause, at_ms: int) -> None:
        """What follows from a decision: a plan to go on, a question to people."""
        state = self._bucket.states[key]
        state.continue_at_ms = result.continue_at_ms
        if cause is not Cause.CONTINUED:
            state.continue_after = cause.value
        if result.outcome in (OutcomeCode.HELD, OutcomeCode.UNPRICEABLE) and not state.has_table:
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

    def renewals(self, at_ms: int, now_ms: int) -> list[Output]:
        """Write tables near their end again under the same table id, with the rivals' price of now."""
        left = self.policy.tables.life_minutes * MINUTE_MS * self.policy.tables.renew_share
        outputs: list[Output] = []
        for key in self._bucket.index:
            state = self._bucket.states[key]
            if state.table_expires_ms is None or state.table_expires_ms - now_ms > left:
                continue
            table = state.table
            if table is None or self._control.killed(table.listing, at_ms):
                continue
            if self._bucket.catalog[key].active:
                table = replace(table, offer_minor=self._offer_minor(key, at_ms))
                outputs.append(self.write(key, table, at_ms, now_ms))
        return outputs

    def _offer_minor(self, key: str, at_ms: int) -> int | None:
        mean = self._bucket.rivals_mean(key, at_ms)
        return None if mean is None else round(mean)

    def _requote_rivals(self, key: str, at_ms: int, now_ms: int) -> list[Output]:
        """The rivals' price that quotes carry follows the rivals, under the same table id."""
        table = self._bucket.states[key].table
        if table is None or self._control.killed(table.listing, at_ms):
            return []
        offer_minor = self._offer_minor(key, at_ms)
        if offer_minor == table.offer_minor:
            return []
        return [self.write(key, replace(table, offer_minor=offer_minor), at_ms, now_ms)]


def _hash(*parts: str) -> str:
    """Sixteen hex digits that name what happened, the same in every run."""
    return hashlib.md5("|".join(parts).encode(), usedforsecurity=False).hexdigest()[:16]
