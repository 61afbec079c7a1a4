"""LOW_CONFIDENCE: a change that may as well lose money is held and sent to review (001)."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, Pin
from jobs.pricing.policy import Policy


class LowConfidence(Guardrail):
    """Ask for a review when P(gain > 0) under the posteriors is below the policy's.

    With ``fallback.hold_below_confidence`` the main prices stay meanwhile, and exploration continues.
    """

    code = "LOW_CONFIDENCE"
    kind = Kind.PACE
    needs_candidate = True
    title = "Low confidence"
    meaning = "a change that may as well lose profit is not made"
    advice = "review the decision"
    requests_review = True

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Pin the main prices, or nothing as the policy says; None without a move or a required gain."""
        inputs, least = context.inputs, policy.limits.min_confidence
        if not inputs.cause.needs_gain or context.confidence is None or inputs.controls.approved_minor is not None:
            return None
        if context.confidence >= least:
            return None
        detail = f"P(gain > 0) = {context.confidence:.2f}, expected at least {least:.2f}"
        holds = policy.fallback.hold_below_confidence
        return Band(self.code, self.kind, detail, pin=Pin.MAIN if holds else Pin.NOTHING)

    def text(self, limit: LimitRecord) -> str:
        """Name the least probability."""
        least = limit.policy.limits.min_confidence
        follows = "the main prices stay" if limit.band["keeps"] == Pin.MAIN else "it is marked for a review"
        return f"the change raises the profit with a probability below {least:.0%}, so {follows}"
