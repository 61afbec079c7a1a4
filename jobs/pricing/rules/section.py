"""The policy's section ``rules``."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import ClassVar

from jobs.pricing.policy_section import Field, PolicySection, check_section
from jobs.pricing.rules.rule import ActionKind, PricingRule

MOST_RULES = 200


class Rules(PolicySection):
    """Pricing rules (science § 7, "Rules"). A narrower scope's list replaces the wider one's.

    Examples
    --------
    >>> low, high = ({"name": name, "priority": p, "hold": True} for name, p in (("low", 1), ("high", 2)))
    >>> [rule.name for rule in Rules(entries=[low, high]).ordered]
    ['high', 'low']
    """

    key: ClassVar[str] = "rules"
    live: ClassVar[bool] = True

    entries: tuple[PricingRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="rules: name, priority, validity, conditions and one action (science § 7, decision 65)",
    )

    @check_section
    def _unique_names(self) -> Rules:
        if twice := sorted(name for name, n in Counter(rule.name for rule in self.entries).items() if n > 1):
            raise ValueError(f"entries: expected unique names, got {', '.join(twice)} more than once")
        return self

    @cached_property
    def ordered(self) -> tuple[PricingRule, ...]:
        """The rules by falling priority, then by name."""
        return tuple(sorted(self.entries, key=lambda rule: rule.order))

    @cached_property
    def timed(self) -> tuple[PricingRule, ...]:
        """The rules that time alone can turn on or off."""
        return tuple(rule for rule in self.ordered if rule.is_timed)

    @cached_property
    def strategies(self) -> frozenset[str]:
        """The strategies that rules choose."""
        return frozenset(rule.strategy for rule in self.entries if rule.strategy is not None)

    def of_kind(self, kind: ActionKind) -> tuple[PricingRule, ...]:
        """Return the rules of one action, by falling priority."""
        return tuple(rule for rule in self.ordered if rule.action is kind)
