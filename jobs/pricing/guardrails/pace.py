"""STEP_LIMIT, APPROVAL, MIN_GAP, MAX_CHANGES: how far and how often a price may move.

Settling ignores all four, since its prices must not depend on the path. A price that an operator approved or
set is reached in one step.
"""

from __future__ import annotations

from jobs.pricing.decision.texts.times import time_text
from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, Pin, money
from jobs.pricing.policy import Policy
from schemas.money import ceil_minor, floor_minor
from schemas.time_units import MINUTE_MS


class StepLimit(Guardrail):
    """One change moves the price by at most the policy's step."""

    code = "STEP_LIMIT"
    kind = Kind.PACE
    title = "Step limit"
    meaning = "one change moves the price only so far"
    cuts_short = True

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices within one step of the current one, extended to an approved price."""
        inputs, shown = context.inputs, context.inputs.shown_minor
        if inputs.ignores_pace or shown is None:
            return None
        step, approved = policy.limits.max_step, inputs.controls.approved_minor
        low, high = ceil_minor(shown * (1 - step)), floor_minor(shown * (1 + step))
        detail = f"one change is at most {step:.0%} of {money(shown, inputs.currency)}"
        if approved is not None:
            low, high = min(low, approved), max(high, approved)
            detail += f", stretched to the approved {money(approved, inputs.currency)}"
        return Band(self.code, self.kind, detail, low=low, high=high)

    def text(self, limit: LimitRecord) -> str:
        """Name the step and the prices."""
        return f"one change moves the price by at most {limit.policy.limits.max_step:.0%}: {limit.prices}"


class Approval(Guardrail):
    """A candidate far away is approached by one step; the rest needs an operator's approval."""

    code = "APPROVAL"
    kind = Kind.PACE
    needs_candidate = True
    title = "Approval"
    meaning = "a large change is published one step at a time until approved"
    requests_approval = True

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the step's band with a code that requests an approval."""
        inputs, shown, candidate = context.inputs, context.inputs.shown_minor, context.candidate_minor
        if inputs.ignores_pace or shown is None or candidate is None:
            return None
        if inputs.controls.approved_minor is not None:
            return None
        away = candidate / shown - 1
        if abs(away) <= policy.limits.approval_over:
            return None
        step = StepLimit().band(context, policy)
        detail = (
            f"candidate {money(candidate, inputs.currency)} is {away:+.0%} from the current price: "
            "one step now, the rest waits for approval"
        )
        until_ms = inputs.at_ms + policy.limits.approval_minutes * MINUTE_MS
        low, high = (step.low, step.high) if step else (None, None)
        return Band(self.code, self.kind, detail, low=low, high=high, alert=True, until_ms=until_ms)

    def text(self, limit: LimitRecord) -> str:
        """Name the best price and when the request for approval ends."""
        return (
            f"the best price {limit.money(limit.candidate_minor)} is more than "
            f"{limit.policy.limits.approval_over:.0%} away: one step now ({limit.prices}), the rest after an "
            f"approval until {time_text(limit.band['until_ms'])}"
        )


class MinGap(Guardrail):
    """Two changes lie at least the policy's minutes apart."""

    code = "MIN_GAP"
    kind = Kind.PACE
    title = "Minimum gap"
    meaning = "two changes lie a minimum time apart"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Keep the table until the gap is over."""
        inputs, current = context.inputs, context.inputs.current
        if inputs.ignores_pace or current is None or inputs.controls.approved_minor is not None:
            return None
        if current.last_change_ms is None:
            return None
        until = current.last_change_ms + policy.limits.min_gap_minutes * MINUTE_MS
        if inputs.at_ms >= until:
            return None
        ago = (inputs.at_ms - current.last_change_ms) / MINUTE_MS
        detail = f"the last change is {ago:.0f} min ago, expected at least {policy.limits.min_gap_minutes}"
        shown = inputs.shown_minor
        return Band(self.code, self.kind, detail, shown, shown, Pin.TABLE, until_ms=until)

    def text(self, limit: LimitRecord) -> str:
        """Name the gap and its end."""
        return (
            f"{limit.policy.limits.min_gap_minutes} minutes between changes: the price stays until "
            f"{time_text(limit.band['until_ms'])}"
        )


class MaxChanges(Guardrail):
    """At most the policy's number of changes per market day."""

    code = "MAX_CHANGES"
    kind = Kind.PACE
    title = "Changes per day"
    meaning = "only so many changes a day"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Keep the table until the market's next day."""
        inputs, current, most = context.inputs, context.inputs.current, policy.limits.max_changes_per_day
        if inputs.ignores_pace or current is None or inputs.controls.approved_minor is not None:
            return None
        if current.changes_today < most:
            return None
        detail = f"{current.changes_today} changes today, at most {most}"
        shown = inputs.shown_minor
        return Band(self.code, self.kind, detail, shown, shown, Pin.TABLE, until_ms=current.day_ends_ms)

    def text(self, limit: LimitRecord) -> str:
        """Name the number of changes and the day's end."""
        current = limit.inputs.current
        changes = current.changes_today if current else 0
        return (
            f"{changes} changes today, at most {limit.policy.limits.max_changes_per_day}: the price stays until "
            f"{time_text(limit.band['until_ms'])}"
        )
