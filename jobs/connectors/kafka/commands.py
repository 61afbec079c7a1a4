"""Operators' commands: parsed from text, validated and published.

A command is one record of the `commands` topic; every bucket reads it (architecture, "Streams").
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from jobs.access.key_files import deployment_signer, verification_key
from jobs.access.roles import Role
from jobs.connectors.kafka.command_targets import Target, check_target
from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, SILENT, error_text
from jobs.connectors.kafka.publisher import Publisher, PublishError
from jobs.runtime.settings import Settings
from schemas.records.operator_events import Command, CommandKind
from schemas.time_units import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.topics import TOPICS

UNITS_MS = {"s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


class OperatorError(ValueError):
    """Text that cannot be parsed into a command; the message names what was expected and what was given."""


def parse_target(text: str) -> Target:
    """Parse ``tenant``, ``tenant/market`` or ``tenant/market/sku``.

    >>> parse_target("acme"), parse_target("acme/web-us-usd/a/b").sku
    (Target(tenant='acme', market=None, sku=None), 'a/b')

    Raises
    ------
    OperatorError
        If a part is empty.
    """
    parts = text.split("/", 2)
    if not all(parts):
        raise OperatorError(f"target: expected tenant, tenant/market or tenant/market/sku; got {text!r}")
    return Target(*parts)


def parse_until(text: str, now_ms: int) -> int:
    """Parse a point in run time, epoch ms: ``90m``, ``2h``, ``3d`` from now, or an ISO date and time (UTC).

    >>> parse_until("2h", 0), parse_until("2026-11-27", 0)
    (7200000, 1795737600000)

    Raises
    ------
    OperatorError
        If the text is neither, or the time has passed.
    """
    duration_ms = _duration_ms(text)
    if duration_ms is not None:
        return now_ms + duration_ms
    until_ms = _iso_ms("until", text)
    if until_ms <= now_ms:
        raise OperatorError(f"until: expected a time after the run's now ({_iso(now_ms)}), got {text!r}")
    return until_ms


def parse_since(text: str, now_ms: int) -> int:
    """Parse a point in run time, epoch ms: ``90m``, ``2h``, ``3d`` before now, or an ISO date and time (UTC).

    >>> parse_since("2h", 7_200_000), parse_since("2026-11-27", 1_800_000_000_000)
    (0, 1795737600000)

    Raises
    ------
    OperatorError
        If the text is neither, or the time is yet to come.
    """
    duration_ms = _duration_ms(text)
    since_ms = _iso_ms("since", text) if duration_ms is None else now_ms - duration_ms
    if since_ms > now_ms:
        raise OperatorError(f"since: expected a time before the run's now ({_iso(now_ms)}), got {text!r}")
    return since_ms


def _duration_ms(text: str) -> int | None:
    given = re.fullmatch(r"(\d+)([smhd])", text)
    return int(given[1]) * UNITS_MS[given[2]] if given else None


def _iso_ms(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise OperatorError(f"{name}: expected 90m, 2h, 3d or 2026-11-27T09:00; got {text!r}") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def make_command(kind: CommandKind, target: Target, *, operator: str, now_ms: int, **more: Any) -> Command:
    """Return a command that satisfies the topic's contract.

    Raises
    ------
    OperatorError
        Naming the field that the contract refuses.

    Examples
    --------
    >>> make_command(CommandKind.SETTLE, Target("acme"), operator="ops", now_ms=1_800_000_000_000).kind
    'settle'
    """
    command = Command(
        event_id=f"cmd-{uuid.uuid4().hex}",
        event_time_ms=now_ms,
        tenant=target.tenant,
        kind=kind.value,
        operator=operator,
        market=target.market,
        sku=target.sku,
        **more,
    )
    refused = TOPICS["commands"].validate({name: getattr(command, name) for name in Command.__dataclass_fields__})
    if refused:
        field, code = refused
        raise OperatorError(f"{field}: {code}: got {getattr(command, field)!r}")
    return command


def publish_command(
    settings: Settings, command: Command, role: str = Role.ADMIN, currency: str | None = None
) -> None:
    """Check the target of a command, sign the command, publish it, and wait until the broker has it.

    Parameters
    ----------
    role : of the author. Who can read the deployment's signing key is an administrator.
    currency : of the command's amount, where its sender stated one.

    Raises
    ------
    OperatorError
        If the catalog has no listing of the target, or the listing another currency.
    jobs.access.signatures.CommandKeyError
        If the deployment's private key cannot be read; nothing is sent.
    jobs.connectors.kafka.publisher.PublishError
        If the broker does not answer, or does not take it within 15 s.
    """
    if verification_key(settings) is not None:
        command = deployment_signer(settings).command(command, role)
    try:
        unknown = check_target(settings.kafka, Target(command.tenant, command.market, command.sku), currency)
    except KAFKA_UNREACHABLE as error:
        raise PublishError(f"the catalog cannot be read, nothing was sent: {error_text(error)}") from error
    if unknown is not None:
        raise OperatorError(f"target: {unknown}")
    publisher = Publisher(settings.kafka, **{"message.timeout.ms": 14_000, "logger": SILENT})
    publisher.send("commands", command, timestamp_ms=command.event_time_ms)
    publisher.flush(15.0)
