"""Guardrails: bands of allowed prices, each with a code (science § 8).

To add one, write a file in this folder with a subclass of :class:`Guardrail`, and add its instance to
:data:`GUARDRAILS`. The class carries everything that belongs to the rule: its code, its texts for operators, its
band, its sentence in ``walras explain`` and, where it has numbers of its own, its section of the policy. Decisions
recorded without the section are recomputed with its defaults, so these should bind nothing. The check suite
(tests/jobs/pricing/test_guardrails.py) runs over the tuple and needs an example of a bound price in ``EXAMPLES``;
test_explain.py needs one in ``WORLDS``. A test fails for a class that is not in the tuple.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.pricing.guardrails.base import (
    YIELDING,
    AllowedPrices,
    Band,
    Guardrail,
    GuardrailContext,
    Kind,
    LimitRecord,
    Pin,
    intersect,
    intersect_yielding,
    money,
)
from jobs.pricing.guardrails.confidence import LowConfidence
from jobs.pricing.guardrails.equal_price import EqualPrice
from jobs.pricing.guardrails.extrapolation import Extrapolation
from jobs.pricing.guardrails.forward_buying import ForwardBuying
from jobs.pricing.guardrails.frozen import Frozen
from jobs.pricing.guardrails.inputs import CostMissing, InputInvalid
from jobs.pricing.guardrails.limits import FloorCeiling, SurgeBan
from jobs.pricing.guardrails.margin import MinMargin
from jobs.pricing.guardrails.market import MarketCap, StaleOffers
from jobs.pricing.guardrails.pace import Approval, MaxChanges, MinGap, StepLimit
from jobs.pricing.guardrails.pricing_rules import RuleBand, RuleHold

GUARDRAILS: tuple[Guardrail, ...] = (
    CostMissing(),
    InputInvalid(),
    Frozen(),
    RuleHold(),
    MinMargin(),
    FloorCeiling(),
    SurgeBan(),
    MarketCap(),
    EqualPrice(),
    RuleBand(),
    StaleOffers(),
    StepLimit(),
    Approval(),
    MinGap(),
    MaxChanges(),
    ForwardBuying(),
    Extrapolation(),
    LowConfidence(),
)
GUARDRAIL_OF: Mapping[str, Guardrail] = {guardrail.code: guardrail for guardrail in GUARDRAILS}
"""The guardrail of a code."""

__all__ = [
    "GUARDRAILS", "GUARDRAIL_OF", "YIELDING", "AllowedPrices", "Band", "Guardrail", "GuardrailContext", "Kind",
    "LimitRecord", "Pin", "intersect", "intersect_yielding", "money",
]  # fmt: skip
