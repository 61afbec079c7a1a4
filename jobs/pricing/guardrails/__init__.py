"""Guardrails: bands of allowed prices, each with a code (science § 8).

To add one: a class with ``code``, ``kind``, ``needs_candidate`` and ``band(case, policy)`` in a file of this
folder, its instance in :data:`GUARDRAILS`, its code in :class:`schemas.codes.GuardrailCode`, its numbers in
:mod:`jobs.pricing.policy`. The check suite runs over the tuple: input untouched, deterministic, and
the order of the tuple makes no difference to any price. A test fails when a class is not in it.
"""

from __future__ import annotations

from jobs.pricing.guardrails.base import (
    GIVES_WAY,
    Band,
    Case,
    Guardrail,
    Keeps,
    Kind,
    Meet,
    meet,
    meet_within,
    money,
)
from jobs.pricing.guardrails.confidence import LowConfidence
from jobs.pricing.guardrails.forward_buying import ForwardBuying
from jobs.pricing.guardrails.frozen import Frozen
from jobs.pricing.guardrails.inputs import CostMissing, InputInvalid
from jobs.pricing.guardrails.limits import FloorCeiling, SurgeBan
from jobs.pricing.guardrails.margin import MinMargin
from jobs.pricing.guardrails.market import MarketCap, StaleOffers
from jobs.pricing.guardrails.pace import Approval, MaxChanges, MinGap, StepLimit

GUARDRAILS: tuple[Guardrail, ...] = (
    CostMissing(),
    InputInvalid(),
    Frozen(),
    MinMargin(),
    FloorCeiling(),
    SurgeBan(),
    MarketCap(),
    StaleOffers(),
    StepLimit(),
    Approval(),
    MinGap(),
    MaxChanges(),
    ForwardBuying(),
    LowConfidence(),
)

__all__ = [
    "GIVES_WAY", "GUARDRAILS", "Band", "Case", "Guardrail", "Keeps", "Kind", "Meet", "meet", "meet_within",
    "money",
]  # fmt: skip
