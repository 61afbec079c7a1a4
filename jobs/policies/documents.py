"""Documents of all scopes at a market time, from the records of `policy_changes`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from jobs.pricing.policies import PolicyPatch, PolicyScope, check_planned, merge
from jobs.pricing.policies.live_keys import all_keys
from jobs.pricing.policies.patch import Document, applied
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.records.operator_events import PolicyChanged


class PolicyUseError(ValueError):
    """A request that cannot be carried out; the message says what was expected."""


class KeyValue(NamedTuple):
    """A key's value, and the scope that set it; ``default`` for the policy file or the key's default."""

    value: Any
    scope: str


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The policy of a scope at a market time.

    ``values``: key (``section.key``) → value and scope. ``scopes``: scopes with a document that apply, wide ones
    first. ``pending``: accepted patches of these scopes whose minute has not come. ``left_out``: scopes whose
    document cannot be applied, wide ones first → the reason.
    """

    scope: str
    at_ms: int
    hash: str
    values: Mapping[str, KeyValue]
    scopes: tuple[str, ...]
    pending: tuple[PolicyChanged, ...]
    left_out: Mapping[str, str]


class ScopeOverview(NamedTuple):
    """A scope whose policy differs from the wider ones.

    ``values``: key → value, sorted by key. ``since_ms``: first minute of its last patch; ``operator``, ``reason``:
    who sent that patch, and why. ``problem``: why its document cannot be applied alone or with the wider scopes'.
    """

    scope: str
    values: Mapping[str, Any]
    since_ms: int
    operator: str
    reason: str
    problem: str = ""


class PolicyOverview(NamedTuple):
    """The scopes with keys of their own, wide ones first, pending patches by minute, and the last refused ones."""

    scopes: tuple[ScopeOverview, ...]
    pending: tuple[PolicyChanged, ...]
    refused: tuple[PolicyChanged, ...]

    @property
    def line(self) -> str:
        """The overview in one line.

        >>> PolicyOverview((), (), ()).line
        'the policy file alone; no patch pending'
        """
        keys, scopes, waiting = sum(len(s.values) for s in self.scopes), len(self.scopes), len(self.pending)
        found = f"{keys} key{'s' * (keys > 1)} set in {scopes} scope{'s' * (scopes > 1)}"
        pending = f"{waiting or 'no'} patch{'es' * (waiting > 1)} pending"
        return f"{found if scopes else 'the policy file alone'}; {pending}"


MOST_REFUSED = 5
"""Refused patches in an overview."""


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
        """Return the history of decoded records in any order; each bucket writes a patch's record once."""
        changes = {record["command_id"]: PolicyChanged(**record) for record in records}
        return cls(tuple(sorted(changes.values(), key=lambda each: (each.event_time_ms, each.command_id))))

    def standing(self) -> list[PolicyChanged]:
        """Return the accepted patches that no rollback cancelled, in the order in which they were sent."""
        gone = cancelled(self.records)
        return [record for record in self.records if record.accepted and record.command_id not in gone]

    def accepted(self, before_ms: int) -> list[PolicyPatch]:
        """Return the standing patches that hold before a market time, in the order in which they apply."""
        patches = [patch_of(record) for record in self.standing() if record.from_ms < before_ms]
        return sorted(patches, key=lambda patch: patch.order)

    def documents(self, at_ms: int) -> dict[PolicyScope, Document]:
        """Return the scopes' documents in force at a market time."""
        found: dict[PolicyScope, Document] = {}
        for patch in self.accepted(at_ms):
            found = applied(found, patch)
        return found

    def planned(self, base: Policy, patch: PolicyPatch) -> dict[PolicyScope, Document]:
        """Return the scopes' documents in force in a new patch's minute, with it.

        Raises
        ------
        jobs.pricing.policies.PatchError
            If the patch cannot be applied.
        """
        return check_planned(base, {}, [patch_of(record) for record in self.standing()], patch)

    def pending(self, at_ms: int) -> list[PolicyChanged]:
        """Return the standing patches whose minute has not come."""
        return [record for record in self.standing() if record.from_ms >= at_ms]

    def overview(self, at_ms: int, base: Policy | None = None) -> PolicyOverview:
        """Return what every scope sets at a market time, and which patches wait or were refused.

        Parameters
        ----------
        base : the deployment's policy; with it, the overview says which scopes' documents cannot be applied.

        >>> text = '{"limits": {"max_step": 0.05}}'
        >>> changed = PolicyChanged("c1", 0, "acme", "", "", text, 60_000, False, "ann", "", True, "")
        >>> history = ScopeHistory((changed,))
        >>> history.overview(60_000).line, history.overview(120_000).scopes[0].values
        ('the policy file alone; 1 patch pending', {'limits.max_step': 0.05})
        """
        last, documents = {patch.scope: patch for patch in self.accepted(at_ms)}, self.documents(at_ms)
        scopes = tuple(
            ScopeOverview(
                scope.text,
                dict(sorted(_flat(document).items())),
                last[scope].from_ms,
                last[scope].operator,
                last[scope].reason,
                "" if base is None else left_out(base, documents, scope),
            )
            for scope, document in sorted(documents.items(), key=lambda item: item[0].rank)
        )
        pending = sorted(self.pending(at_ms), key=lambda record: (record.from_ms, record.command_id))
        refused = [record for record in self.records if not record.accepted]
        return PolicyOverview(scopes, tuple(pending), tuple(refused[: -MOST_REFUSED - 1 : -1]))

    def view(self, base: Policy, scope: PolicyScope, at_ms: int, entry: CatalogEntry | None = None) -> PolicyView:
        """Return the policy of a scope.

        Parameters
        ----------
        base : the deployment's policy.
        entry : catalog entry of the scope's SKU; with it, scopes by category, role and price group apply too.
        """
        documents = self.documents(at_ms)
        covering = sorted((s for s in documents if _applies(s, scope, entry)), key=lambda s: s.rank)
        policy, missing = merge(base, documents, covering)
        applying = [s for s in covering if s not in missing]
        sources = {key: s.text for s in applying for key in _flat(documents[s])}
        content = policy.to_dict()
        values = {}
        for key in all_keys():
            section, _, name = key.partition(".")
            values[key] = KeyValue(content[section][name], sources.get(key, "default"))
        waiting = [record for record in self.pending(at_ms) if _applies(scope_of(record), scope, entry)]
        without = {s.text: problem for s, problem in missing.items()}
        scopes = tuple(s.text for s in applying)
        return PolicyView(scope.text, at_ms, policy.hash, values, scopes, tuple(waiting), without)


