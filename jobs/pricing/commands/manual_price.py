"""manual_price: a price set by hand, which stays until it is unfrozen; hard guardrails still apply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from features.bucket_logic import Output
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler
from schemas.listings import Listing


class ManualPrice(CommandHandler):
    """Publish the operator's price and freeze it."""

    kind = "manual_price"
    text = "set the price by hand"
    help = "Set a price by hand; the hard guardrails still apply."
    arguments = (Argument("amount", "Amount in major units, e.g. 19.99, and the listing's currency.", "amount"),)

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Reprice every covered listing and its price group, then freeze the former; nothing without a price."""
        command = context.command
        if command.price_minor is None:
            return ()
        outputs = context.reprice(context.covered, approved=dict.fromkeys(context.covered, command.price_minor))
        for key in context.covered:
            listing = Listing.parse(key)
            frozen = replace(command, market=listing.market, sku=listing.sku)
            context.control.freeze(frozen, text=f"price set by {command.operator}")
        return outputs
