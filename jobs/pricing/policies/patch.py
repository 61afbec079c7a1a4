"""PolicyPatch: what an operator wants changed in a scope, from which minute; its validation and its fold."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from jobs.pricing.policies.live_keys import all_keys, is_live
from jobs.pricing.policies.scope import PolicyScope, ScopeError
from jobs.pricing.policy import Policy, PolicyError
from schemas.records.operator_events import Command
from schemas.time_units import MINUTE_MS

LEAST_LEAD_MS = 2 * MINUTE_MS
"""How far ahead of the command's time a patch must begin, so that every bucket has it before that minute."""

Document = Mapping[str, Mapping[str, Any]]
"""Section → key → value: the keys of a scope that differ from the wider scopes."""


class PatchError(ValueError):
    """A patch that cannot be applied; the message names the key, what was expected and what was given."""


class PolicyPatch(NamedTuple):
    """A change of one scope's document.

    Parameters
    ----------
    command_id : id of the command that brought it.
    scope : the listings that it concerns.
    changes : section → key → value; None removes a key, so that the wider scopes' value applies again.
    from_ms : start of the first minute in which it holds.
    replaces : whether ``changes`` is the whole document, in place of the scope's former one (rollback).
    operator, reason : who sent it, and why.
    sent_ms : event time of the command.
    """

    command_id: str
    scope: PolicyScope
    changes: Mapping[str, Mapping[str, Any]]
    from_ms: int
    replaces: bool = False
    operator: str = ""
    reason: str = ""
    sent_ms: int = 0

    @classmethod
    def of_command(cls, command: Command) -> PolicyPatch:
        """Read a ``policy`` command.

        Raises
        ------
        PatchError
            If its scope, changes or minute are missing or unreadable, or the minute is too near.
        """
        try:
            scope = PolicyScope.parse(_scope_text(command))
        except ScopeError as error:
            raise PatchError(str(error)) from None
        try:
            changes = orjson.loads(command.changes or "")
        except orjson.JSONDecodeError as error:
            raise PatchError(
                f"changes: expected a JSON object of sections, got {command.changes!r} ({error})"
            ) from None
        if not isinstance(changes, dict) or not all(isinstance(keys, dict) for keys in changes.values()):
            raise PatchError(f"changes: expected section → key → value, got {command.changes!r}")
        from_ms = command.from_ms
        if from_ms is None or from_ms % MINUTE_MS:
            raise PatchError(f"from_ms: expected the start of a market minute, got {from_ms}")
        if from_ms < command.event_time_ms + LEAST_LEAD_MS:
            raise PatchError(
                f"from_ms: expected a minute at least {LEAST_LEAD_MS // MINUTE_MS} minutes after the command "
                f"({command.event_time_ms}), got {from_ms}"
            )
        return cls(
            command.event_id, scope, changes, from_ms, bool(command.replaces), command.operator,
            command.reason or "", command.event_time_ms,
        )  # fmt: skip

    @property
    def order(self) -> tuple[int, int, str]:
        """Order of application: by minute, then by the commands' times."""
        return self.from_ms, self.sent_ms, self.command_id

    def to_record(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            **self._asdict(),
            "scope": self.scope.text,
            "changes": {k: dict(v) for k, v in self.changes.items()},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PolicyPatch:
        """Read :meth:`to_record` back."""
        values = {name: record[name] for name in cls._fields}
        return cls(**{**values, "scope": PolicyScope.parse(record["scope"])})


def _scope_text(command: Command) -> str:
    selection = command.selection or (f"sku={command.sku}" if command.sku else "")
    place = "/".join(part for part in (command.tenant, command.market) if part)
    return f"{place}:{selection}" if selection else place


def fold(document: Document, patch: PolicyPatch) -> dict[str, dict[str, Any]]:
    """Return a scope's document after a patch.

    >>> shoes = PolicyScope("acme", field="category", value="shoes")
    >>> patch = PolicyPatch("c1", shoes, {"limits": {"max_step": 0.05, "min_gap_minutes": None}}, 0)
    >>> fold({"limits": {"min_gap_minutes": 30}}, patch)
    {'limits': {'max_step': 0.05}}
    """
    found = {} if patch.replaces else {section: dict(keys) for section, keys in document.items()}
    for section, keys in patch.changes.items():
        inside = found.setdefault(section, {})
        for name, value in keys.items():
            if value is None:
                inside.pop(name, None)
            else:
                inside[name] = value
    return {section: dict(sorted(keys.items())) for section, keys in sorted(found.items()) if keys}


def check_patch(base: Policy, documents: Mapping[PolicyScope, Document], patch: PolicyPatch) -> None:
    """Raise if a patch cannot be applied after the given documents.

    Besides keys and values, every pair of scopes that one listing can be in is checked, because two keys that
    contradict each other may be set in two scopes.

    Raises
    ------
    PatchError
        Naming every wrong key, with what was expected and what was given.
    """
    problems = [_key_problem(f"{section}.{name}") for section, keys in patch.changes.items() for name in keys]
    if found := [problem for problem in problems if problem]:
        raise PatchError("; ".join(sorted(found)))
    after = {**documents, patch.scope: fold(documents.get(patch.scope, {}), patch)}
    others: list[PolicyScope | None] = [None, *sorted(after, key=lambda scope: scope.rank)]
    for other in others:
        if other is not None and (other == patch.scope or not other.may_overlap(patch.scope)):
            continue
        both = [patch.scope] if other is None else sorted((other, patch.scope), key=lambda scope: scope.rank)
        try:
            policy_of(base, [after[scope] for scope in both])
        except PolicyError as error:
            beside = f" together with scope {other.text}" if other is not None else ""
            raise PatchError(f"{patch.scope.text}{beside}: {error}") from None


def policy_of(base: Policy, documents: Iterable[Document]) -> Policy:
    """Return the base policy with documents applied in order, wide scopes first.

    Raises
    ------
    PolicyError
        If the result is no valid policy.
    """
    merged: dict[str, dict[str, Any]] = {}
    for document in documents:
        for section, keys in document.items():
            merged.setdefault(section, {}).update(keys)
    return base.overridden(merged) if merged else base


def _key_problem(key: str) -> str | None:
    if is_live(key):
        return None
    if key in all_keys():
        return f"{key}: a deployment key, which changes with the policy file and a restart of the jobs"
    near = difflib.get_close_matches(key, all_keys(), n=1)
    return f"{key}: expected a key of the policy{f', perhaps {near[0]}' if near else ''}; got an unknown one"
