"""Strategies: the check suite over all of them, and their choice by the policy.

Tests of single strategies, end to end through ``reprice``, are in ``test_strategy_rules.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.audit.recompute import same_bytes
from jobs.pricing import strategies as package
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.reprice import recompute
from jobs.pricing.decision.serialization import inputs_record
from jobs.pricing.grid import grid_step, price_grid
from jobs.pricing.guardrails import AllowedPrices
from jobs.pricing.policy import Policy, PolicyError
from jobs.pricing.policy_section import PolicySection
from jobs.pricing.strategies import (
    STRATEGIES,
    Proposal,
    Strategy,
    strategy_of,
)
from schemas.events import Role
from tests.jobs.pricing.members import extra_file, member_classes
from tests.jobs.pricing.pricing_builders import START_MS, a_current, an_experience, an_offer_row, some_inputs
from tests.jobs.pricing.strategy_builders import a_context, proposal_of, refined

ALL = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
SELECTABLE = [strategy for strategy in STRATEGIES if strategy.selectable]
OF_THE_POLICY = pytest.mark.parametrize("strategy", SELECTABLE, ids=lambda strategy: strategy.name)
SNAPSHOTS = Path(__file__).parents[2] / "golden" / "snapshots"
POLICIES = tuple(
    Policy.from_dict(content)
    for content in ({}, {"segments": {"uniform": True}}, {"exploration": {"mode": "thompson"}})
)


def assert_shares_over(proposal: Proposal, allowed: AllowedPrices, inputs: PricingInputs) -> None:
    """Check that every segment's shares lie on allowed prices and sum to 1."""
    assert set(proposal.shares) == set(inputs.policy.segments.names)
    for shares in proposal.shares.values():
        assert all(price in allowed for price in shares)
        assert all(share > 0 for share in shares.values()) and sum(shares.values()) == pytest.approx(1.0)


worlds = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(POLICIES),
        "cause": st.sampled_from(["EVIDENCE", "COLD_START", "SETTLE", "CONTINUED"]),
        "catalog_cost_minor": st.integers(200, 2600),
        "offers": st.lists(st.builds(an_offer_row, st.integers(100, 4000), st.just(START_MS - 1)), max_size=2),
        "current": st.one_of(st.none(), st.builds(a_current, st.integers(900, 3500))),
        "elasticity": st.fixed_dictionaries({"mean": st.floats(-6, -0.3), "sd": st.floats(0.02, 1.0)}),
        "requests": st.floats(0, 10_000),
        "target_units": st.one_of(st.none(), st.floats(0, 100)),
        "approved_minor": st.integers(500, 4000),
        "experience": st.one_of(
            st.none(),
            st.builds(an_experience, st.none(), st.none(), start_minor=st.sampled_from([None, 1849, 1999])),
        ),
    }
)
ranges = st.tuples(st.integers(900, 3000), st.integers(0, 1500)).map(lambda pair: (pair[0], sum(pair)))


@ALL
@settings(max_examples=15, deadline=None)
@given(world=worlds, allowed=ranges)
def test_strategy_is_deterministic(strategy: Strategy, world: dict[str, Any], allowed: tuple[int, int]) -> None:
    one, other = (a_context(some_inputs(**world), *allowed) for _ in range(2))
    assert proposal_of(strategy, one) == proposal_of(strategy, other)
    assert refined(strategy, one, *allowed) == refined(strategy, other, *allowed)


@ALL
@settings(max_examples=15, deadline=None)
@given(world=worlds, allowed=ranges)
def test_strategy_leaves_its_inputs_unchanged(
    strategy: Strategy, world: dict[str, Any], allowed: tuple[int, int]
) -> None:
    context = a_context(some_inputs(**world), *allowed)
    before, valuation = orjson.dumps(inputs_record(context.inputs)), repr(context.valuation)
    refined(strategy, context, *allowed)
    assert orjson.dumps(inputs_record(context.inputs)) == before and repr(context.valuation) == valuation


@OF_THE_POLICY
@settings(max_examples=25, deadline=None)
@given(world=worlds, allowed=ranges)
def test_proposal_lies_within_the_allowed_prices(
    strategy: Strategy, world: dict[str, Any], allowed: tuple[int, int]
) -> None:
    context = a_context(some_inputs(**world), *allowed)
    proposal = proposal_of(strategy, context)
    assert proposal.candidate_minor in context.allowed
    assert_shares_over(proposal, context.allowed, context.inputs)


@ALL
@settings(max_examples=25, deadline=None)
@given(world=worlds, allowed=ranges, narrower=ranges)
def test_refined_proposal_lies_within_the_allowed_prices(
    strategy: Strategy, world: dict[str, Any], allowed: tuple[int, int], narrower: tuple[int, int]
) -> None:
    context = a_context(some_inputs(**world), *allowed)
    assert_shares_over(refined(strategy, context, *narrower), AllowedPrices(*narrower), context.inputs)


