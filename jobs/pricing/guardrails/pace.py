"""STEP_LIMIT, APPROVAL, MIN_GAP, MAX_CHANGES: how far and how often a price may move.

Settling leaves pace aside (its prices must not depend on the path); a price that an operator
approved or set may jump to it.
"""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Case, Keeps, Kind, money
from jobs.pricing.policy import MINUTE_MS, Policy
from schemas.codes import GuardrailCode
from schemas.money import ceil_minor, floor_minor


class StepLimit:
    """One change goes at most the policy's step away from the current price."""

    code = GuardrailCode.STEP_LIMIT
    kind = Kind.PACE
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """Within one step of the current price, stretched to an approved price."""
        if case.ignores_pace or case.current_minor is None:
            return None
        step = policy.limits.max_step
        low, high = ceil_minor(case.current_minor * (1 - step)), floor_minor(case.current_minor * (1 + step))
        detail = f"one change is at most {step:.0%} of {money(case.current_minor, case.currency)}"
        if case.approved_minor is not None:
            low, high = min(low, case.approved_minor), max(high, case.approved_minor)
            detail += f", stretched to the approved {money(case.approved_minor, case.currency)}"
        return Band(self.code, self.kind, detail, low=low, high=high)


class Approval:
    """A candidate far away publishes one step; the rest waits for people."""

    code = GuardrailCode.APPROVAL
    kind = Kind.PACE
    needs_candidate = True

    def band(self, case: Case, policy: Policy) -> Band | None:
        """The step's band, said with a code that asks for approval."""
        if case.ignores_pace or case.current_minor is None or case.candidate_minor is None:
            return None
        if case.approved_minor is not None:
            return None
        away = case.candidate_minor / case.current_minor - 1
        if abs(away) <= policy.limits.approval_over:
            return None
        step = StepLimit().band(case, policy)
        detail = (
            f"candidate {money(case.candidate_minor, case.currency)} is {away:+.0%} from the current price: "
            "one step now, the rest waits for approval"
        )
        return Band(
            self.code,
            self.kind,
            detail,
            low=step.low if step else None,
            high=step.high if step else None,
            alert=True,
            until_ms=case.now_ms + policy.limits.approval_minutes * MINUTE_MS,
        )


class MinGap:
    """Two changes lie at least the policy's minutes apart."""

    code = GuardrailCode.MIN_GAP
    kind = Kind.PACE
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """The table stays until the gap is over."""
        if (
            case.ignores_pace
            or not case.has_table
            or case.last_change_ms is None
            or case.approved_minor is not None
        ):
            return None
        until = case.last_change_ms + policy.limits.min_gap_minutes * MINUTE_MS
        if case.now_ms >= until:
            return None
        ago = (case.now_ms - case.last_change_ms) / MINUTE_MS
        detail = f"the last change is {ago:.0f} min ago, expected at least {policy.limits.min_gap_minutes}"
        here = case.current_minor
        return Band(self.code, self.kind, detail, here, here, Keeps.TABLE, until_ms=until)


class MaxChanges:
    """So many changes a market day, and no more."""

    code = GuardrailCode.MAX_CHANGES
    kind = Kind.PACE
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """The table stays until the market's next day."""
        if case.ignores_pace or not case.has_table or case.approved_minor is not None:
            return None
        if case.changes_today < policy.limits.max_changes_per_day:
            return None
        detail = f"{case.changes_today} changes today, at most {policy.limits.max_changes_per_day}"
        here = case.current_minor
        return Band(self.code, self.kind, detail, here, here, Keeps.TABLE, until_ms=case.day_ends_ms)
