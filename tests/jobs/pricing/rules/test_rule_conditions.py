"""Conditions of rules: what each reads, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.policy import PolicyError
from jobs.pricing.rules.conditions import Conditions
from jobs.pricing.rules.matching import facts_of
from tests.jobs.pricing.pricing_builders import START_MS, an_offer_row, some_inputs
from tests.jobs.pricing.rule_builders import KNOWN, a_rule_policy, ruled


def holds(inputs: PricingInputs, **conditions: Any) -> bool:
    return Conditions(**conditions).hold(facts_of(inputs))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"category": "shoes"}, True),
        ({"category": ("hats", "shoes")}, True),
        ({"category": "hats"}, False),
        ({"role": ("margin", "kvi")}, True),
        ({"role": "kvi"}, False),
        ({"tags": ("sale",)}, True),
        ({"tags": ("sale", "new")}, True),
        ({"tags": ("sale", "old")}, False),
        ({"from_hour": 9, "until_hour": 10}, True),
        ({"from_hour": 10, "until_hour": 9}, False),
        ({"from_hour": 22, "until_hour": 10}, True),
        ({"weekdays": ("sat",)}, True),
        ({"weekdays": ("mon", "fri")}, False),
        ({"least_stock": 40, "most_stock": 40}, True),
        ({"least_stock": 41}, False),
        ({"most_cover_days": 8.9}, False),
        ({"least_age_days": 30}, True),
        ({"least_rival_gap": 0.05}, True),
        ({"most_rival_gap": 0.05}, False),
        ({"least_requests_per_day": 1000, "most_requests_per_day": 1000}, True),
        ({"least_requests_per_day": 1001}, False),
        ({"category": "shoes", "least_stock": 41}, False),
    ],
)
def test_condition_reads_its_value(conditions: dict[str, Any], expected: bool) -> None:
    assert holds(ruled(), **conditions) is expected


@pytest.mark.parametrize(
    "conditions",
    [
        {"category": "shoes"}, {"tags": ("sale",)}, {"from_hour": 0, "until_hour": 24}, {"weekdays": ("sat",)},
        {"least_stock": 0}, {"least_cover_days": 0}, {"least_age_days": 0}, {"least_rival_gap": -1},
    ],
)  # fmt: skip
def test_condition_on_an_unknown_value_does_not_hold(conditions: dict[str, Any]) -> None:
    assert not holds(some_inputs(attributes=None, offers=[]), **conditions)


def test_gap_is_unknown_beside_stale_rivals() -> None:
    stale = [an_offer_row(1900, START_MS - 10**9)]
    assert not holds(ruled(offers=stale), most_rival_gap=10)


def test_gap_is_that_of_the_list_price_when_settling() -> None:
    cheap = {"current": {"default_minor": 950, "segments": {"all": {"p": [950], "c": [2**32 - 1]}},
                         "last_change_ms": None, "changes_today": 0, "day_ends_ms": None}}  # fmt: skip
    assert holds(ruled(**cheap), most_rival_gap=-0.4)
    assert not holds(ruled(**cheap, cause="SETTLE"), most_rival_gap=-0.4)


def test_record_without_tags_and_weekday_is_read_as_unknown() -> None:
    before = {name: value for name, value in KNOWN.items() if name not in ("tags", "weekday")}
    facts = facts_of(some_inputs(attributes=before))
    assert facts.tags is None and facts.weekday is None and facts.hour == 9


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"when": {"colour": "red"}}, "when.colour: extra inputs"),
        ({"when": {"role": "vip"}}, "expected a role among kvi"),
        ({"when": {"category": ""}}, "category: expected names that are not empty, got ''"),
        ({"when": {"tags": []}}, "tags: expected names that are not empty"),
        ({"when": {"weekdays": ["monday"]}}, "when.weekdays.0: input should be 'mon'"),
        ({"when": {"weekdays": []}}, "weekdays: expected at least one of mon to sun, got none"),
        ({"when": {"from_hour": 8}}, "expected from_hour and until_hour together, got from_hour: 8"),
        ({"when": {"from_hour": 24, "until_hour": 2}}, "from_hour: input should be less than or equal to 23"),
        ({"when": {"least_stock": 5, "most_stock": 4}}, "expected least_stock ≤ most_stock, got 5 and 4"),
        ({"when": {"least_rival_gap": "low"}}, "least_rival_gap: input should be a valid number"),
    ],
)
def test_wrong_condition_is_refused_with_its_key(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError, match=r"rules\.entries\.0") as error:
        a_rule_policy({"name": "r", "hold": True} | rule)
    assert problem in str(error.value)
