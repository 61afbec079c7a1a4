"""PolicyPatch: what an operator wants changed in a scope, from which minute; its form and its fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from jobs.pricing.policies.scope import PolicyScope, ScopeError
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
    replaces : whether ``changes`` is the whole document, in place of the scope's former one (rollback). Pending
        patches of the scope whose minute does not come before are then cancelled.
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

    def cancels(self, scope: PolicyScope, from_ms: int) -> bool:
        """Return whether it cancels a patch that was sent before it, given that one's scope and first minute.

        >>> rollback = PolicyPatch("c2", PolicyScope("acme"), {}, 120_000, replaces=True)
        >>> [rollback.cancels(PolicyScope("acme"), from_ms) for from_ms in (60_000, 120_000, 180_000)]
        [False, True, True]
        """
        return self.replaces and scope == self.scope and from_ms >= self.from_ms

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


def applied(documents: Mapping[PolicyScope, Document], patch: PolicyPatch) -> dict[PolicyScope, Document]:
    """Return all scopes' documents after a patch; a scope without keys has none.

    >>> acme = PolicyScope("acme")
    >>> applied({acme: {"limits": {"max_step": 0.05}}}, PolicyPatch("c1", acme, {}, 0, replaces=True))
    {}
    """
    document = fold(documents.get(patch.scope, {}), patch)
    others = {scope: value for scope, value in documents.items() if scope != patch.scope}
    return {**others, patch.scope: document} if document else others
