"""Builders of tests of guardrails: contexts and their bands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from features.books.offers import ReferenceOffer
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.inputs import Controls, CurrentTable, DealCounts, Habits
from jobs.pricing.guardrails import GUARDRAILS, Band, Guardrail, GuardrailContext
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import NO_RULES
from schemas.causes import Cause
from schemas.listings import Listing
from schemas.price_table import PriceList
from tests.jobs.pricing.pricing_builders import some_inputs

POLICY = Policy()
MINUTE_MS = 60_000
AT_MS = 10_000 * MINUTE_MS
BASE = some_inputs(POLICY, at_ms=AT_MS, offers=[])
PRODUCT = {
    "cost_minor": 600, "trusted_cost_minor": 600, "list_minor": 1000, "floor_minor": None, "ceiling_minor": None,
}  # fmt: skip


def a_context(**changes: Any) -> GuardrailContext:
    """Return the context of a listing at 10.00 with a cost of 6.00, rivals at 10.00 and a candidate at 10.50.

    Parameters
    ----------
    changes : values of the product, of ``current_minor`` (None: no table), ``last_change_ms``, ``changes_today``,
        ``rivals_mean_minor`` (None: no rivals), ``rivals_fresh``, ``cause``, ``currency``, ``frozen``,
        ``surge_ban``, ``approved_minor``, ``usual_minor``, ``bought``, ``candidate_minor``, ``confidence``,
        ``experience``, ``rules``.
    """
    product = replace(BASE.product, **{name: changes.pop(name, value) for name, value in PRODUCT.items()})
    shown, last, today = (
        changes.pop(name, default)
        for name, default in (("current_minor", 1000), ("last_change_ms", None), ("changes_today", 0))
    )
    prices = {} if shown is None else {"all": PriceList.from_propensities([shown], [1.0])}
    current = None if shown is None else CurrentTable(shown, prices, last, today)
    mean, fresh = changes.pop("rivals_mean_minor", 1000.0), changes.pop("rivals_fresh", True)
    rivals = None if mean is None else ReferenceOffer(mean, round(mean), round(mean), 1, AT_MS, fresh)
    bought = changes.pop("bought", None)
    inputs = replace(
        BASE,
        product=product,
        current=current,
        cause=changes.pop("cause", Cause.EVIDENCE),
        currency=changes.pop("currency", "USD"),
        controls=Controls(*(changes.pop(name, None) for name in ("frozen", "surge_ban", "approved_minor"))),
        experience=changes.pop("experience", None),
        habits=Habits(changes.pop("usual_minor", None), None if bought is None else DealCounts(*bought)),
    )
    candidate, confidence = changes.pop("candidate_minor", 1050), changes.pop("confidence", 0.9)
    rules = changes.pop("rules", NO_RULES)
    assert not changes, changes
    return GuardrailContext(inputs, rivals, candidate, confidence, rules)


def in_a_group(context: GuardrailContext) -> GuardrailContext:
    """Return the context of a listing that shares its price with another one like it."""
    other = replace(context.inputs, listing=Listing("acme", "web-us-usd", "s2"))
    terms = plan_group([context.inputs, other], "p1", context.inputs.listing.key)
    return replace(context, inputs=replace(context.inputs, group=terms))


def bands_of(context: GuardrailContext, guardrails: tuple[Guardrail, ...] = GUARDRAILS) -> dict[str, Band]:
    """Return the bands of some guardrails by code."""
    return {b.code: b for b in (g.band(context, POLICY) for g in guardrails) if b is not None}
