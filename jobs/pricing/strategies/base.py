"""Strategy: proposes prices for one listing; guardrails then bound what it proposes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jobs.pricing.decision.inputs import PricingInputs, Shares, main_segment
from jobs.pricing.decision.valuation import Valuation
from jobs.pricing.grid import round_to_ending
from jobs.pricing.guardrails import AllowedPrices
from jobs.pricing.optimizer import solve_one
from jobs.pricing.optimizer.exploration import draw_probabilities
from jobs.pricing.policy_section import PolicySection


@dataclass(frozen=True, slots=True)
class StrategyContext:
    """What a strategy reads.

    ``allowed``: the prices that it may propose. ``valuation``: expected sales and value at the grid prices
    among them; None if there are none, or the strategy follows a rule. ``rivals_mean_minor``: the fresh mean
    over rivals' offers, None without one.
    """

    inputs: PricingInputs
    allowed: AllowedPrices
    valuation: Valuation | None = None
    rivals_mean_minor: float | None = None

    def rounded(self, price_minor: float) -> int:
        """Return the allowed price with the policy's ending that is nearest below, else above, else without it."""
        grid, base_minor = self.inputs.policy.grid, self.inputs.base_minor or price_minor
        return round_to_ending(round(price_minor), self.allowed, base_minor, grid, up=False)


@dataclass(frozen=True, slots=True)
class ProfitPlan:
    """Solution of the pricing LP (science § 7 A-D).

    ``multiplier``: shadow price of the target, minor units per unit. ``below_demand``: even the prices that sell
    least sell more than the target. ``above_demand``: a target that must be met is more than any prices sell.
    """

    shares: Shares
    multiplier: float
    below_demand: bool
    above_demand: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a strategy proposes: the main price, and the share of each segment's requests per price."""

    candidate_minor: int
    shares: Shares

    @classmethod
    def single(cls, price_minor: int, segments: Sequence[str]) -> Proposal:
        """Return a proposal of one price for everybody."""
        return cls(price_minor, {segment: {price_minor: 1.0} for segment in segments})

    def adjusted(self, share: float, context: StrategyContext) -> Proposal:
        """Return every price times one plus a share, rounded within the allowed prices; 0: only rounded.

        Prices that become equal add up their shares.
        """
        moved = {
            price: context.rounded(price * (1 + share))
            for price in {self.candidate_minor, *(price for of in self.shares.values() for price in of)}
        }
        shares: dict[str, dict[int, float]] = {}
        for segment, of_segment in self.shares.items():
            found = shares.setdefault(segment, {})
            for price, part in of_segment.items():
                found[moved[price]] = found.get(moved[price], 0.0) + part
        return Proposal(moved[self.candidate_minor], shares)


