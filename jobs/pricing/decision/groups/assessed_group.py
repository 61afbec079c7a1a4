"""AssessedGroup: the members of a price group and what a joint decision computes from all of them. Pure.

Each member is assessed alone. From the assessments follow the group's strategy and pricing rules, the solution of
its LP and the gain of a change (science § 7, "Price groups"). :mod:`jobs.pricing.decision.groups.plan` decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jobs.pricing.decision.assessment import assess, bands_of
from jobs.pricing.decision.groups.group_strategy import GroupStrategy, choose_strategy
from jobs.pricing.decision.groups.member import is_outside
from jobs.pricing.decision.inputs import PricingInputs, Shares
from jobs.pricing.decision.outcome import Situation
from jobs.pricing.decision.serialization import table_record
from jobs.pricing.decision.valuation import Gain, Valuation
from jobs.pricing.guardrails import AllowedPrices, Band, Guardrail, Kind, intersect
from jobs.pricing.guardrails.pricing_rules import RuleBand, cut_by_rules
from jobs.pricing.optimizer import GroupMember, GroupPlan, solve_group
from jobs.pricing.rules.matching import LostTo
from jobs.pricing.rules.rule import ActionKind
from jobs.pricing.strategies import (
    ProfitPlan,
    Strategy,
    StrategyChoice,
    StrategyContext,
    strategy_of,
    with_fallback,
)


@dataclass(frozen=True, slots=True)
class AssessedMember:
    """A member's situation; ``settled``: it has the group's table. ``held``: what holds it.

    ``rule_band``: the band of a pricing rule that applies to it.
    """

    situation: Situation
    settled: bool
    held: str | None
    hard: AllowedPrices
    rule_band: Band | None = None

    @property
    def inputs(self) -> PricingInputs:
        """The member's own inputs."""
        return self.situation.inputs

    @property
    def outside(self) -> bool:
        """Whether the member is held and was never priced."""
        return is_outside(self.inputs, self.held)


