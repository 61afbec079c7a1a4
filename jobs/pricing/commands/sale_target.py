"""sale_target: how many units may be sold until a time; prices follow the target."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.bucket.listing.listing_state import SaleTarget as Target
from jobs.pricing.commands.base import UNTIL_HELP, Argument, CommandContext, CommandHandler


class SaleTarget(CommandHandler):
    """Set a target; without units, or with a time that is over, end it."""

    kind = "sale_target"
    text = "set a sale target"
    help = "Set how many units may be sold until a time; prices follow the target."
    arguments = (
        Argument("units", "Units to sell until then.", "integer"),
        Argument("until_ms", UNTIL_HELP, "until", option=True),
    )

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Set the listing's target and reprice it."""
        command, at_ms = context.command, context.trigger.at_ms
        target = None
        if command.units is not None and command.until_ms is not None and command.until_ms > at_ms:
            target = Target(command.units, at_ms, command.until_ms)
        for key in context.covered:
            context.state(key).target = target
        return context.reprice(context.covered, units=command.units)
