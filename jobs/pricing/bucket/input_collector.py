"""InputCollector: everything that a decision on a listing depends on, from the state of its bucket."""

from __future__ import annotations

import math

from features.books.demand import DemandBook
from jobs.pricing.bucket.bucket_state import BucketState
from jobs.pricing.bucket.control import Control
from jobs.pricing.bucket.listing.held_estimates import model_state
from jobs.pricing.bucket.listing.price_experience import known_price
from jobs.pricing.bucket.requests import RepricingRequest
from jobs.pricing.decision.inputs import (
    Belief,
    Controls,
    CurrentTable,
    DemandBeliefs,
    Experience,
    Habits,
    ListingAttributes,
    PricingInputs,
    Product,
    SegmentBeliefs,
    StepResult,
    Target,
)
from jobs.pricing.guardrails.extrapolation import step_result
from jobs.pricing.policies import PolicyBook
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import market_time
from jobs.pricing.sale_target import target_part
from jobs.pricing.strategies.cold_start import ColdStartSettings
from schemas.listings import Listing
from schemas.time_units import DAY_MS, MINUTE_MS


class InputCollector:
    """Collects the inputs of decisions on the listings of a bucket; keeps no state of its own.

    Parameters
    ----------
    policies : the business numbers, by scope.
    bucket, book, control : what is known, what was counted, what operators and the calendar set.
    """

    def __init__(self, policies: PolicyBook, bucket: BucketState, book: DemandBook, control: Control) -> None:
        self.policy, self._policies = policies.base, policies
        self._bucket, self._book, self._control = bucket, book, control
        self._market_time = market_time(self.policy)

    def collect(
        self, key: str, request: RepricingRequest, at_ms: int, decision_id: str, approved_minor: int | None
    ) -> PricingInputs:
        """Return everything that a decision on this listing depends on now."""
        entry, state, listing = self._bucket.catalog[key], self._bucket.states[key], Listing.parse(key)
        beliefs = self._beliefs(key, at_ms)
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
            beliefs=beliefs,
            target=self._target(key, at_ms),
            controls=Controls(
                self._control.frozen(listing, at_ms), self._control.emergency(entry, at_ms), approved_minor
            ),
            habits=Habits(self._usual_minor(key), self._bucket.bought(entry)),
            experience=self._experience(key),
            attributes=self._attributes(key, at_ms, beliefs),
            bandit=self._bucket.bandits.inputs(key, entry),
            model=model_state(state.estimate),
            policy=self._policy_of(key),
        )

    def _policy_of(self, key: str) -> Policy:
        return self._policies.of(self._bucket.catalog[key])

    def _usual_minor(self, key: str) -> float | None:
        """Return the price that shoppers are used to; before the first table that is the known price itself."""
        state = self._bucket.states[key]
        return None if state.usual_log is None or not state.has_table else math.exp(state.usual_log)

    def _attributes(self, key: str, at_ms: int, beliefs: DemandBeliefs) -> ListingAttributes:
        """Return what rules read of a listing; ``cover_days`` at the mean conversion over all prices."""
        entry, state, policy = self._bucket.catalog[key], self._bucket.states[key], self.policy
        hour = self._market_time.hour(entry.market, at_ms)
        stock, prior = state.stock_now, policy.demand.prior_exposures
        cover_days = None
        if stock is not None:
            sold = 0.0
            for segment in beliefs.segments.values():
                orders = math.fsum(segment.counts.orders.tolist()) + prior * policy.beliefs.conversion
                exposures = math.fsum(segment.counts.exposures.tolist()) + prior
                sold += segment.share * segment.units_per_order * max(orders, 0.0) / exposures
            per_day = sold * beliefs.requests * DAY_MS / (policy.objective.period_minutes * MINUTE_MS)
            cover_days = stock.on_hand / per_day if per_day > 0 else None
        return ListingAttributes(
            category=entry.category,
            on_hand=None if stock is None else stock.on_hand,
            cover_days=cover_days,
            age_days=None if state.since_ms is None else max(0.0, (at_ms - state.since_ms) / DAY_MS),
            hour=hour.hour,
            tags=entry.tag_names,
            weekday=hour.weekday,
        )

    def _experience(self, key: str) -> Experience:
        state = self._bucket.states[key]
        seen, estimate = state.experience, state.estimate
        start_minor = seen.start_minor
        if not state.has_table:
            start_minor = known_price(seen, self._policy_of(key).section(ColdStartSettings).least_orders)
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
        return step_result(*step, counts, (entry.cost_minor or 0) * self._policy_of(key).objective.cost_weight)

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
            table_id=state.table.table_id,
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
            changed_ms=self._changed_ms(key),
        )

    def _changed_ms(self, key: str) -> int | None:
        estimate = self._bucket.states[key].estimate
        return estimate.changed_ms or None if estimate is not None else None

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
            part = target_part(self._policy_of(key), self._book, key, at_ms, period_ms, target.until_ms)
            return Target(max(0.0, target.units_left * part), "sale_target")
        if self._policy_of(key).objective.stock_as_target and stock is not None and stock.on_hand > 0:
            lead_ms = stock.lead_time_days * DAY_MS
            if lead_ms > 0:
                return Target(stock.on_hand * min(1.0, period_ms / lead_ms), "stock")
        return Target()