@OF_THE_POLICY
@settings(max_examples=25, deadline=None)
@given(world=worlds, allowed=ranges, narrower=ranges)
def test_prices_have_the_grids_ending_where_one_is_allowed(
    strategy: Strategy, world: dict[str, Any], allowed: tuple[int, int], narrower: tuple[int, int]
) -> None:
    context = a_context(some_inputs(**world), *allowed)
    grid, list_minor = context.inputs.policy.grid, context.inputs.product.list_minor or 0.0
    step = grid_step(list_minor, grid)
    for proposal, (low, high) in (
        (proposal_of(strategy, context), allowed),
        (refined(strategy, context, *narrower), narrower),
    ):
        if price_grid(low, high, list_minor, grid):
            prices = {price for shares in proposal.shares.values() for price in shares}
            assert all((price + grid.ending_minor) % step == 0 for price in prices)


def test_names_are_unique() -> None:
    assert len({strategy.name for strategy in STRATEGIES}) == len(STRATEGIES)


@pytest.mark.parametrize(
    "strategy", [s for s in STRATEGIES if s.settings is not None], ids=lambda strategy: strategy.name
)
def test_policy_holds_the_section_of_a_strategy(strategy: Strategy) -> None:
    assert strategy.settings is not None and issubclass(strategy.settings, PolicySection)
    assert Policy().section(strategy.settings) == strategy.settings()
    assert Policy().to_dict()[strategy.settings.key] == strategy.settings().model_dump(mode="json")


def test_every_class_in_the_folder_is_in_the_tuple() -> None:
    written = member_classes(package, Strategy)
    assert set().union(*written.values()) == {type(strategy) for strategy in STRATEGIES}
    assert all(written.values()), "every file defines a strategy"


def test_listing_the_folder_finds_a_file_missing_from_the_tuple(tmp_path: Path) -> None:
    text = "from jobs.pricing.strategies.cost_plus import CostPlus\n\n\nclass NewWay(CostPlus):\n    pass\n"
    with extra_file(package, tmp_path, "new_way", text):
        [found] = member_classes(package, Strategy)["new_way"]
    assert found.__name__ == "NewWay" and found not in {type(strategy) for strategy in STRATEGIES}


# -- the policy's choice ------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["default", "cold_start"])
@OF_THE_POLICY
def test_policy_accepts_every_selectable_strategy(strategy: Strategy, key: str) -> None:
    assert getattr(Policy.from_dict({"strategies": {key: strategy.name}}).strategies, key) == strategy.name


@pytest.mark.parametrize("name", [*(s.name for s in STRATEGIES if not s.selectable), "cheapest"])
@pytest.mark.parametrize("key", ["default", "cold_start", "by_role"])
def test_policy_refuses_other_strategies_and_lists_those_it_accepts(key: str, name: str) -> None:
    known = ", ".join(sorted(strategy.name for strategy in SELECTABLE))
    content = {key: {"kvi": name} if key == "by_role" else name}
    with pytest.raises(PolicyError, match=f"strategies: expected strategies among {known}, got '{name}'"):
        Policy.from_dict({"strategies": content})


@pytest.mark.parametrize("role", Role)
def test_role_has_its_own_strategy_where_the_policy_names_one(role: Role) -> None:
    policy = Policy.from_dict({"strategies": {"by_role": {"kvi": "match_rival"}}})
    expected = "match_rival" if role is Role.KVI else "profit_lp"
    assert strategy_of(some_inputs(policy, catalog_role=role.value)).strategy.name == expected


def test_listing_without_a_role_has_the_default_strategy() -> None:
    policy = Policy.from_dict({"strategies": {"default": "cost_plus", "by_role": {"kvi": "match_rival"}}})
    assert strategy_of(some_inputs(policy, catalog_role=None)).strategy.name == "cost_plus"


def test_first_price_is_proposed_by_the_cold_start_strategy() -> None:
    policy = Policy.from_dict({"strategies": {"cold_start": "cost_plus"}})
    assert strategy_of(some_inputs(policy, cause="COLD_START", current=None)).strategy.name == "cost_plus"
    assert strategy_of(some_inputs(cause="COLD_START", current=None)).strategy.name == "cold_start"


@pytest.mark.parametrize("cause", ["COMMAND", "COLD_START"])
def test_operators_price_takes_precedence_over_the_policys_choice(cause: str) -> None:
    assert not strategy_of(some_inputs(cause=cause, approved_minor=2100)).strategy.selectable


def test_default_policy_gives_the_decision_that_was_recorded_without_strategies() -> None:
    record = orjson.loads((SNAPSHOTS / "repricing.v1.json").read_bytes())["decision"]
    assert "strategies" not in record["inputs"]["policy"]
    # The record is older than the budget of far prices (decision 56) and their limit (decision 57).
    before = {"exploration": {"far_budget": 0.0, "far_until": 0.25}}
    record["inputs"]["policy"] = Policy.from_dict(before).to_dict()
    assert same_bytes(recompute(record, {}), record["result"])
