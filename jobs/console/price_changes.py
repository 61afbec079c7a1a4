"""Changes of listings' prices, as the console shows them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from jobs.pricing.decision.texts.limit_texts import reason_text
from schemas.causes import Cause

EVIDENCE_CAUSES = frozenset(cause for cause in Cause if cause.by_evidence)
"""Causes that are evidence or a rule over facts, not a timer, an operator or a first price."""


@dataclass(slots=True)
class Change:
    """A change of a listing's price.

    Attributes
    ----------
    latency_ms : run time from the fact or minute that caused it to the decision, ms; None if not known.
    live : read while following, not from the backlog.
    seen_s : wall time at which it was read, epoch seconds.
    """

    listing: str
    old_minor: int
    new_minor: int
    currency: str
    reason: str
    cause: str
    at_ms: int
    version: int
    decision_id: str
    live: bool
    latency_ms: int | None = None
    seen_s: float = field(default_factory=time.time)

    @property
    def why(self) -> str:
        """The reason in words."""
        return reason_text(self.reason or self.cause)


def cause_in(reason: str) -> str:
    """Return the cause with which a table's reason begins, or an empty text.

    >>> cause_in("RIVAL_MOVED shop-b -12%"), cause_in("because")
    ('RIVAL_MOVED', '')
    """
    word = reason.split(" ", 1)[0].rstrip(":;,")
    return word if word in Cause.__members__ else ""