def cancelled(records: Iterable[PolicyChanged]) -> dict[str, str]:
    """Return the cancelled patches: command id → id of the rollback that cancelled it.

    >>> rollback = PolicyChanged("c2", 0, "acme", "", "", "{}", 60_000, True, "ann", "", True, "", ["c1"])
    >>> cancelled([rollback])
    {'c1': 'c2'}
    """
    return {name: record.command_id for record in records if record.accepted for name in record.cancels}


def containing(documents: Iterable[PolicyScope], scope: PolicyScope) -> list[PolicyScope]:
    """Return the scopes that every listing of a scope is in, wide ones first."""
    return sorted((wide for wide in documents if _applies(wide, scope, None)), key=lambda wide: wide.rank)


def left_out(base: Policy, documents: Mapping[PolicyScope, Document], scope: PolicyScope) -> str:
    """Return why a scope's document cannot be applied alone or with the wider scopes' documents; empty if it can.

    >>> left_out(Policy(), {PolicyScope("acme"): {"limits": {"max_step": 7}}}, PolicyScope("acme"))[:23]
    'policy: limits.max_step'
    """
    return merge(base, documents, containing(documents, scope)).left_out.get(scope, "")


def scope_of(record: PolicyChanged) -> PolicyScope:
    """Return the scope of a record."""
    return PolicyScope.parse(scope_text(record))


def changes_text(record: PolicyChanged) -> str:
    """Return what a record's patch sets and unsets.

    >>> text = '{"limits": {"max_step": 0.05, "max_daily": null}}'
    >>> changes_text(PolicyChanged("c1", 0, "acme", "", "", text, 60_000, False, "ann", "", True, ""))
    'limits.max_step=0.05, limits.max_daily unset'
    >>> changes_text(PolicyChanged("c2", 0, "acme", "", "", "{}", 60_000, True, "ann", "", True, "", ["c1"]))
    'all keys removed; cancels c1'
    """
    try:
        keys = orjson.loads(record.changes or "{}")
        text = ", ".join(
            f"{section}.{name} unset" if value is None else f"{section}.{name}={value}"
            for section, inside in keys.items()
            for name, value in inside.items()
        )
    except (ValueError, AttributeError):
        # A refused patch may hold any text.
        return record.changes
    if not record.replaces:
        return text
    cancels = f"; cancels {', '.join(record.cancels)}" if record.cancels else ""
    return (f"replaced by {text}" if text else "all keys removed") + cancels


def scope_text(record: PolicyChanged) -> str:
    """Return the scope of a record as text, which a refused patch may not parse.

    >>> scope_text(PolicyChanged("c1", 0, "acme", "web", "colour=red", "{}", 0, False, "ann", "", False, ""))
    'acme/web:colour=red'
    """
    place = "/".join(part for part in (record.tenant, record.market) if part)
    return f"{place}:{record.selection}" if record.selection else place


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
