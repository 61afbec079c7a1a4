"""Pricing rules in the decision log: listings, price changes and conflicts per rule and per strategy.

Each listing counts once, by its last decision. Of each action (strategy, adjust, band, hold) at most one rule
applies to a listing, so that per action the listings of all rules and those without a rule add up to all listings.
So do the listings of all strategies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.audit.strategies import deciding_strategy, policy_of_record
from jobs.pricing.guardrails.pricing_rules import lies_outside
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.rules.rule import ActionKind


@dataclass(frozen=True, slots=True)
class Statistics:
    """How the prices of some listings changed.

    ``name``: of a rule or strategy, empty for the listings without a rule. ``listings``: their number, the sum of
    ``up``, ``down``, ``unchanged`` and ``unpriced``, which have no price before or after. ``mean_change``: mean
    relative change of the price over the listings with a price; None without one.
    """

    name: str
    listings: int
    mean_change: float | None
    up: int
    down: int
    unchanged: int
    unpriced: int

    @property
    def text(self) -> str:
        """The statistics in a line.

        >>> Statistics("slow shoes", 205, -0.111, 20, 185, 0, 0).text
        '205 listings, mean −11.1 %, 20 up, 185 down'
        """
        parts = [f"{self.listings:,} {'listing' if self.listings == 1 else 'listings'}"]
        if self.mean_change is not None:
            parts.append(f"mean {100 * self.mean_change:+.1f} %".replace("-", "−"))
        parts += [f"{self.up:,} up", f"{self.down:,} down"]
        parts += [f"{self.unchanged:,} unchanged"] * bool(self.unchanged)
        return ", ".join([*parts, *([f"{self.unpriced:,} without a price"] * bool(self.unpriced))])


@dataclass(frozen=True, slots=True)
class ActionReport:
    """The rules of one action, by name, and the listings to which none of them applied."""

    action: str
    rules: tuple[Statistics, ...]
    without: Statistics


@dataclass(frozen=True, slots=True)
class RuleConflict:
    """A rule that held and did not apply, on a number of listings.

    ``to``: the rule that applied instead, empty without one. ``reason``: a value of
    :class:`jobs.pricing.rules.matching.LostTo`.
    """

    action: str
    rule: str
    to: str
    reason: str
    listings: int


@dataclass(frozen=True, slots=True)
class RuleReport:
    """Statistics of the rules and strategies behind the last decisions.

    ``listings``: all of them. ``decisions``: read in the period. ``actions``: per action, in the order of
    :class:`jobs.pricing.rules.rule.ActionKind`. ``strategies``: by name, of the strategy that decided.
    ``without_rule``: listings to which no rule applied. ``never_matched``: names of rules that held in no decision
    of the period. ``conflicts``: of all decisions of the period. ``overruled``: rule → number of listings whose
    band lay outside the policy's hard limits.
    """

    listings: int
    decisions: int
    actions: tuple[ActionReport, ...]
    strategies: tuple[Statistics, ...]
    without_rule: Statistics
    never_matched: tuple[str, ...]
    conflicts: tuple[RuleConflict, ...]
    overruled: Mapping[str, int]

    def of_rule(self, name: str) -> Statistics | None:
        """Return the statistics of a rule; None if it applied to no listing."""
        every = (each for action in self.actions for each in action.rules)
        return next((each for each in every if each.name == name), None)


def rule_report(
    decisions: Iterable[Mapping[str, Any]],
    policies: PolicyCatalog,
    *,
    scope: str = "",
    since_ms: int | None = None,
    rules: Iterable[str] = (),
) -> RuleReport:
    """Return what pricing rules and strategies did to prices in recorded decisions.

    A listing's change is from the price before its first decision of the period to the price after its last one.

    Parameters
    ----------
    decisions : records of the `decisions` stream in any order; a repeated one counts once.
    policies : policies by the hash that the records hold.
    scope : tenant, tenant/market or tenant/market/sku; empty: all.
    since_ms : decisions before this event time do not count.
    rules : names of rules in force, besides those of the decisions' policies; of all of them the ones that never
        held are listed.

    Examples
    --------
    >>> rule_report([], PolicyCatalog(), rules=["slow shoes"]).never_matched
    ('slow shoes',)
    """
    found, known, seen = dict[str, _Listing](), set(rules), set[str]()
    held, lost = set[str](), dict[tuple[str, str, str, str], set[str]]()
    overruled: dict[str, set[str]] = {}
    read: set[str] = set()
    for decision in decisions:
        inputs, name = decision["inputs"], decision["decision_id"]
        key = inputs["listing"]
        if scope and not f"{key}/".startswith(f"{scope}/"):
            continue
        if name in seen or (since_ms is not None and decision["event_time_ms"] < since_ms):
            continue
        seen.add(name)
        found.setdefault(key, _Listing()).add(decision)
        of_decision = decision["result"].get("rules") or {"applied": [], "lost": []}
        held.update(rule["rule"] for part in of_decision.values() for rule in part)
        for rule in of_decision["lost"]:
            what = (rule["action"], rule["rule"], rule["to"], rule["reason"])
            lost.setdefault(what, set()).add(key)
        if (outside := _overruled(decision["result"])) is not None:
            overruled.setdefault(outside, set()).add(key)
        if inputs["policy_hash"] not in read:
            read.add(inputs["policy_hash"])
            if (policy := policy_of_record(inputs, policies)) is not None:
                known.update(rule.name for rule in policy.rules.entries)
    everyone = sorted(found.items())
    strategies = _by(everyone, lambda each: deciding_strategy(each.last, policies))
    return RuleReport(
        listings=len(found),
        decisions=len(seen),
        actions=tuple(_action(kind, everyone) for kind in ActionKind),
        strategies=tuple(_statistics(name, members) for name, members in sorted(strategies.items())),
        without_rule=_statistics("", [each for _, each in everyone if not each.applied]),
        never_matched=tuple(sorted(known - held)),
        conflicts=tuple(RuleConflict(*what, len(keys)) for what, keys in sorted(lost.items())),
        overruled={name: len(keys) for name, keys in sorted(overruled.items())},
    )


def _action(kind: ActionKind, everyone: list[tuple[str, _Listing]]) -> ActionReport:
    of_rule = _by(everyone, lambda each: each.applied.get(kind.value, ""))
    without = of_rule.pop("", [])
    rules = tuple(_statistics(name, members) for name, members in sorted(of_rule.items()))
    return ActionReport(kind.value, rules, _statistics("", without))


def _by(everyone: list[tuple[str, _Listing]], name_of: Callable[[_Listing], str]) -> dict[str, list[_Listing]]:
    groups: dict[str, list[_Listing]] = {}
    for _, each in everyone:
        groups.setdefault(name_of(each), []).append(each)
    return groups


def _statistics(name: str, members: list[_Listing]) -> Statistics:
    changes = [each.change for each in members]
    priced = [change for change in changes if change is not None]
    up, down = sum(change > 0 for change in priced), sum(change < 0 for change in priced)
    mean = math.fsum(priced) / len(priced) if priced else None
    unchanged = len(priced) - up - down
    return Statistics(name, len(members), mean, up, down, unchanged, len(members) - len(priced))


@dataclass(slots=True)
class _Listing:
    """A listing's first and last decision of the period."""

    first: Mapping[str, Any] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=dict)

    def add(self, decision: Mapping[str, Any]) -> None:
        """Take a decision; of equal times the one with the higher id is the later."""
        if not self.first or _time_of(decision) < _time_of(self.first):
            self.first = decision
        if not self.last or _time_of(decision) > _time_of(self.last):
            self.last = decision

    @property
    def applied(self) -> dict[str, str]:
        """Action → name of the rule that applied to the last decision."""
        rules = self.last["result"].get("rules") or {"applied": []}
        return {rule["action"]: rule["rule"] for rule in rules["applied"]}

    @property
    def change(self) -> float | None:
        """Relative change from the price before the first decision to that after the last; None without one."""
        inputs, after = self.first["inputs"], self.last["result"]["default_minor"]
        current, start = inputs["current"], (inputs.get("experience") or {}).get("start_minor")
        before = current["default_minor"] if current else start or inputs["catalog"].get("list_minor")
        return after / before - 1 if before and after else None


def _time_of(decision: Mapping[str, Any]) -> tuple[int, str]:
    return decision["event_time_ms"], decision["decision_id"]


def _overruled(result: Mapping[str, Any]) -> str | None:
    """Return the name of the rule whose band lies outside the policy's hard limits; None if none does."""
    applied = (result.get("rules") or {"applied": []})["applied"]
    rule = next((each for each in applied if each["action"] == ActionKind.BAND), None)
    return str(rule["rule"]) if rule is not None and lies_outside(rule["effect"], result["hard"]) else None
