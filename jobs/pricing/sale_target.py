"""Sale targets: how much of what is left to sell falls to a period (science § 7, 003 § J)."""

from __future__ import annotations

from features.books.demand import DemandBook
from jobs.pricing.policy import Policy


def target_part(
    policy: Policy, book: DemandBook, listing: str, start_ms: int, period_ms: int, until_ms: int
) -> float:
    """Return the share in (0, 1] of the units to sell by ``until_ms`` that falls to a period from ``start_ms`` on.

    Weighted by time, every hour counts the same; by volume, an hour counts as its expected requests.

    Examples
    --------
    >>> hour = 3_600_000
    >>> target_part(Policy(), DemandBook(), "acme/web/s1", 0, 6 * hour, 24 * hour)
    0.25
    >>> target_part(Policy(), DemandBook(), "acme/web/s1", 0, 48 * hour, 24 * hour)
    1.0
    """
    left_ms = until_ms - start_ms
    if period_ms >= left_ms:
        return 1.0
    if policy.objective.target_weighting == "time":
        return period_ms / left_ms
    expected = book.requests_expected
    return expected(listing, start_ms, period_ms) / expected(listing, start_ms, left_ms)