@dataclass(frozen=True, slots=True)
class AssessedGroup:
    """The members of a joint decision.

    ``everyone``: all listings of the price group, by key. ``guardrails``: those that bound their prices.
    """

    everyone: tuple[AssessedMember, ...]
    guardrails: Sequence[Guardrail]

    @classmethod
    def of(cls, members: Sequence[PricingInputs], guardrails: Sequence[Guardrail]) -> AssessedGroup:
        """Assess each member alone."""
        priced = []
        for inputs in members:
            situation = assess(inputs, strategy_of(inputs).strategy)
            bands = bands_of(situation, guardrails)
            held = next((band.detail for band in bands if band.kind is Kind.HOLD), None)
            if held is None and inputs.shown_minor is None and not inputs.is_start:
                held = "no price is known"
            hard = intersect(band for band in bands if band.kind is Kind.HARD)
            rule_band = next((band for band in bands if band.code == RuleBand.code), None)
            priced.append(AssessedMember(situation, False, held, hard, rule_band))
        usual = _usual_table([each.inputs for each in priced if not each.outside])
        if usual is not None:
            priced = [
                replace(each, settled=not each.outside and _table_of(each.inputs) == usual) for each in priced
            ]
        return cls(tuple(priced), guardrails)

    @property
    def members(self) -> list[AssessedMember]:
        """All but those outside."""
        return [each for each in self.everyone if not each.outside]

    @property
    def chosen(self) -> GroupStrategy:
        """The strategy that members' rules and roles choose; without members, the first listing's."""
        if not self.members:
            return GroupStrategy(self.everyone[0].situation.strategy)
        return choose_strategy([each.situation for each in self.deciding], [each.inputs for each in self.members])

    @property
    def fallback(self) -> StrategyChoice:
        """The worst stage of the fallback chain of that strategy among the members, of equal ones the first's."""
        chosen = self.chosen.strategy
        choices = [with_fallback(chosen, each.inputs) for each in self.members]
        return max(choices, key=lambda choice: choice.fallback.rank, default=StrategyChoice(chosen))

    @property
    def settled(self) -> list[AssessedMember]:
        """The members that have the group's table."""
        return [each for each in self.members if each.settled]

    @property
    def lead(self) -> AssessedMember:
        """The first member with the group's table, else the first one."""
        return (self.settled or self.members)[0]

    @property
    def deciding(self) -> list[AssessedMember]:
        """The members that choose strategy and grid: those with the group's table; when settling, all."""
        settling = any(each.inputs.cause.ignores_pace for each in self.members)
        return self.members if settling else self.settled or self.members

    def within_rules(self, prices: AllowedPrices) -> AllowedPrices:
        """Return prices cut by the members' rule bands in the order of priority; each leaves a price."""
        found = []
        for each in self.members:
            rule = each.situation.rules.of(ActionKind.BAND)
            if rule is not None and each.rule_band is not None:
                found.append((*rule.order, each.inputs.listing.key, each.rule_band))
        ordered = [band for *_, band in sorted(found, key=lambda row: row[:3])]
        return cut_by_rules(prices, ordered, self.lead.inputs)

    def reach_of_rules(self, lead: Situation, hard: AllowedPrices) -> AllowedPrices:
        """Return the prices to which pricing rules may move the group's candidate, as for a single listing."""
        if lead.rules.adjustment is None and not any(each.rule_band for each in self.members):
            return hard
        ranges = (
            intersect(b for b in bands_of(each.situation, self.guardrails, hard.low) if b.kind is Kind.HARD)
            for each in self.members
        )
        common = common_prices((hard, *ranges))
        return self.within_rules(hard if common.empty else common)

    def common_situation(self) -> Situation:
        """Return the first deciding member's situation with the bounds and the strategy of the whole group."""
        lead, deciding = self.deciding[0].situation, self.deciding
        bounds = [each.situation.follow_minor for each in self.members if each.situation.follow_minor is not None]
        rules, strategy = self.chosen.rules, self.fallback.strategy
        if any(strategy.starts_from_current(each.inputs) for each in deciding):
            rules = rules.without(ActionKind.ADJUST, LostTo.STRATEGY)
        exempt = any(each.situation.exempt_from_gain for each in deciding)
        follow_minor = min(bounds, default=None)
        return replace(lead, strategy=strategy, follow_minor=follow_minor, exempt_from_gain=exempt, rules=rules)

    def needs_no_gain(self, lead: Situation) -> bool:
        """Return whether a change needs no gain: by a rule or a cause without one, or without a group's table."""
        needs = [each.inputs.cause.needs_gain for each in self.settled]
        return lead.by_rule or lead.exempt_from_gain or not needs or not all(needs)

    def is_material(self, lead: Situation, gain: Gain | None, worth: Sequence[Valuation]) -> bool:
        """Return whether a change pays for itself: the group's gain reaches the policy's share and amount."""
        if gain is None or self.needs_no_gain(lead):
            return True
        limits, before = lead.inputs.policy.materiality, lead.inputs.current_shares()
        values = [
            v.expect(before)[1] for each, v in zip(self.members, worth, strict=True) if each.settled and before
        ]
        return gain.mean > 0 and gain.mean >= max(
            limits.min_gain_minor, limits.min_gain_share * max(sum(values), 0.0)
        )

    def solve(self, strategy: Strategy, valuations: Sequence[Valuation]) -> tuple[GroupPlan, Shares]:
        """Solve the group's LP over some prices; return it, and the shares by segment and price.

        Units that a strategy must sell are both the most and the least that a member sells.
        """
        policy = self.lead.inputs.policy
        names, uniform = policy.segments.names, policy.segments.uniform
        members = []
        for each, worth in zip(self.members, valuations, strict=True):
            inputs = each.inputs
            sales = worth.sales(strategy.drawn(inputs, worth))
            values = worth.values(sales)
            if uniform:
                sales, values = ([[sum(column) for column in zip(*rows, strict=True)]] for rows in (sales, values))
            sold, least = strategy.sold_units(inputs), inputs.policy.groups.minimum_sales
            most = inputs.target.units if sold is None else sold
            members.append(GroupMember(sales, values, most, least if sold is None else sold))
        plan = solve_group(members)
        rows = plan.shares * (len(names) if uniform else 1)
        prices = valuations[0].prices
        shares = {
            name: {price: x for price, x in zip(prices, row, strict=True) if x > 0}
            for name, row in zip(names, rows, strict=True)
        }
        return plan, shares

    def price_by_rule(
        self, lead: Situation, hard: AllowedPrices, on_grid: Sequence[Valuation], plan: ProfitPlan
    ) -> int:
        """Return the price that most members' rules give, of equally many the lowest."""
        deciding = {each.inputs.listing.key for each in self.deciding}
        found = Counter(
            lead.strategy.propose(
                StrategyContext(each.inputs, hard, worth, each.situation.rivals_mean_minor), plan
            ).candidate_minor
            for each, worth in zip(self.members, on_grid, strict=True)
            if each.inputs.listing.key in deciding
        )
        return min(found, key=lambda price: (-found[price], price))

    def gain(self, strategy: Strategy, shares: Shares, worth: Sequence[Valuation], plan: GroupPlan) -> Gain | None:
        """Return the gain of the members that have the group's table; None without one."""
        before, mean, variance, moves = self.lead.inputs.current_shares(), 0.0, 0.0, False
        if before is None or not self.settled:
            return None
        for each, valuation, multiplier in zip(self.members, worth, plan.multipliers, strict=True):
            if not each.settled:
                continue
            points = {price for of_segment in shares.values() for price in of_segment}
            situation = replace(each.situation, strategy=strategy)
            own = situation.value(points, valuation).gain(shares, before, multiplier)
            mean, variance, moves = mean + own.mean, variance + own.sd**2, moves or own.confidence is not None
        if not moves:
            return Gain(0.0, 0.0, None)
        sd = math.sqrt(variance)
        return Gain(mean, sd, 0.5 * (1 + math.erf(mean / sd / math.sqrt(2))) if sd > 0 else float(mean > 0))


def common_prices(ranges: Iterable[AllowedPrices]) -> AllowedPrices:
    """Return the prices within all of some ranges, at least one.

    >>> common_prices([AllowedPrices(90, None), AllowedPrices(80, 100)])
    AllowedPrices(low=90, high=100)
    """
    ranges = list(ranges)
    highs = [each.high for each in ranges if each.high is not None]
    return AllowedPrices(max(each.low for each in ranges), min(highs, default=None))


def _table_of(inputs: PricingInputs) -> tuple[int, str, str] | None:
    """Return what identifies a listing's table: its main price, its id and its lists."""
    current = inputs.current
    return (
        None if current is None else (current.default_minor, current.table_id, str(table_record(current.prices)))
    )


def _usual_table(members: Sequence[PricingInputs]) -> tuple[int, str, str] | None:
    """Return the table that most members have, of equally many the one of the lowest main price."""
    found = Counter(table for inputs in members if (table := _table_of(inputs)) is not None)
    return min(found, key=lambda table: (-found[table], table)) if found else None
