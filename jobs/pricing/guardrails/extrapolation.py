"""EXTRAPOLATION: while the elasticity is not known well enough, prices stay near those observed.

A demand curve that was learned at some prices says little about prices far from them. While the listing's estimate
is not ``sufficient``, no new price of a table, chosen or explored, lies further than ``beyond`` outside the range
of observed prices [L, H]:

    L(1 − beyond) ≤ P ≤ H(1 + beyond)                                          (1)

A price is observed when it was shown or bought often enough (``least_orders``, ``least_exposures``;
:mod:`jobs.pricing.bucket.listing.price_experience`), by the shop before the first table or beside the tables
since. The listing's own tables widen the range only by a step outside it that brought a gain. With exposures n,
orders y and margin m = P − ωc at the price before the step and at the step's price, per segment k that saw both,

    s = (y + ½)/n,   w_k = n_k + n′_k,   G = Σ_k w_k (m′s′_k − m s_k),
    Var G = Σ_k w_k² (m′²s′_k/n′_k + m²s_k/n_k),
    P(gain > 0) = Φ(G/√Var G)                                                  (2)

From ``step_orders`` orders at the step's price and P(gain > 0) ≥ ``step_confidence`` on, the range grows by one
``limits.max_step`` on that side. The comparison reads counts alone and not the demand curve, which is what is in
doubt. The band yields to all others, so that a price outside the range moves towards it within the step limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

from features.books.sale_probability import PointCounts
from jobs.pricing.decision.inputs import StepResult
from jobs.pricing.guardrails.base import Band, Guardrail, GuardrailContext, Kind, LimitRecord, Pin, money
from jobs.pricing.policy import Policy
from jobs.pricing.policy_section import DEPLOYMENT, Field, PolicySection, Share
from schemas.money import ceil_minor, floor_minor


class ExtrapolationSettings(PolicySection):
    """The policy's section ``extrapolation``."""

    key: ClassVar[str] = "extrapolation"
    live: ClassVar[bool] = True

    beyond: Share = Field(
        default=0.15,
        description="largest share by which a price may lie outside the observed prices while the elasticity is "
        "not sufficient (decision 51)",
    )
    least_orders: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=2,
        ge=1,
        description="orders at or beyond a price from which on it is observed (decision 51)",
    )
    least_exposures: int = Field(
        json_schema_extra=DEPLOYMENT, default=100, ge=1, description="or exposures at or beyond it (decision 51)"
    )
    step_orders: int = Field(
        json_schema_extra=DEPLOYMENT,
        default=5,
        ge=1,
        description="fewest orders at the price of a step before it is judged (decision 51)",
    )
    step_confidence: Share = Field(
        json_schema_extra=DEPLOYMENT,
        default=0.6,
        description="P(gain > 0) of a step from which on the range grows by one step (decision 51)",
    )


def step_result(from_minor: int, to_minor: int, segments: Iterable[PointCounts], unit_cost: float) -> StepResult:
    """Return (2): what a step from one price to another brought, from the counts at both.

    Parameters
    ----------
    segments : counts per price point, one per segment.
    unit_cost : ω·c in minor units.

    Examples
    --------
    >>> import numpy as np
    >>> def counts(*rows):
    ...     prices, n, y = map(np.array, zip(*rows))
    ...     return PointCounts(prices, n * 1.0, y * 1.0, y * 1.0, n * 0.0)
    >>> result = step_result(1000, 1100, [counts((1000, 500, 25), (1100, 500, 24))], 600.0)
    >>> result.orders, round(result.confidence, 2)
    (24.0, 0.74)
    >>> step_result(1000, 1100, [counts((1000, 500, 25))], 600.0).confidence is None
    True
    """
    gain = variance = orders = 0.0
    for counts in segments:
        at = {price: i for i, price in enumerate(counts.prices.tolist())}
        if to_minor not in at:
            continue
        after = at[to_minor]
        orders += float(counts.orders[after])
        n_after = float(counts.exposures[after])
        n_before = float(counts.exposures[at[from_minor]]) if from_minor in at else 0.0
        if n_before <= 0 or n_after <= 0:
            continue
        weight = n_before + n_after
        for price, n, i, sign in ((from_minor, n_before, at[from_minor], -1), (to_minor, n_after, after, 1)):
            sold, margin = (float(counts.orders[i]) + 0.5) / n, price - unit_cost
            gain += sign * weight * margin * sold
            variance += (weight * margin) ** 2 * sold / n
    confidence = 0.5 * (1 + math.erf(gain / math.sqrt(2 * variance))) if variance > 0 else None
    return StepResult(from_minor, to_minor, orders, confidence)


def brought_gain(result: StepResult | None, settings: ExtrapolationSettings) -> bool:
    """Return whether a step has enough orders, and a probability of a gain that widens the range.

    >>> settings = ExtrapolationSettings()
    >>> [brought_gain(StepResult(1000, 1100, n, p), settings) for n, p in ((5, 0.6), (4, 0.9), (9, 0.59))]
    [True, False, False]
    """
    return (
        result is not None
        and result.confidence is not None
        and result.orders >= settings.step_orders
        and result.confidence >= settings.step_confidence
    )


class Extrapolation(Guardrail):
    """No price far outside the observed ones while the elasticity is not sufficient."""

    code = "EXTRAPOLATION"
    kind = Kind.PACE
    title = "Range of experience"
    meaning = "no price far from those that customers have seen until the elasticity is known well enough"
    settings = ExtrapolationSettings

    def band(self, context: GuardrailContext, policy: Policy) -> Band | None:
        """Return the prices of (1); None with a sufficient estimate, for a first price and for an operator's."""
        settings, inputs = policy.section(ExtrapolationSettings), context.inputs
        experience = inputs.experience
        if experience is None or experience.sufficient or inputs.ignores_pace:
            return None
        if inputs.current is None or inputs.controls.approved_minor is not None:
            return None
        lowest = experience.low_minor or inputs.shown_minor
        highest = experience.high_minor or inputs.shown_minor
        if lowest is None or highest is None:
            return None
        low, high = ceil_minor(lowest * (1 - settings.beyond)), floor_minor(highest * (1 + settings.beyond))
        seen = f"{money(lowest, inputs.currency)} to {money(highest, inputs.currency)}"
        detail = f"the elasticity is not sufficient: at most {settings.beyond:.0%} outside the observed {seen}"
        return Band(self.code, self.kind, detail, low=low, high=high, pin=Pin.SHOWN_PRICES)

    def text(self, limit: LimitRecord) -> str:
        """Name the observed prices, and what the last step outside them brought."""
        settings, experience = limit.policy.section(ExtrapolationSettings), limit.inputs.experience
        line = f"{limit.prices}, as the elasticity is not known well enough"
        if experience is None or experience.low_minor is None or experience.high_minor is None:
            return line
        low, high = limit.money(experience.low_minor), limit.money(experience.high_minor)
        seen = low if low == high else f"{low} to {high}"
        line += f": at most {settings.beyond:.0%} outside the prices seen so far ({seen})"
        step = experience.step
        if step is None:
            return line
        if step.confidence is None or step.orders < settings.step_orders:
            return (
                f"{line}; {limit.money(step.to_minor)} has {step.orders:.0f} orders so far, "
                f"{settings.step_orders} are needed to know what it brings"
            )
        return (
            f"{line}; {limit.money(step.to_minor)} instead of {limit.money(step.from_minor)} brought a gain with "
            f"a probability of {step.confidence:.0%}, {settings.step_confidence:.0%} are needed to go further"
        )
