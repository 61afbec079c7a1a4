"""Joint decisions of price groups: one price within every member's hard bands, or none with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import Audit, same_bytes, same_joint_decision
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.decision.serialization import decision_record, inputs_record, read_inputs
from jobs.pricing.guardrails import AllowedPrices, Kind, intersect
from jobs.pricing.policy import Policy
from schemas.codes import OutcomeCode
from tests.jobs.pricing.group_builders import a_member, in_force
from tests.jobs.pricing.pricing_builders import (
    MODELS,
    START_MS,
    a_current,
    an_experience,
    an_offer_row,
    catalog_of,
)  # fmt: skip

LEAD = "acme/web-us-usd/s1"


def decide(members: list[PricingInputs]) -> tuple[GroupTerms, list[PricingDecision]]:
    """Return the terms of a group and every member's decision under them."""
    terms = plan_group(members, "p1", members[0].listing.key)
    return terms, [reprice(replace(inputs, group=terms)) for inputs in members]


def records(members: list[PricingInputs]) -> list[dict[str, Any]]:
    """Return the members' decisions as they are read from the topic."""
    terms, results = decide(members)
    found = [
        {"decision_id": inputs.listing.key, "cause": inputs.cause.value,
         "inputs": inputs_record(replace(inputs, group=terms)), "result": decision_record(result)}
        for inputs, result in zip(members, results, strict=True)
    ]  # fmt: skip
    return list(orjson.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)))


@st.composite
def groups(draw: st.DrawFn) -> list[PricingInputs]:
    """Return two to four members of one price group in all kinds of situations."""
    policy = Policy().overridden(
        {"exploration": {"mode": draw(st.sampled_from(["bounded", "thompson", "none"]))},
         "segments": {"uniform": draw(st.booleans())},
         "strategies": {"by_role": draw(st.sampled_from([{}, {"kvi": "match_rival"}, {"margin": "cost_plus"}]))},
         "groups": {"minimum_sales": draw(st.sampled_from([0.0, 30.0, 1e6]))}}
    )  # fmt: skip
    common = draw(st.integers(900, 3000))
    cause = draw(st.sampled_from(["EVIDENCE", "RIVAL_MOVED", "SETTLE", "CONTINUED"]))
    approved = draw(st.one_of(st.none(), st.none(), st.integers(800, 4000)))
    members = []
    for i in range(draw(st.integers(2, 4))):
        table = draw(st.sampled_from([common, common, common, None, draw(st.integers(900, 3000))]))
        first = table is None and approved is None and cause != "SETTLE"
        members.append(
            a_member(
                f"s{i + 1}",
                policy,
                current=None
                if table is None
                else a_current(
                    table,
                    table_id=f"t{table}",
                    last_change_ms=draw(st.sampled_from([None, START_MS - 60_000])),
                    changes_today=draw(st.sampled_from([0, 9])),
                ),
                cause="COLD_START" if first else cause,
                seed=i,
                catalog_cost_minor=draw(st.sampled_from([1200, 900, 1700, None])),
                catalog_trusted_cost_minor=1200,
                catalog_floor_minor=draw(st.sampled_from([None, 1500, 2200])),
                catalog_ceiling_minor=draw(st.sampled_from([None, 1900, 2600])),
                catalog_role=draw(st.sampled_from(["margin", "kvi", "long_tail"])),
                offers=draw(
                    st.sampled_from([[], [an_offer_row(1900, START_MS - 1)], [an_offer_row(800, START_MS - 1)]])
                ),
                elasticity={"mean": draw(st.floats(-5, -1.2)), "sd": draw(st.floats(0.05, 0.8))},
                requests=draw(st.floats(1, 2000)),
                target_units=draw(st.sampled_from([None, 1.0, 30.0, 500.0])),
                model=draw(st.sampled_from(MODELS)),
                frozen=draw(st.sampled_from([None, None, None, "frozen by ann"])),
                surge_ban=draw(st.sampled_from([None, None, "storm"])),
                approved_minor=approved,
                experience=draw(st.sampled_from([None, an_experience(1900, 2100), an_experience(None, None)])),
            )
        )
    return members


