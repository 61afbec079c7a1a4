"""Whether a patch can be applied: its keys, its values, and the documents of other scopes and pending patches."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from jobs.pricing.policies.live_keys import accepts_null, all_keys, description, is_live
from jobs.pricing.policies.merge import policy_of
from jobs.pricing.policies.patch import Document, PatchError, PolicyPatch, applied
from jobs.pricing.policies.scope import PolicyScope
from jobs.pricing.policy import Policy, PolicyError


def check_planned(
    base: Policy,
    documents: Mapping[PolicyScope, Document],
    pending: Iterable[PolicyPatch],
    patch: PolicyPatch,
) -> dict[PolicyScope, Document]:
    """Return the documents in force in a patch's minute, with it; raise if it cannot be applied.

    The patch is checked in its own minute, and again in the minute of every pending patch that follows. A patch
    that is wrong without it, such as one that a changed policy file contradicts, is no reason to refuse it.

    Parameters
    ----------
    documents, pending : in force, and patches that apply after them.

    Raises
    ------
    PatchError
        As :func:`check_patch`, or naming the pending patch that could not be applied after it.
    """
    waiting = sorted(pending, key=lambda each: each.order)
    without = dict(documents)
    for before in waiting:
        if before.order < patch.order:
            without = applied(without, before)
    check_patch(base, without, patch)
    found = after = applied(without, patch)
    for later in waiting:
        if later.order < patch.order:
            continue
        without = applied(without, later)
        if patch.cancels(later.scope, later.from_ms):
            continue
        after = applied(after, later)
        problem = _contradiction(base, after, later.scope)
        if problem is not None and _contradiction(base, without, later.scope) is None:
            since = datetime.fromtimestamp(later.from_ms / 1000, UTC).isoformat(timespec="minutes")
            raise PatchError(
                f"{patch.scope.text}: the pending patch {later.command_id} of {later.scope.text} could not be "
                f"applied after it at {since}: {problem}"
            )
    return found


def check_patch(base: Policy, documents: Mapping[PolicyScope, Document], patch: PolicyPatch) -> None:
    """Raise if a patch cannot be applied after the given documents.

    Besides keys and values, every pair of scopes that one listing can be in is checked, because two keys that
    contradict each other may be set in two scopes.

    Raises
    ------
    PatchError
        Naming every wrong key, with what was expected and what was given.
    """
    own = {} if patch.replaces else documents.get(patch.scope, {})
    problems = [
        _key_problem(f"{section}.{name}", removes=value is None, is_set=name in own.get(section, {}))
        for section, keys in patch.changes.items()
        for name, value in keys.items()
    ]
    if found := [problem for problem in problems if problem]:
        raise PatchError("; ".join(sorted(found)))
    if problem := _contradiction(base, applied(documents, patch), patch.scope):
        raise PatchError(problem)


def _contradiction(base: Policy, documents: Mapping[PolicyScope, Document], scope: PolicyScope) -> str | None:
    """Return why a scope's document cannot be applied alone or together with another scope's.

    Another scope's document that cannot be applied alone is left out of every policy, and contradicts nothing.
    """
    own = documents.get(scope, {})
    for other in (None, *sorted(documents, key=lambda each: each.rank)):
        if other is not None and (other == scope or not other.may_overlap(scope)):
            continue
        pair = {scope: own} if other is None else {scope: own, other: documents[other]}
        try:
            policy_of(base, [pair[each] for each in sorted(pair, key=lambda each: each.rank)])
        except PolicyError as error:
            if other is None:
                return f"{scope.text}: {error}"
            if _is_valid(base, documents[other]):
                return f"{scope.text} together with scope {other.text}: {error}"
    return None


def _is_valid(base: Policy, document: Document) -> bool:
    try:
        policy_of(base, [document])
    except PolicyError:
        return False
    return True


def _key_problem(key: str, *, removes: bool, is_set: bool) -> str | None:
    if is_live(key):
        if not removes or is_set or not accepts_null(key):
            return None
        return (
            f"{key}: null removes a key from the scope, and the scope does not set this one; null as its value "
            f"({description(key)}) can be set in the policy file alone"
        )
    if key in all_keys():
        return f"{key}: a deployment key, which changes with the policy file and a restart of the jobs"
    near = difflib.get_close_matches(key, all_keys(), n=1)
    return f"{key}: expected a key of the policy{f', perhaps {near[0]}' if near else ''}; got an unknown one"
