"""reprice on generated inputs: prices within bands, inputs unchanged; records are read back and recomputed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import same_bytes
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute, recompute_without_offer, reprice
from jobs.pricing.decision.serialization import InputsError, inputs_record, read_inputs
from jobs.pricing.guardrails import GUARDRAILS, Band, Guardrail, Kind, intersect
from schemas.codes import OutcomeCode
from schemas.price_table import FULL
from tests.jobs.pricing.pricing_builders import (
    MODELS,
    START_MS,
    a_current,
    a_record,
    an_experience,
    an_offer_row,
    catalog_of,
    prices_of,
    some_inputs,
)

HOUR_MS = 3_600_000
BOUGHT_AHEAD, TOO_FEW, AS_USUAL = (40, 120, 400, 480), (0, 0, 400, 480), (40, 48, 400, 480)
"""Orders and units at deals, and at all other prices."""


worlds = st.fixed_dictionaries(
    {
        "catalog_cost_minor": st.integers(200, 2600),
        "catalog_floor_minor": st.one_of(st.none(), st.integers(0, 2500)),
        "catalog_ceiling_minor": st.one_of(st.none(), st.integers(1500, 4000)),
        "offers": st.lists(
            st.builds(an_offer_row, st.integers(100, 4000), st.integers(START_MS - 50 * HOUR_MS, START_MS)),
            max_size=1,
        ),
        "current": st.one_of(st.none(), st.builds(a_current, st.integers(900, 3500))),
        "elasticity": st.fixed_dictionaries({"mean": st.floats(-6, -0.3), "sd": st.floats(0.02, 1.0)}),
        "requests": st.floats(0, 10_000),
        "cause": st.sampled_from(["EVIDENCE", "RIVAL_MOVED", "COST_CHANGED", "SETTLE", "CONTINUED"]),
        "target_units": st.one_of(st.none(), st.floats(0, 100)),
        "approved_minor": st.one_of(st.none(), st.none(), st.integers(500, 4000)),
        "usual_minor": st.one_of(st.none(), st.floats(900, 3500)),
        "model": st.sampled_from(MODELS),
        "bought": st.sampled_from([None, TOO_FEW, BOUGHT_AHEAD, AS_USUAL]),
        "experience": st.one_of(
            st.none(),
            st.builds(
                an_experience,
                st.one_of(st.none(), st.integers(700, 1999)),
                st.one_of(st.none(), st.integers(1999, 3000)),
                sufficient=st.booleans(),
                start_minor=st.one_of(st.none(), st.integers(700, 3000)),
            ),
        ),
    }
)


def inputs_of(world: dict[str, Any]) -> PricingInputs:
    """Return a generated world's inputs; a listing without a table starts cold."""
    return some_inputs(**world | ({"cause": "COLD_START"} if world["current"] is None else {}))


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_repricing_leaves_its_inputs_unchanged(world: dict[str, Any]) -> None:
    inputs = inputs_of(world)
    before = orjson.dumps(inputs_record(inputs))
    reprice(inputs)
    assert orjson.dumps(inputs_record(inputs)) == before


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_published_prices_lie_within_the_hard_bands(world: dict[str, Any]) -> None:
    result = reprice(inputs_of(world))
    if result.table is not None:
        assert result.hard is not None and all(p in result.hard for p in prices_of(result))


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_published_prices_lie_within_a_step_unless_hard_bands_override_pace(world: dict[str, Any]) -> None:
    inputs = inputs_of(world)
    result = reprice(inputs)
    if result.table is None or result.outcome is OutcomeCode.HARD_OVER_PACE:
        return
    prices = prices_of(result)
    assert result.allowed is not None and all(p in result.allowed for p in prices)
    if not inputs.ignores_pace and inputs.controls.approved_minor is None:
        assert inputs.shown_minor is not None
        low, high = 0.9 * inputs.shown_minor - 1e-6, 1.1 * inputs.shown_minor + 1e-6
        assert all(low <= p <= high for p in prices)


