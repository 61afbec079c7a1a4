"""The strategy of a price group with mixed roles: what its records state, and what roles forbid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from jobs.audit.recompute import Audit
from jobs.audit.strategies import deciding_strategy
from jobs.pricing.bucket.price_bandits import PriceBandits
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import ForbiddenStrategy, GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.texts.explain import explain
from jobs.pricing.policies import PolicyBook
from jobs.pricing.policy import Policy
from schemas.codes import Fallback, OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import (
    START_MS,
    a_model,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
)
from tests.jobs.pricing.rule_builders import KNOWN

OFFERS = [an_offer_row(1799, START_MS - 1)]


def a_policy(rules: list[dict[str, Any]] | None = None, **strategies: Any) -> Policy:
    return Policy().overridden({"strategies": strategies, "rules": {"entries": rules or []}})


MIXED = a_policy(by_role={"kvi": "match_rival"})
FORBIDDING = a_policy(by_role={"kvi": "match_rival"}, allowed_by_role={"kvi": ["match_rival"]})


def of_role(sku: str, role: str, policy: Policy, **changes: Any) -> PricingInputs:
    return a_member(sku, policy, **{"offers": OFFERS, "catalog_role": role} | changes)


def decided(*members: PricingInputs) -> tuple[GroupTerms, list[dict[str, Any]]]:
    """Return a group's terms and its members' decisions, after an audit of both."""
    terms = plan_group(members, "p1", members[0].listing.key)
    records = [a_record(replace(each, group=terms)) | {"decision_id": each.listing.sku} for each in members]
    audit = Audit.of(records, catalog_of(*(each.policy for each in members)))
    assert audit.differing == [] and audit.joint == 1
    return terms, records


def strategies_of(records: list[dict[str, Any]]) -> set[str]:
    """Return the strategies that reports book the decisions under."""
    return {deciding_strategy(record, catalog_of(MIXED, FORBIDDING)) for record in records}


# -- what records state ---------------------------------------------------------------------------


def test_members_with_other_roles_record_the_strategy_that_decided_for_the_group() -> None:
    terms, records = decided(of_role("s1", "margin", MIXED), of_role("s2", "kvi", MIXED))
    assert terms.strategy == "profit_lp"
    assert strategies_of(records) == {"profit_lp"}
    terms, records = decided(of_role("s1", "margin", FORBIDDING), of_role("s2", "kvi", FORBIDDING))
    assert terms.strategy == "match_rival" and terms.candidate_minor == 1799
    assert strategies_of(records) == {"match_rival"}


def test_member_whose_own_strategy_is_a_rule_has_the_bands_of_the_groups_search() -> None:
    unsure = {"elasticity": {"mean": -2.2, "sd": 1.5}, "offers": []}
    policy = MIXED.overridden({"limits": {"min_confidence": 0.99}})
    terms, records = decided(of_role("s1", "margin", policy, **unsure), of_role("s2", "kvi", policy, **unsure))
    assert terms.outcome is OutcomeCode.HELD
    codes = [{band["code"] for band in record["result"]["bands"]} for record in records]
    assert all("LOW_CONFIDENCE" in each for each in codes)


def test_member_that_joins_records_the_strategy_of_the_group() -> None:
    policy = a_policy()
    start = a_member("s2", policy, table=None, cause="COLD_START", experience=an_experience(None, None))
    terms, records = decided(a_member("s1", policy), start)
    assert terms.of(start.listing.key).joins
    assert {deciding_strategy(each, catalog_of(policy)) for each in records} == {"profit_lp"}


def test_listing_outside_of_the_group_records_its_own_strategy() -> None:
    new = of_role("s2", "kvi", MIXED, table=None, cause="COLD_START", catalog_cost_minor=None)
    _, [one, other] = decided(of_role("s1", "margin", MIXED), new)
    assert one["result"]["strategy"] == "profit_lp" and other["result"]["strategy"] == "cold_start"


def test_shadow_of_a_member_is_not_the_strategy_of_its_group() -> None:
    policy = MIXED.overridden({"strategies": {"shadow": ["profit_lp", "match_rival"]}})
    _, records = decided(of_role("s1", "margin", policy), of_role("s2", "kvi", policy))
    assert [[each["strategy"] for each in r["result"]["shadows"]] for r in records] == [["match_rival"]] * 2


def test_bandit_learns_the_step_that_was_made_where_its_group_follows_another_strategy() -> None:
    bandit = {"contextual_bandit": {"steps": [-3, 0, 3]}}
    policy = a_policy(default="cost_plus", by_role={"kvi": "contextual_bandit"}).overridden(bandit)
    members = [of_role("s1", "margin", policy), of_role("s2", "kvi", policy)]
    inputs = replace(members[1], group=plan_group(members, "p1", members[0].listing.key))
    bandits, result = PriceBandits(PolicyBook(policy)), reprice(inputs)
    bandits.start("s2", inputs, result)
    # 12.00 × 1.4 is cut short within 10 % of 19.99: three steps of .50 were made, more were chosen.
    assert (result.candidate_minor, result.default_minor) == (1649, 1849)
    assert bandits.snapshot()["pulls"]["s2"][:2] == [-3, 1849]


def test_group_falls_back_where_its_strategy_needs_the_model_that_one_member_does_not_have() -> None:
    refused = {"model": a_model("no_exposures")}
    members = of_role("s1", "margin", MIXED, model=a_model()), of_role("s2", "kvi", MIXED, **refused)
    terms, records = decided(*members)
    assert (terms.fallback, terms.strategy) == (Fallback.RULE, "fallback_rule")
    assert strategies_of(records) == {"fallback_rule"}
    members = of_role("s1", "margin", FORBIDDING, **refused), of_role("s2", "kvi", FORBIDDING, model=a_model())
    terms, _ = decided(*members)
    assert (terms.fallback, terms.strategy) == (Fallback.NONE, "match_rival")


def test_record_from_before_the_groups_strategy_is_recomputed_with_the_members_own() -> None:
    members = [of_role("s1", "margin", MIXED), of_role("s2", "kvi", MIXED)]
    terms = plan_group(members, "p1", members[0].listing.key).to_record()
    del terms["strategy"]
    before = GroupTerms.from_record(orjson.loads(orjson.dumps(terms)))
    assert before.strategy is None and before.to_record() == terms
    records = [a_record(replace(each, group=before)) | {"decision_id": each.listing.sku} for each in members]
    assert all("strategy" not in record["result"] for record in records)
    assert strategies_of(records) == {"profit_lp", "match_rival"}
    audit = Audit.of(records, catalog_of(MIXED))
    assert (audit.joint, audit.differing) == (1, [])


# -- what roles forbid ----------------------------------------------------------------------------


def test_forbidden_strategy_is_recorded_with_the_role_and_named_in_the_explanation() -> None:
    terms, records = decided(of_role("s1", "margin", FORBIDDING), of_role("s2", "kvi", FORBIDDING))
    assert terms.forbidden == (ForbiddenStrategy("profit_lp", "kvi", "acme/web-us-usd/s2"),)
    for record in records:
        text = " ".join(explain(record, catalog_of(FORBIDDING)).split())
        assert "The group does not use profit lp, which the role of acme/web-us-usd/s2 (known value item)" in text


def test_group_of_one_strategy_does_not_use_it_where_the_policy_of_another_member_forbids_it() -> None:
    mine = a_policy(default="cost_plus")
    theirs = a_policy(
        default="cost_plus", by_role={"kvi": "match_rival"}, allowed_by_role={"kvi": ["match_rival"]}
    )
    members = [of_role("s1", "margin", mine), of_role("s2", "kvi", theirs)]
    assert decided(*members)[0].strategy == "match_rival"


def test_role_of_a_member_that_joins_forbids_a_strategy_too() -> None:
    start = of_role("s3", "kvi", FORBIDDING, table=None, cause="COLD_START", experience=an_experience(None, None))
    terms, _ = decided(of_role("s1", "margin", FORBIDDING), of_role("s2", "margin", FORBIDDING), start)
    assert terms.strategy == "match_rival" and terms.of(start.listing.key).joins


def test_rule_of_one_member_does_not_choose_a_strategy_that_the_policy_of_another_forbids() -> None:
    rule = {"name": "plus", "strategy": "cost_plus", "when": {"tags": ["sale"]}}
    mine, theirs = a_policy([rule]), FORBIDDING
    members = [of_role("s1", "margin", mine, attributes=KNOWN), of_role("s2", "kvi", theirs, attributes=KNOWN)]
    terms, records = decided(*members)
    assert terms.strategy == "match_rival" and not terms.rules
    assert terms.forbidden[0] == ForbiddenStrategy("cost_plus", "kvi", "acme/web-us-usd/s2")
    text = " ".join(explain(records[0], catalog_of(mine, theirs)).split())
    assert "Rule plus did not apply: its strategy may not be chosen for the role of acme/web-us-usd/s2." in text


def test_group_whose_roles_allow_no_common_strategy_follows_the_fallback_rule() -> None:
    policy = a_policy(
        by_role={"kvi": "match_rival", "margin": "cost_plus"},
        allowed_by_role={"kvi": ["match_rival"], "margin": ["cost_plus"]},
    )
    terms, records = decided(of_role("s1", "margin", policy), of_role("s2", "kvi", policy))
    assert (terms.strategy, terms.fallback) == ("fallback_rule", Fallback.NONE)
    assert [each.strategy for each in terms.forbidden] == ["profit_lp", "cost_plus", "match_rival"]
    assert {record["result"]["strategy"] for record in records} == {"fallback_rule"}


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({"approved_minor": 2100, "cause": "COMMAND"}, "operator_price"),
        ({"table": None, "cause": "COLD_START", "experience": an_experience(None, None)}, "cold_start"),
    ],
)
def test_roles_do_not_restrict_an_operators_price_and_first_prices(changes: dict[str, Any], strategy: str) -> None:
    members = [of_role("s1", "margin", FORBIDDING, **changes), of_role("s2", "kvi", FORBIDDING, **changes)]
    terms, _ = decided(*members)
    assert terms.strategy == strategy and not terms.forbidden
