"""PriceBandits: what the contextual bandit has learned per category of a bucket, and the rewards it waits for.

A *pull* starts at a decision that sets a step of the price. It ends when shoppers have requested the listing
``contextual_bandit.least_requests`` times at that price, and its reward is then learned. A change of the price
ends it without a reward. Pulls are counted whichever strategy is in force, so that a shadow learns from the
steps of the others. A policy that does not name the bandit learns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from features.array_text import read_array
from features.books.price_bandit import ArmBelief, ArmModel, learn_reward
from jobs.pricing.decision.inputs import BanditInputs, PricingInputs
from jobs.pricing.decision.result import PricingDecision
from jobs.pricing.grid import grid_step
from jobs.pricing.policies import PolicyBook
from jobs.pricing.strategies import strategy_of
from jobs.pricing.strategies.contextual_bandit import (
    ContextualBandit,
    ContextualBanditSettings,
    bandit_context,
    list_price_profit,
)
from schemas.codes import Fallback, OutcomeCode
from schemas.events import CatalogEntry
from schemas.listings import Listing
from schemas.records.counts import Cell

_AS_CHOSEN = (OutcomeCode.PUBLISHED, OutcomeCode.UNCHANGED)
"""Outcomes of a decision that went as far towards the chosen price as bands allow."""


class Pull(NamedTuple):
    """A step whose reward is being counted.

    ``baseline``: believed profit per request at the list price. ``requests``, ``profit_minor``: at this price so
    far.
    """

    step: int
    price_minor: int
    baseline: float
    context: tuple[float, ...]
    requests: int = 0
    profit_minor: int = 0

    @property
    def reward(self) -> float:
        """Profit per request relative to the baseline, less 1."""
        return self.profit_minor / self.requests / self.baseline - 1


class PriceBandits:
    """Arms by category, and open pulls by listing.

    Parameters
    ----------
    policies : the business numbers, by scope; not part of the snapshot.
    """

    def __init__(self, policies: PolicyBook) -> None:
        self._policies = policies
        self._settings = policies.base.section(ContextualBanditSettings)
        self._arms: dict[str, dict[int, ArmModel]] = {}
        self._pulls: dict[str, Pull] = {}

    @property
    def active(self) -> bool:
        """Whether the policy of any listing names the bandit."""
        return ContextualBandit.name in self._policies.named_strategies()

    def inputs(self, key: str, entry: CatalogEntry) -> BanditInputs | None:
        """Return what a decision reads; None if the policy does not use the bandit."""
        if not self.active:
            return None
        arms = self._arms.get(_category(entry), {})
        known = tuple((step, arms[step].belief) for step in self._settings.steps if step in arms)
        return BanditInputs(self._in_force(entry) and key in self._pulls, known)

    def awaits_decision(self, key: str, entry: CatalogEntry) -> bool:
        """Return whether the bandit prices a listing and its last step has its reward."""
        return self._in_force(entry) and key not in self._pulls

    def _in_force(self, entry: CatalogEntry) -> bool:
        policy, name = self._policies.of(entry), ContextualBandit.name
        return self.active and (policy.strategies.of_role(entry.role) == name or name in policy.rules.strategies)

    def start(self, key: str, inputs: PricingInputs, result: PricingDecision) -> None:
        """Start a pull after a decision that set or kept the main price; an open one of that price goes on.

        The arm is the step that was made. Where the bandit chose a step that pace bands cut short, it is the
        chosen one: its reward is what they leave of it.
        """
        current, price = inputs.current, result.default_minor
        if not self.active or current is None or price is None:
            return
        if key in self._pulls and self._pulls[key].price_minor == price:
            return
        self._pulls.pop(key, None)
        made = price
        strategy = result.strategy or strategy_of(inputs).strategy.name
        in_force = result.fallback is Fallback.NONE and strategy == ContextualBandit.name
        if result.outcome in _AS_CHOSEN and in_force:
            made = price if result.candidate_minor is None else result.candidate_minor
        step = round((made - current.default_minor) / grid_step(inputs.base_minor or 0.0, inputs.policy.grid))
        baseline = list_price_profit(inputs)
        if step not in self._settings.steps or baseline <= 0:
            return
        rivals = inputs.reference(rivals_only=True)
        context = bandit_context(inputs, rivals.mean_minor if rivals and rivals.fresh else None)
        self._pulls[key] = Pull(step, price, baseline, context)

    def forget(self, key: str) -> None:
        """End a listing's open pull without a reward."""
        self._pulls.pop(key, None)

    def observe(
        self, cells: Iterable[Cell], catalog: Mapping[str, CatalogEntry], out_of_stock: Collection[str]
    ) -> None:
        """Count a minute's requests and profit at the prices of open pulls; learn the complete rewards."""
        if not (self.active and self._pulls):
            return
        touched = set()
        for cell in cells:
            key = Listing.key_of(cell)
            pull = self._pulls.get(key)
            if pull is None or cell.price_minor != pull.price_minor or key in out_of_stock:
                continue
            margin = cell.price_minor - (catalog[key].cost_minor or 0)
            self._pulls[key] = pull._replace(
                requests=pull.requests + cell.exposures, profit_minor=pull.profit_minor + cell.units * margin
            )
            touched.add(key)
        for key in sorted(touched):
            pull = self._pulls[key]
            if pull.requests >= self._settings.least_requests:
                arms = self._arms.setdefault(_category(catalog[key]), {})
                arms[pull.step] = learn_reward(
                    arms.get(pull.step), pull.context, pull.reward, self._settings.noise_sd
                )
                del self._pulls[key]

    def snapshot(self) -> dict[str, Any]:
        """Return plain data; empty if nothing is known."""
        if not (self._arms or self._pulls):
            return {}
        return {
            "arms": {
                name: {str(step): _numbers(arm) for step, arm in sorted(arms.items())}
                for name, arms in sorted(self._arms.items())
            },
            "pulls": {
                key: [*pull[:3], list(pull.context), *pull[4:]] for key, pull in sorted(self._pulls.items())
            },
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take :meth:`snapshot` back."""
        self._arms = {
            name: {int(step): _arm(read_array(numbers, np.float64).tolist()) for step, numbers in arms.items()}
            for name, arms in snapshot.get("arms", {}).items()
        }
        self._pulls = {
            key: Pull(step, price, baseline, tuple(context), requests, profit)
            for key, (step, price, baseline, context, requests, profit) in snapshot.get("pulls", {}).items()
        }


def _category(entry: CatalogEntry) -> str:
    return "/".join((entry.tenant, entry.market, entry.category))


def _numbers(arm: ArmModel) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return an arm's rewards, weights, covariance and precision in one array."""
    return np.array([arm.rewards, *arm.belief.weights, *arm.belief.covariance, *arm.precision], np.float64)


def _arm(numbers: list[float]) -> ArmModel:
    """Return an arm from :func:`_numbers`: (d + 1)² numbers, with d the size of the context."""
    size = math.isqrt(len(numbers)) - 1
    triangle = size * (size + 1) // 2
    weights, rest = tuple(numbers[1 : 1 + size]), numbers[1 + size :]
    return ArmModel(int(numbers[0]), ArmBelief(weights, tuple(rest[:triangle])), tuple(rest[triangle:]))
