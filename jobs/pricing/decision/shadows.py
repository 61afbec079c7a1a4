"""Shadow strategies: computed with every decision, recorded beside it, never published (science § 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobs.pricing.decision.inputs import PricingInputs, shares_of
from jobs.pricing.decision.result import PricingDecision, ShadowDecision
from jobs.pricing.decision.serialization import band_record
from jobs.pricing.decision.texts.limit_texts import bound_by
from jobs.pricing.decision.valuation import Gain, value_prices
from jobs.pricing.strategies import Strategy, strategy_named

Decide = Callable[[PricingInputs, Strategy], PricingDecision]


def with_shadows(
    decision: PricingDecision, inputs: PricingInputs, strategy: Strategy, decide: Decide
) -> PricingDecision:
    """Return a decision with the shadows that its policy names; nothing else of it changes.

    A shadow reads the inputs of the decision without an operator's price. The strategy in force has no shadow.

    Parameters
    ----------
    strategy : the one in force.
    decide : computes the decision of a strategy on inputs.
    """
    names = [name for name in inputs.policy.strategies.shadow if name != strategy.name]
    if not names:
        return decision
    own = replace(inputs, controls=replace(inputs.controls, approved_minor=None))
    results = [(name, decide(own, strategy_named(name))) for name in names]
    gains = _gains(inputs, [result for _, result in results], decision.multiplier)
    shadows = (
        ShadowDecision(
            strategy=name,
            outcome=result.outcome,
            candidate_minor=result.candidate_minor,
            price_minor=result.default_minor,
            gain=gain,
            bound_by=bound_by(map(band_record, result.bands), result.candidate_minor),
        )
        for (name, result), gain in zip(results, gains, strict=True)
    )
    return replace(decision, strategy=strategy.name, shadows=tuple(shadows))


def _gains(inputs: PricingInputs, results: list[PricingDecision], multiplier: float) -> list[Gain | None]:
    """Return each result's gain over the current table in the policy's objective; 0 where it publishes nothing."""
    before, segments = inputs.current_shares(), inputs.policy.segments.names
    if before is None:
        return [None] * len(results)
    after = [None if result.table is None else shares_of(result.table, segments) for result in results]
    prices = {p for shares in (*after, before) if shares is not None for of in shares.values() for p in of}
    reference = inputs.reference()
    mean = reference.mean_minor if reference and reference.fresh else None
    worth = value_prices(inputs, sorted(prices), mean)
    return [Gain(0.0, 0.0, None) if each is None else worth.gain(each, before, multiplier) for each in after]
