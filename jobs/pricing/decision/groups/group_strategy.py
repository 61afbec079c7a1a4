"""choose_strategy: the strategy and the pricing rules of a price group, as all members' roles allow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from jobs.pricing.decision.groups.terms import ForbiddenStrategy
from jobs.pricing.decision.inputs import PricingInputs
from jobs.pricing.decision.outcome import Situation
from jobs.pricing.rules.matching import NO_RULES, MatchedRules, rules_of_group
from jobs.pricing.strategies import FALLBACK_RULE, Strategy, chosen_strategy, strategy_named
from schemas.causes import Cause


class GroupStrategy(NamedTuple):
    """The strategy of a group before the fallback chain.

    ``rules``: those that choose it and adjust its prices. ``forbidden``: strategies that come before it and that
    a member's role does not allow.
    """

    strategy: Strategy
    rules: MatchedRules = NO_RULES
    forbidden: tuple[ForbiddenStrategy, ...] = ()


def choose_strategy(deciding: Sequence[Situation], members: Sequence[PricingInputs]) -> GroupStrategy:
    """Return the strategy of a price group.

    A pricing rule of the highest priority among the deciding members' chooses it. Without such a rule it is that
    of the deciding members' roles; where these differ, the policy's default one, else the first of theirs. A
    strategy that the role of any member forbids is passed over. Without one that all roles allow the group
    follows ``fallback_rule``, which roles do not restrict. Neither do they restrict an operator's price and first
    prices.

    Parameters
    ----------
    deciding : the situations of the members that decide for the group, at least one.
    members : the inputs of all members, each under its own policy.
    """
    forbidden: dict[str, ForbiddenStrategy] = {}

    def may_use(name: str) -> bool:
        against = (each for each in members if not each.policy.strategies.allows(each.product.role, name))
        first = next(against, None)
        if first is not None:
            forbidden[name] = ForbiddenStrategy(name, first.product.role or "", first.listing.key)
        return first is None

    lead = deciding[0].inputs
    rules = MatchedRules(rules_of_group((each.rules for each in deciding), may_use))
    own = [chosen_strategy(each.inputs, rules) for each in deciding]
    default = chosen_strategy(replace(lead, product=replace(lead.product, role="")), rules)
    preferred = own[0] if all(each is own[0] for each in own) else default
    if lead.controls.approved_minor is not None or lead.cause is Cause.COLD_START:
        return GroupStrategy(preferred, rules)
    of_roles = (strategy_named(each.policy.strategies.of_role(each.product.role)) for each in members)
    candidates = (preferred, default, *own, *of_roles)
    strategy = next((each for each in candidates if may_use(each.name)), FALLBACK_RULE)
    return GroupStrategy(strategy, rules, tuple(forbidden.values()))
