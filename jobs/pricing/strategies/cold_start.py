"""cold_start: the first price of a listing, which is the one that its customers know (science § 5)."""

from __future__ import annotations

from typing import ClassVar

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy_section import Field, PolicySection, Share
from jobs.pricing.strategies.base import PriceRule, ProfitPlan, Proposal, StrategyContext


class ColdStartSettings(PolicySection):
    """The policy's section ``cold_start``."""

    key: ClassVar[str] = "cold_start"
    live: ClassVar[bool] = True

    margin: Share = Field(
        default=0.30,
        lt=1.0,
        description="(p - c)/p at least of the first price of a listing without a known price",
    )
    least_orders: int = Field(
        default=3,
        ge=1,
        description="orders at a price before the first table that make it the first (decision 50)",
    )


def cold_start_price(
    list_minor: float | None, cost_minor: float, rivals_mean_minor: float | None, margin: float
) -> float:
    """Return the rivals' mean, raised to cost plus margin; with a list price no more than that unless it must.

    The rule for a listing whose customers know no price. Decisions recorded without the listing's experience
    apply it to every listing.

    >>> [round(cold_start_price(None, 700, mean, 0.3)) for mean in (None, 1100, 950)]
    [1000, 1100, 1000]
    >>> [round(cold_start_price(1000, cost, 950, 0.3)) for cost in (500, 700, 800)]
    [950, 1000, 1143]
    """
    highest = min((price for price in (list_minor, rivals_mean_minor) if price is not None), default=0.0)
    return max(highest, cost_minor / (1 - margin))


class ColdStart(PriceRule):
    """The first price of a listing without a table: the known price, else one from cost and rivals.

    The latter is :func:`cold_start_price`. The known price is that of the shop's orders, else the list price. The
    price of orders comes first: it is what customers pay, whatever the catalog states. Only hard bands move a
    known price; it is not rounded either.
    """

    name = "cold_start"
    continues = False
    settings = ColdStartSettings

    def price_minor(self, context: StrategyContext) -> float:
        """Return the known price, else the rule's."""
        inputs, margin = context.inputs, context.inputs.policy.section(ColdStartSettings).margin
        known, cost_minor = _known_minor(inputs), inputs.product.cost_minor or 0.0
        if known is not None:
            return known
        list_minor = None if inputs.experience else inputs.product.list_minor or 0.0
        return round(cold_start_price(list_minor, cost_minor, context.rivals_mean_minor, margin))

    def propose(self, context: StrategyContext, plan: ProfitPlan) -> Proposal:
        """Propose the known price as it is where the hard bands allow it, else rounded within them."""
        return self._as_known(context) or super().propose(context, plan)

    def bounded(self, candidate_minor: int, context: StrategyContext) -> int:
        """Return the candidate as it is where it is allowed, else rounded: it may be a known price."""
        return candidate_minor if candidate_minor in context.allowed else context.rounded(candidate_minor)

    def refine(self, proposal: Proposal, context: StrategyContext) -> tuple[Proposal, ProfitPlan | None]:
        """Return the known price as it is where all bands allow it, else the proposal, rounded within them."""
        rounded = context.rounded(proposal.candidate_minor)
        return self._as_known(context) or Proposal.single(rounded, context.inputs.policy.segments.names), None

    @staticmethod
    def _as_known(context: StrategyContext) -> Proposal | None:
        known = _known_minor(context.inputs)
        if known is None or known not in context.allowed:
            return None
        return Proposal.single(known, context.inputs.policy.segments.names)


def _known_minor(inputs: PricingInputs) -> int | None:
    """Return the price that customers know before the first table; None without one."""
    shown = inputs.shown_minor if inputs.experience is not None and inputs.current is None else None
    return None if shown is None else round(shown)
