"""Pricing rules of a running deployment: those in force by scope, and their check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.connectors.kafka.catalog import read_catalog
from jobs.policies.control import read_history
from jobs.policies.documents import containing, left_out
from jobs.pricing.policies import PolicyScope, merge
from jobs.pricing.policy import Policy
from jobs.pricing.policy_settings import market_time
from jobs.pricing.rules.check import RuleCheck, check_rules
from jobs.pricing.rules.rule import PricingRule
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry

FILE_SCOPE = "default"
"""Scope of the rules of the policy file."""


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """The rules that one scope sets, in the order in which they are tried; ``default``: the policy file's."""

    scope: str
    rules: tuple[PricingRule, ...]


def rules_in_force(settings: Settings, tenant: str) -> tuple[ScopeRules, ...]:
    """Return the rules in force by scope: of the policy file, then of each scope of a tenant that sets rules.

    A scope whose document cannot be applied has no rules in force.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer.
    """
    base, documents = Policy.load(settings.policy), read_history(settings).documents(settings.run_clock.now_ms())
    found = [ScopeRules(FILE_SCOPE, base.rules.ordered)] if base.rules.entries else []
    for scope in sorted(documents, key=lambda each: each.rank):
        sets_rules = scope.tenant == tenant and "rules" in documents[scope]
        if sets_rules and not left_out(base, documents, scope):
            found.append(ScopeRules(scope.text, merge(base, documents, [scope]).policy.rules.ordered))
    return tuple(found)


def check_scope(settings: Settings, scope: str, entries: list[dict[str, Any]] | None = None) -> RuleCheck:
    """Return the check of a scope's rules against the catalog, at the run's time.

    Parameters
    ----------
    scope : as for ``walras policy``. Times are local to its market; UTC where it names none.
    entries : rules to check in place of those in force, as in the policy; nothing is sent.

    Raises
    ------
    jobs.pricing.policies.ScopeError, jobs.pricing.policy.PolicyError
        If the text is no scope, or a rule is wrong.
    """
    parsed, now_ms = PolicyScope.parse(scope), settings.run_clock.now_ms()
    base, documents = Policy.load(settings.policy), read_history(settings).documents(now_ms)
    policy = merge(base, documents, containing(documents, parsed)).policy
    if entries is not None:
        policy = policy.overridden({"rules": {"entries": entries}})
    return check_policy(policy, parsed.market, now_ms, [*_entries(settings, parsed)])


def check_policy(policy: Policy, market: str, now_ms: int, entries: list[CatalogEntry] | None = None) -> RuleCheck:
    """Return the check of a policy's rules at a time, in a market's local time. Pure."""
    zone = market_time(policy).zone(market) if market else UTC
    now = datetime.fromtimestamp(now_ms / 1000, zone).replace(tzinfo=None)
    return check_rules(policy.rules, now, entries=entries, allows=policy.strategies.allows)


def _entries(settings: Settings, scope: PolicyScope) -> Iterator[CatalogEntry]:
    """Yield the newest catalog entry of each listing of a scope."""
    return (entry for entry in read_catalog(settings.kafka).values() if scope.covers(entry))
