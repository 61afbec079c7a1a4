"""Prices of a group's members that no strategy searches: an operator's, known first prices, and list prices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.audit.recompute import Audit
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from schemas.codes import Fallback, OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import a_model, a_record, an_experience, catalog_of, prices_of


def decide(*members: PricingInputs) -> tuple[GroupTerms, list[PricingDecision]]:
    """Return the terms of a group and every member's decision under them."""
    terms = plan_group(members, "p1", members[0].listing.key)
    return terms, [reprice(replace(inputs, group=terms)) for inputs in members]


# -- amounts off the grid's ending ----------------------------------------------------------------


def an_operators(sku: str, price_minor: int, **changes: Any) -> PricingInputs:
    """Return a member whose price an operator set."""
    return a_member(sku, approved_minor=price_minor, cause="COMMAND", **changes)


def a_start(sku: str, known_minor: int | None, **changes: Any) -> PricingInputs:
    """Return a member before its first table; ``known_minor``: the price of its orders."""
    experience = an_experience(None, None, start_minor=known_minor)
    return a_member(sku, table=None, cause="COLD_START", experience=experience, **changes)


@pytest.mark.parametrize("price_minor", [2100, 2003, 1999])
def test_operators_price_keeps_its_amount_in_a_group_as_alone(price_minor: int) -> None:
    members = [an_operators(f"s{i}", price_minor) for i in (1, 2, 3)]
    _, results = decide(*members)
    alone = reprice(members[0])
    assert prices_of(alone) == {price_minor}
    assert all(prices_of(result) == {price_minor} for result in results)


def test_operators_price_outside_the_groups_hard_bands_is_the_nearest_within_them() -> None:
    members = [an_operators("s1", 2100), an_operators("s2", 2100, catalog_ceiling_minor=2040)]
    _, results = decide(*members)
    assert prices_of(reprice(members[1])) == {2040}
    assert [prices_of(result) for result in results] == [{2040}, {2040}]


def test_known_first_price_keeps_its_amount_in_a_group_as_alone() -> None:
    members = [a_start("s1", 2000), a_start("s2", 2000)]
    _, results = decide(*members)
    assert reprice(members[0]).default_minor == 2000
    assert [result.default_minor for result in results] == [2000, 2000]


def test_group_starts_at_the_first_price_that_most_members_are_known_at() -> None:
    _, results = decide(a_start("s1", 2110), a_start("s2", 2003), a_start("s3", 2003))
    assert [result.default_minor for result in results] == [2003, 2003, 2003]


def test_known_first_price_outside_the_hard_bands_of_a_member_ends_on_the_grid_within_them() -> None:
    members = [a_start("s1", 2003), a_start("s2", 2003, catalog_ceiling_minor=1970)]
    _, results = decide(*members)
    assert reprice(members[1]).default_minor == 1949
    assert [result.default_minor for result in results] == [1949, 1949]


# -- list prices ----------------------------------------------------------------------------------


def without_a_cost(sku: str, **changes: Any) -> PricingInputs:
    """Return a member whose cost was never known; its list price is 10.00, and its ceiling 8.00."""
    never = {
        "table": None, "cause": "COLD_START", "experience": an_experience(None, None), "model": a_model(),
        "catalog_cost_minor": None, "catalog_trusted_cost_minor": None, "catalog_list_minor": 1000,
        "catalog_ceiling_minor": 800,
    }  # fmt: skip
    return a_member(sku, **(never | changes))


def test_held_member_whose_list_price_the_hard_bands_exclude_gets_a_table_as_alone() -> None:
    new = without_a_cost("s2")
    terms, [_, result] = decide(a_member("s1", model=a_model()), new)
    alone = reprice(new)
    assert (prices_of(alone), alone.outcome) == ({800}, OutcomeCode.COLD_START)
    assert (result.table, result.outcome) == (alone.table, alone.outcome)
    assert result.fallback is Fallback.LIST_PRICE and terms.fallback is Fallback.NONE


def test_every_member_of_a_group_without_costs_gets_a_table_of_its_own() -> None:
    _, results = decide(without_a_cost("s1"), without_a_cost("s2", catalog_ceiling_minor=900))
    assert [prices_of(result) for result in results] == [{800}, {900}]


def test_held_member_whose_list_price_is_allowed_or_that_is_frozen_gets_no_table() -> None:
    for changes in ({"catalog_ceiling_minor": 1200}, {"frozen": "frozen by ann"}):
        _, [_, result] = decide(a_member("s1", model=a_model()), without_a_cost("s2", **changes))
        assert (result.table, result.outcome) == (None, OutcomeCode.HELD)


def test_record_of_a_table_at_a_list_price_is_recomputed_and_one_from_before_has_none() -> None:
    members = [a_member("s1", model=a_model()), without_a_cost("s2")]
    terms = plan_group(members, "p1", members[0].listing.key)
    records = [a_record(replace(each, group=terms)) | {"decision_id": each.listing.sku} for each in members]
    assert records[1]["result"]["table"] is not None
    audit = Audit.of(records, catalog_of())
    assert (audit.joint, audit.differing) == (1, [])
    before = replace(members[1], group=replace(terms, strategy=None))
    assert reprice(before).table is None


def test_member_with_a_table_at_its_list_price_does_not_hold_its_group() -> None:
    at_list = without_a_cost("s2", table=800, table_id="d2", cause="EVIDENCE")
    terms, [one, other] = decide(a_member("s1", model=a_model()), at_list)
    assert terms.outcome is OutcomeCode.PUBLISHED and one.published
    assert (other.outcome, other.table, other.default_minor) == (OutcomeCode.HELD, None, 800)
    assert other.fallback is Fallback.LAST_TABLE and terms.fallback is Fallback.NONE


def test_table_at_a_list_price_is_not_taken_for_that_of_the_group() -> None:
    at_list = [without_a_cost(f"s{i}", table=800, table_id="d2", cause="EVIDENCE") for i in (1, 2)]
    terms, results = decide(*at_list, a_member("s3", model=a_model()))
    assert results[2].published and not any(member.joins for member in terms.members)
    assert terms.candidate_minor is not None and terms.candidate_minor > 1700


def test_member_whose_cost_becomes_known_joins_its_group_from_its_list_price() -> None:
    priced = a_member("s2", table=800, table_id="d2", cause="COST_CHANGED", model=a_model())
    terms, results = decide(a_member("s1", model=a_model()), priced, a_member("s3", model=a_model()))
    assert terms.of(priced.listing.key).joins
    assert len({result.default_minor for result in results}) == 1


def test_held_member_without_a_known_price_does_not_take_the_groups_prices() -> None:
    unknown = a_member(
        "s2", table=None, cause="SETTLE", catalog_list_minor=None, experience=an_experience(None, None)
    )
    terms, [one, other] = decide(a_member("s1", cause="SETTLE"), unknown)
    assert terms.of(unknown.listing.key).held is not None and one.published
    assert (other.outcome, other.table) == (OutcomeCode.HELD, None)
