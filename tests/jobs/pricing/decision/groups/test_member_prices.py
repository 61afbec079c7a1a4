"""Prices of a group's members that no strategy searches: an operator's, known first prices, and list prices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.groups.terms import GroupTerms
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.decision.result import PricingDecision
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import an_experience, prices_of


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
