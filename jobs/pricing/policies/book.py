"""PolicyBook: the patches of one bucket, and the policy in force for each of its listings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.pricing.policies.patch import Document, PatchError, PolicyPatch, check_patch, fold, policy_of
from jobs.pricing.policies.scope import PolicyScope
from jobs.pricing.policy import Policy, PolicyError
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command


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
        self._published: set[str] = set()
        self._merged: dict[tuple[PolicyScope, ...], Policy] = {}
        self._named: frozenset[str] | None = None
        self._timed: bool | None = None

    def take(self, command: Command) -> None:
        """Accept a ``policy`` command; it holds from its minute on.

        Raises
        ------
        PatchError
            If the patch cannot be applied. Nothing changes then.
        """
        patch = PolicyPatch.of_command(command)
        if any(patch.command_id == known.command_id for known in self._pending):
            return
        planned = dict(self._documents)
        for before in self._pending:
            if before.order < patch.order:
                planned[before.scope] = fold(planned.get(before.scope, {}), before)
        check_patch(self.base, planned, patch)
        self._pending = sorted([*self._pending, patch], key=lambda each: each.order)

    def is_due(self, window_end_ms: int) -> bool:
        """Return whether a pending patch holds in the minute that ends at ``window_end_ms``."""
        return bool(self._pending) and self._pending[0].from_ms < window_end_ms

    def advance(self, window_end_ms: int) -> bool:
        """Apply the patches that hold in the minute ending at ``window_end_ms``; return whether there were any."""
        due = [patch for patch in self._pending if patch.from_ms < window_end_ms]
        for patch in due:
            document = fold(self._documents.get(patch.scope, {}), patch)
            if document:
                self._documents[patch.scope] = document
            else:
                self._documents.pop(patch.scope, None)
        if due:
            self._pending = self._pending[len(due) :]
            self._merged, self._named, self._timed = {}, None, None
        return bool(due)

    def of(self, entry: CatalogEntry) -> Policy:
        """Return the policy in force for a listing.

        A document that contradicts the wider ones in a way that no pair of scopes shows is left out.
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
        used: list[Document] = []
        for scope in scopes:
            try:
                policy_of(self.base, [*used, self._documents[scope]])
            except PolicyError:
                continue
            used.append(self._documents[scope])
        return policy_of(self.base, used)

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
            "published": sorted(self._published),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`snapshot`.

        A document that is invalid under the present base policy, whose file changed, stays and is left out of the
        listings' policies (:meth:`of`).
        """
        self._documents = {PolicyScope.parse(text): value for text, value in snapshot["documents"].items()}
        self._pending = [PolicyPatch.from_record(record) for record in snapshot["pending"]]
        self._published = set(snapshot["published"])
        self._merged, self._named, self._timed = {}, None, None


__all__ = ["PatchError", "PolicyBook"]
