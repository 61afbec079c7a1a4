"""The functions behind ``walras policy``: show, set, diff, history, rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from features.cells.lines import record_values
from jobs.connectors.kafka.catalog import read_catalog
from jobs.connectors.kafka.command_targets import Target
from jobs.connectors.kafka.commands import make_command, parse_until, publish_command
from jobs.connectors.kafka.reading import accepted_value, newest, read_values
from jobs.policies.documents import PolicyView, ScopeHistory, nested, scope_of
from jobs.pricing.policies import PolicyPatch, PolicyScope, check_patch, fold
from jobs.pricing.policies.patch import LEAST_LEAD_MS, Document
from jobs.pricing.policy import Policy
from jobs.runtime.settings import Settings
from schemas.events import CatalogEntry
from schemas.records.operator_events import Command, CommandKind, PolicyChanged
from schemas.time_units import MINUTE_MS
from schemas.topics import TOPICS

SENDING_MS = MINUTE_MS
"""Time that a command has to reach every bucket, besides the least lead of a patch."""


class PolicyUseError(ValueError):
    """A request that cannot be carried out; the message says what was expected."""


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
    return _send(settings, PolicyScope.parse(scope), sections, False, operator, reason, since)


def rollback(
    settings: Settings, scope: str, *, operator: str, reason: str, to: str | None = None, since: str | None = None
) -> Command:
    """Send a patch that restores a scope's document of before.

    Parameters
    ----------
    to : id of the command after which the scope had the document to restore; None: the one before the last patch.
    since : as in :func:`set_policy`.

    Raises
    ------
    PolicyUseError
        If the scope has no accepted patch, or no such one.
    """
    parsed = PolicyScope.parse(scope)
    patches = [patch for patch in read_history(settings).accepted(2**62) if patch.scope == parsed]
    if not patches:
        raise PolicyUseError(f"{parsed.text}: expected a scope with an accepted patch; it has none")
    ids = [patch.command_id for patch in patches]
    if to is not None and to not in ids:
        raise PolicyUseError(f"--to: expected one of {', '.join(ids)}, got {to!r}")
    document: Document = {}
    for patch in patches[:-1] if to is None else patches[: ids.index(to) + 1]:
        document = fold(document, patch)
    return _send(settings, parsed, {k: dict(v) for k, v in document.items()}, True, operator, reason, since)


def _send(
    settings: Settings,
    scope: PolicyScope,
    changes: dict[str, dict[str, Any]],
    replaces: bool,
    operator: str,
    reason: str,
    since: str | None,
) -> Command:
    if not reason:
        raise PolicyUseError("--reason: expected why the policy changes, got none; it is recorded with the patch")
    now_ms = settings.run_clock.now_ms()
    from_ms = first_minute(now_ms, round(settings.run_clock.speed), since)
    patch = PolicyPatch("new", scope, changes, from_ms, replaces, operator, reason, now_ms)
    found = read_history(settings)
    check_patch(Policy.load(settings.policy), found.documents(from_ms + 1), patch)
    command = make_command(
        CommandKind.POLICY,
        Target(scope.tenant, scope.market or None),
        operator=operator,
        now_ms=now_ms,
        reason=reason,
        selection=f"{scope.field}={scope.value}" if scope.field else None,
        changes=orjson.dumps(changes, option=orjson.OPT_SORT_KEYS).decode(),
        from_ms=from_ms,
        replaces=replaces,
    )
    publish_command(settings, command)
    return command


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
