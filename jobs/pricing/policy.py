"""Policy: every business number of features, learning and decisions, in one frozen, validated object.

A policy is read from YAML and rejects unknown keys. Its identity is the hash of its content. Decisions record the
hash, and with the policy of that hash they can be recomputed.

Shares and ratios are fractions (``.10`` is 10 %), money is in minor units, and the name or the description of a
time states its unit. A description cites its source: a section of the science page (science § 3, below § 3), a
decision by number, or a source document by three digits. :mod:`jobs.pricing.policy_settings` maps the keys to the
settings of features and learning.

The sections are in the modules ``policy_*`` beside this one, by what they are about. This module reads and
validates the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson
from pydantic import ConfigDict, Field, ValidationError, model_validator

from jobs.pricing.policy_fallback import FallbackChain
from jobs.pricing.policy_features import Features, LocalTimes, Segments
from jobs.pricing.policy_file import PolicyError, SectionT, read_policy, wrong_keys
from jobs.pricing.policy_learning import Beliefs, Demand, Drift, Elasticity, Sufficiency
from jobs.pricing.policy_limits import Limits, Locks, Margin, Market, Roles, Tables
from jobs.pricing.policy_prices import Exploration, Groups, Materiality, Objective, PriceGrid, Strategies
from jobs.pricing.policy_section import PolicySection
from jobs.pricing.policy_watch import Watch
from jobs.pricing.rules.conditions import names_of
from jobs.pricing.rules.section import Rules

__all__ = ["MOVED_KEYS", "Policy", "PolicyError", "member_sections", "without_moved_keys"]

_TO_ZONES = "local_time.time_zones, which names an IANA time zone per market"
MOVED_KEYS = {("limits", "day_offset_minutes"): _TO_ZONES, ("features", "time_zones"): _TO_ZONES}
"""Keys of earlier policies: section and name → the key that replaced it."""


def _refuse_moved_keys(content: Mapping[str, Any], source: str) -> None:
    for (section, name), now in MOVED_KEYS.items():
        keys = content.get(section)
        if isinstance(keys, Mapping) and name in keys:
            raise PolicyError(f"{source}: {section}.{name}: replaced by {now}; got {keys[name]!r}")


def without_moved_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded policy without :data:`MOVED_KEYS`.

    >>> without_moved_keys({"limits": {"max_step": 0.1, "day_offset_minutes": {}}})
    {'limits': {'max_step': 0.1}}
    """
    moved: dict[str, set[str]] = {}
    for section, name in MOVED_KEYS:
        moved.setdefault(section, set()).add(name)
    return {
        section: {name: value for name, value in keys.items() if name not in moved[section]}
        if section in moved and isinstance(keys, Mapping)
        else keys
        for section, keys in content.items()
    }


@cache
def member_sections() -> tuple[type[PolicySection], ...]:
    """Return the sections that guardrails and strategies declare in their own files, by key."""
    # Imported here: guardrails and strategies read the policy.
    from jobs.pricing.guardrails import GUARDRAILS
    from jobs.pricing.strategies import STRATEGIES

    found = {g.settings for g in GUARDRAILS} | {s.settings for s in STRATEGIES}
    return tuple(sorted((section for section in found if section), key=lambda section: section.key))


