"""rule_table and match_rival: which row or rival sets the price, and which settings are refused."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.pricing.decision.reprice import recompute, reprice
from jobs.pricing.policy import Policy, PolicyError
from tests.jobs.pricing.pricing_builders import START_MS, a_record, an_offer_row, catalog_of, some_inputs

ROWS = [
    {"role": "kvi", "rival_ratio": 0.98},
    {"category": "shoes", "least_age_days": 90, "least_stock": 100, "markup": 0.15},
    {"most_cover_days": 2, "markup": 0.8},
    {"markup": 0.4},
]
KNOWN = {"category": "shoes", "on_hand": 40, "cover_days": 9.0, "age_days": 30.0, "hour": 9}


def by_rows(rows: Any = ROWS) -> Policy:
    """Return a policy whose default strategy is a table of rules, without exploration."""
    exploration = {"mode": "none"}
    return Policy.from_dict(
        {"strategies": {"default": "rule_table"}, "exploration": exploration, "rule_table": {"rows": rows}}
    )


def settled(**changes: Any) -> int | None:
    return reprice(some_inputs(by_rows(), cause="SETTLE", **changes)).default_minor


def test_first_matching_row_sets_the_price() -> None:
    assert settled(catalog_role="kvi", attributes=KNOWN) == 1849  # 0.98 of 19.00, rounded down to the ending
    assert settled(attributes=KNOWN | {"age_days": 120.0, "on_hand": 100}) == 1349  # markup .15, at the ending
    assert settled(attributes=KNOWN | {"cover_days": 1.5}) == 2149
    assert settled(attributes=KNOWN) == 1649


def test_row_with_a_ratio_is_passed_over_without_a_fresh_rival() -> None:
    assert settled(catalog_role="kvi", attributes=KNOWN, offers=[]) == 1649


def test_condition_on_an_unknown_number_does_not_hold() -> None:
    assert settled(attributes=None) == 1649
    assert settled(attributes=KNOWN | {"cover_days": None, "age_days": None}) == 1649


def test_decision_by_a_table_recomputes_from_its_record() -> None:
    policy = by_rows()
    record = a_record(some_inputs(policy, attributes=KNOWN))
    assert policy.to_dict()["rule_table"]["rows"] == ROWS
    assert recompute(record, catalog_of(policy)) == record["result"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "at least 1 item"),
        ([{"role": "kvi", "markup": 0.1}], "expected a last row with a markup and without conditions"),
        ([{"rival_ratio": 1.0}], "expected a last row with a markup and without conditions"),
        ([{"markup": 0.1}, {"markup": 0.4}], "got none in row 1"),
        ([{"markup": 0.1, "rival_ratio": 1.0}, {"markup": 0.4}], "expected either markup or rival_ratio"),
        ([{"role": "kvi"}, {"markup": 0.4}], "expected either markup or rival_ratio"),
        ([{"role": "vip", "markup": 0.1}, {"markup": 0.4}], "expected a role among kvi"),
        (
            [{"least_stock": 9, "most_stock": 3, "markup": 0.1}, {"markup": 0.4}],
            "expected least_stock ≤ most_stock",
        ),
        ([{"colour": "red", "markup": 0.1}, {"markup": 0.4}], "colour"),
    ],
)
def test_table_that_leaves_a_listing_without_a_price_is_refused(rows: Any, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        by_rows(rows)


# -- match_rival --------------------------------------------------------------------------------

OFFERS = [
    an_offer_row(1900, START_MS - 1, "a"), an_offer_row(1700, START_MS - 1, "b"),
    an_offer_row(1500, START_MS - 10**9, "c"), an_offer_row(1600, START_MS - 1, "d", kind="reference"),
]  # fmt: skip


def matched(**section: Any) -> int | None:
    content = {"strategies": {"default": "match_rival"}, "exploration": {"mode": "none"}, "match_rival": section}
    return reprice(some_inputs(Policy.from_dict(content), cause="SETTLE", offers=OFFERS)).candidate_minor


def test_matched_price_is_the_mean_the_lowest_or_a_named_fresh_offer() -> None:
    assert matched() == 1799
    assert matched(to="lowest") == 1699
    assert matched(to="named", competitor="a") == 1899


def test_offset_is_added_after_the_ratio() -> None:
    assert matched(to="named", competitor="a", ratio=0.95, offset_minor=45) == 1849
    assert matched(offset_minor=-50) == 1749


def test_named_rival_without_a_fresh_offer_keeps_the_current_price() -> None:
    assert matched(to="named", competitor="c") == 1999 and matched(to="named", competitor="d") == 1999
    assert matched(to="named", competitor="z") == 1999


@pytest.mark.parametrize("section", [{"to": "named"}, {"competitor": "a"}, {"to": "highest"}])
def test_rival_that_is_not_stated_clearly_is_refused(section: dict[str, str]) -> None:
    with pytest.raises(PolicyError, match="match_rival"):
        matched(**section)
