"""PolicyBook: the patches of one bucket, and the policy in force for each of its listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jobs.pricing.policies.check import check_planned
from jobs.pricing.policies.merge import merge
from jobs.pricing.policies.patch import Document, PatchError, PolicyPatch, applied
from jobs.pricing.policies.scope import PolicyScope
from jobs.pricing.policy import Policy
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command

MOST_KNOWN = 256
"""Accepted commands that a bucket remembers besides the pending ones, to ignore one that is delivered again."""
CANCELLED = -1
"""First minute of a cancelled patch: it never comes."""


class _Known(NamedTuple):
    """An accepted patch: its scope and first minute."""

    scope: PolicyScope
    from_ms: int


class PolicyBook:
    """Documents by scope, and patches whose minute has not come.

    Every bucket receives every command, and accepts or refuses it by the command alone and those before it, so
    that all buckets hold the same documents.

    Parameters
    ----------
    base : the deployment's policy; not part of the snapshot.

    Examples
    --------
    >>> book = PolicyBook(Policy())
    >>> change = {"selection": "category=shoes", "changes": '{"limits": {"max_step": 0.05}}', "from_ms": 120_000}
    >>> book.take(Command("c1", 0, "acme", "policy", "ann", **change))
    []
    >>> entry = CatalogEntry("e", 1, "acme", "web", "s1", "s1", "shoes", "margin", "USD", 1, True, 700, 1000)
    >>> book.advance(120_000), book.of(entry).limits.max_step
    (False, 0.1)
    >>> book.advance(180_000), book.of(entry).limits.max_step
    (True, 0.05)
    """

    def __init__(self, base: Policy) -> None:
        self.base = base
        self._documents: dict[PolicyScope, Document] = {}
        self._pending: list[PolicyPatch] = []
        self._known: dict[str, _Known] = {}
        self._published: set[str] = set()
        self._merged: dict[tuple[PolicyScope, ...], Policy] = {}
        self._named: frozenset[str] | None = None
        self._timed: bool | None = None

    def take(self, command: Command) -> list[str] | None:
        """Accept a ``policy`` command; it holds from its minute on.

        Returns
        -------
        Ids of the patches that it cancels, sorted; None for a command that was accepted before, which changes
        nothing. Of accepted commands, the pending and the newest :data:`MOST_KNOWN` are remembered.

        Raises
        ------
        PatchError
            If the patch cannot be applied. Nothing changes then.
        """
        patch = PolicyPatch.of_command(command)
        if patch.command_id in self._known:
            return None
        check_planned(self.base, self._documents, self._pending, patch)
        self._pending = [each for each in self._pending if not patch.cancels(each.scope, each.from_ms)]
        # Found among the commands, not among the pending patches: those depend on when this command arrives.
        cancelled = sorted(name for name, each in self._known.items() if patch.cancels(each.scope, each.from_ms))
        self._known |= {name: _Known(self._known[name].scope, CANCELLED) for name in cancelled}
        self._pending = sorted([*self._pending, patch], key=lambda each: each.order)
        self._known[patch.command_id] = _Known(patch.scope, patch.from_ms)
        pending = {each.command_id for each in self._pending}
        for old in [name for name in list(self._known)[:-MOST_KNOWN] if name not in pending]:
            del self._known[old]
        return cancelled

    def is_due(self, window_end_ms: int) -> bool:
        """Return whether a pending patch holds in the minute that ends at ``window_end_ms``."""
        return bool(self._pending) and self._pending[0].from_ms < window_end_ms

    def advance(self, window_end_ms: int) -> bool:
        """Apply the patches that hold in the minute ending at ``window_end_ms``; return whether there were any."""
        due = [patch for patch in self._pending if patch.from_ms < window_end_ms]
        for patch in due:
            self._documents = applied(self._documents, patch)
        if due:
            self._pending = self._pending[len(due) :]
            self._merged, self._named, self._timed = {}, None, None
        return bool(due)

    def of(self, entry: CatalogEntry) -> Policy:
        """Return the policy in force for a listing.

        A document that contradicts the policy file or the wider ones is left out (:func:`merge.merge`).
        """
        if not self._documents:
            return self.base
        scopes = tuple(sorted((s for s in self._documents if s.covers(entry)), key=lambda s: s.rank))
        known = self._merged.get(scopes)
        if known is None:
            known = self._merged[scopes] = self._merge(scopes)
        return known

    def named_strategies(self) -> frozenset[str]:
        """Return the strategies that the base policy or any scope's document names."""
        if self._named is None:
            stated = [self.base, *(self._merge((scope,)) for scope in sorted(self._documents))]
            self._named = frozenset(name for policy in stated for name in policy.named_strategies())
        return self._named

    def has_timed_rules(self) -> bool:
        """Return whether the base policy or any scope's document has a rule that time can turn on or off."""
        if self._timed is None:
            stated = [self.base, *(self._merge((scope,)) for scope in sorted(self._documents))]
            self._timed = any(policy.rules.timed for policy in stated)
        return self._timed

    def scopes_of(self, entry: CatalogEntry) -> list[str]:
        """Return the scopes with a document that cover a listing, wide ones first, as text."""
        return [s.text for s in sorted(self._documents, key=lambda s: s.rank) if s.covers(entry)]

    def _merge(self, scopes: tuple[PolicyScope, ...]) -> Policy:
        return merge(self.base, self._documents, scopes).policy

    def first_use(self, policy: Policy) -> bool:
        """Return whether a policy is used for the first time, and note it."""
        if policy.hash in self._published:
            return False
        self._published.add(policy.hash)
        return True

    def snapshot(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "documents": {scope.text: document for scope, document in sorted(self._documents.items())},
            "pending": [patch.to_record() for patch in self._pending],
            "known": [[name, each.scope.text, each.from_ms] for name, each in self._known.items()],
            "published": sorted(self._published),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`.

        A document that is invalid under the present base policy, whose file changed, stays and is left out of the
        listings' policies (:meth:`of`).
        """
        self._documents = {PolicyScope.parse(text): value for text, value in snapshot["documents"].items()}
        self._pending = [PolicyPatch.from_record(record) for record in snapshot["pending"]]
        pending = [[each.command_id, each.scope.text, each.from_ms] for each in self._pending]
        self._known = {
            name: _Known(PolicyScope.parse(text), from_ms)
            for name, text, from_ms in snapshot.get("known", pending)
        }
        self._published = set(snapshot["published"])
        self._merged, self._named, self._timed = {}, None, None


__all__ = ["PatchError", "PolicyBook"]
