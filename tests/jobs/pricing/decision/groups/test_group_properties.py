"""What holds for every price group: prices within hard limits, one price, one strategy, recomputation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import Audit
from jobs.pricing.decision.groups.member import is_outside
from jobs.pricing.decision.groups.plan import plan_group
from jobs.pricing.decision.inputs import Controls, PricingInputs
from jobs.pricing.guardrails.inputs import is_usable_amount
from jobs.pricing.policy import Policy
from jobs.pricing.strategies import FALLBACK_RULE
from schemas.causes import Cause
from schemas.codes import Fallback, OutcomeCode
from tests.jobs.pricing.group_builders import a_member
from tests.jobs.pricing.pricing_builders import (
    MODELS,
    START_MS,
    a_current,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
)
from tests.jobs.pricing.rule_builders import KNOWN

ROLES = ("margin", "kvi", "long_tail")
STRATEGIES: tuple[dict[str, Any], ...] = (
    {},
    {"by_role": {"kvi": "match_rival"}},
    {"by_role": {"kvi": "match_rival"}, "allowed_by_role": {"kvi": ["match_rival"]}},
    {"by_role": {"kvi": "match_rival", "margin": "cost_plus"}, "allowed_by_role": {"margin": ["cost_plus"]}},
    {"default": "rule_table", "by_role": {"margin": "revenue_lp", "kvi": "thompson"}},
    {
        "by_role": {"kvi": "match_rival", "margin": "cost_plus"},
        "allowed_by_role": {"kvi": ["match_rival"], "margin": ["cost_plus", "rule_table"]},
    },
)
RULES: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"name": "plus", "strategy": "cost_plus", "when": {"tags": ["sale"]}}],
    [{"name": "less", "adjust": -0.1, "when": {"role": "kvi"}}, {"name": "band", "band": {"most": 0.95}}],
)


@st.composite
def mixed_groups(draw: st.DrawFn) -> list[PricingInputs]:
    """Return two to four members of mixed roles, some without a cost, a table or a price on the grid.

    The policies of two members may differ.
    """
    policies = [
        Policy().overridden(
            {"strategies": draw(st.sampled_from(STRATEGIES)), "rules": {"entries": draw(st.sampled_from(RULES))}}
        )
        for _ in range(2)
    ]
    common = draw(st.integers(900, 3000))
    cause = draw(st.sampled_from(["EVIDENCE", "RIVAL_MOVED", "SETTLE", "COST_CHANGED"]))
    approved = draw(st.one_of(st.none(), st.none(), st.integers(800, 4000)))
    members = []
    for i in range(draw(st.integers(2, 4))):
        table = draw(st.sampled_from([common, common, None, draw(st.integers(900, 3000))]))
        known = draw(st.sampled_from([None, 2000, draw(st.integers(900, 3000))]))
        listed = draw(st.sampled_from([1999, 2500, None]))
        cost = draw(st.sampled_from([1200, 900, 1700, None]))
        start = table is None and approved is None and cause != "SETTLE"
        members.append(
            a_member(
                f"s{i + 1}",
                policies[draw(st.integers(0, 1))],
                current=None if table is None else a_current(table, table_id=f"t{table}"),
                cause="COLD_START" if start else cause,
                seed=i,
                catalog_cost_minor=cost,
                catalog_trusted_cost_minor=cost or draw(st.sampled_from([None, 1200])),
                catalog_list_minor=listed,
                catalog_floor_minor=draw(st.sampled_from([None, 1500, 2200])),
                catalog_ceiling_minor=draw(st.sampled_from([None, 800, 1900, 2600])),
                catalog_role=draw(st.sampled_from(ROLES)),
                offers=draw(st.sampled_from([[], [an_offer_row(1850, START_MS - 1)]])),
                elasticity={"mean": draw(st.floats(-5, -1.2)), "sd": draw(st.floats(0.05, 0.8))},
                model=draw(st.sampled_from(MODELS)),
                frozen=draw(st.sampled_from([None, None, None, "frozen by ann"])),
                approved_minor=approved,
                experience=an_experience(*((None, None) if table is None else (table, table)), start_minor=known),
                attributes=KNOWN,
            )
        )
    return members


def is_within_hard_limits(price: int, inputs: PricingInputs, result: dict[str, Any]) -> bool:
    """Return whether a price lies within the catalog's limits, the margin, and the recorded hard bands."""
    product, margin = inputs.product, inputs.policy.margin.min_margin
    lows = [product.floor_minor, *(band["low"] for band in result["bands"] if band["kind"] == "hard")]
    highs = [product.ceiling_minor, *(band["high"] for band in result["bands"] if band["kind"] == "hard")]
    if is_usable_amount(product.cost_minor):
        lows.append((product.cost_minor or 0) / (1 - margin))
    return all(price >= low for low in lows if low is not None) and all(
        price <= high for high in highs if high is not None
    )


@settings(max_examples=200, deadline=None)
@given(mixed_groups())
def test_published_prices_lie_in_hard_limits_are_one_price_and_recompute(members: list[PricingInputs]) -> None:
    terms = plan_group(members, "p1", members[0].listing.key)
    records = [a_record(replace(each, group=terms)) | {"decision_id": each.listing.sku} for each in members]
    decided = [(inputs, record["result"]) for inputs, record in zip(members, records, strict=True)]
    inside = [each for each in decided if not is_outside(each[0], terms.of(each[0].listing.key).held)]

    for inputs, result in decided:
        for of_segment in (result["table"] or {}).values():
            assert all(is_within_hard_limits(price, inputs, result) for price in of_segment["p"])
        # The edge quotes the list price of a listing without a table.
        list_minor, free = inputs.product.list_minor, inputs.controls == Controls()
        if result.get("fallback") == Fallback.LIST_PRICE and result["table"] is None and list_minor and free:
            assert result["outcome"] == OutcomeCode.UNPRICEABLE or is_within_hard_limits(
                round(list_minor), inputs, result
            )

    assert len({orjson.dumps(result["table"]) for _, result in inside if result["table"] is not None}) <= 1

    assert {result["strategy"] for _, result in inside} <= {terms.strategy}
    exempt = (FALLBACK_RULE.name, "operator_price")
    if inside and terms.strategy not in exempt and inside[0][0].cause is not Cause.COLD_START:
        assert all(each.policy.strategies.allows(each.product.role, terms.strategy or "") for each, _ in inside)

    audit = Audit.of(records, catalog_of(*(each.policy for each in members)))
    assert (audit.joint, audit.differing, audit.refusals) == (1, [], {})
