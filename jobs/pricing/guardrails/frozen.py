"""FROZEN: an operator's freeze, a price set by hand, the kill switch."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Case, Kind
from jobs.pricing.policy import Policy
from schemas.codes import GuardrailCode


class Frozen:
    """People said that this price stays."""

    code = GuardrailCode.FROZEN
    kind = Kind.HOLD
    needs_candidate = False

    def band(self, case: Case, policy: Policy) -> Band | None:
        """Hold while frozen; a price set or approved by hand is the people's own word."""
        if case.frozen is None or case.approved_minor is not None:
            return None
        return Band(self.code, self.kind, case.frozen)
