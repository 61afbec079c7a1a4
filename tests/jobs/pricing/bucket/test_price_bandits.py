"""The contextual bandit in a bucket: rewards, restarts, records, and what a policy without it does."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from features.array_text import array_text
from jobs.audit.recompute import Audit
from jobs.pricing.bucket.repricing_logic import RepricingLogic
from jobs.pricing.policy import Policy, PolicyError
from tests.jobs.pricing.pricing_builders import SmallMarket, catalog_of, of_stream, restarted

BANDIT = Policy.from_dict(
    {"strategies": {"default": "contextual_bandit"}, "contextual_bandit": {"least_requests": 200}}
)


def run(policy: Policy, minutes: int, restart_at: int | None = None) -> tuple[RepricingLogic, list[Any]]:
    """Run a small market under a policy; return the logic and its outputs as plain data."""
    logic, market, outputs = RepricingLogic(policy), SmallMarket(), []
    for number in range(minutes):
        if number == restart_at:
            logic = restarted(logic)
        new = list(logic.on_batch(market.minute(number)))
        market.take(new)
        outputs += new
    plain = [[output.stream, output.key, output.value] for output in outputs]
    return logic, orjson.loads(orjson.dumps(plain, default=array_text))


@pytest.fixture(scope="module")
def a_run() -> tuple[RepricingLogic, list[Any]]:
    return run(BANDIT, 700)


def bandit_state(logic: RepricingLogic) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(logic.snapshot(), default=array_text))
    return found["bucket"].get("bandits", {})


def test_rewards_are_learned_per_category_and_step(a_run: tuple[RepricingLogic, list[Any]]) -> None:
    state = bandit_state(a_run[0])
    assert list(state["arms"]) == ["acme/web-us-usd/shoes"]
    assert set(state["arms"]["acme/web-us-usd/shoes"]) <= {"-4", "-2", "0", "2", "4"}
    assert len(state["arms"]["acme/web-us-usd/shoes"]) >= 3
    assert set(state["pulls"]) <= {"acme/web-us-usd/s0", "acme/web-us-usd/s1"}


def test_bandit_requests_a_decision_after_each_reward(a_run: tuple[RepricingLogic, list[Any]]) -> None:
    decisions = [value for stream, _, value in a_run[1] if stream == "decisions"]
    prices = {value["result"]["default_minor"] for value in decisions}
    assert len(decisions) > 15 and len(prices) > 3


def test_price_is_kept_while_a_reward_is_counted(a_run: tuple[RepricingLogic, list[Any]]) -> None:
    decisions = [value for stream, _, value in a_run[1] if stream == "decisions"]
    waiting = [value for value in decisions if value["inputs"]["bandit"]["waiting"]]
    assert waiting
    for value in waiting:
        assert value["result"]["candidate_minor"] == value["inputs"]["current"]["default_minor"]


def test_restart_changes_no_output(a_run: tuple[RepricingLogic, list[Any]]) -> None:
    logic, outputs = run(BANDIT, 700, restart_at=433)
    assert outputs == a_run[1]
    assert bandit_state(logic) == bandit_state(a_run[0])


def test_decisions_recompute_from_the_arms_in_their_records(a_run: tuple[RepricingLogic, list[Any]]) -> None:
    decisions = [value for stream, _, value in a_run[1] if stream == "decisions"]
    assert any(value["inputs"]["bandit"]["arms"] for value in decisions)
    audit = Audit.of(decisions, catalog_of(BANDIT))
    assert audit.recomputed == len(decisions) and audit.differing == []


def test_shadow_bandit_learns_from_the_steps_of_the_strategy_in_force() -> None:
    policy = {"strategies": {"shadow": ["contextual_bandit"]}, "contextual_bandit": {"least_requests": 100}}
    shadowed = Policy.from_dict(policy)
    logic, outputs = run(shadowed, 300)
    alone = run(Policy(), 300)[1]
    tables = [[value for stream, _, value in each if stream == "tables"] for each in (outputs, alone)]
    assert tables[0] == tables[1]
    assert bandit_state(logic)["arms"]
    decisions = [value for stream, _, value in outputs if stream == "decisions"]
    assert Audit.of(decisions, catalog_of(shadowed)).differing == []


def test_policy_without_the_bandit_keeps_and_records_nothing() -> None:
    logic, outputs = run(Policy(), 120)
    assert bandit_state(logic) == {}
    assert all(value["inputs"]["bandit"] is None for stream, _, value in outputs if stream == "decisions")


def test_step_cut_short_by_a_limit_is_rewarded_as_the_chosen_one() -> None:
    policy = BANDIT.overridden({"limits": {"max_step": 0.05}})
    logic, outputs = run(policy, 700)
    decisions = [value for stream, _, value in outputs if stream == "decisions"]
    cut = [
        d for d in decisions if d["published"] and d["result"]["candidate_minor"] != d["result"]["default_minor"]
    ]
    assert cut and {"-4", "4"} & set(bandit_state(logic)["arms"]["acme/web-us-usd/shoes"])


def test_a_pull_counts_requests_and_profit_at_its_price_alone() -> None:
    logic, market = RepricingLogic(BANDIT), SmallMarket(listings=1)
    for number in range(3):
        market.take(list(logic.on_batch(market.minute(number))))
    assert bandit_state(logic) == {}, "a first price is no step"
    for number in range(3, 70):
        outputs = list(logic.on_batch(market.minute(number)))
        market.take(outputs)
        if list(of_stream(outputs, "decisions")):
            break
    [pull] = bandit_state(logic)["pulls"].values()
    assert pull[1] == market.tables["s0"].default_minor and pull[4:] == [0, 0]
    batch = market.minute(number + 1)
    logic.on_batch(batch)
    at_price = [cell for cell in batch.cells if cell.price_minor == pull[1]]
    [counted] = bandit_state(logic)["pulls"].values()
    assert counted[4] == sum(cell.exposures for cell in at_price)
    assert counted[5] == sum(cell.units for cell in at_price) * (pull[1] - 1200)


@pytest.mark.parametrize("steps", [[1, 2], [0, 1, 1], [1, 0], [0]])
def test_steps_that_cannot_keep_the_price_or_repeat_are_refused(steps: list[int]) -> None:
    with pytest.raises(PolicyError, match="contextual_bandit"):
        Policy.from_dict({"contextual_bandit": {"steps": steps}})
