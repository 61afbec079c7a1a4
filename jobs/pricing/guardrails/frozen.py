"""FROZEN: an operator's freeze, a price set by hand, the kill switch."""

from __future__ import annotations

from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord
from jobs.pricing.policy import Policy


class Frozen(Guardrail):
    """Hold a price that an operator froze."""

    code = "FROZEN"
    kind = Kind.HOLD
    title = "Frozen"
    meaning = "an operator keeps the price as it is"
    advice = "unfreeze it to let it move"

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Hold while frozen; a price that an operator set or approved may still be published."""
        controls = context.inputs.controls
        if controls.frozen is None or controls.approved_minor is not None:
            return None
        return Band(self.code, self.kind, controls.frozen)

    def text(self, limit: LimitRecord) -> str:
        """Return the freeze's own text."""
        return str(limit.inputs.controls.frozen)
