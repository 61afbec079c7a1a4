"""Which rules hold for a decision's inputs at their event time, and which of them applies. Pure.

Of each action the rule of the highest priority applies, of equal priority the first by name; the others lose and
are recorded. An operator's price leaves all rules aside. To a first price bands apply alone: it is the price that
customers know (science § 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from jobs.pricing.rules.conditions import RuleFacts
from jobs.pricing.rules.rule import ActionKind
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
    STRATEGY = "strategy"
    """The strategy starts from the current price, so that the share would be applied again at every decision."""
    GROUP = "group"
    """The price group follows another rule, or its listings' roles do not all allow the strategy."""


class AppliedRule(NamedTuple):
    """A rule that applies.

    ``effect``: the strategy's name, the share of an adjustment, the lowest and highest price of a band in minor
    units (None: open), or True for a hold.
    """

    rule: str
    action: str
    effect: Any
    priority: int = 0

    @property
    def order(self) -> tuple[int, str]:
        """By falling priority, then by name."""
        return -self.priority, self.rule

    def to_record(self) -> dict[str, Any]:
        """Return plain data."""
        effect = list(self.effect) if isinstance(self.effect, tuple) else self.effect
        return self._asdict() | {"effect": effect}


class LostRule(NamedTuple):
    """A rule that holds and does not apply; ``to``: name of the rule that applies instead, empty without one."""

    rule: str
    action: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class MatchedRules:
    """The rules that hold for a listing.

    ``applied``: at most one rule per action, in the order of :class:`ActionKind`. ``lost``: the others.
    """

    applied: tuple[AppliedRule, ...] = ()
    lost: tuple[LostRule, ...] = ()

    def of(self, kind: ActionKind) -> AppliedRule | None:
        """Return the rule that applies of an action, or None."""
        return next((rule for rule in self.applied if rule.action == kind), None)

    @property
    def strategy(self) -> str | None:
        """The strategy that a rule chooses; None without such a rule."""
        rule = self.of(ActionKind.STRATEGY)
        return None if rule is None else rule.effect

    @property
    def adjustment(self) -> float | None:
        """Share by which the strategy's prices are changed; None without such a rule."""
        rule = self.of(ActionKind.ADJUST)
        return None if rule is None else rule.effect

    def to_record(self) -> dict[str, Any]:
        """Return plain data."""
        applied = [rule.to_record() for rule in self.applied]
        return {"applied": applied, "lost": [rule._asdict() for rule in self.lost]}

    def without(self, kind: ActionKind, reason: LostTo) -> MatchedRules:
        """Return the rules with the one of an action lost."""
        rule = self.of(kind)
        if rule is None:
            return self
        return MatchedRules(
            tuple(each for each in self.applied if each is not rule),
            (*self.lost, LostRule(rule.rule, rule.action, "", reason.value)),
        )

    def in_group(self, common: tuple[AppliedRule, ...]) -> MatchedRules:
        """Return the rules of a member of a price group, whose strategy and adjustment are the group's.

        Parameters
        ----------
        common : the rules of the group, of the actions strategy and adjust.
        """
        winners = {rule.action: rule.rule for rule in common}
        own = [rule for rule in self.applied if rule.action not in OF_GROUP]
        passed = (rule for rule in self.applied if rule.action in OF_GROUP and rule not in common)
        lost = (LostRule(r.rule, r.action, winners.get(r.action, ""), LostTo.GROUP.value) for r in passed)
        return MatchedRules(_in_order((*own, *common)), (*self.lost, *lost))


NO_RULES = MatchedRules()
OF_GROUP = (ActionKind.STRATEGY, ActionKind.ADJUST)
"""Actions of which a price group has one rule for all its listings."""


def matched_rules(inputs: PricingInputs) -> MatchedRules:
    """Return the rules that hold for a decision's inputs; in a price group its own and those of the group."""
    rules = inputs.policy.rules.ordered
    if inputs.controls.approved_minor is not None or not (rules or (inputs.group and inputs.group.rules)):
        return NO_RULES
    facts, amounts = facts_of(inputs), amounts_of(inputs)
    zone_name = inputs.policy.local_time.time_zones.get(inputs.listing.market)
    zone = UTC if zone_name is None else ZoneInfo(zone_name)
    allows, role = inputs.policy.strategies.allows, inputs.product.role
    applied: dict[ActionKind, AppliedRule] = {}
    lost: list[LostRule] = []
    for rule in rules:
        kind = rule.action
        if inputs.cause is Cause.COLD_START and kind is not ActionKind.BAND:
            continue
        if not rule.is_valid(inputs.at_ms, zone) or not rule.when.hold(facts):
            continue
        effect = rule.effect if rule.band is None else rule.band.limits(amounts)
        if effect is None:
            continue
        if rule.strategy is not None and not allows(role, rule.strategy):
            lost.append(LostRule(rule.name, kind.value, "", LostTo.ROLE.value))
        elif kind in applied:
            lost.append(LostRule(rule.name, kind.value, applied[kind].rule, LostTo.PRIORITY.value))
        else:
            applied[kind] = AppliedRule(rule.name, kind.value, effect, rule.priority)
    found = MatchedRules(_in_order(applied.values()), tuple(lost))
    return found if inputs.group is None else found.in_group(inputs.group.rules)


def rules_of_group(members: Iterable[MatchedRules], may_use: Callable[[str], bool]) -> tuple[AppliedRule, ...]:
    """Return the rules that choose a price group's strategy and adjust its prices.

    The group is treated as one listing for which the rules of all its members hold: of each action the rule of the
    highest priority applies.

    Parameters
    ----------
    members : the rules of the listings that decide for the group.
    may_use : whether the roles of all members allow a strategy; it is called for those in question only.
    """
    found: list[AppliedRule] = []
    every = sorted({rule for member in members for rule in member.applied if rule.action in OF_GROUP}, key=_order)
    for kind in OF_GROUP:
        allowed = (rule for rule in every if rule.action == kind)
        found += islice((r for r in allowed if kind is not ActionKind.STRATEGY or may_use(r.effect)), 1)
    return tuple(found)


def _order(rule: AppliedRule) -> tuple[int, str, str]:
    return *rule.order, str(rule.effect)


def _in_order(rules: Iterable[AppliedRule]) -> tuple[AppliedRule, ...]:
    kinds = list(ActionKind)
    return tuple(sorted(rules, key=lambda rule: kinds.index(ActionKind(rule.action))))


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
