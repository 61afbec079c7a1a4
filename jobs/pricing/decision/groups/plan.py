"""plan_group: decide on one price for all listings of a price group, from each one's own inputs. Pure.

Steps (science § 7, "Price groups"):

1. The table that most members have is the group's. Members with another table or without one *join*: they take
   the group's prices at once, and their own pace limits do not count. A member that is held holds the group; one
   that is held and was never priced stays outside.
2. Hard bands of all members are intersected. Without a common price every member is UNPRICEABLE.
3. The candidate: the pricing LP over the common grid, with each member's own demand, cost, stock and minimum sales
   (:mod:`jobs.pricing.optimizer.group_lp`); or a rule's price, the one that most members' rules give.
   If any member has no usable demand model, the group falls back to the rule jointly: what is assumed of that
   member would otherwise weigh in the LP like the estimates of the others.
4. All bands of all members are intersected, and the outcome follows as for a single listing, with the gain of the
   group: the sum over members, whose errors count as independent.
5. The table: the LP again within all bands, and neighbouring prices for exploration, one list per segment for all.

The file exceeds 300 lines because all steps of one joint decision read the same members.
Split, each part would need most of them as arguments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jobs.pricing.decision.assessment import assess, bands_of, candidate_prices
from jobs.pricing.decision.groups.terms import GroupTerms, MemberTerms
from jobs.pricing.decision.inputs import PricingInputs, Shares, Table, main_segment, shares_of
from jobs.pricing.decision.outcome import GuardrailVerdict, Situation, after_the_gap_ms
from jobs.pricing.decision.serialization import table_record
from jobs.pricing.decision.table import build_table
from jobs.pricing.decision.valuation import Gain, Valuation
from jobs.pricing.grid import round_to_ending
from jobs.pricing.guardrails import (
    GUARDRAIL_OF,
    GUARDRAILS,
    YIELDING,
    AllowedPrices,
    Band,
    Guardrail,
    Kind,
    Pin,
    intersect,
    intersect_yielding,
)
from jobs.pricing.guardrails.pricing_rules import RuleBand, cut_by_rules
from jobs.pricing.optimizer import GroupMember, GroupPlan, solve_group
from jobs.pricing.rules.matching import NO_RULES, LostTo, MatchedRules, rules_of_group
from jobs.pricing.rules.rule import ActionKind
from jobs.pricing.strategies import (
    FALLBACK_RULE,
    ProfitPlan,
    Proposal,
    Strategy,
    StrategyChoice,
    StrategyContext,
    main_price,
    strategy_of,
)
from schemas.codes import Fallback, OutcomeCode


def plan_group(
    members: Iterable[PricingInputs],
    plan_id: str,
    requested_by: str,
    guardrails: Sequence[Guardrail] = GUARDRAILS,
) -> GroupTerms:
    """Return what a price group's members have in common from now on.

    Parameters
    ----------
    members : the inputs of at least one listing; all of one market, currency and price group, in any order.
    plan_id : names the joint decision; the id of a new table.
    requested_by : key of the member that was to be repriced.
    """
    ordered = sorted(members, key=lambda inputs: inputs.listing.key)
    joint = _JointDecision.of([replace(inputs, group=None) for inputs in ordered], guardrails)
    terms, worst = joint.decide(plan_id, requested_by), joint.fallback
    return replace(terms, fallback=worst.fallback, fallback_reasons=worst.reasons)


@dataclass(frozen=True, slots=True)
class _Priced:
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
        return self.situation.inputs

    @property
    def outside(self) -> bool:
        """Whether the member is held and was never priced."""
        return self.held is not None and self.inputs.current is None


@dataclass(frozen=True, slots=True)
class _JointDecision:
    """The members of a joint decision; ``lead`` is the first one with the group's table, else the first one."""

    everyone: tuple[_Priced, ...]
    guardrails: Sequence[Guardrail]

    @classmethod
    def of(cls, members: Sequence[PricingInputs], guardrails: Sequence[Guardrail]) -> _JointDecision:
        """Assess each member alone."""
        usual = _usual_table(members)
        priced = []
        for inputs in members:
            situation = assess(inputs, strategy_of(inputs).strategy)
            bands = bands_of(situation, guardrails)
            held = next((band.detail for band in bands if band.kind is Kind.HOLD), None)
            if held is None and inputs.shown_minor is None and not inputs.is_start:
                held = "no price is known"
            hard = intersect(band for band in bands if band.kind is Kind.HARD)
            rule_band = next((band for band in bands if band.code == RuleBand.code), None)
            settled = usual is not None and _table_of(inputs) == usual
            priced.append(_Priced(situation, settled, held, hard, rule_band))
        return cls(tuple(priced), guardrails)

    @property
    def members(self) -> list[_Priced]:
        """All but those outside."""
        return [each for each in self.everyone if not each.outside]

    def may_use(self, name: str) -> bool:
        """Return whether the roles of all deciding members allow a strategy."""
        allows = self.lead.inputs.policy.strategies.allows
        return all(allows(each.inputs.product.role, name) for each in self.deciding)

    @property
    def rules(self) -> MatchedRules:
        """The rules that choose the group's strategy and adjust its prices."""
        return MatchedRules(rules_of_group((each.situation.rules for each in self.deciding), self.may_use))

    @property
    def fallback(self) -> StrategyChoice:
        """The worst stage of the fallback chain among the members, of equal ones the first member's."""
        rules = self.rules if self.members else NO_RULES
        choices = [strategy_of(each.inputs, rules) for each in self.members]
        own = StrategyChoice(self.everyone[0].situation.strategy)
        return max(choices, key=lambda choice: choice.fallback.rank, default=own)

    @property
    def settled(self) -> list[_Priced]:
        return [each for each in self.members if each.settled]

    @property
    def lead(self) -> _Priced:
        return (self.settled or self.members)[0]

    @property
    def deciding(self) -> list[_Priced]:
        """The members that choose strategy and grid: those with the group's table; when settling, all."""
        settling = any(each.inputs.cause.ignores_pace for each in self.members)
        return self.members if settling else self.settled or self.members

    def decide(self, plan_id: str, requested_by: str) -> GroupTerms:
        """Return the terms; the module's docstring lists the steps."""
        if not self.members:
            blank = GroupTerms(plan_id, requested_by, (), OutcomeCode.HELD, 1, None)
            return replace(blank, members=self._terms_of(None, None))
        hard = _common(each.hard for each in self.members)
        blank = GroupTerms(plan_id, requested_by, (), OutcomeCode.HELD, hard.low, hard.high)
        if any(each.held is not None for each in self.members):
            return self._kept(blank, OutcomeCode.HELD, None)
        if hard.empty:
            return replace(blank, outcome=OutcomeCode.UNPRICEABLE, members=self._terms_of(None, None))
        return self._optimize(blank, hard)

    def _within_rules(self, prices: AllowedPrices) -> AllowedPrices:
        """Return prices cut by the members' rule bands in the order of priority; each leaves a price."""
        found = []
        for each in self.members:
            rule = each.situation.rules.of(ActionKind.BAND)
            if rule is not None and each.rule_band is not None:
                found.append((*rule.order, each.inputs.listing.key, each.rule_band))
        ordered = [band for *_, band in sorted(found, key=lambda row: row[:3])]
        return cut_by_rules(prices, ordered, self.lead.inputs)

    def _reach_of_rules(self, lead: Situation, hard: AllowedPrices) -> AllowedPrices:
        """Return the prices to which pricing rules may move the group's candidate, as for a single listing."""
        if lead.rules.adjustment is None and not any(each.rule_band for each in self.members):
            return hard
        ranges = (
            intersect(b for b in bands_of(each.situation, self.guardrails, hard.low) if b.kind is Kind.HARD)
            for each in self.members
        )
        common = _common((hard, *ranges))
        return self._within_rules(hard if common.empty else common)

    def _optimize(self, blank: GroupTerms, hard: AllowedPrices) -> GroupTerms:
        """Search the common grid, and decide whether and within which bands the group's prices change."""
        lead, members, policy = self._common_situation(), self.members, self.lead.inputs.policy
        bounded, adjustment = self._reach_of_rules(lead, hard), lead.rules.adjustment
        if any(each.rule_band for each in members) and not lead.is_legal(bounded):
            lead = replace(lead, exempt_from_gain=True)
        searched = bounded if adjustment is None else hard
        grid = candidate_prices(lead, searched)
        situations = [replace(each.situation, strategy=lead.strategy) for each in members]
        on_grid = [each.at(grid) for each in situations]
        plan, shares = self._solve(lead.strategy, on_grid)
        profit = ProfitPlan(shares, 0.0, False)
        if not lead.strategy.searches:
            candidate = self._by_rule(lead, searched, on_grid, profit)
            shares = Proposal.single(candidate, policy.segments.names).shares
        else:
            candidate = main_price(profit, policy.segments.names, searched.nearest(lead.inputs.shown_minor or 1))
        proposal = Proposal(candidate, shares)
        if adjustment is not None:
            proposal = proposal.adjusted(adjustment, StrategyContext(lead.inputs, bounded))
            candidate, shares = proposal.candidate_minor, proposal.shares
        proposed = {*grid, candidate, *(price for of_segment in shares.values() for price in of_segment)}
        worth = [each.value(proposed, v) for each, v in zip(situations, on_grid, strict=True)]
        gain = self._gain(lead.strategy, shares, worth, plan)
        verdicts = []
        for each in members:
            bands = bands_of(each.situation, self.guardrails, candidate, None if self._free(lead) else gain)
            bands = [b for b in bands if b.code != RuleBand.code and (b.kind is not Kind.PACE or each.settled)]
            verdicts.append(GuardrailVerdict.of(bands, candidate, profit))
        hard = _common(verdict.hard for verdict in verdicts)
        allowed = _common(verdict.allowed for verdict in verdicts)
        blank = replace(
            blank, hard_low=hard.low, hard_high=hard.high, allowed_low=allowed.low, allowed_high=allowed.high,
            candidate_minor=candidate, objective_minor=plan.objective, rules=lead.rules.applied,
            gain_minor=gain.mean if gain else None, gain_sd_minor=gain.sd if gain else None,
            confidence=gain.confidence if gain and not self._free(lead) else None,
        )  # fmt: skip
        if hard.empty:
            own = [verdict.hard for verdict in verdicts]
            return replace(blank, outcome=OutcomeCode.UNPRICEABLE, members=self._terms_of(None, plan, own))
        legal = lead.is_legal(hard)
        pins = {pin: [band for verdict in verdicts for band in verdict.pinned(pin)] for pin in Pin}
        if allowed.empty or (not legal and (pins[Pin.TABLE] or pins[Pin.MAIN])):
            return self._override_pace(blank, lead, hard, pins[Pin.SHOWN_PRICES], plan)
        if legal and not self._is_material(lead, gain, worth):
            return self._kept(blank, OutcomeCode.NOT_MATERIAL, plan)
        if pins[Pin.TABLE]:
            until_ms = min((band.until_ms for band in pins[Pin.TABLE] if band.until_ms), default=None)
            return replace(self._kept(blank, OutcomeCode.HELD, plan), continue_at_ms=until_ms)
        if pins[Pin.MAIN] and self.settled:
            return replace(self._kept(blank, OutcomeCode.HELD, plan), review=True)
        inside = self._within_rules(allowed)
        chosen = intersect_yielding(inside, (band for v in verdicts for band in v.bands if band.pin in YIELDING))
        if adjustment is not None:
            shares = proposal.adjusted(0.0, StrategyContext(lead.inputs, chosen)).shares
        elif lead.strategy.searches and (points := [price for price in grid if price in chosen]):
            plan, shares = self._solve(lead.strategy, [each.at(points) for each in situations])
        else:
            price = StrategyContext(lead.inputs, chosen).rounded(candidate)
            shares = Proposal.single(price, policy.segments.names).shares
        shown = intersect_yielding(inside, (*pins[Pin.TABLE_PRICES], *pins[Pin.SHOWN_PRICES]))
        table = self._build(lead, shares, shown, explored=lead.strategy.explores)
        after = self._gain(lead.strategy, shares_of(table, policy.segments.names), worth, plan)
        # Where the range of experience excludes the candidate, its gain is not that of the change that is left.
        cut = any(candidate not in intersect([band]) for band in pins[Pin.SHOWN_PRICES])
        small = cut and not self._is_material(lead, after, worth)
        if after is not None and not self._free(lead) and legal and (after.mean <= 0 or small):
            return self._kept(blank, OutcomeCode.NOT_MATERIAL, plan)
        bands = [band for verdict in verdicts for band in verdict.bands]
        approving = any(GUARDRAIL_OF[band.code].requests_approval for band in bands)
        stepping = lead.strategy.continues and not approving and candidate not in allowed
        stepping = stepping and any(GUARDRAIL_OF[band.code].cuts_short for band in bands)
        terms = self._new(blank, OutcomeCode.PUBLISHED, table, plan)
        goes_on = stepping and terms.outcome is OutcomeCode.PUBLISHED
        review = terms.outcome is OutcomeCode.PUBLISHED and any(verdict.needs_review for verdict in verdicts)
        return replace(terms, continue_at_ms=after_the_gap_ms(lead.inputs) if goes_on else None, review=review)

    def _common_situation(self) -> Situation:
        """Return the lead's situation with the bounds and the strategy of the whole group.

        A pricing rule of the highest priority among the deciding members' chooses the strategy, if all their roles
        allow it. Otherwise members whose roles have different strategies follow the policy's default one, or the
        first of theirs that all their roles allow.
        """
        lead, deciding = self.deciding[0].situation, self.deciding
        bounds = [each.situation.follow_minor for each in self.members if each.situation.follow_minor is not None]
        rules = self.rules
        own = [strategy_of(each.inputs, rules).strategy for each in deciding]
        strategy = own[0]
        if any(each is not strategy for each in own):
            plain = replace(lead.inputs, product=replace(lead.inputs.product, role=""))
            default = strategy_of(plain, rules).strategy
            fitting = [each for each in (default, *own) if self.may_use(each.name)]
            strategy = fitting[0] if fitting else default
        if self.fallback.fallback is Fallback.RULE:
            strategy = FALLBACK_RULE
        if any(strategy.starts_from_current(each.inputs) for each in deciding):
            rules = rules.without(ActionKind.ADJUST, LostTo.STRATEGY)
        exempt = any(each.situation.exempt_from_gain for each in deciding)
        follow_minor = min(bounds, default=None)
        return replace(lead, strategy=strategy, follow_minor=follow_minor, exempt_from_gain=exempt, rules=rules)

    def _free(self, lead: Situation) -> bool:
        """Return whether a change needs no gain: by a rule or a cause without one, or without a group's table."""
        needs = [each.inputs.cause.needs_gain for each in self.settled]
        return lead.by_rule or lead.exempt_from_gain or not needs or not all(needs)

    def _is_material(self, lead: Situation, gain: Gain | None, worth: Sequence[Valuation]) -> bool:
        """Return whether a change pays for itself: the group's gain reaches the policy's share and amount."""
        if gain is None or self._free(lead):
            return True
        limits, before = lead.inputs.policy.materiality, lead.inputs.current_shares()
        values = [
            v.expect(before)[1] for each, v in zip(self.members, worth, strict=True) if each.settled and before
        ]
        return gain.mean > 0 and gain.mean >= max(
            limits.min_gain_minor, limits.min_gain_share * max(sum(values), 0.0)
        )

    def _solve(self, strategy: Strategy, valuations: Sequence[Valuation]) -> tuple[GroupPlan, Shares]:
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

    def _by_rule(
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

    def _gain(
        self, strategy: Strategy, shares: Shares, worth: Sequence[Valuation], plan: GroupPlan
    ) -> Gain | None:
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

    def _override_pace(
        self, blank: GroupTerms, lead: Situation, hard: AllowedPrices, pinned: Sequence[object], plan: GroupPlan
    ) -> GroupTerms:
        """Publish the nearest price within the hard bands at once, against pace limits."""
        inputs, policy = lead.inputs, lead.inputs.policy
        shown = inputs.shown_minor or blank.candidate_minor or hard.low
        base_minor = inputs.base_minor or 0.0
        price = round_to_ending(hard.nearest(shown), hard, base_minor, policy.grid, up=shown < hard.low)
        shares = Proposal.single(price, policy.segments.names).shares
        table = self._build(lead, shares, intersect_yielding(hard, pinned), explored=True, within_step_of=price)  # type: ignore[arg-type]
        terms = self._new(blank, OutcomeCode.HARD_OVER_PACE, table, plan)
        return replace(terms, continue_at_ms=after_the_gap_ms(inputs))

    def _build(
        self,
        lead: Situation,
        shares: Shares,
        allowed: AllowedPrices,
        *,
        explored: bool,
        within_step_of: int | None = None,
    ) -> Table:
        others = [
            (each.inputs, each.situation.offers_mean_minor)
            for each in self.members
            if each.inputs.listing != lead.inputs.listing
        ]
        return build_table(
            lead.inputs,
            shares,
            allowed,
            follow_minor=lead.follow_minor,
            explored=explored,
            offers_mean_minor=lead.offers_mean_minor,
            within_step_of=within_step_of,
            others=others,
        )

    def _new(self, blank: GroupTerms, outcome: OutcomeCode, table: Table, plan: GroupPlan) -> GroupTerms:
        """Return the terms of a new table; the group's own table again keeps its id."""
        current, table_id = self.lead.inputs.current, blank.plan_id
        if self.settled and current is not None and table_record(current.prices) == table_record(table):
            outcome, table_id = OutcomeCode.UNCHANGED, current.table_id
        return replace(
            blank, outcome=outcome, prices=table, table_id=table_id, members=self._terms_of(table, plan)
        )

    def _kept(self, blank: GroupTerms, outcome: OutcomeCode, plan: GroupPlan | None) -> GroupTerms:
        """Return the terms of a group whose table stays; other members join it where all hard bands allow it."""
        current = self.lead.inputs.current if self.settled else None
        prices = None if current is None else current.prices
        return replace(
            blank,
            outcome=outcome,
            prices=prices,
            table_id=None if current is None else current.table_id,
            members=self._terms_of(prices, plan),
        )

    def _terms_of(
        self, table: Table | None, plan: GroupPlan | None, hard: Sequence[AllowedPrices] = ()
    ) -> tuple[MemberTerms, ...]:
        """Return every listing's terms; members join a table that all hard bands allow."""
        terms = []
        common = _common(hard or [each.hard for each in self.members] or [AllowedPrices(1, None)])
        inside = {each.inputs.listing.key: i for i, each in enumerate(self.members)}
        main = None if table is None else table[main_segment(tuple(table))].default
        for each in self.everyone:
            i = inside.get(each.inputs.listing.key)
            own = hard[i] if hard and i is not None else each.hard
            fits = table is not None and all(
                p in common for of_segment in table.values() for p in of_segment.prices
            )
            moves = bool(self.settled) or each.inputs.shown_minor != main
            terms.append(
                MemberTerms(
                    each.inputs.listing.key,
                    own.low,
                    own.high,
                    joins=fits and moves and not each.settled and each.held is None,
                    held=each.held,
                    multiplier=0.0 if plan is None or i is None else plan.multipliers[i],
                    below_demand=plan is not None and i in plan.scarce,
                    below_minimum=plan is not None and i in plan.relaxed,
                )
            )
        return tuple(terms)


def _common(ranges: Iterable[AllowedPrices]) -> AllowedPrices:
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
