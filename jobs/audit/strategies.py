"""Strategies side by side: which the policy uses, and what each decided or would have decided.

Each decision records the strategy in force and the shadows (science § 7, "Strategies").
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.pricing.decision.texts.limit_texts import bound_by
from jobs.pricing.policies import PolicyCatalog
from jobs.pricing.policy import Policy
from jobs.pricing.strategies import FALLBACK_RULE, STRATEGIES, strategy_in_force
from schemas.causes import Cause
from schemas.codes import Fallback

INTERVAL_Z = 1.645
"""Half width of a 90 % interval in standard deviations."""


@dataclass(frozen=True, slots=True)
class ListedStrategy:
    """A strategy that a policy may name, and what a policy uses it for.

    ``used_for``: ``default``, ``cold_start``, ``role <role>``, ``rule <name>`` and ``shadow``, where they apply.
    """

    name: str
    what: str
    used_for: tuple[str, ...]
    settings: str | None


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """What one strategy decided in one category.

    Prices and gains are in minor units. ``in_force``: whether its prices were published. ``mean_change``: of its
    price against that of the strategy in force, as a share; 0 for the latter. ``gain_minor``: mean expected gain
    of a decision per period, with its 90 % interval; errors of decisions are taken as independent. ``bound``: code
    of a guardrail → share of the decisions that it changed. ``category``: tenant/category; no category in records
    from before it was an input. None: no decision has the number.
    """

    category: str
    currency: str
    strategy: str
    in_force: bool
    decisions: int
    mean_price_minor: float | None
    mean_change: float | None
    gain_minor: float | None
    gain_low_minor: float | None
    gain_high_minor: float | None
    bound: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StrategyComparison:
    """Results by category, currency and strategy, sorted; the strategies in force first."""

    decisions: int
    results: tuple[StrategyResult, ...]


def list_strategies(policy: Policy) -> tuple[ListedStrategy, ...]:
    """Return all strategies that a policy may name, in the order of the tuple.

    >>> [each.used_for for each in list_strategies(Policy()) if each.name == "profit_lp"]
    [('default',)]
    >>> [each.name for each in list_strategies(Policy()) if "fallback" in each.used_for]
    ['fallback_rule']
    """
    chosen = policy.strategies
    found = []
    for strategy in STRATEGIES:
        if not strategy.selectable:
            continue
        name = strategy.name
        uses = [use for use in ("default", "cold_start") if getattr(chosen, use) == name]
        uses += [f"role {role}" for role, named in sorted(chosen.by_role.items()) if named == name]
        uses += [f"rule {rule.name}" for rule in policy.rules.ordered if rule.strategy == name]
        uses += ["shadow"] * (name in chosen.shadow)
        uses += ["fallback"] * (name == FALLBACK_RULE.name and policy.fallback.enabled)
        what = (inspect.getdoc(type(strategy)) or "").partition("\n\n")[0].replace("\n", " ")
        section = strategy.settings.key if strategy.settings else None
        found.append(ListedStrategy(name, what, tuple(uses), section))
    return tuple(found)


def compare_strategies(
    decisions: Iterable[Mapping[str, Any]],
    scope: str = "",
    since_ms: int | None = None,
    policies: PolicyCatalog | None = None,
) -> StrategyComparison:
    """Compare the strategies in force and the shadows of recorded decisions, by category.

    Parameters
    ----------
    decisions : records of the `decisions` stream; a repeated one counts once.
    scope : tenant, tenant/market or tenant/market/sku; empty: all.
    since_ms : decisions before this event time do not count.
    policies : policies by the hash that the records hold; not needed where records state the strategy.
    """
    sums: dict[tuple[str, str, bool, str], _Sums] = {}
    known = PolicyCatalog() if policies is None else policies
    seen: set[str] = set()
    for decision in decisions:
        inputs, result = decision["inputs"], decision["result"]
        if scope and not f"{inputs['listing']}/".startswith(f"{scope}/"):
            continue
        if decision["decision_id"] in seen or (since_ms is not None and decision["event_time_ms"] < since_ms):
            continue
        seen.add(decision["decision_id"])
        category = (inputs.get("attributes") or {}).get("category", "")
        where = ("/".join((decision["tenant"], category)), inputs["currency"])
        in_force = deciding_strategy(decision, known)
        price = result["default_minor"]
        gain = (result["gain_minor"], result["gain_sd_minor"]) if decision["published"] else (0.0, 0.0)
        if inputs["current"] is None:
            gain = (None, None)
        codes = bound_by(result["bands"], result["candidate_minor"])
        sums.setdefault((*where, False, in_force), _Sums()).add(price, price, gain, codes)
        for shadow in result.get("shadows", ()):
            gain = (shadow["gain_minor"], shadow["gain_sd_minor"])
            own = sums.setdefault((*where, True, shadow["strategy"]), _Sums())
            own.add(shadow["price_minor"], price, gain, shadow["bound_by"])
    rows = (
        found.result(category, currency, strategy, not shadow)
        for (category, currency, shadow, strategy), found in sorted(sums.items())
    )
    return StrategyComparison(len(seen), tuple(rows))


@dataclass(slots=True)
class _Sums:
    """Sums over the decisions of one strategy in one category."""

    decisions: int = 0
    prices: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    gain_variance: float = 0.0
    bound: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        price: int | None,
        price_in_force: int | None,
        gain: tuple[float | None, float | None],
        codes: Iterable[str],
    ) -> None:
        """Add one decision."""
        self.decisions += 1
        self.bound.update(codes)
        if price is not None:
            self.prices.append(price)
            if price_in_force:
                self.changes.append(price / price_in_force - 1)
        mean, sd = gain
        if mean is not None and sd is not None:
            self.gains.append(mean)
            self.gain_variance += sd * sd

    def result(self, category: str, currency: str, strategy: str, in_force: bool) -> StrategyResult:
        """Return the means."""
        gain = _mean(self.gains)
        half = INTERVAL_Z * math.sqrt(self.gain_variance) / len(self.gains) if self.gains else 0.0
        return StrategyResult(
            category=category,
            currency=currency,
            strategy=strategy,
            in_force=in_force,
            decisions=self.decisions,
            mean_price_minor=_mean(self.prices),
            mean_change=_mean(self.changes),
            gain_minor=gain,
            gain_low_minor=None if gain is None else gain - half,
            gain_high_minor=None if gain is None else gain + half,
            bound={code: n / self.decisions for code, n in sorted(self.bound.items())},
        )


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def deciding_strategy(decision: Mapping[str, Any], policies: PolicyCatalog) -> str:
    """Return the name of the strategy that decided; of a record that does not state it, from its policy.

    Parameters
    ----------
    policies : policies by hash; one that the record embeds is added.

    Returns
    -------
    Empty if the record neither states the strategy nor embeds its policy, and the policy is not given.
    """
    inputs, stated = decision["inputs"], decision["result"].get("strategy")
    if stated:
        return str(stated)
    if decision["result"].get("fallback") == Fallback.RULE:
        return FALLBACK_RULE.name
    policy = policy_of_record(inputs, policies)
    if policy is None:
        return ""
    approved, role = inputs["approved_minor"] is not None, inputs["catalog"].get("role")
    return strategy_in_force(policy, Cause[inputs["cause"]], role, approved=approved).name


def policy_of_record(inputs: Mapping[str, Any], policies: PolicyCatalog) -> Policy | None:
    """Return the policy of a decision's recorded inputs; None if it is not known."""
    if "policy" in inputs:
        policies.take({"hash": inputs["policy_hash"], "content": inputs["policy"]})
    try:
        return policies[inputs["policy_hash"]]
    except KeyError:
        return None