class Policy(PolicySection):
    """The business numbers by section.

    Guardrails and strategies declare sections of their own, which :meth:`section` returns.

    Examples
    --------
    >>> Policy().limits.max_step
    0.1
    >>> Policy.from_dict({"limits": {"max_step": 7}})
    Traceback (most recent call last):
    ...
    jobs.pricing.policy_file.PolicyError: policy: limits.max_step: input should be less than or equal to 1; got 7
    >>> Policy.from_dict(Policy().to_dict()) == Policy()
    True
    >>> from jobs.pricing.guardrails.forward_buying import ForwardBuyingSettings
    >>> Policy.from_dict({"forward_buying": {"least_orders": 9}}).section(ForwardBuyingSettings).least_orders
    9
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(default="default", description="name of the policy, for operators")
    grid: PriceGrid = PriceGrid()
    segments: Segments = Segments()
    objective: Objective = Objective()
    exploration: Exploration = Exploration()
    margin: Margin = Margin()
    market: Market = Market()
    roles: Roles = Roles()
    limits: Limits = Limits()
    local_time: LocalTimes = LocalTimes()
    materiality: Materiality = Materiality()
    strategies: Strategies = Field(default_factory=Strategies)
    groups: Groups = Groups()
    rules: Rules = Rules()
    fallback: FallbackChain = FallbackChain()
    sufficiency: Sufficiency = Sufficiency()
    beliefs: Beliefs = Beliefs()
    demand: Demand = Demand()
    elasticity: Elasticity = Elasticity()
    drift: Drift = Drift()
    features: Features = Features()
    tables: Tables = Tables()
    locks: Locks = Locks()
    watch: Watch = Watch()

    @model_validator(mode="before")
    @classmethod
    def _read_members(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        members = {section.key: section for section in member_sections()}
        unknown = sorted(content.keys() - members.keys() - cls.model_fields.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: extra inputs are not permitted")
        read = {key: content.get(key, {}) for key in members}
        return content | {
            k: v if isinstance(v, members[k]) else members[k].model_validate(v) for k, v in read.items()
        }

    @model_validator(mode="after")
    def _offers_of_named_competitors_are_kept(self) -> Policy:
        named, kept = len(self.elasticity.reference_competitors), self.market.max_rivals
        if named > kept:
            raise ValueError(
                f"elasticity.reference_competitors: expected at most market.max_rivals {kept} names, got {named}"
            )
        return self

    @model_validator(mode="after")
    def _rules_choose_allowed_strategies(self) -> Policy:
        for rule in self.rules.entries:
            for role in names_of(rule.when.role) if rule.strategy is not None else ():
                if not self.strategies.allows(role, rule.strategy or ""):
                    allowed = ", ".join(self.strategies.allowed_by_role[role]) or "no strategy"
                    raise ValueError(
                        f"rules.entries, rule {rule.name!r}: expected a strategy that strategies.allowed_by_role."
                        f"{role} allows ({allowed}), got {rule.strategy!r}; allow it, or remove the role from "
                        "the rule"
                    )
        return self

    def named_strategies(self) -> frozenset[str]:
        """Return the strategies that the policy uses, shadows and those of rules included."""
        return self.strategies.named() | self.rules.strategies

    def section(self, kind: type[SectionT]) -> SectionT:
        """Return the section that a guardrail or strategy declares."""
        found = (self.model_extra or {})[kind.key]
        assert isinstance(found, kind)
        return found

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a YAML file; absent keys take their defaults.

        Raises
        ------
        PolicyError
            If the file cannot be read or a key is wrong; the message names the file, and per key the expected and
            the actual value.
        """
        return cls.from_dict(read_policy(path), source=str(path))

    @classmethod
    def from_dict(cls, content: Any, *, source: str = "policy") -> Policy:
        """Build a policy from plain data, as in a decision's record."""
        if not isinstance(content, dict):
            raise PolicyError(f"{source}: expected a mapping of sections, got {content!r}")
        _refuse_moved_keys(content, source)
        members = {section.key: section for section in member_sections()}
        lines, read = [], dict(content)
        for key in sorted(content.keys() - cls.model_fields.keys()):
            if key not in members:
                lines.append(f"{key}: extra inputs are not permitted; got {read.pop(key)!r}")
                continue
            try:
                read[key] = members[key].model_validate(content[key])
            except ValidationError as error:
                lines += wrong_keys(error, key)
                del read[key]
        try:
            policy = cls.model_validate(read)
        except ValidationError as error:
            lines += wrong_keys(error)
        if lines:
            raise PolicyError(f"{source}: " + "; ".join(lines)) from None
        return policy

    def overridden(self, changes: Mapping[str, Any], *, source: str = "policy") -> Policy:
        """Return this policy with some keys replaced, section by section; other keys keep their values.

        >>> Policy().overridden({"limits": {"max_step": 0.05}}).limits.max_step
        0.05

        Raises
        ------
        PolicyError
            As :meth:`from_dict`.
        """
        content = self.to_dict()
        for key, value in changes.items():
            inside = content.get(key)
            content[key] = (
                inside | dict(value) if isinstance(inside, dict) and isinstance(value, Mapping) else value
            )
        return type(self).from_dict(content, source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with all keys, defaults included, as embedded in decisions."""
        return self.model_dump(mode="json")

    @cached_property
    def hash(self) -> str:
        """Return the first twelve hex digits of the SHA-256 of the canonical JSON, the policy's identity."""
        canonical = orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(canonical).hexdigest()[:12]
