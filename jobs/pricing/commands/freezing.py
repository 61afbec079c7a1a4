"""freeze, unfreeze, kill_switch, resume: hold prices, and let them move again."""

from __future__ import annotations

from collections.abc import Iterable

from features.bucket_logic import Output
from jobs.pricing.commands.base import UNTIL_HELP, Argument, CommandContext, CommandHandler


class Freeze(CommandHandler):
    """Hold every price in the scope, until a time where one is given."""

    kind = "freeze"
    text = "froze the price"
    help = "Keep prices as they are."
    scope = "target"
    decides = False
    arguments = (
        Argument("until_ms", f"{UNTIL_HELP}; default: until unfrozen", "until", option=True, required=False),
    )

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Freeze; nothing is repriced."""
        context.control.freeze(context.command)
        return ()


class Unfreeze(CommandHandler):
    """End the freezes of the scope and of all narrower ones."""

    kind = "unfreeze"
    text = "unfroze the price"
    help = "Let frozen prices change again."
    scope = "target"
    decides = False

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Unfreeze; the next cause reprices."""
        context.control.unfreeze(context.command)
        return ()


class KillSwitch(CommandHandler):
    """Stop publishing in the scope: neither new tables nor renewals, but for prices that an operator sets."""

    kind = "kill_switch"
    text = "stopped publishing"
    help = (
        "Stop automatic prices and renewals of a tenant; an operator's prices are still published. "
        "Published tables stay in use until they expire."
    )
    scope = "tenant"
    decides = False

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Freeze, renewals included."""
        context.control.freeze(context.command, kill=True)
        return ()


class Resume(CommandHandler):
    """End the kill switches of the scope and of all narrower ones."""

    kind = "resume"
    text = "resumed publishing"
    help = "Publish prices again after a kill switch."
    scope = "tenant"
    decides = False

    def apply(self, context: CommandContext) -> Iterable[Output]:
        """Unfreeze."""
        context.control.unfreeze(context.command, kill=True)
        return ()
