"""The fallback chain on single decisions: which stage, why, and at which price."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from jobs.audit.recompute import same_joint_decision
from jobs.pricing.bucket.listing.held_estimates import held_estimate
from jobs.pricing.bucket.listing.listing_state import HeldEstimate
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record, inputs_record
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.policy import Policy, PolicyError
from jobs.pricing.policy_learning import Beliefs
from jobs.pricing.strategies import STRATEGIES, StrategyChoice, strategy_of, with_fallback
from schemas.codes import Fallback, FallbackReason, OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_model,
    a_record,
    an_offer_row,
    catalog_of,
    prices_of,
    some_inputs,
)

DAY_MS = 86_400_000
REFUSED = a_model("no_exposures")
STALE = [an_offer_row(1900, START_MS - 2 * DAY_MS)]


def a_policy(**fallback: Any) -> Policy:
    return Policy.from_dict({"fallback": fallback})


def choice(policy: Policy | None = None, **changes: Any) -> tuple[str, Fallback, list[str]]:
    """Return the name of the strategy, the stage and the reasons for some inputs."""
    found: StrategyChoice = strategy_of(some_inputs(policy, **changes))
    return found.strategy.name, found.fallback, [reason.value for reason in found.reasons]


# -- which stage ----------------------------------------------------------------------------------


def test_estimate_in_use_needs_no_fallback() -> None:
    assert choice(model=a_model()) == ("profit_lp", Fallback.NONE, [])


def test_refused_estimate_leads_to_the_rule() -> None:
    assert choice(model=REFUSED) == ("fallback_rule", Fallback.RULE, ["not_identified"])


def test_reason_that_the_policy_does_not_refuse_leaves_the_model_in_use() -> None:
    never = a_model("price_never_moved")
    assert choice(model=never)[1] is Fallback.NONE
    assert choice(a_policy(refused_reasons=["price_never_moved"]), model=never)[1] is Fallback.RULE


def test_unusable_estimate_leads_to_the_rule_whatever_the_policy_refuses() -> None:
    found = choice(a_policy(refused_reasons=[]), model=a_model("estimate_unusable"))
    assert found == ("fallback_rule", Fallback.RULE, ["estimate_unusable"])


def test_prior_counts_as_a_model_unless_the_policy_says_otherwise() -> None:
    never = a_model(estimated_ms=None)
    assert choice(model=never)[1] is Fallback.NONE
    assert choice(a_policy(prior_counts=False), model=never) == ("fallback_rule", Fallback.RULE, ["no_estimate"])


@pytest.mark.parametrize(("minutes", "stage"), [(60, Fallback.NONE), (61, Fallback.RULE)])
def test_estimate_is_missing_beyond_the_policys_age(minutes: int, stage: Fallback) -> None:
    model = a_model(estimated_ms=START_MS - minutes * 60_000)
    assert choice(a_policy(max_estimate_age_minutes=60), model=model)[1] is stage


def test_stale_rivals_are_left_out_of_the_rule_and_named() -> None:
    assert choice(model=REFUSED, offers=STALE)[2] == ["not_identified", "rivals_stale"]
    assert choice(model=REFUSED, offers=[])[2] == ["not_identified", "no_rivals"]
    assert choice(a_policy(rivals_weight=0.0), model=REFUSED, offers=[])[2] == ["not_identified"]


@pytest.mark.parametrize("cost", [None, 0, -5])
def test_without_a_cost_the_last_table_stays(cost: int | None) -> None:
    assert choice(model=REFUSED, catalog_cost_minor=cost)[1:] == (
        Fallback.LAST_TABLE, ["not_identified", "no_cost"],
    )  # fmt: skip


def test_without_cost_and_table_the_list_price_remains() -> None:
    assert choice(model=a_model(), catalog_cost_minor=None, current=None)[1:] == (Fallback.LIST_PRICE, ["no_cost"])
    found = choice(model=a_model(), catalog_cost_minor=None, catalog_list_minor=None, current=None)
    assert found[2] == ["no_cost", "no_list_price"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_only_a_strategy_that_reads_the_demand_model_falls_back_without_one(strategy: Any) -> None:
    fell = with_fallback(strategy, some_inputs(model=REFUSED)).fallback is Fallback.RULE
    assert fell == strategy.searches


def test_fallbacks_can_be_disabled() -> None:
    assert choice(a_policy(enabled=False), model=REFUSED)[1] is Fallback.NONE


def test_record_from_before_fallbacks_uses_none() -> None:
    record = decision_record(reprice(some_inputs(catalog_cost_minor=None)))
    assert "fallback" not in record and record["outcome"] == OutcomeCode.HELD


def test_unknown_reason_is_refused_by_key() -> None:
    with pytest.raises(PolicyError, match=r"refused_reasons: expected reasons among no_data, .*got 'bad_luck'"):
        a_policy(refused_reasons=["bad_luck"])


# -- at which price -------------------------------------------------------------------------------


def a_rule_decision(policy: Policy | None = None, **changes: Any) -> PricingDecision:
    result = reprice(some_inputs(policy, model=REFUSED, **changes))
    assert result.fallback is Fallback.RULE
    return result


@pytest.mark.parametrize(
    ("offers", "candidate"), [([an_offer_row(1900, START_MS - 1)], 1799), (STALE, 1699), ([], 1699)]
)
def test_rules_candidate_follows_margin_and_fresh_rivals(offers: list[dict[str, Any]], candidate: int) -> None:
    # 12.00 / (1 - .30) = 17.14; half of it and half of 19.00 are 18.07; prices end at 49 or 99.
    assert a_rule_decision(offers=offers).candidate_minor == candidate


def test_rules_price_keeps_the_bound_of_the_role() -> None:
    cheap = [an_offer_row(1600, START_MS - 1)]
    # Half of 17.14 and half of 16.00 are 16.57; a known value item costs at most as much as its rivals.
    assert a_rule_decision(offers=cheap, catalog_role="margin").candidate_minor == 1649
    assert a_rule_decision(offers=cheap, catalog_role="kvi").candidate_minor == 1599


def test_rules_price_moves_by_one_step_and_within_the_hard_bands() -> None:
    result = a_rule_decision(offers=[])
    assert result.outcome is OutcomeCode.PUBLISHED and min(prices_of(result)) >= 1999 * 0.9
    assert result.continue_at_ms is not None and result.hard is not None
    assert all(price in result.hard for price in prices_of(result))


def test_rule_explores_so_that_the_elasticity_can_be_identified_again() -> None:
    assert len(prices_of(a_rule_decision())) > 1


def first_table(**changes: Any) -> PricingDecision:
    """Return the decision on a listing without a cost and without a table."""
    changes = {"catalog_cost_minor": None, "current": None, "cause": "COLD_START", "model": a_model()} | changes
    experience = {"sufficient": False, "start_minor": None, "low_minor": None, "high_minor": None, "step": None}
    return reprice(some_inputs(experience=experience, **changes))


def test_list_price_within_the_hard_bands_needs_no_table() -> None:
    result = first_table()
    assert (result.outcome, result.table, result.default_minor) == (OutcomeCode.HELD, None, 1999)
    assert result.fallback is Fallback.LIST_PRICE


@pytest.mark.parametrize(
    ("bound", "price"), [({"catalog_ceiling_minor": 1500}, 1500), ({"catalog_floor_minor": 2100}, 2100)]
)
def test_list_price_outside_the_hard_bands_is_moved_into_them(bound: dict[str, int], price: int) -> None:
    result = first_table(**bound)
    assert (result.outcome, result.default_minor, prices_of(result)) == (OutcomeCode.COLD_START, price, {price})


def test_operators_price_is_not_replaced_by_a_table_at_the_list_price() -> None:
    assert first_table(catalog_ceiling_minor=1500, approved_minor=1400).table is None


def test_frozen_listing_gets_no_table_at_its_list_price() -> None:
    assert first_table(catalog_ceiling_minor=1500, frozen="frozen by ann").table is None


# -- confidence -----------------------------------------------------------------------------------

UNSURE = {"elasticity": {"mean": -2.2, "sd": 1.5}, "offers": []}


def test_change_of_low_confidence_is_held_or_published_for_review_as_the_policy_says() -> None:
    limits = {"min_confidence": 0.99}
    held = reprice(some_inputs(Policy.from_dict({"limits": limits}), **UNSURE))
    content = {"limits": limits, "fallback": {"hold_below_confidence": False}}
    free = reprice(some_inputs(Policy.from_dict(content), **UNSURE))
    assert (held.outcome, held.review) == (OutcomeCode.HELD, True)
    assert (free.outcome, free.review) == (OutcomeCode.PUBLISHED, True)
    assert any(band.code == "LOW_CONFIDENCE" for band in free.bands)
    sure = reprice(some_inputs(Policy.from_dict({"fallback": {"hold_below_confidence": False}}), **UNSURE))
    assert not sure.review and sure.table == free.table


# -- shadows and groups ---------------------------------------------------------------------------


def test_shadow_is_its_own_strategy_whatever_its_estimate() -> None:
    policy = Policy.from_dict({"strategies": {"shadow": ["profit_lp"]}})
    refused = reprice(some_inputs(policy, model=REFUSED))
    in_use = reprice(some_inputs(Policy(), model=a_model()))
    assert refused.strategy == "fallback_rule"
    assert [each.strategy for each in refused.shadows] == ["profit_lp"]
    assert refused.shadows[0].candidate_minor == in_use.candidate_minor


def a_group(*models: dict[str, Any]) -> list[PricingInputs]:
    return [a_member(f"s{i}", model=model) for i, model in enumerate(models, 1)]


def test_group_falls_back_to_the_rule_jointly() -> None:
    members = a_group(a_model(), REFUSED, a_model())
    terms = plan_group(members, "p1", members[0].listing.key)
    results = [reprice(replace(inputs, group=terms)) for inputs in members]
    assert {result.fallback for result in results} == {Fallback.RULE}
    assert {result.fallback_reasons for result in results} == {(FallbackReason.NOT_IDENTIFIED,)}
    assert len({str(result.table) for result in results}) == 1
    assert terms.candidate_minor == a_rule_decision().candidate_minor


def test_joint_fallback_is_recomputed_from_the_members_records() -> None:
    members = a_group(a_model(), REFUSED)
    terms = plan_group(members, "p1", members[0].listing.key)
    records = []
    for own in members:
        inputs = replace(own, group=terms)
        record = {"inputs": inputs_record(inputs), "result": decision_record(reprice(inputs))}
        records.append(orjson.loads(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)))
    assert same_joint_decision(records, catalog_of())
    assert all(recompute(record, catalog_of()) == record["result"] for record in records)


def test_terms_of_a_group_without_a_fallback_are_recorded_as_before() -> None:
    members = a_group(a_model(), a_model())
    assert "fallback" not in plan_group(members, "p1", members[0].listing.key).to_record()


# -- texts and estimates --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"model": REFUSED},
            "rule from the margin and the rivals' average, without the demand model: the data do not identify the "
            "elasticity (there are orders and no quotes).",
        ),
        (
            {"model": a_model(), "catalog_cost_minor": None},
            "In place of the policy's strategy the last price table: the catalog gives no usable cost.",
        ),
    ],
)
def test_explanation_names_the_stage_and_the_reasons(changes: dict[str, Any], text: str) -> None:
    explained = " ".join(explain(a_record(some_inputs(**changes)), catalog_of()).split())
    assert text in explained


def test_explanation_without_a_fallback_has_no_line_of_one() -> None:
    assert "fallback" not in explain(a_record(some_inputs(model=a_model())), catalog_of())


def test_unusable_numbers_keep_those_of_the_estimate_before() -> None:
    before = HeldEstimate(60, -3.0, 0.2, 0.4, 0.1)
    value = {"window_end_ms": 120, "mean": -2.0, "sd": -1.0, "sufficient": "sufficient"}
    found = held_estimate(value, before, Beliefs())
    assert found == before._replace(window_end_ms=120, refused="estimate_unusable")
