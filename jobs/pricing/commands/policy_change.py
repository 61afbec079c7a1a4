"""policy: a patch of the policy in a scope, from a market minute on."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import CommandContext, CommandHandler
from jobs.pricing.policies import PatchError


class PolicyChange(CommandHandler):
    """Accept the patch, or refuse it and change nothing; ``policy_changes`` has a record of either.

    ``walras policy`` sends it. Every bucket writes the same record under the command's id. A command that was
    accepted before changes nothing and has its record already.
    """

    kind = "policy"
    text = "changed the policy"
    scope = "target"
    decides = False

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Return the record of the patch; the decisions follow in its minute."""
        command, problem = context.command, ""
        cancelled: list[str] | None = []
        try:
            cancelled = context.policies.take(command)
        except PatchError as error:
            problem = str(error)
        if cancelled is None:
            return []
        value = {
            "command_id": command.event_id,
            "event_time_ms": command.event_time_ms,
            "tenant": command.tenant,
            "market": command.market or "",
            "selection": command.selection or (f"sku={command.sku}" if command.sku else ""),
            "changes": command.changes or "",
            "from_ms": command.from_ms or 0,
            "replaces": bool(command.replaces),
            "operator": command.operator,
            "reason": command.reason or "",
            "accepted": not problem,
            "problem": problem,
            "cancels": cancelled,
        }
        return [Output("policy_changes", command.event_id, value, command.event_time_ms)]
