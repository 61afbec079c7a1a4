"""The price table of a decision: chosen prices, neighbouring grid prices for exploration, and limits for edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.pricing.decision.inputs import PricingInputs, Shares, Table, main_segment
from jobs.pricing.decision.valuation import Valuation, value_prices
from jobs.pricing.grid import price_grid
from jobs.pricing.guardrails import AllowedPrices
from jobs.pricing.optimizer import explore
from schemas.events import DEFAULT_SEGMENT
from schemas.money import ceil_minor, floor_minor
from schemas.price_table import PriceList, PriceTable
from schemas.time_units import MINUTE_MS

Valued = tuple[PricingInputs, float | None]
"""A listing's inputs, and the fresh mean over its offers; None without one."""
HALF_90 = 1.645
"""Standard deviations from the mean to either end of a 90 % interval."""


def build_table(
    inputs: PricingInputs,
    shares: Shares,
    allowed: AllowedPrices,
    *,
    follow_minor: int | None,
    explored: bool,
    offers_mean_minor: float | None,
    within_step_of: int | None = None,
    others: Sequence[Valued] = (),
) -> Table:
    """Return price lists over the chosen prices and the allowed grid prices around them.

    Parameters
    ----------
    shares : chosen prices by segment.
    follow_minor : explored prices do not exceed it, unless a chosen one does.
    explored : whether neighbouring prices get a share.
    offers_mean_minor : mean over the offers, for the expected sales at the farthest prices.
    within_step_of : explored prices stay within one step of this price; None: of the chosen prices.
    others : the other listings that have the same table, with the mean over their offers.
    """
    policy = inputs.policy
    mode = policy.exploration.mode if explored else "none"
    chosen = {p for of_segment in shares.values() for p in of_segment}
    step = policy.limits.max_step
    centre = within_step_of or inputs.shown_minor or min(chosen)
    low, high = max(allowed.low, round(min(chosen) * (1 - step))), round(max(chosen) * (1 + step))
    if within_step_of is not None:
        low, high = max(low, ceil_minor(centre * (1 - step))), min(high, floor_minor(centre * (1 + step)))
    high = high if allowed.high is None else min(high, allowed.high)
    high = high if follow_minor is None else min(high, max(follow_minor, max(chosen)))
    points = sorted(chosen | set(price_grid(low, high, inputs.base_minor or min(chosen), policy.grid)))
    exploring, segments = policy.exploration, policy.segments
    ends = sorted({points[0], points[-1]} | chosen)
    valued = ((inputs, offers_mean_minor), *others)
    worth = [value_prices(each, ends, mean) for each, mean in valued] if mode == "bounded" else []
    table = {}
    for segment in (main_segment(segments.names),) if segments.uniform else segments.names:
        row = [shares[segment].get(p, 0.0) for p in points]
        lowest, highest = (
            max(_far_propensity(each, worth, segment, shares, end) for each, _ in valued)
            for end in (points[0], points[-1])
        )
        q = explore([row], mode, exploring.propensity, exploring.neighbours, (lowest, highest))[0]
        table[segment] = PriceList.from_propensities(points, q)
    return {DEFAULT_SEGMENT: table[main_segment(segments.names)]} if segments.uniform else table


def _far_propensity(
    inputs: PricingInputs, worth: Sequence[Valuation], segment: str, shares: Shares, price: int
) -> float:
    """Return the least propensity of a segment's lowest or highest price, from the listings that have the table.

    It is ``far_propensity`` until the elasticity is known well enough, ``drift.far_propensity`` for a bounded time
    after a confirmed change of demand, and otherwise what costs ``far_budget`` of the segment's value, at most
    ``far_most``: a price that is expected to earn nearly as much as the chosen one teaches at little cost.
    """
    eps, policy, changed_ms = inputs.beliefs.elasticity, inputs.policy, inputs.beliefs.changed_ms
    exploring = policy.exploration
    known = HALF_90 * eps.sd <= exploring.far_until * abs(eps.mean)
    far = 0.0 if known else exploring.far_propensity
    if changed_ms is not None and inputs.at_ms < changed_ms + policy.drift.explore_minutes * MINUTE_MS:
        far = max(far, policy.drift.far_propensity)
    if not worth or exploring.far_budget <= 0:
        return far
    chosen = loss = 0.0
    for each in worth:
        values = dict(zip(each.prices, each.values(each.sales())[each.segments.index(segment)], strict=True))
        of_chosen = sum(share * values[p] for p, share in sorted(shares[segment].items()))
        chosen += of_chosen
        loss += of_chosen - values[price]
    if chosen <= 0:
        return far
    return max(
        far, exploring.far_most if loss <= 0 else min(exploring.far_most, exploring.far_budget * chosen / loss)
    )


def with_edge_limits(
    table: PriceTable, inputs: PricingInputs, hard: AllowedPrices | None, version: int
) -> PriceTable:
    """Return a table with the limits within which edges serve it and sessions keep earlier prices (decision 71).

    Parameters
    ----------
    inputs : of the decision. A price that an operator set or approved ends the prices that sessions keep.
    hard : what the hard bands of the decision allow; None: not computed, the table's limits stay. Without a
        session window a table has none.
    version : that the table is published with.
    """
    of_policy = inputs.policy.tables
    limits = (table.hard_low_minor, table.hard_high_minor) if hard is None else hard
    by_operator = bool(of_policy.session_minutes) and inputs.controls.approved_minor is not None
    return replace(
        table,
        session_minutes=of_policy.session_minutes,
        unconfirmed_minutes=of_policy.unconfirmed_minutes,
        session_from_version=version if by_operator else table.session_from_version,
        hard_low_minor=limits[0] if of_policy.session_minutes else None,
        hard_high_minor=limits[1] if of_policy.session_minutes else None,
    )


def is_stricter(new: PriceTable, published: PriceTable) -> bool:
    """Return whether edges must learn of a table's new limits although its prices stay.

    They must if a session may keep a price that the new limits exclude, or if the policy has changed.
    """
    if (new.session_minutes, new.unconfirmed_minutes) != (
        published.session_minutes,
        published.unconfirmed_minutes,
    ):
        return True
    if not new.session_minutes:
        return False
    low, high = new.hard_low_minor, new.hard_high_minor
    return (
        new.session_from_version > published.session_from_version
        or (low is not None and low > (published.hard_low_minor or 0))
        or (high is not None and (published.hard_high_minor is None or high < published.hard_high_minor))
    )