@settings(max_examples=60, deadline=None)
@given(worlds)
def test_new_prices_lie_within_the_range_of_experience_where_firm_bands_leave_room(world: dict[str, Any]) -> None:
    inputs = inputs_of(world | {"bought": None})
    result = reprice(inputs)
    bands = [band for band in result.bands if band.code == "EXTRAPOLATION"]
    assert (
        bands
        or inputs.experience is None
        or inputs.experience.sufficient
        or result.candidate_minor is None
        or (inputs.ignores_pace or inputs.current is None or inputs.controls.approved_minor is not None)
    )
    if not bands or result.table is None or result.outcome is OutcomeCode.HARD_OVER_PACE:
        return
    assert result.allowed is not None and inputs.current is not None
    both = intersect([bands[0], Band("ALLOWED", Kind.PACE, "", *result.allowed)])
    kept = {price_list.default for price_list in inputs.current.prices.values()} if result.review else set()
    assert both.empty or all(price in both for price in prices_of(result) - kept)


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_published_prices_keep_their_least_propensity(world: dict[str, Any]) -> None:
    for price_list in (reprice(inputs_of(world)).table or {}).values():
        widths = [c - b for b, c in zip((-1, *price_list.cumulative[:-1]), price_list.cumulative, strict=True)]
        # The lowest and highest price may keep less: what the far budget allows.
        assert all(width / (FULL + 1) >= 0.02 - 1e-8 for width in widths[1:-1]) and min(widths) > 0


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_inputs_are_read_back_from_their_record(world: dict[str, Any]) -> None:
    record = orjson.loads(orjson.dumps(inputs_record(some_inputs(**world))))
    assert inputs_record(read_inputs(record, catalog_of())) == record


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_decision_is_recomputed_bit_for_bit_from_its_record(world: dict[str, Any]) -> None:
    record = a_record(some_inputs(**world))
    assert recompute(record, catalog_of()) == record["result"]
    assert orjson.dumps(recompute(record, catalog_of())) == orjson.dumps(record["result"])


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_recomputing_without_offers_equals_a_record_without_them(world: dict[str, Any]) -> None:
    record = a_record(some_inputs(**world))
    assert recompute_without_offer(record, catalog_of()) == recompute(
        {**record, "inputs": {**record["inputs"], "offers": []}}, catalog_of()
    )


SNAPSHOTS = Path(__file__).parents[3] / "golden" / "snapshots"
BEFORE_0042 = orjson.loads((SNAPSHOTS / "decisions_before_0042.json").read_bytes())
VERSION_1 = orjson.loads((SNAPSHOTS / "repricing.v1.json").read_bytes())["decision"]
"""A decision whose policy has no section for strategies."""


@pytest.mark.parametrize("record", BEFORE_0042, ids=lambda record: record["decision_id"])
def test_decision_written_before_0042_recomputes_bit_for_bit(record: dict[str, Any]) -> None:
    assert same_bytes(recompute(record, catalog_of()), record["result"])


def test_decision_recorded_without_strategies_recomputes_bit_for_bit() -> None:
    assert "strategies" not in VERSION_1["inputs"]["policy"]
    assert same_bytes(recompute(VERSION_1, {}), VERSION_1["result"])


@settings(max_examples=25, deadline=None)
@given(worlds, st.permutations(GUARDRAILS))
def test_order_of_guardrails_changes_no_price(world: dict[str, Any], shuffled: list[Guardrail]) -> None:
    inputs = some_inputs(**world)
    one, other = reprice(inputs), reprice(inputs, guardrails=tuple(shuffled))
    assert (one.table, one.outcome, one.hard, one.allowed) == (
        other.table,
        other.outcome,
        other.hard,
        other.allowed,
    )


def test_inputs_whose_policy_is_not_given_are_refused_by_name() -> None:
    record = inputs_record(some_inputs())
    with pytest.raises(InputsError, match=rf"policy_hash: expected a policy.*{record['policy_hash']}"):
        read_inputs(record, {})


def test_inputs_of_another_version_are_refused_by_name() -> None:
    with pytest.raises(InputsError, match=r"inputs.v: expected 1, got 7"):
        read_inputs(inputs_record(some_inputs()) | {"v": 7}, {})
