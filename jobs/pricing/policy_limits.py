"""Sections of the policy for what bounds prices and how long they last: margin, rivals, roles, limits, tables.

Descriptions cite sections of the science page (science § 7, below § 7) and decisions by number;
:mod:`jobs.pricing.policy` states the conventions.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jobs.pricing.policy_section import DEPLOYMENT, Number, PolicySection, Share
from schemas.events import DEFAULT_ARM


class Margin(PolicySection):
    """MIN_MARGIN, and the confirmation of costs (§ 8)."""

    live = True

    min_margin: Share = Field(default=0.10, lt=1.0, description="minimum of (p - c)/p (001)")
    cost_jump: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.50,
        gt=0,
        description="a larger relative cost change is not used until it is confirmed (§ 8)",
    )
    cost_jump_scale: Literal["log", "share"] = Field(
        json_schema_extra=DEPLOYMENT,
        default="log",
        description="log: a rise to 1 + cost_jump times and a fall to 1 / (1 + cost_jump) are equally far; "
        "share: a rise and a fall by cost_jump are (decision 42)",
    )
    cost_tolerance: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.05,
        description="costs within this share of each other agree (decision 42)",
    )
    confirm_after_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=60,
        ge=0,
        description="an agreeing cost this long after the first one confirms it (decision 42)",
    )
    trust_after_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=20_160,
        ge=0,
        description="the last cost is used after costs have differed on one side for this long (decision 42)",
    )


class Market(PolicySection):
    """Use of rivals' offers: validity, matching, caps and the moves that request a repricing (§ 8)."""

    live = True

    cap_trigger_ratio: Number = Field(
        default=2.0, gt=1, description="candidate over the rivals' mean above which the cap applies (001)"
    )
    cap_ratio: Number = Field(default=1.5, gt=0, description="the cap, as a multiple of the rivals' mean (001)")
    offer_validity_minutes: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=1_440,
        ge=1,
        description="validity in minutes of an offer that states none (001)",
    )
    min_match_confidence: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.5,
        description="offers with a lower match confidence are ignored (§ 8)",
    )
    offer_jump: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.5,
        gt=0,
        description="a larger change of a rival's price is ignored until it is received twice (§ 8)",
    )
    max_rivals: int = Field(
        json_schema_extra=DEPLOYMENT, default=16, ge=1, le=256, description="offers kept per listing"
    )
    move_share: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.005,
        description="smallest relative change of a rival's price that requests a repricing (decision 42)",
    )
    move_of_usual: Number = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.2,
        ge=0,
        description="and smallest change as a share of the mean size of the rival's changes (decision 42)",
    )
    usual_weight: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.2,
        gt=0,
        description="weight of the newest change in that mean (decision 42)",
    )

    @model_validator(mode="after")
    def _cap_below_trigger(self) -> Market:
        if self.cap_ratio > self.cap_trigger_ratio:
            raise ValueError(
                f"expected cap_ratio ≤ cap_trigger_ratio {self.cap_trigger_ratio}, got {self.cap_ratio}"
            )
        return self


class Roles(PolicySection):
    """Highest price of a listing by its role, as a multiple of the rivals' fresh mean (003 § A, decision 9).

    The bound is separate from the demand model: a rival's price scales the whole demand curve, which does not move
    its optimum. A role without a bound does not follow rivals. The bound yields to hard bands and to the pace.
    """

    live = True

    kvi: Number | None = Field(default=1.0, gt=0, description="bound of a known value item; null: none (003 § A)")
    traffic: Number | None = Field(
        default=1.05, gt=0, description="bound of a traffic item; null: none (decision 9)"
    )
    margin: Number | None = Field(
        default=1.25, gt=0, description="bound of a margin item; null: none (decision 9)"
    )
    long_tail: Number | None = Field(
        default=None, gt=0, description="bound of a long-tail item; null: none (decision 9)"
    )

    def follow_ratio(self, role: str) -> float | None:
        """Return the bound of a role; None for an unknown role."""
        ratio: float | None = getattr(self, role, None) if role in type(self).model_fields else None
        return ratio


class Limits(PolicySection):
    """FLOOR_CEILING where the catalog gives none, and limits of the pace (§ 8)."""

    live = True

    ceiling_over_list: Number = Field(
        default=1.5, ge=1, description="ceiling as a multiple of the list price, without one in the catalog (§ 8)"
    )
    max_step: Share = Field(default=0.10, gt=0, description="STEP_LIMIT: largest relative change (§ 8)")
    approval_over: Share = Field(
        default=0.20, gt=0, description="APPROVAL: a larger change needs an operator's approval (001)"
    )
    approval_minutes: int = Field(
        default=1_440, ge=1, description="minutes within which an approval may be given and used (§ 8)"
    )
    min_gap_minutes: int = Field(default=60, ge=0, description="MIN_GAP: minutes between two changes (§ 8)")
    max_changes_per_day: int = Field(default=8, ge=1, description="MAX_CHANGES: changes per market day (§ 8)")
    min_confidence: Share = Field(default=0.5, description="LOW_CONFIDENCE: smallest P(gain > 0) (decision 16)")


MAX_LOCK_MINUTES = 1_440
"""Longest price lock that a policy may set: a signing key stays published as long after its last lock."""


class Locks(PolicySection):
    """Price locks, which the edge issues (decision 67)."""

    minutes: int = Field(
        default=30, ge=1, le=MAX_LOCK_MINUTES, description="minutes for which a price lock is valid (decision 67)"
    )


class Tables(PolicySection):
    """Lifetime of price tables, and of the quotes from them (§ 7)."""

    live = True

    life_minutes: int = Field(default=1_440, ge=2, description="lifetime of a table in minutes")
    renew_share: Share = Field(
        default=0.25, gt=0, lt=1, description="a table is renewed when this share of its life is left"
    )
    session_minutes: int = Field(
        default=30,
        ge=0,
        le=1_440,
        description="minutes for which a session keeps a quoted price; 0: a new table applies at once "
        "(decision 71)",
    )
    unconfirmed_minutes: int | None = Field(
        default=60,
        ge=1,
        description="wall minutes for which an edge serves a table that neither Redis nor Kafka confirms; then "
        "the list price; null: until the table expires (decision 71)",
    )
    arm: str = Field(
        json_schema_extra=DEPLOYMENT, default=DEFAULT_ARM, description="arm of the published tables (§ 10)"
    )
