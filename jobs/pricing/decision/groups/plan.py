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
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jobs.pricing.decision.assessment import bands_of, candidate_prices
from jobs.pricing.decision.groups.assessed_group import AssessedGroup, common_prices
from jobs.pricing.decision.groups.terms import GroupTerms, MemberTerms
from jobs.pricing.decision.inputs import PricingInputs, Shares, Table, main_segment, shares_of
from jobs.pricing.decision.outcome import GuardrailVerdict, Situation, after_the_gap_ms
from jobs.pricing.decision.serialization import table_record
from jobs.pricing.decision.table import build_table
from jobs.pricing.grid import round_to_ending
from jobs.pricing.guardrails import (
    GUARDRAIL_OF,
    GUARDRAILS,
    YIELDING,
    AllowedPrices,
    Guardrail,
    Kind,
    Pin,
    intersect,
    intersect_yielding,
)
from jobs.pricing.guardrails.pricing_rules import RuleBand
from jobs.pricing.optimizer import GroupPlan
from jobs.pricing.strategies import ProfitPlan, Proposal, StrategyContext, main_price
from schemas.codes import OutcomeCode


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
    group = AssessedGroup.of([replace(inputs, group=None) for inputs in ordered], guardrails)
    terms, worst = _JointDecision(group).decide(plan_id, requested_by), group.fallback
    return replace(terms, fallback=worst.fallback, fallback_reasons=worst.reasons)