class Strategy(ABC):
    """One way to propose prices. See the package for how to add one.

    Attributes
    ----------
    name : as the policy's section ``strategies`` names it.
    by_rule : whether a change needs no expected gain, because the price follows from a rule or from a draw.
    searches : whether its prices are the LP's solution over the grid prices. :meth:`refine` then gets their
        valuation, and a price group is solved by one LP.
    continues : whether a change that the step limit cut short goes on after the minimum gap.
    explores : whether neighbouring prices are shown to a few shoppers.
    selectable : whether the policy may name it.
    settings : its section of the policy, if it has numbers of its own.
    """

    name: ClassVar[str]
    by_rule: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    continues: ClassVar[bool] = True
    explores: ClassVar[bool] = True
    selectable: ClassVar[bool] = True
    settings: ClassVar[type[PolicySection] | None] = None

    def objective(self, worth: Valuation) -> Valuation:
        """Return the valuation in what the strategy maximises; by default the policy's objective."""
        return worth

    def drawn(self, inputs: PricingInputs, worth: Valuation) -> Sequence[Sequence[float]] | None:
        """Return sale probabilities [K][T] in place of the posterior means; None: the means."""
        thompson = inputs.policy.exploration.mode == "thompson"
        return draw_probabilities(*worth.beta(), inputs.seed) if thompson else None

    def sold_units(self, inputs: PricingInputs) -> float | None:
        """Return the units that must be sold in the period; None: at most the inputs' target is sold."""
        return None

    def starts_from_current(self, inputs: PricingInputs) -> bool:
        """Return whether it proposes the current price or a step from it; a pricing rule does not adjust that."""
        return False

    def plan(self, inputs: PricingInputs, worth: Valuation) -> ProfitPlan:
        """Return the LP's solution over a valuation's prices."""
        return solve_lp(inputs, worth, self.drawn(inputs, worth), target_units=self.sold_units(inputs))

    @abstractmethod
    def propose(self, context: StrategyContext, plan: ProfitPlan) -> Proposal:
        """Propose prices within the hard bands. ``plan``: the result of :meth:`plan` over them. Pure."""

    def bounded(self, candidate_minor: int, context: StrategyContext) -> int:
        """Return the candidate of a listing, or of a price group, within the allowed prices.

        By default it is rounded to the grid's ending. A strategy that proposes amounts off the ending keeps them.
        """
        return context.rounded(candidate_minor)

    def refine(self, proposal: Proposal, context: StrategyContext) -> tuple[Proposal, ProfitPlan | None]:
        """Return the proposal within all bands, and the LP's solution there if one was computed."""
        segments = context.inputs.policy.segments.names
        return Proposal.single(self.bounded(proposal.candidate_minor, context), segments), None


class PriceRule(Strategy):
    """A strategy with one price for everybody."""

    @abstractmethod
    def price_minor(self, context: StrategyContext) -> float:
        """Return the price before rounding and bounds."""

    def propose(self, context: StrategyContext, plan: ProfitPlan) -> Proposal:
        """Propose the rule's price, rounded within the allowed prices."""
        price = context.rounded(self.price_minor(context))
        return Proposal.single(price, context.inputs.policy.segments.names)


def solve_profit(inputs: PricingInputs, worth: Valuation) -> ProfitPlan:
    """Solve the pricing LP over a valuation's prices: shares per segment that maximise expected profit."""
    thompson = inputs.policy.exploration.mode == "thompson"
    return solve_lp(inputs, worth, draw_probabilities(*worth.beta(), inputs.seed) if thompson else None)


def solve_lp(
    inputs: PricingInputs,
    worth: Valuation,
    drawn: Sequence[Sequence[float]] | None = None,
    *,
    target_units: float | None = None,
) -> ProfitPlan:
    """Solve the pricing LP with given sale probabilities and a given target.

    Parameters
    ----------
    drawn : sale probabilities [K][T] in place of the posterior means.
    target_units : units that must be sold in the period; None: at most the inputs' target is sold.
    """
    policy = inputs.policy
    sales = worth.sales(drawn)
    values = worth.values(sales)
    names = policy.segments.names
    if policy.segments.uniform:
        sales, values = [_column_sums(sales)], [_column_sums(values)]
    equal = target_units is not None
    target = target_units if equal else inputs.target.units
    plan = solve_one(sales, values, target, may_close=policy.objective.may_close, equal=equal)
    rows = plan.shares * (len(names) if policy.segments.uniform else 1)
    shares = {
        segment: {p: x for p, x in zip(worth.prices, row, strict=True) if x > 0}
        for segment, row in zip(names, rows, strict=True)
    }
    return ProfitPlan(shares, plan.multiplier, plan.below_demand, plan.above_demand)


def main_price(plan: ProfitPlan, segments: tuple[str, ...], fallback: int) -> int:
    """Return the main segment's price of the largest share, of equal shares the lowest price.

    ``fallback`` is returned when the plan quotes that segment nothing.
    """
    shares = plan.shares[main_segment(segments)]
    return min(shares, key=lambda p: (-shares[p], p)) if shares else fallback


def _column_sums(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]
