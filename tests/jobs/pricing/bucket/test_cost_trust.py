"""Costs from the catalog: which are trusted at once, which hold the price, and what confirms them."""

from __future__ import annotations

from typing import Any

import pytest

from features.bucket_logic import Output
from schemas.causes import Cause
from schemas.codes import OutcomeCode
from tests.jobs.pricing.bucket_builders import (
    DAY_MS,
    NOON_MS,
    FactSender,
    a_running_logic,
    decision_of,
    price_of,
    state_value,
)
from tests.jobs.pricing.pricing_builders import MINUTE_MS, a_catalog_entry, a_fact

WEEK_MS = 7 * DAY_MS


class CostFeed:
    """Sends catalog entries with one cost after another to a logic that trusts 10.00."""

    def __init__(self) -> None:
        self.logic, _ = a_running_logic(cost_minor=1000, list_minor=1999)
        self.at_ms, self.offset = NOON_MS, 0

    def send(self, *costs_minor: int, later_ms: int = WEEK_MS) -> list[Output]:
        """Send costs, each so much later than the one before it; return the outputs of the last one."""
        outputs: list[Output] = []
        for cost_minor in costs_minor:
            self.at_ms += later_ms
            self.offset += 1
            entry = a_catalog_entry(at_ms=self.at_ms, cost_minor=cost_minor)
            outputs = list(self.logic.on_fact(a_fact("catalog", entry, self.at_ms, self.offset)))
        return outputs

    @property
    def trusted(self) -> Any:
        """The trusted cost, minor units."""
        return state_value(self.logic, "trusted_cost_minor")


def test_cost_beyond_the_jump_holds_the_price() -> None:
    held = decision_of(CostFeed().send(120))
    assert held["result"]["outcome"] == OutcomeCode.HELD and not held["published"]


@pytest.mark.parametrize(("cost", "trusted"), [(666, 1000), (667, 667), (1500, 1500), (1501, 1000)])
def test_cost_jump_is_symmetric_in_logs(cost: int, trusted: int) -> None:
    feed = CostFeed()
    feed.send(cost)
    assert feed.trusted == trusted


def test_cost_that_varies_within_the_tolerance_is_confirmed() -> None:
    feed = CostFeed()
    outputs = feed.send(523, 531)
    assert feed.trusted == 531
    assert decision_of(outputs)["result"]["bands"][0]["kind"] != "hold"


def test_cost_that_rises_back_after_a_confirmed_fall_is_confirmed() -> None:
    feed = CostFeed()
    feed.send(523, 523, 990, 1005)
    assert feed.trusted == 1005


def test_cost_that_drifts_from_one_agreeing_value_to_the_next_is_confirmed() -> None:
    feed = CostFeed()
    feed.send(1900, 1970, 2040, later_ms=20 * MINUTE_MS)
    assert feed.trusted == 1000
    feed.send(2110, later_ms=20 * MINUTE_MS)
    assert feed.trusted == 2110


def test_cost_outside_the_tolerance_starts_the_confirmation_again() -> None:
    feed = CostFeed()
    feed.send(1900, 2100, later_ms=DAY_MS)
    assert feed.trusted == 1000


def test_costs_that_never_agree_are_trusted_in_the_end() -> None:
    feed = CostFeed()
    feed.send(1900, 2100, 1800)
    assert feed.trusted == 1800


def test_costs_that_jump_up_and_down_are_never_trusted() -> None:
    feed = CostFeed()
    feed.send(1900, 100, 2100, 110, 1900, 100)
    assert feed.trusted == 1000


def test_identical_cost_that_confirms_requests_a_repricing() -> None:
    feed = CostFeed()
    feed.send(1700)
    confirmed = decision_of(feed.send(1700, later_ms=60 * MINUTE_MS))
    assert confirmed["cause"] == Cause.COST_CHANGED and confirmed["published"]
    assert confirmed["cause_detail"] == {"trusted_cost_minor": [1000, 1700]}


def test_cost_jump_is_trusted_when_an_operator_approves_it() -> None:
    sender = FactSender(a_running_logic()[0])
    held = decision_of(sender.send("catalog", a_catalog_entry(at_ms=NOON_MS, cost_minor=400)))
    answered = decision_of(sender.command("approve", decision_id=held["decision_id"]))
    assert answered["inputs"]["catalog"]["trusted_cost_minor"] == 400


def test_cost_rise_overrides_pace_limits() -> None:
    sender = FactSender(a_running_logic(cost_minor=1400)[0])
    outputs = sender.send("catalog", a_catalog_entry(at_ms=NOON_MS, cost_minor=2050))
    decision = decision_of(outputs)
    assert decision["result"]["outcome"] == OutcomeCode.HARD_OVER_PACE and decision["result"]["alert"]
    assert (price_of(outputs) - 2050) / price_of(outputs) >= 0.10
