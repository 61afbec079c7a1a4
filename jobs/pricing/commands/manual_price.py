"""manual_price: a price set by hand, which stays until it is unfrozen; hard guardrails still apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from features.bucket_logic import Output
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler, refusal_of
from jobs.pricing.decision.texts.limit_texts import bound_by
from jobs.pricing.guardrails import AllowedPrices
from schemas.public_texts import OUTCOMES


class ManualPrice(CommandHandler):
    """Publish the operator's price and freeze it; a price that is not published freezes nothing."""

    kind = "manual_price"
    text = "set the price by hand"
    help = (
        "Set a price within the hard limits, also for the listing's price group, and freeze the listing until "
        "`walras unfreeze`."
    )
    arguments = (Argument("amount", "Amount in major units, e.g. 19.99, and the listing's currency.", "amount"),)

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Reprice the listing and its price group, then freeze it if it has the price; nothing without a price."""
        command = context.command
        if command.price_minor is None:
            return ()
        outputs = context.reprice(context.covered, approved=dict.fromkeys(context.covered, command.price_minor))
        decisions = {output.key: output.value for output in outputs if output.stream == "decisions"}
        for key in context.covered:
            table = context.state(key).table
            now = None if table is None else table.default_minor
            problem = _why_not_set(command.price_minor, now, decisions.get(key))
            if problem:
                outputs.append(refusal_of(command, f"{key}: {problem}"))
            else:
                context.control.freeze(command, text=f"price set by {command.operator}")
        return outputs


def _why_not_set(price_minor: int, now_minor: int | None, decision: Mapping[str, Any] | None) -> str:
    """Return why a table has neither the operator's price nor the nearest allowed one; empty if it has."""
    if decision is None:
        return "the listing is not for sale"
    result = decision["result"]
    allowed = None if result["allowed"] is None else AllowedPrices(*result["allowed"])
    if now_minor == (price_minor if allowed is None else allowed.nearest(price_minor)):
        return ""
    limiting = bound_by(result["bands"], result["candidate_minor"])
    why = "; ".join(band["detail"] for band in result["bands"] if band["code"] in limiting)
    return f"{OUTCOMES[result['outcome']]}: {why}" if why else OUTCOMES[result["outcome"]]
