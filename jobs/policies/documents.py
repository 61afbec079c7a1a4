"""Documents of all scopes at a market time, from the records of `policy_changes`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from jobs.pricing.policies import PolicyPatch, PolicyScope, fold
from jobs.pricing.policies.live_keys import all_keys
from jobs.pricing.policies.patch import Document, policy_of
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry, PolicyChanged


class KeyValue(NamedTuple):
    """A key's value, and the scope that set it; ``default`` for the policy file or the key's default."""

    value: Any
    scope: str


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The policy of a scope at a market time.

    ``values``: key (``section.key``) → value and scope. ``scopes``: scopes with a document that apply, wide ones
    first. ``pending``: accepted patches of these scopes whose minute has not come.
    """

    scope: str
    at_ms: int
    hash: str
    values: Mapping[str, KeyValue]
    scopes: tuple[str, ...]
    pending: tuple[PolicyChanged, ...]


@dataclass(frozen=True, slots=True)
class ScopeHistory:
    """The records of `policy_changes`, in the order of the commands' times.

    Examples
    --------
    >>> text = '{"limits": {"max_step": 0.05}}'
    >>> changed = PolicyChanged("c1", 0, "acme", "", "", text, 180_000, False, "ann", "", True, "")
    >>> found = ScopeHistory((changed,))
    >>> [found.documents(at_ms) for at_ms in (180_000, 180_001)]
    [{}, {PolicyScope(tenant='acme', market='', field='', value=''): {'limits': {'max_step': 0.05}}}]
    """

    records: tuple[PolicyChanged, ...]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> ScopeHistory:
        """Return the history of decoded records."""
        return cls(tuple(PolicyChanged(**record) for record in records))

    def accepted(self, before_ms: int) -> list[PolicyPatch]:
        """Return the accepted patches that hold before a market time, in the order in which they apply."""
        patches = [patch_of(record) for record in self.records if record.accepted and record.from_ms < before_ms]
        return sorted(patches, key=lambda patch: patch.order)

    def documents(self, at_ms: int) -> dict[PolicyScope, Document]:
        """Return the scopes' documents in force at a market time."""
        found: dict[PolicyScope, Document] = {}
        for patch in self.accepted(at_ms):
            document = fold(found.get(patch.scope, {}), patch)
            if document:
                found[patch.scope] = document
            else:
                found.pop(patch.scope, None)
        return found

    def pending(self, at_ms: int) -> list[PolicyChanged]:
        """Return the accepted patches whose minute has not come."""
        return [record for record in self.records if record.accepted and record.from_ms >= at_ms]

    def view(self, base: Policy, scope: PolicyScope, at_ms: int, entry: CatalogEntry | None = None) -> PolicyView:
        """Return the policy of a scope.

        Parameters
        ----------
        base : the deployment's policy.
        entry : catalog entry of the scope's SKU; with it, scopes by category, role and price group apply too.
        """
        documents = self.documents(at_ms)
        applying = sorted((s for s in documents if _applies(s, scope, entry)), key=lambda s: s.rank)
        policy = policy_of(base, [documents[s] for s in applying])
        sources = {key: s.text for s in applying for key in _flat(documents[s])}
        content = policy.to_dict()
        values = {}
        for key in all_keys():
            section, _, name = key.partition(".")
            values[key] = KeyValue(content[section][name], sources.get(key, "default"))
        waiting = [record for record in self.pending(at_ms) if _applies(scope_of(record), scope, entry)]
        return PolicyView(scope.text, at_ms, policy.hash, values, tuple(s.text for s in applying), tuple(waiting))


def scope_of(record: PolicyChanged) -> PolicyScope:
    """Return the scope of a record."""
    place = "/".join(part for part in (record.tenant, record.market) if part)
    return PolicyScope.parse(f"{place}:{record.selection}" if record.selection else place)


def patch_of(record: PolicyChanged) -> PolicyPatch:
    """Return the patch of an accepted record."""
    return PolicyPatch(
        record.command_id, scope_of(record), orjson.loads(record.changes or "{}"), record.from_ms, record.replaces,
        record.operator, record.reason, record.event_time_ms,
    )  # fmt: skip


def _flat(document: Document) -> dict[str, Any]:
    return {f"{section}.{name}": value for section, keys in document.items() for name, value in keys.items()}


def nested(changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``section.key`` → value as section → key → value.

    >>> nested({"limits.max_step": 0.05})
    {'limits': {'max_step': 0.05}}

    Raises
    ------
    ValueError
        If a name is not ``section.key``.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, dot, name = key.partition(".")
        if not (section and dot and name):
            raise ValueError(f"expected section.key, such as limits.max_step; got {key!r}")
        found.setdefault(section, {})[name] = value
    return found


def _applies(wide: PolicyScope, scope: PolicyScope, entry: CatalogEntry | None) -> bool:
    """Return whether every listing of a scope is in another one."""
    if entry is not None:
        return wide.covers(entry)
    return (
        wide.tenant == scope.tenant
        and wide.market in ("", scope.market)
        and (not wide.field or (wide.field, wide.value) == (scope.field, scope.value))
    )
