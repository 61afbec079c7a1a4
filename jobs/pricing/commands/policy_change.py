"""policy: a record that the policy was changed; the policy itself is read when the jobs start."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import CommandContext, CommandHandler


class PolicyChange(CommandHandler):
    """Change nothing: the record in the topic is what remains of the command."""

    kind = "policy"
    text = "changed the policy"

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Return nothing."""
        return ()
