"""Whether a cost from the catalog is trusted at once, or held until another one confirms it (INPUT_INVALID)."""

from __future__ import annotations

from jobs.pricing.bucket.listing.listing_state import ListingState, OddCost
from jobs.pricing.guardrails.inputs import costs_agree, is_cost_jump
from jobs.pricing.policy_limits import Margin
from schemas.time_units import MINUTE_MS


def trust_cost(state: ListingState, cost_minor: int | None, at_ms: int, margin: Margin) -> bool:
    """Take a cost; return whether it confirms one that was held.

    A cost within the policy's jump of the trusted one is trusted. One beyond it is confirmed by a cost that
    agrees with it and comes later by the policy's time. Each agreeing cost becomes the one to agree with, so
    that a drifting cost is confirmed too. Costs that agree with none before them are trusted in the end, when
    all of a longer time lay beyond the jump on one side.

    Examples
    --------
    >>> state = ListingState("s1")
    >>> [trust_cost(state, cost, at * MINUTE_MS, Margin()) for cost, at in ((1000, 0), (2000, 1), (2000, 61))]
    [False, False, True]
    >>> state.trusted_cost_minor
    2000
    """
    trusted = state.trusted_cost_minor
    if cost_minor is None or cost_minor <= 0:
        return False
    if trusted is None or not is_cost_jump(cost_minor, trusted, margin):
        state.trusted_cost_minor, state.odd_cost = cost_minor, None
        return False
    agrees_since = odd_since = at_ms
    before = state.odd_cost
    if before is not None:
        if costs_agree(cost_minor, before.cost_minor, margin):
            agrees_since = before.agrees_since_ms
        if (cost_minor > trusted) == (before.cost_minor > trusted):
            odd_since = before.odd_since_ms
    confirmed = before is not None and (
        (agrees_since < at_ms and at_ms - agrees_since >= margin.confirm_after_minutes * MINUTE_MS)
        or (odd_since < at_ms and at_ms - odd_since >= margin.trust_after_minutes * MINUTE_MS)
    )
    if confirmed:
        state.trusted_cost_minor, state.odd_cost = cost_minor, None
    else:
        state.odd_cost = OddCost(cost_minor, agrees_since, odd_since)
    return confirmed
