"""A confirmed change of demand: repricing, counts, the list price's weight, and exploration for a bounded time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from features.bucket_logic import Batch, Output
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import reprice
from jobs.pricing.policy import Policy
from schemas.price_table import FULL
from tests.jobs.pricing.bucket_builders import KEY, NOON_MS, a_cell, a_running_logic, an_estimate, decision_of
from tests.jobs.pricing.pricing_builders import MINUTE_MS, a_fact, some_inputs

CHANGED = {"changed_ms": NOON_MS, "changed_sd": 1.5}


def a_logic_with_counts() -> RepricingLogic:
    logic, _ = a_running_logic()
    end_ms = NOON_MS + MINUTE_MS
    logic.on_batch(Batch(0, end_ms, (a_cell(1999, 400, orders=20, units=20),), now_ms=end_ms))
    logic.on_batch(Batch(0, end_ms + 12 * 60 * MINUTE_MS, now_ms=end_ms + 12 * 60 * MINUTE_MS))
    return logic


def send(logic: RepricingLogic, mean: float, offset: int, **extra: float) -> list[Output]:
    at_ms = NOON_MS + 13 * 60 * MINUTE_MS + offset
    return list(logic.on_fact(a_fact("estimates", an_estimate(mean, 0.3, at_ms, **extra), at_ms, offset)))


def test_change_requests_a_repricing_once() -> None:
    logic = a_logic_with_counts()
    assert decision_of(send(logic, -2.0, 1, **CHANGED))["cause"] == "DEMAND_CHANGED"
    assert send(logic, -2.0, 2, **CHANGED) == []


def test_change_keeps_a_share_of_the_counts() -> None:
    logic = a_logic_with_counts()
    before = float(logic._book.counts(KEY, "all").exposures.sum())
    send(logic, -2.0, 1, **CHANGED)
    after = float(logic._book.counts(KEY, "all").exposures.sum())
    assert before > 300
    assert after == pytest.approx(Policy().drift.keep_counts * before, rel=1e-5)


def test_list_price_weighs_less_after_a_change() -> None:
    def believed(**extra: float) -> float:
        logic = a_logic_with_counts()
        send(logic, -6.0, 1, **extra)
        return logic._bucket.elasticity(KEY)[0]

    # The list price 19.99 on a cost of 12.00 implies -2.5.
    assert believed(**CHANGED) < believed() < -2.5


def far_shares(inputs: PricingInputs) -> list[float]:
    """Return the select probabilities of the lowest and highest price, by segment."""
    table = reprice(inputs).table
    assert table is not None
    shares = []
    for prices in table.values():
        widths = [b - a for a, b in zip((-1, *prices.cumulative), prices.cumulative, strict=False)]
        shares += [widths[0] / (FULL + 1), widths[-1] / (FULL + 1)]
    return shares


def known(**changes: Any) -> PricingInputs:
    return some_inputs(elasticity={"mean": -2.5, "sd": 0.05}, offers=[], **changes)


def test_far_prices_are_explored_for_a_bounded_time_after_a_change() -> None:
    policy = Policy.from_dict({"exploration": {"far_budget": 0.0}})
    inputs = known(policy=policy)
    changed = replace(inputs, beliefs=replace(inputs.beliefs, changed_ms=inputs.at_ms - MINUTE_MS))
    old = replace(inputs, beliefs=replace(inputs.beliefs, changed_ms=inputs.at_ms - 1441 * MINUTE_MS))
    assert max(far_shares(changed)) == pytest.approx(policy.drift.far_propensity, abs=0.01)
    assert max(far_shares(old)) < 0.05
    assert far_shares(old) == far_shares(inputs)


def test_far_price_of_a_known_elasticity_costs_at_most_its_budget() -> None:
    flat, none = known(), known(policy=Policy.from_dict({"exploration": {"far_budget": 0.0}}))
    assert max(far_shares(flat)) > max(far_shares(none))
    assert max(far_shares(flat)) <= Policy().exploration.far_most + 0.01
    steep = replace(
        flat, beliefs=replace(flat.beliefs, elasticity=flat.beliefs.elasticity._replace(mean=-8.0, sd=0.05))
    )
    assert max(far_shares(steep)[1::2]) < max(far_shares(flat)[1::2])
