"""Shadow strategies: recorded beside the decision, and without effect on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import Audit
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.policy import Policy, PolicyError
from jobs.pricing.strategies import STRATEGIES
from schemas.codes import OutcomeCode
from tests.jobs.pricing.pricing_builders import (
    MODELS,
    START_MS,
    a_current,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
    some_inputs,
)

SELECTABLE = sorted(strategy.name for strategy in STRATEGIES if strategy.selectable)
KNOWN = {"category": "shoes", "on_hand": 400, "cover_days": 9.0, "age_days": 30.0, "hour": 9}

worlds = st.fixed_dictionaries(
    {
        "cause": st.sampled_from(["EVIDENCE", "COLD_START", "SETTLE", "CONTINUED", "RIVAL_MOVED"]),
        "catalog_cost_minor": st.one_of(st.none(), st.integers(200, 2600)),
        "catalog_floor_minor": st.sampled_from([None, 1500, 9000]),
        "offers": st.lists(st.builds(an_offer_row, st.integers(100, 4000), st.just(START_MS - 1)), max_size=2),
        "current": st.one_of(st.none(), st.builds(a_current, st.integers(900, 3500))),
        "elasticity": st.fixed_dictionaries({"mean": st.floats(-6, -0.3), "sd": st.floats(0.02, 1.0)}),
        "target_units": st.one_of(st.none(), st.floats(0, 100)),
        "approved_minor": st.one_of(st.none(), st.integers(500, 4000)),
        "attributes": st.sampled_from([None, KNOWN]),
        "experience": st.one_of(st.none(), st.builds(an_experience, st.just(1800), st.just(2100))),
        "frozen": st.sampled_from([None, "frozen by ann"]),
        "model": st.sampled_from(MODELS),
    }
)


def with_policy(strategies: dict[str, Any]) -> Policy:
    return Policy.from_dict({"strategies": strategies, "target_lp": {"units": 40.0}})


def without_shadows(result: PricingDecision) -> dict[str, Any]:
    return decision_record(replace(result, shadows=(), strategy=""))


@settings(max_examples=60, deadline=None)
@given(
    world=worlds,
    default=st.sampled_from(SELECTABLE),
    shadow=st.lists(st.sampled_from(SELECTABLE), unique=True, min_size=1, max_size=3),
)
def test_shadows_change_no_bit_of_the_decision(world: dict[str, Any], default: str, shadow: list[str]) -> None:
    alone = reprice(some_inputs(with_policy({"default": default}), **world))
    beside = reprice(some_inputs(with_policy({"default": default, "shadow": shadow}), **world))
    assert orjson.dumps(without_shadows(beside)) == orjson.dumps(decision_record(alone))


@settings(max_examples=40, deadline=None)
@given(world=worlds, shadow=st.lists(st.sampled_from(SELECTABLE), unique=True, min_size=1, max_size=3))
def test_decisions_with_shadows_recompute_bit_for_bit(world: dict[str, Any], shadow: list[str]) -> None:
    policy = with_policy({"shadow": shadow})
    audit = Audit.of([a_record(some_inputs(policy, **world))], catalog_of(policy))
    assert audit.recomputed == 1 and audit.differing == []


def test_shadow_is_what_the_strategy_would_have_decided() -> None:
    [shadow] = reprice(some_inputs(with_policy({"shadow": ["cost_plus"]}))).shadows
    alone = reprice(some_inputs(with_policy({"default": "cost_plus"})))
    assert (shadow.outcome, shadow.price_minor) == (OutcomeCode.PUBLISHED, alone.default_minor)
    assert shadow.candidate_minor == alone.candidate_minor == 1649 and shadow.bound_by == ("STEP_LIMIT",)
    assert shadow.gain is not None and alone.gain is not None
    assert shadow.gain.mean == pytest.approx(alone.gain.mean)


def test_gain_of_a_shadow_is_in_the_policys_objective() -> None:
    decision = reprice(some_inputs(with_policy({"shadow": ["revenue_lp"]}), elasticity={"mean": -2.0, "sd": 0.2}))
    [shadow] = decision.shadows
    assert shadow.price_minor is not None and shadow.price_minor < 1999
    assert shadow.gain is not None and shadow.gain.mean < 0


def test_shadow_that_publishes_nothing_keeps_the_price_without_a_gain() -> None:
    [shadow] = reprice(some_inputs(with_policy({"shadow": ["cost_plus"]}), frozen="frozen by ann")).shadows
    assert shadow.price_minor == 1999 and shadow.gain is not None and shadow.gain.mean == 0.0
    assert shadow.bound_by == ("FROZEN",)


def test_shadow_does_not_follow_an_operators_price() -> None:
    decision = reprice(some_inputs(with_policy({"shadow": ["cost_plus"]}), approved_minor=2500))
    assert decision.candidate_minor == 2500 and decision.shadows[0].candidate_minor == 1649


def test_strategy_in_force_has_no_shadow_of_its_own() -> None:
    decision = reprice(some_inputs(with_policy({"shadow": ["profit_lp", "match_rival"]})))
    assert decision.strategy == "profit_lp" and [each.strategy for each in decision.shadows] == ["match_rival"]


def test_explanation_has_a_line_per_shadow() -> None:
    policy = with_policy({"shadow": ["cost_plus", "match_rival"]})
    text = explain(a_record(some_inputs(policy)), catalog_of(policy))
    lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("  shadow")]
    assert lines[0].startswith("cost_plus would set 18.49 USD, expected gain")
    assert lines[1].startswith("match_rival would set 18.99 USD")


def test_decision_without_shadows_is_recorded_as_before() -> None:
    assert not {"shadows", "strategy"} & decision_record(reprice(some_inputs())).keys()


@pytest.mark.parametrize("shadow", [["operator_price"], ["cheapest"], ["cost_plus", "cost_plus"]])
def test_unknown_and_repeated_shadows_are_refused(shadow: list[str]) -> None:
    with pytest.raises(PolicyError, match="strategies: expected"):
        with_policy({"shadow": shadow})
