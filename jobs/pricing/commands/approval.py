"""approve, reject: an operator's answer to a decision that awaits one."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler


class Reject(CommandHandler):
    """End the request; the change does not go on."""

    kind = "reject"
    text = "rejected the change"
    help = "Reject a pending decision."
    arguments = (Argument("decision_id", "The pending decision."),)

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Answer every listing of the bucket that awaits this decision."""
        outputs: list[Output] = []
        for key in context.bucket.index:
            pending = context.state(key).pending
            if pending and pending["decision_id"] == context.command.decision_id:
                outputs += self._answer(key, context)
        return outputs

    def _answer(self, key: str, context: CommandContext) -> Iterable[Output]:
        """End the request and the change, for all listings of the price group."""
        for member in context.members(key):
            state = context.state(member)
            state.pending, state.continue_at_ms = None, None
        return ()


class Approve(Reject):
    """Publish the whole change, or trust the cost that was held; a late approval rejects."""

    kind = "approve"
    text = "approved the change"
    help = "Approve a pending decision: its candidate price may be reached in one step."

    def _answer(self, key: str, context: CommandContext) -> Iterable[Output]:
        state = context.state(key)
        pending = state.pending or {}
        if context.trigger.at_ms > pending["until_ms"]:
            return super()._answer(key, context)
        state.pending = None
        decision_id = pending["decision_id"]
        if pending["what"] == "cost":
            state.trusted_cost_minor, state.odd_cost = context.bucket.catalog[key].cost_minor, None
            return context.reprice([key], decision_id=decision_id)
        return context.reprice([key], decision_id=decision_id, approved={key: pending["price_minor"]})
