"""approve, reject: an operator's answer to a decision that awaits one."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler


class Reject(CommandHandler):
    """End the request; the change does not go on."""

    kind = "reject"
    text = "rejected the change"
    help = "Reject a decision that waits for approval; the price stays."
    decides = False
    arguments = (Argument("decision_id", "The decision that waits."),)

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Answer the covered listings that await this decision."""
        outputs: list[Output] = []
        for key in context.covered:
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
    help = (
        "Approve a decision that waits: publish its best price in one step, or accept its new cost. "
        "Without it the price stays."
    )
    decides = True

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
