"""Section of the policy for what happens when an input of the demand model cannot be used: the fallback chain.

Descriptions cite sections of the science page (science § 7, below § 7) and decisions by number;
:mod:`jobs.pricing.policy` states the conventions.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from jobs.pricing.policy_section import PolicySection, Share
from schemas.codes import InsufficientReason


class FallbackChain(PolicySection):
    """Model, else a rule, else the last table, else the list price (§ 7, "Fallback chain")."""

    live = True

    enabled: bool = Field(
        default=True,
        description="false: the policy's strategy is used whatever the state of its estimate (§ 7)",
    )
    margin: Share = Field(default=0.30, lt=1.0, description="(p - c)/p of the rule's own price (001)")
    rivals_weight: Share = Field(
        default=0.5, description="weight of the rivals' fresh mean in the rule's price (001)"
    )
    prior_counts: bool = Field(
        default=True,
        description="before a listing's first estimate: true: the policy's prior is the model; false: the rule "
        "sets prices (decision 64)",
    )
    max_estimate_age_minutes: int | None = Field(
        default=None,
        ge=1,
        description="an older estimate counts as missing; null: none does. A limit needs elasticity.tell: "
        "changed, since with moved a good estimate may stay the same for weeks (decision 64)",
    )
    refused_reasons: tuple[str, ...] = Field(
        default=(InsufficientReason.NO_EXPOSURES.value,),
        description="reasons for which an estimate that is not identified is refused as a model; others leave it "
        "in use (§ 3, 'Estimate states')",
    )
    hold_below_confidence: bool = Field(
        default=True,
        description="true: a change below limits.min_confidence is held and reviewed; false: it is published and "
        "reviewed (decision 64)",
    )

    @model_validator(mode="after")
    def _known_reasons(self) -> FallbackChain:
        known = [reason.value for reason in InsufficientReason]
        for reason in self.refused_reasons:
            if reason not in known:
                raise ValueError(f"refused_reasons: expected reasons among {', '.join(known)}, got {reason!r}")
        return self
