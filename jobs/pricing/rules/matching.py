"""Which rules hold for a decision's inputs at their event time, and which of them applies. Pure.

Of each action the rule of the highest priority applies, of equal priority the first by name; the others lose and
are recorded. An operator's price leaves all rules aside. To a first price bands apply alone: it is the price that
customers know (science § 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from jobs.pricing.rules.conditions import RuleFacts
from jobs.pricing.rules.rule import ActionKind, PricingRule
from schemas.causes import Cause
from schemas.time_units import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from jobs.pricing.decision.inputs import PricingInputs


class LostTo(StrEnum):
    """Why a rule that holds does not apply."""

    PRIORITY = "priority"
    """Another rule of the same action has a higher priority, or at equal priority a name that comes first."""
    ROLE = "role"
    """Its strategy may not be chosen for the listing's role (``strategies.allowed_by_role``)."""
    GROUP = "group"
    """A rule of another listing of the price group has a higher priority."""


class AppliedRule(NamedTuple):
    """A rule that applies: its name, its action, and the action's value as plain data."""

    rule: str
    action: str
    effect: Any


class LostRule(NamedTuple):
    """A rule that holds and does not apply; ``to``: the name of the rule that applies instead, empty without one."""

    rule: str
    action: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class MatchedRules:
    """The rules that hold for a listing.

    ``applied``: by action, the rule that applies. ``lost``: the others, in the order in which rules are tried.
    """

    applied: Mapping[ActionKind, PricingRule] = field(default_factory=dict)
    lost: tuple[LostRule, ...] = ()

    def of(self, kind: ActionKind) -> PricingRule | None:
        """Return the rule that applies of an action, or None."""
        return self.applied.get(kind)

    @property
    def adjustment(self) -> float | None:
        """Share by which the strategy's prices are changed; None without such a rule."""
        rule = self.of(ActionKind.ADJUST)
        return None if rule is None else rule.adjust

    @property
    def names(self) -> tuple[AppliedRule, ...]:
        """The rules that apply, in the order of the actions."""
        return tuple(
            AppliedRule(rule.name, kind.value, rule.effect)
            for kind in ActionKind
            if (rule := self.of(kind)) is not None
        )


NO_RULES = MatchedRules()


def matched_rules(inputs: PricingInputs) -> MatchedRules:
    """Return the rules that hold for a decision's inputs."""
    rules = inputs.policy.rules.ordered
    if not rules or inputs.controls.approved_minor is not None:
        return NO_RULES
    facts, amounts = facts_of(inputs), amounts_of(inputs)
    zone_name = inputs.policy.local_time.time_zones.get(inputs.listing.market)
    zone = UTC if zone_name is None else ZoneInfo(zone_name)
    allows, role = inputs.policy.strategies.allows, inputs.product.role
    applied: dict[ActionKind, PricingRule] = {}
    lost: list[LostRule] = []
    for rule in rules:
        kind = rule.action
        if inputs.cause is Cause.COLD_START and kind is not ActionKind.BAND:
            continue
        if not rule.is_valid(inputs.at_ms, zone) or not rule.when.hold(facts):
            continue
        if rule.band is not None and rule.band.limits(amounts) is None:
            continue
        if rule.strategy is not None and not allows(role, rule.strategy):
            lost.append(LostRule(rule.name, kind.value, "", LostTo.ROLE.value))
        elif kind in applied:
            lost.append(LostRule(rule.name, kind.value, applied[kind].name, LostTo.PRIORITY.value))
        else:
            applied[kind] = rule
    return MatchedRules(applied, tuple(lost)) if applied or lost else NO_RULES


def facts_of(inputs: PricingInputs) -> RuleFacts:
    """Return what conditions are read against.

    The gap is that of the current price; when settling, whose prices must not depend on the path, that of the list
    price.
    """
    known, rivals = inputs.attributes, _rivals_minor(inputs)
    price = inputs.base_minor if inputs.cause.ignores_pace else inputs.shown_minor
    days = inputs.policy.objective.period_minutes * MINUTE_MS / DAY_MS
    return RuleFacts(
        category=None if known is None else known.category,
        role=inputs.product.role,
        tags=None if known is None or known.tags is None else frozenset(known.tags),
        hour=None if known is None else known.hour,
        weekday=None if known is None else known.weekday,
        stock=None if known is None else known.on_hand,
        cover_days=None if known is None else known.cover_days,
        age_days=None if known is None else known.age_days,
        rival_gap=None if rivals is None or not price else price / rivals - 1,
        requests_per_day=inputs.beliefs.requests / days,
    )


def amounts_of(inputs: PricingInputs) -> dict[str, float | None]:
    """Return the amounts that bands are multiples of, in minor units."""
    return {"list": inputs.base_minor, "cost": inputs.product.cost_minor, "rivals": _rivals_minor(inputs)}


def _rivals_minor(inputs: PricingInputs) -> float | None:
    rivals = inputs.reference(rivals_only=True)
    return rivals.mean_minor if rivals is not None and rivals.fresh and rivals.mean_minor > 0 else None
