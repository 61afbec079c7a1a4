"""What a rollback of a scope restores, takes back and cancels. Pure."""

from __future__ import annotations

from typing import NamedTuple

from jobs.policies.documents import PolicyUseError, ScopeHistory, changes_text, patch_of, scope_of
from jobs.pricing.policies import PolicyPatch, PolicyScope, fold
from jobs.pricing.policies.patch import Document
from schemas.records.operator_events import PolicyChanged


class RollbackPlan(NamedTuple):
    """What a rollback does.

    Parameters
    ----------
    document : the scope's document from the rollback's minute on.
    taken_back : the patch that was sent last; None where an earlier one to return to is named. It is among the
        cancelled ones if its minute has not come.
    cancelled : pending patches of the scope whose minute never comes, in the order in which they were sent.
    """

    document: Document
    taken_back: PolicyChanged | None
    cancelled: tuple[PolicyChanged, ...]


def plan_rollback(history: ScopeHistory, scope: PolicyScope, from_ms: int, to: str | None = None) -> RollbackPlan:
    """Return what a rollback of a scope does from a minute on.

    The patch that was sent last is taken back: it is cancelled if it is pending then, else the scope gets the
    document that it would have without it. All other patches of the scope that are pending then are cancelled too.

    Parameters
    ----------
    from_ms : first market minute of the rollback, epoch ms. A patch of an earlier minute holds until then.
    to : id of the patch after which the scope had the document to restore.

    Raises
    ------
    PolicyUseError
        If there is nothing to take back, or no such patch.

    Examples
    --------
    >>> text = '{"limits": {"max_step": 0.05}}'
    >>> one = PolicyChanged("c1", 0, "acme", "", "", text, 180_000, False, "ann", "", True, "")
    >>> found = plan_rollback(ScopeHistory((one,)), PolicyScope("acme"), 120_000)
    >>> found.document, [each.command_id for each in found.cancelled]
    ({}, ['c1'])
    """
    standing = [record for record in history.standing() if scope_of(record) == scope]
    if not standing:
        raise PolicyUseError(f"{scope.text}: expected a scope with an accepted patch; it has none")
    pending = tuple(record for record in standing if record.from_ms >= from_ms)
    in_force = sorted(
        (patch_of(record) for record in standing if record.from_ms < from_ms), key=lambda patch: patch.order
    )
    if to is not None:
        ids = [patch.command_id for patch in in_force]
        if to not in ids:
            raise PolicyUseError(
                f"--to: expected a patch in force by then ({', '.join(ids) or 'none'}), got {to!r}"
            )
        return RollbackPlan(_document(in_force[: ids.index(to) + 1]), None, pending)
    last = standing[-1]
    document = _document([patch for patch in in_force if patch.command_id != last.command_id])
    if not pending and document == _document(in_force):
        raise PolicyUseError(
            f"{scope.text}: the last patch {last.command_id} ({changes_text(last)}) changed nothing that could be "
            f"taken back; --to names the patch to return to"
        )
    return RollbackPlan(document, last, pending)


def rollback_minute(history: ScopeHistory, scope: PolicyScope, reached_ms: int, soonest_ms: int) -> int:
    """Return the first market minute of a rollback for which none is stated, epoch ms.

    It is that of a pending patch of the scope which every bucket can still cancel, so that this patch never holds.

    Parameters
    ----------
    reached_ms : time by which every bucket has the command.
    soonest_ms : first minute of a patch that is sent now.

    Examples
    --------
    >>> one = PolicyChanged("c1", 0, "acme", "", "", "{}", 180_000, False, "ann", "", True, "")
    >>> [rollback_minute(ScopeHistory((one,)), PolicyScope("acme"), ms, 240_000) for ms in (170_000, 190_000)]
    [180000, 240000]
    """
    pending = (record.from_ms for record in history.pending(reached_ms) if scope_of(record) == scope)
    return min([soonest_ms, *pending])


def _document(patches: list[PolicyPatch]) -> Document:
    found: Document = {}
    for patch in patches:
        found = fold(found, patch)
    return found
