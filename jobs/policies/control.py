"""The functions behind ``walras policy``: show, set, diff, history, rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from features.cells.lines import record_values
from jobs.connectors.kafka.catalog import read_catalog
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import make_command, parse_until, publish_command
from jobs.connectors.kafka.reading import accepted_value, newest, read_values
from jobs.policies.documents import PolicyUseError, PolicyView, ScopeHistory, nested, scope_of
from jobs.policies.rollbacks import plan_rollback, rollback_minute
from jobs.pricing.policies import PolicyPatch, PolicyScope
from jobs.pricing.policies.patch import LEAST_LEAD_MS
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command, CommandKind, PolicyChanged
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

SENDING_MS = MINUTE_MS
"""Time that a command has to reach every bucket, besides the least lead of a patch."""


class SentRollback(NamedTuple):
    """A rollback that was sent.

    ``taken_back``: the patch that was sent last; None with ``to``. ``cancelled``: pending patches whose minute
    never comes, in the order in which they were sent; the last one may be ``taken_back``.
    """

    command: Command
    taken_back: PolicyChanged | None
    cancelled: tuple[PolicyChanged, ...]


def read_history(settings: Settings) -> ScopeHistory:
    """Return all patches of the topic.

    Raises
    ------
    confluent_kafka.KafkaException
        If the broker does not answer; so do all functions of this module.
    """
    return ScopeHistory.of(read_values(settings.kafka, "policy_changes"))


def show(settings: Settings, scope: str) -> PolicyView:
    """Return the policy in force in a scope, with the scope that set each key, and pending patches.

    Raises
    ------
    jobs.pricing.policies.ScopeError
        If the text is no scope.
    """
    parsed = PolicyScope.parse(scope)
    base, now_ms = Policy.load(settings.policy), settings.run_clock.now_ms()
    return read_history(settings).view(base, parsed, now_ms, _entry(settings, parsed))


def covered_listings(settings: Settings, scope: str) -> int:
    """Return how many active listings of the catalog a scope covers now; listings may come later."""
    parsed = PolicyScope.parse(scope)
    return sum(entry.active and parsed.covers(entry) for entry in read_catalog(settings.kafka).values())


def _entry(settings: Settings, scope: PolicyScope) -> CatalogEntry | None:
    """Return the catalog entry of a scope that names a market and a SKU."""
    if scope.field != "sku" or not scope.market:
        return None
    key = "/".join((scope.tenant, scope.market, scope.value))
    topic = TOPICS["catalog"]
    found = newest(
        settings.kafka,
        topic.topic,
        lambda record: record.key == key and accepted_value(record, topic) is not None,
        topic.event_time,
    )
    return None if found is None else CatalogEntry(**record_values(topic, found))


def diff(settings: Settings, scope: str, other: str | None = None) -> dict[str, tuple[Any, Any]]:
    """Return the keys in which two scopes' policies differ: key → value in ``other`` and in ``scope``.

    Without ``other``, ``scope`` is compared with the deployment's policy.
    """
    base = Policy.load(settings.policy)
    before = ScopeHistory(()).view(base, PolicyScope.parse(scope), 0) if other is None else show(settings, other)
    return {
        key: (before.values[key].value, found.value)
        for key, found in show(settings, scope).values.items()
        if before.values[key].value != found.value
    }


def history(settings: Settings, scope: str | None = None) -> list[PolicyChanged]:
    """Return all patches, accepted and refused, newest last; of one scope where given."""
    parsed = None if scope is None else PolicyScope.parse(scope)
    return [r for r in read_history(settings).records if parsed is None or scope_of(r) == parsed]


def set_policy(
    settings: Settings,
    scope: str,
    changes: Mapping[str, Any],
    *,
    operator: str,
    reason: str,
    since: str | None = None,
) -> Command:
    """Send a patch, after checking it against the policies in force and pending.

    Parameters
    ----------
    changes : ``section.key`` → value; None removes the key from the scope.
    operator, reason : recorded with the command.
    since : first market minute, as ``10m`` from now or an ISO time; None: as soon as every bucket can have it.

    Returns
    -------
    The command; ``walras policy history`` shows whether the buckets accepted it.

    Raises
    ------
    PolicyUseError, jobs.pricing.policies.PatchError
        If the patch cannot be applied. Nothing is sent then.
    """
    try:
        sections = nested(changes)
    except ValueError as error:
        raise PolicyUseError(str(error)) from None
    if not sections:
        raise PolicyUseError("expected at least one section.key=value, got none")
    now_ms = settings.run_clock.now_ms()
    from_ms = patch_minute(settings, now_ms, since)
    patch = PolicyPatch("new", PolicyScope.parse(scope), sections, from_ms, False, operator, reason, now_ms)
    return _send(settings, read_history(settings), patch)


def rollback(
    settings: Settings, scope: str, *, operator: str, reason: str, to: str | None = None, since: str | None = None
) -> SentRollback:
    """Send a patch that takes back the patch of a scope that was sent last.

    If that one is pending, it is cancelled; else the document of before is restored. All other pending patches of
    the scope are cancelled too, except those whose minute comes before the rollback's: they hold until then.

    Parameters
    ----------
    to : id of the command after which the scope had the document to restore, in place of the one before the last.
    since : as in :func:`set_policy`; None: also the minute of a pending patch that can still be cancelled.

    Raises
    ------
    PolicyUseError, jobs.pricing.policies.PatchError
        If the scope has no accepted patch, no such one, or nothing to take back; or if the document of before
        cannot be applied. Nothing is sent then.
    """
    parsed, now_ms = PolicyScope.parse(scope), settings.run_clock.now_ms()
    from_ms, found = patch_minute(settings, now_ms, since), read_history(settings)
    if since is None:
        reached_ms = now_ms + LEAST_LEAD_MS * max(round(settings.run_clock.speed), 1)
        from_ms = rollback_minute(found, parsed, reached_ms, from_ms)
    plan = plan_rollback(found, parsed, from_ms, to)
    document = {section: dict(keys) for section, keys in plan.document.items()}
    patch = PolicyPatch("new", parsed, document, from_ms, True, operator, reason, now_ms)
    return SentRollback(_send(settings, found, patch), plan.taken_back, plan.cancelled)


def _send(settings: Settings, found: ScopeHistory, patch: PolicyPatch) -> Command:
    if not patch.reason:
        raise PolicyUseError("--reason: expected why the policy changes, got none; it is recorded with the patch")
    found.planned(Policy.load(settings.policy), patch)
    scope = patch.scope
    command = make_command(
        CommandKind.POLICY,
        Target(scope.tenant, scope.market or None),
        operator=patch.operator,
        now_ms=patch.sent_ms,
        reason=patch.reason,
        selection=f"{scope.field}={scope.value}" if scope.field else None,
        changes=orjson.dumps(patch.changes, option=orjson.OPT_SORT_KEYS).decode(),
        from_ms=patch.from_ms,
        replaces=patch.replaces,
    )
    publish_command(settings, command)
    return command


def patch_minute(settings: Settings, now_ms: int, since: str | None) -> int:
    """Return the market minute from which a patch sent now holds in a run, epoch ms (:func:`first_minute`)."""
    return first_minute(now_ms, round(settings.run_clock.speed), since)


def first_minute(now_ms: int, speed: int, since: str | None) -> int:
    """Return the market minute from which a patch sent now holds, epoch ms.

    A run whose clock is ``speed`` times as fast passes ``speed`` market minutes while a command travels.

    >>> first_minute(30_000, 1, None) // 60_000, first_minute(30_000, 60, None) // 60_000
    (4, 63)

    Raises
    ------
    PolicyUseError
        If ``since`` is too near.
    """
    soonest = _up(now_ms + LEAST_LEAD_MS + SENDING_MS * max(speed, 1))
    if since is None:
        return soonest
    wanted = _up(parse_until(since, now_ms))
    if wanted < now_ms + LEAST_LEAD_MS:
        minutes = LEAST_LEAD_MS // MINUTE_MS
        raise PolicyUseError(f"--from: expected a market minute at least {minutes} minutes ahead, got {since!r}")
    return wanted


def _up(time_ms: int) -> int:
    return -(-time_ms // MINUTE_MS) * MINUTE_MS
