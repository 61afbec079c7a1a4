"""rollback: the main price of an earlier table."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.bucket.listing.listing_state import ListingState
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler


class Rollback(CommandHandler):
    """Return to the price of a version, or of the table before the present one."""

    kind = "rollback"
    text = "restored an earlier price"
    help = (
        "Return to the main price of an earlier table; without a version, of the one before the present. "
        "The next cause may change the price again."
    )
    arguments = (Argument("version", "Version of the table.", "integer", option=True, required=False),)

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Reprice the listing if its earlier price is known."""
        found = {key: _price_before(context.state(key), context.command.version) for key in context.covered}
        prices = {key: price for key, price in found.items() if price is not None}
        return context.reprice(prices, approved=prices)


def _price_before(state: ListingState, version: int | None) -> int | None:
    if version is not None:
        return next((each.default_minor for each in state.history if each.version == version), None)
    return state.history[-2].default_minor if len(state.history) > 1 else None
