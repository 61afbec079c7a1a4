"""LOW_CONFIDENCE: a change that may as well lose money is held and sent to review (001)."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Case, Keeps, Kind
from jobs.pricing.policy import Policy
from schemas.codes import Cause, GuardrailCode

EXEMPT = frozenset({Cause.COLD_START, Cause.SETTLE})
"""A cold start has nothing to compare with and follows its rule; settling leaves pace aside."""


class LowConfidence:
    """P(gain > 0) under the posteriors below the policy's: main prices stay, exploration goes on."""

    code = GuardrailCode.LOW_CONFIDENCE
    kind = Kind.PACE
    needs_candidate = True

    def band(self, case: Case, policy: Policy) -> Band | None:
        """Pin the main prices; nothing when no move was found or the case is exempt."""
        if case.cause in EXEMPT or case.confidence is None or case.approved_minor is not None:
            return None
        if case.confidence >= policy.limits.min_confidence:
            return None
        detail = f"P(gain > 0) = {case.confidence:.2f}, expected at least {policy.limits.min_confidence:.2f}"
        return Band(self.code, self.kind, detail, keeps=Keeps.MAIN)
