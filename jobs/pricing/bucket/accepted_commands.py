"""AcceptedCommands: which signed commands a bucket has accepted, so that none is carried out twice.

Who can write to Kafka can append a signed command again. Its signature is valid, but its event id is known, or its
event time is older than any command that could still be on its way. Event time alone decides, so that reading the
topic again gives the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.records.operator_events import Command
from schemas.time_units import HOUR_MS

HORIZON_MS = 24 * HOUR_MS
"""Run time by which a command may be older than the newest of its tenant.

A command is sent within 15 s of wall time, so that two operator ports can disorder commands by no more. On a clock
5,000 times as fast as the wall clock that is 21 hours.
"""
MOST_COMMANDS = 1_000
"""Event ids that are kept per tenant, about 60 kB of the bucket's snapshot.

Beyond them the oldest is forgotten, and commands that are not newer than it are refused.
"""


class AcceptedCommands:
    """The commands that one bucket has accepted, by tenant; restartable.

    A tenant's commands are in one partition and thus in order. Those of different tenants are not, so that each
    tenant has a horizon of its own.

    Examples
    --------
    >>> accepted, first = AcceptedCommands(), Command("c1", HORIZON_MS, "acme", "settle", "ann")
    >>> accepted.problem(first)
    ''
    >>> accepted.add(first)
    >>> accepted.problem(first)
    'event_id: expected a new command, got one that was accepted before'
    """

    def __init__(self) -> None:
        # By tenant: the earliest event time that is accepted, and event id → event time.
        self._oldest_ms: dict[str, int] = {}
        self._accepted: dict[str, dict[str, int]] = {}

    def problem(self, command: Command) -> str:
        """Return why a command is not accepted; "" if it is."""
        tenant = command.tenant
        if command.event_id in self._accepted.get(tenant, {}):
            return "event_id: expected a new command, got one that was accepted before"
        oldest_ms = self._oldest_ms.get(tenant, command.event_time_ms)
        if command.event_time_ms < oldest_ms:
            return (
                f"event_time_ms: expected at most {HORIZON_MS // HOUR_MS} hours before the newest command of the "
                f"tenant, and newer than its last {MOST_COMMANDS}; got one {oldest_ms - command.event_time_ms} ms "
                "older"
            )
        return ""

    def add(self, command: Command) -> None:
        """Remember a command, and forget those that its event time makes too old."""
        accepted = self._accepted.setdefault(command.tenant, {})
        accepted[command.event_id] = command.event_time_ms
        oldest_ms = max(
            self._oldest_ms.get(command.tenant, command.event_time_ms - HORIZON_MS),
            command.event_time_ms - HORIZON_MS,
        )
        if len(accepted) > MOST_COMMANDS:
            oldest_ms = max(oldest_ms, min(accepted.values()) + 1)
        self._oldest_ms[command.tenant] = oldest_ms
        self._accepted[command.tenant] = {name: at_ms for name, at_ms in accepted.items() if at_ms >= oldest_ms}

    def snapshot(self) -> dict[str, Any]:
        """Return by tenant the earliest event time that is accepted, and the event time of each event id."""
        return {
            tenant: [self._oldest_ms[tenant], dict(sorted(self._accepted[tenant].items()))]
            for tenant in sorted(self._accepted)
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self._oldest_ms = {tenant: oldest_ms for tenant, (oldest_ms, _) in snapshot.items()}
        self._accepted = {tenant: dict(accepted) for tenant, (_, accepted) in snapshot.items()}
