"""settle: compute every price of the scope from the current beliefs, without pace limits."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import CommandContext, CommandHandler
from schemas.causes import Cause


class Settle(CommandHandler):
    """Reprice so that the result does not depend on the path: segments are learned afresh first."""

    kind = "settle"
    text = "requested new prices"
    help = "Optimize every listing again from the current beliefs, without pace limits."
    scope = "tenant"

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Reprice every covered listing; without one, nothing is learned afresh either."""
        if not context.covered:
            return ()
        context.book.learn_segment_deviations(lambda key: context.bucket.elasticity(key)[0], reset=True)
        return context.reprice(context.covered, Cause.SETTLE)
