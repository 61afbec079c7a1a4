"""Inputs and results of decisions as plain data, and back: the two halves of a decision's record.

A decision embeds its inputs whole and the hash of the policy it ran under, so that it can be recomputed from its
own record and that policy (`policies` topic). Records from before policies had scopes embed the policy itself. The
format is version 1; keys that were added later have the default that applied before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.array_text import array_text, read_array
from features.books.offers import RivalOffer
from features.books.price_bandit import ArmBelief
from features.books.sale_probability import PointCounts
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import (
    BanditInputs,
    Belief,
    Controls,
    CurrentTable,
    DealCounts,
    DemandBeliefs,
    Experience,
    Habits,
    ListingAttributes,
    ModelState,
    PricingInputs,
    Product,
    SegmentBeliefs,
    StepResult,
    Table,
    Target,
)
from jobs.pricing.decision.recorded_policy import recorded_policy
from jobs.pricing.decision.result import PricingDecision, ShadowDecision
from jobs.pricing.guardrails import Band
from jobs.pricing.policy import Policy
from jobs.pricing.rules.matching import NO_RULES
from schemas.causes import Cause
from schemas.codes import Fallback
from schemas.listings import Listing
from schemas.price_table import PriceList

INPUTS_VERSION = 1


class InputsError(ValueError):
    """Recorded inputs that no decision can be computed from: the key, what was expected, and what it is."""


def inputs_record(inputs: PricingInputs) -> dict[str, Any]:
    """Return inputs as plain data."""
    beliefs, current, product = inputs.beliefs, inputs.current, inputs.product
    bought = inputs.habits.bought
    return {
        "v": INPUTS_VERSION,
        "listing": inputs.listing.key,
        "at_ms": inputs.at_ms,
        "cause": inputs.cause.value,
        "cause_detail": dict(inputs.cause_detail),
        "seed": inputs.seed,
        "currency": inputs.currency,
        "catalog": _fields(product),
        "current": None
        if current is None
        else {
            "default_minor": current.default_minor,
            "segments": table_record(current.prices),
            "last_change_ms": current.last_change_ms,
            "changes_today": current.changes_today,
            "day_ends_ms": current.day_ends_ms,
            "table_id": current.table_id,
        },
        "offers": [offer._asdict() for offer in inputs.offers],
        "offer_centre": beliefs.offer_centre,
        "requests": beliefs.requests,
        "segments": {name: _segment_record(segment) for name, segment in beliefs.segments.items()},
        "elasticity": beliefs.elasticity._asdict(),
        "rival_elasticity": beliefs.rival_elasticity._asdict(),
        "changed_ms": beliefs.changed_ms,
        "target_units": inputs.target.units,
        "target_from": inputs.target.source,
        "frozen": inputs.controls.frozen,
        "surge_ban": inputs.controls.surge_ban,
        "approved_minor": inputs.controls.approved_minor,
        "usual_minor": inputs.habits.usual_minor,
        "bought": None if bought is None else list(bought),
        "experience": None if inputs.experience is None else _experience_record(inputs.experience),
        "attributes": None if inputs.attributes is None else _fields(inputs.attributes),
        "bandit": None if inputs.bandit is None else _bandit_record(inputs.bandit),
        "group": None if inputs.group is None else inputs.group.to_record(),
        "model": None if inputs.model is None else _fields(inputs.model),
        "policy_hash": inputs.policy.hash,
    }


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _bandit_record(bandit: BanditInputs) -> dict[str, Any]:
    arms = {str(step): [array_text(np.array(numbers, np.float64)) for numbers in arm] for step, arm in bandit.arms}
    return {"waiting": bandit.waiting, "arms": arms}


def _read_bandit(record: Mapping[str, Any]) -> BanditInputs:
    arms = (
        (int(step), ArmBelief(*(tuple(read_array(each, np.float64).tolist()) for each in arm)))
        for step, arm in record["arms"].items()
    )
    return BanditInputs(record["waiting"], tuple(sorted(arms)))


def _experience_record(experience: Experience) -> dict[str, Any]:
    step = experience.step
    names = ("sufficient", "start_minor", "low_minor", "high_minor")
    return {name: getattr(experience, name) for name in names} | {"step": None if step is None else step._asdict()}


def _read_experience(record: Mapping[str, Any]) -> Experience:
    step = record["step"]
    return Experience(**{**record, "step": None if step is None else StepResult(**step)})


def _segment_record(segment: SegmentBeliefs) -> dict[str, Any]:
    record: dict[str, Any] = {"share": segment.share, "units_per_order": segment.units_per_order}
    if segment.elasticity is not None:
        record["elasticity"] = segment.elasticity._asdict()
    return record | {"counts": segment.counts.to_record()}


def read_inputs(record: Mapping[str, Any], policies: Mapping[str, Policy]) -> PricingInputs:
    """Read :func:`inputs_record` back, also after a JSON round trip.

    Parameters
    ----------
    policies : policies by hash; a record that embeds its policy needs none.

    Raises
    ------
    InputsError
        If the record is of another version, or its policy is not given.
    """
    if record.get("v") != INPUTS_VERSION:
        raise InputsError(f"inputs.v: expected {INPUTS_VERSION}, got {record.get('v')!r}")
    try:
        policy = recorded_policy(record["policy"]) if "policy" in record else policies[record["policy_hash"]]
    except KeyError:
        name = record.get("policy_hash")
        raise InputsError(f"inputs.policy_hash: expected a policy of the topic policies, got {name!r}") from None
    catalog, current, bought = record["catalog"], record["current"], record.get("bought")
    return PricingInputs(
        listing=Listing.parse(record["listing"]),
        at_ms=record["at_ms"],
        cause=Cause[record["cause"]],
        cause_detail=record["cause_detail"],
        seed=record["seed"],
        currency=record["currency"],
        product=Product(**{name: catalog.get(name) for name in Product.__dataclass_fields__}),
        current=None
        if current is None
        else CurrentTable(
            current["default_minor"],
            read_table(current["segments"]),
            current["last_change_ms"],
            current["changes_today"],
            current["day_ends_ms"],
            current.get("table_id", ""),
        ),
        offers=tuple(RivalOffer(*(offer.get(name) for name in RivalOffer._fields)) for offer in record["offers"]),
        beliefs=DemandBeliefs(
            requests=record["requests"],
            segments={name: _read_segment(segment) for name, segment in record["segments"].items()},
            elasticity=Belief(**record["elasticity"]),
            rival_elasticity=Belief(**record["rival_elasticity"]),
            offer_centre=record["offer_centre"],
            changed_ms=record.get("changed_ms"),
        ),
        target=Target(record["target_units"], record["target_from"]),
        controls=Controls(record["frozen"], record["surge_ban"], record["approved_minor"]),
        habits=Habits(record.get("usual_minor"), DealCounts(*bought) if bought else None),
        experience=None if record.get("experience") is None else _read_experience(record["experience"]),
        attributes=None if record.get("attributes") is None else _read_attributes(record["attributes"]),
        bandit=None if record.get("bandit") is None else _read_bandit(record["bandit"]),
        group=None if record.get("group") is None else GroupTerms.from_record(record["group"]),
        model=None if record.get("model") is None else ModelState(**record["model"]),
        policy=policy,
    )


def _read_attributes(record: Mapping[str, Any]) -> ListingAttributes:
    tags = record.get("tags")
    return ListingAttributes(**{**record, "tags": None if tags is None else tuple(tags)})


def _read_segment(record: Mapping[str, Any]) -> SegmentBeliefs:
    own = record.get("elasticity")
    return SegmentBeliefs(
        record["share"],
        record["units_per_order"],
        PointCounts.from_record(record["counts"]),
        None if own is None else Belief(**own),
    )


def decision_record(decision: PricingDecision) -> dict[str, Any]:
    """Return a result as plain data: a decision's ``result``."""
    reference, gain = decision.reference, decision.gain
    beside: dict[str, Any] = {}
    if decision.strategy:
        beside["strategy"] = decision.strategy
    if decision.shadows:
        beside["shadows"] = [shadow_record(each) for each in decision.shadows]
    if decision.rules != NO_RULES:
        beside["rules"] = decision.rules.to_record()
    if decision.fallback is not Fallback.NONE:
        beside["fallback"] = decision.fallback.value
        beside["fallback_reasons"] = [reason.value for reason in decision.fallback_reasons]
    return {
        "outcome": decision.outcome.value,
        "table": None if decision.table is None else table_record(decision.table),
        "default_minor": decision.default_minor,
        "candidate_minor": decision.candidate_minor,
        "bands": [band_record(band) for band in decision.bands],
        "hard": None if decision.hard is None else list(decision.hard),
        "allowed": None if decision.allowed is None else list(decision.allowed),
        "gain_minor": gain.mean if gain else None,
        "gain_sd_minor": gain.sd if gain else None,
        "confidence": gain.confidence if gain else None,
        "sales": decision.sales,
        "value_minor": decision.value,
        "multiplier": decision.multiplier,
        "below_demand": decision.below_demand,
        "rivals_mean_minor": reference.mean_minor if reference else None,
        "rivals_fresh": reference.fresh if reference else None,
        "rivals": reference.rivals if reference else 0,
        "follow_minor": decision.follow_minor,
        "continue_at_ms": decision.continue_at_ms,
        "alert": decision.alert,
        "review": decision.review,
        "approval_until_ms": decision.approval_until_ms,
        "reason": decision.reason,
        **beside,
    }


def shadow_record(shadow: ShadowDecision) -> dict[str, Any]:
    """Return a shadow as plain data."""
    gain = shadow.gain
    return {
        "strategy": shadow.strategy,
        "outcome": shadow.outcome.value,
        "candidate_minor": shadow.candidate_minor,
        "price_minor": shadow.price_minor,
        "gain_minor": gain.mean if gain else None,
        "gain_sd_minor": gain.sd if gain else None,
        "bound_by": list(shadow.bound_by),
    }


def band_record(band: Band) -> dict[str, Any]:
    """Return a band as plain data."""
    return {
        "code": band.code,
        "kind": band.kind.value,
        "low": band.low,
        "high": band.high,
        "keeps": band.pin.value,
        "alert": band.alert,
        "until_ms": band.until_ms,
        "detail": band.detail,
    }


def table_record(table: Table) -> dict[str, Any]:
    """Return price lists as plain data, by segment."""
    return {seg: {"p": list(pl.prices), "c": list(pl.cumulative)} for seg, pl in sorted(table.items())}


def read_table(record: Mapping[str, Any]) -> dict[str, PriceList]:
    """Read :func:`table_record` back."""
    return {seg: PriceList(tuple(v["p"]), tuple(v["c"])) for seg, v in record.items()}