@dataclass(frozen=True, slots=True)
class _JointDecision:
    """The decision on an assessed group, and the terms that follow from it."""

    group: AssessedGroup

    def decide(self, plan_id: str, requested_by: str) -> GroupTerms:
        """Return the terms; the module's docstring lists the steps."""
        if not self.group.members:
            blank = GroupTerms(plan_id, requested_by, (), OutcomeCode.HELD, 1, None)
            return replace(blank, members=self._terms_of(None, None))
        hard = common_prices(each.hard for each in self.group.members)
        blank = GroupTerms(plan_id, requested_by, (), OutcomeCode.HELD, hard.low, hard.high)
        if any(each.held is not None for each in self.group.members):
            return self._kept(blank, OutcomeCode.HELD, None)
        if hard.empty:
            return replace(blank, outcome=OutcomeCode.UNPRICEABLE, members=self._terms_of(None, None))
        return self._optimize(blank, hard)

    def _optimize(self, blank: GroupTerms, hard: AllowedPrices) -> GroupTerms:
        """Search the common grid, and decide whether and within which bands the group's prices change."""
        lead, members, policy = self.group.common_situation(), self.group.members, self.group.lead.inputs.policy
        bounded, adjustment = self.group.reach_of_rules(lead, hard), lead.rules.adjustment
        if any(each.rule_band for each in members) and not lead.is_legal(bounded):
            lead = replace(lead, exempt_from_gain=True)
        searched = bounded if adjustment is None else hard
        grid = candidate_prices(lead, searched)
        situations = [replace(each.situation, strategy=lead.strategy) for each in members]
        on_grid = [each.at(grid) for each in situations]
        plan, shares = self.group.solve(lead.strategy, on_grid)
        profit = ProfitPlan(shares, 0.0, False)
        if not lead.strategy.searches:
            candidate = self.group.price_by_rule(lead, searched, on_grid, profit)
            shares = Proposal.single(candidate, policy.segments.names).shares
        else:
            candidate = main_price(profit, policy.segments.names, searched.nearest(lead.inputs.shown_minor or 1))
        proposal = Proposal(candidate, shares)
        if adjustment is not None:
            proposal = proposal.adjusted(adjustment, StrategyContext(lead.inputs, bounded))
            candidate, shares = proposal.candidate_minor, proposal.shares
        proposed = {*grid, candidate, *(price for of_segment in shares.values() for price in of_segment)}
        worth = [each.value(proposed, v) for each, v in zip(situations, on_grid, strict=True)]
        gain, free = self.group.gain(lead.strategy, shares, worth, plan), self.group.needs_no_gain(lead)
        verdicts = []
        for each in members:
            bands = bands_of(each.situation, self.group.guardrails, candidate, None if free else gain)
            bands = [b for b in bands if b.code != RuleBand.code and (b.kind is not Kind.PACE or each.settled)]
            verdicts.append(GuardrailVerdict.of(bands, candidate, profit))
        hard = common_prices(verdict.hard for verdict in verdicts)
        allowed = common_prices(verdict.allowed for verdict in verdicts)
        blank = replace(
            blank, hard_low=hard.low, hard_high=hard.high, allowed_low=allowed.low, allowed_high=allowed.high,
            candidate_minor=candidate, objective_minor=plan.objective, rules=lead.rules.applied,
            gain_minor=gain.mean if gain else None, gain_sd_minor=gain.sd if gain else None,
            confidence=gain.confidence if gain and not free else None,
        )  # fmt: skip
        if hard.empty:
            own = [verdict.hard for verdict in verdicts]
            return replace(blank, outcome=OutcomeCode.UNPRICEABLE, members=self._terms_of(None, plan, own))
        legal = lead.is_legal(hard)
        pins = {pin: [band for verdict in verdicts for band in verdict.pinned(pin)] for pin in Pin}
        if allowed.empty or (not legal and (pins[Pin.TABLE] or pins[Pin.MAIN])):
            return self._override_pace(blank, lead, hard, pins[Pin.SHOWN_PRICES], plan)
        if legal and not self.group.is_material(lead, gain, worth):
            return self._kept(blank, OutcomeCode.NOT_MATERIAL, plan)
        if pins[Pin.TABLE]:
            until_ms = min((band.until_ms for band in pins[Pin.TABLE] if band.until_ms), default=None)
            return replace(self._kept(blank, OutcomeCode.HELD, plan), continue_at_ms=until_ms)
        if pins[Pin.MAIN] and self.group.settled:
            return replace(self._kept(blank, OutcomeCode.HELD, plan), review=True)
        inside = self.group.within_rules(allowed)
        chosen = intersect_yielding(inside, (band for v in verdicts for band in v.bands if band.pin in YIELDING))
        if adjustment is not None:
            shares = proposal.adjusted(0.0, StrategyContext(lead.inputs, chosen)).shares
        elif lead.strategy.searches and (points := [price for price in grid if price in chosen]):
            plan, shares = self.group.solve(lead.strategy, [each.at(points) for each in situations])
        else:
            by_operator = lead.inputs.controls.approved_minor is not None
            price = (
                chosen.nearest(candidate)
                if by_operator
                else StrategyContext(lead.inputs, chosen).rounded(candidate)
            )
            shares = Proposal.single(price, policy.segments.names).shares
        shown = intersect_yielding(inside, (*pins[Pin.TABLE_PRICES], *pins[Pin.SHOWN_PRICES]))
        table = self._build(lead, shares, shown, explored=lead.strategy.explores)
        after = self.group.gain(lead.strategy, shares_of(table, policy.segments.names), worth, plan)
        # Where the range of experience excludes the candidate, its gain is not that of the change that is left.
        cut = any(candidate not in intersect([band]) for band in pins[Pin.SHOWN_PRICES])
        small = cut and not self.group.is_material(lead, after, worth)
        if after is not None and not free and legal and (after.mean <= 0 or small):
            return self._kept(blank, OutcomeCode.NOT_MATERIAL, plan)
        bands = [band for verdict in verdicts for band in verdict.bands]
        approving = any(GUARDRAIL_OF[band.code].requests_approval for band in bands)
        stepping = lead.strategy.continues and not approving and candidate not in allowed
        stepping = stepping and any(GUARDRAIL_OF[band.code].cuts_short for band in bands)
        terms = self._new(blank, OutcomeCode.PUBLISHED, table, plan)
        goes_on = stepping and terms.outcome is OutcomeCode.PUBLISHED
        review = terms.outcome is OutcomeCode.PUBLISHED and any(verdict.needs_review for verdict in verdicts)
        return replace(terms, continue_at_ms=after_the_gap_ms(lead.inputs) if goes_on else None, review=review)

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
            for each in self.group.members
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
        current, table_id = self.group.lead.inputs.current, blank.plan_id
        if self.group.settled and current is not None and table_record(current.prices) == table_record(table):
            outcome, table_id = OutcomeCode.UNCHANGED, current.table_id
        return replace(
            blank, outcome=outcome, prices=table, table_id=table_id, members=self._terms_of(table, plan)
        )

    def _kept(self, blank: GroupTerms, outcome: OutcomeCode, plan: GroupPlan | None) -> GroupTerms:
        """Return the terms of a group whose table stays; other members join it where all hard bands allow it."""
        current = self.group.lead.inputs.current if self.group.settled else None
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
        common = common_prices(hard or [each.hard for each in self.group.members] or [AllowedPrices(1, None)])
        inside = {each.inputs.listing.key: i for i, each in enumerate(self.group.members)}
        main = None if table is None else table[main_segment(tuple(table))].default
        for each in self.group.everyone:
            i = inside.get(each.inputs.listing.key)
            own = hard[i] if hard and i is not None else each.hard
            fits = table is not None and all(
                p in common for of_segment in table.values() for p in of_segment.prices
            )
            moves = bool(self.group.settled) or each.inputs.shown_minor != main
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