@settings(max_examples=250, deadline=None)
@given(groups())
def test_every_group_has_one_price_within_all_hard_bands_or_the_reason_why_not(
    members: list[PricingInputs],
) -> None:
    terms, results = decide(members)
    inside = [
        (inputs, result)
        for inputs, result in zip(members, results, strict=True)
        if terms.of(inputs.listing.key).held is None or inputs.current is not None
    ]
    if terms.outcome is OutcomeCode.UNPRICEABLE:
        assert {result.outcome for _, result in inside} == {OutcomeCode.UNPRICEABLE}
        assert terms.conflicting and all(result.table is None and result.alert for _, result in inside)
        [text] = {band.detail for _, result in inside for band in result.bands if band.code == "EQUAL_PRICE"}
        assert all(member.listing in text for member in terms.conflicting)
    for _inputs, result in zip(members, results, strict=True):
        hard = intersect(band for band in result.bands if band.kind is Kind.HARD)
        assert result.table is None or all(p in hard for each in result.table.values() for p in each.prices)
    if (
        terms.outcome is OutcomeCode.HELD and terms.candidate_minor is None
    ) or terms.outcome is OutcomeCode.UNPRICEABLE:
        return
    # Decided: all members have the same lists under the same table id.
    assert (
        len({orjson.dumps(in_force(inputs, result)) for inputs, result in inside if in_force(inputs, result)}) <= 1
    )
    kept = {inputs.current.table_id for inputs, result in inside if result.table is None and inputs.current}
    published = {terms.table_id for _, result in inside if result.table is not None}
    assert len(kept | published) <= 1


@settings(max_examples=120, deadline=None)
@given(groups())
def test_records_of_a_group_recompute_alone_and_jointly(members: list[PricingInputs]) -> None:
    found = records(members)
    policies = catalog_of(members[0].policy)
    assert all(same_bytes(recompute(record, policies), record["result"]) for record in found)
    assert same_joint_decision(found, policies) and same_joint_decision(found[::-1], policies)
    audit = Audit.of(found, policies)
    assert (audit.joint, audit.incomplete, audit.differing) == (1, 0, [])


@settings(max_examples=60, deadline=None)
@given(groups(), st.randoms())
def test_terms_do_not_depend_on_the_order_of_the_members(members: list[PricingInputs], random: Any) -> None:
    shuffled = random.sample(members, len(members))
    assert plan_group(shuffled, "p", LEAD) == plan_group(members, "p", LEAD)


@settings(max_examples=60, deadline=None)
@given(groups())
def test_terms_are_restored_from_their_record(members: list[PricingInputs]) -> None:
    terms = plan_group(members, "p", LEAD)
    assert GroupTerms.from_record(orjson.loads(orjson.dumps(terms.to_record()))) == terms


def test_audit_reports_a_group_whose_terms_do_not_follow_from_its_members() -> None:
    found = records([a_member("s1"), a_member("s2", catalog_cost_minor=1300)])
    other = records([a_member("s1"), a_member("s2", catalog_cost_minor=1000)])
    audit = Audit.of([found[0], other[1]], catalog_of())
    assert audit.joint == 1 and set(audit.differing) >= {LEAD, "acme/web-us-usd/s2"}


def test_audit_counts_a_group_with_a_missing_record() -> None:
    audit = Audit.of(records([a_member("s1"), a_member("s2")])[:1], catalog_of())
    assert (audit.recomputed, audit.joint, audit.incomplete, audit.differing) == (1, 0, 1, [])


def test_record_without_a_group_is_recomputed_as_before() -> None:
    inputs = a_member("s1")
    record = orjson.loads(orjson.dumps(inputs_record(inputs)))
    record["policy"] = inputs.policy.to_dict()
    del record["group"], record["current"]["table_id"], record["policy"]["groups"]
    assert decision_record(reprice(read_inputs(record, {}))) == decision_record(reprice(inputs))


def test_conflicting_members_are_named_with_their_bands() -> None:
    terms, results = decide([
        a_member("s1", catalog_ceiling_minor=1800), a_member("s2", catalog_floor_minor=2000), a_member("s3"),
    ])  # fmt: skip
    assert [member.listing for member in terms.conflicting] == [LEAD, "acme/web-us-usd/s2"]
    [text] = {band.detail for result in results for band in result.bands if band.code == "EQUAL_PRICE"}
    assert text == (
        "the hard limits of the group's listings have no price in common: "
        "acme/web-us-usd/s1 13.34 USD to 18.00 USD; acme/web-us-usd/s2 20.00 USD to 29.98 USD"
    )


def test_frozen_member_holds_the_group_and_is_named() -> None:
    members = [a_member("s1"), a_member("s2", frozen="frozen by ann"), a_member("s3")]
    _, results = decide(members)
    assert {result.outcome for result in results} == {OutcomeCode.HELD}
    texts = [band.detail for band in results[0].bands if band.code == "EQUAL_PRICE"]
    assert texts == ["the group is held with acme/web-us-usd/s2: frozen by ann"]


def test_listing_that_was_never_priced_and_is_held_does_not_hold_the_group() -> None:
    new = a_member("s2", table=None, cause="COLD_START", catalog_cost_minor=None)
    terms, results = decide([a_member("s1"), new, a_member("s3")])
    assert terms.outcome is not OutcomeCode.HELD and results[1].outcome is OutcomeCode.HELD
    assert results[1].table is None


@pytest.mark.parametrize("table", [None, 2499])
def test_member_with_another_price_takes_the_groups_price_at_once(table: int | None) -> None:
    cause = "COLD_START" if table is None else "EVIDENCE"
    joining = a_member("s3", table=table, table_id="t9", cause=cause, catalog_list_minor=2499)
    members = [a_member("s1"), a_member("s2"), joining]
    terms, results = decide(members)
    assert terms.of(joining.listing.key).joins
    assert in_force(joining, results[2]) == in_force(members[0], results[0])
    expected = OutcomeCode.COLD_START if table is None else OutcomeCode.HARD_OVER_PACE
    assert results[2].outcome is expected and "EQUAL_PRICE" in results[2].reason
    assert not any(band.kind is Kind.PACE for band in results[2].bands)


def test_member_joins_a_group_whose_pace_keeps_its_table() -> None:
    now = [a_member(f"s{i}", current=a_current(1999, table_id="t1", last_change_ms=START_MS - 1)) for i in (1, 2)]
    joining = a_member("s3", table=2099, table_id="t9")
    terms, results = decide([*now, joining])
    assert terms.table_id == "t1" and [result.table is None for result in results] == [True, True, False]
    assert results[2].default_minor == 1999


def test_equal_lists_under_another_table_id_are_published_again_under_the_groups() -> None:
    members = [a_member("s1"), a_member("s2"), a_member("s3", table_id="t9")]
    now = [replace(m, policy=Policy().overridden({"limits": {"min_confidence": 1.0}})) for m in members]
    terms, results = decide(now)
    assert terms.table_id == "t1" and results[2].table is not None


def test_pace_limits_of_all_members_bind_the_common_price() -> None:
    # The second member's range of experience ends below the step limit.
    members = [
        a_member("s1", elasticity={"mean": -1.2, "sd": 0.05}, offers=[]),
        a_member("s2", elasticity={"mean": -1.2, "sd": 0.05}, offers=[], experience=an_experience(1700, 1750)),
    ]
    terms, results = decide(members)
    assert terms.prices is not None
    assert max(p for each in terms.prices.values() for p in each.prices) <= round(1750 * 1.15)
    assert {result.default_minor for result in results} == {results[0].default_minor}


def test_price_of_an_operator_applies_to_the_whole_group() -> None:
    members = [
        a_member(f"s{i}", approved_minor=2599, cause="COMMAND", frozen="price set by ann") for i in (1, 2, 3)
    ]
    _, results = decide(members)
    assert {result.default_minor for result in results} == {2599}


def test_own_costs_and_stocks_count_in_the_common_price() -> None:
    def best(**changes: Any) -> int | None:
        members = [a_member("s1", cause="SETTLE", offers=[]), a_member("s2", cause="SETTLE", offers=[], **changes)]
        return decide(members)[0].candidate_minor

    base = best() or 0
    dearer = best(catalog_cost_minor=1600, catalog_trusted_cost_minor=1600) or 0
    scarce = best(target_units=25.0, target_from="stock") or 0
    assert dearer > base and scarce > base


def test_group_of_members_with_different_strategies_follows_one_that_all_roles_allow() -> None:
    policy = Policy().overridden(
        {"strategies": {"by_role": {"kvi": "match_rival"}, "allowed_by_role": {"kvi": ["match_rival"]}}}
    )
    offers = [an_offer_row(1799, START_MS - 1)]
    members = [a_member("s1", policy, offers=offers, catalog_role="margin"),
               a_member("s2", policy, offers=offers, catalog_role="kvi")]  # fmt: skip
    terms, _ = decide(members)
    assert terms.candidate_minor == 1799


def test_hard_bands_over_pace_move_the_whole_group() -> None:
    _, results = decide([a_member("s1"), a_member("s2", catalog_floor_minor=2400)])
    assert {result.outcome for result in results} == {OutcomeCode.HARD_OVER_PACE}
    assert all((result.default_minor or 0) >= 2400 for result in results)


def test_allowed_prices_of_the_terms_lie_within_the_common_hard_band() -> None:
    terms, _ = decide([a_member("s1"), a_member("s2", catalog_floor_minor=1700)])
    hard, allowed = (
        AllowedPrices(terms.hard_low, terms.hard_high),
        AllowedPrices(terms.allowed_low, terms.allowed_high),
    )
    assert allowed.low in hard and allowed.high in hard


def test_unknown_listing_is_refused_with_the_members() -> None:
    terms, _ = decide([a_member("s1"), a_member("s2")])
    with pytest.raises(ValueError, match="expected acme/web-us-usd/s9 among the members, got acme/web-us-usd/s1"):
        terms.of("acme/web-us-usd/s9")
