"""Commands: what operators can order, one handler per kind.

To add one, write a file in this folder with a subclass of :class:`CommandHandler`, add its instance to
:data:`COMMANDS`, and its kind to :class:`schemas.records.operator_events.CommandKind`, which is the input topic's
contract. The check suite (tests/jobs/pricing/test_commands.py) runs over the tuple; a test fails for a class that
is not in it. With ``help`` the handler gets a ``walras`` command; run ``make schemas`` and add its row to
infra/docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from features.bucket_logic import Output
from jobs.pricing.commands.approval import Approve, Reject
from jobs.pricing.commands.base import Argument, CommandContext, CommandHandler, refusal_of
from jobs.pricing.commands.freezing import Freeze, KillSwitch, Resume, Unfreeze
from jobs.pricing.commands.manual_price import ManualPrice
from jobs.pricing.commands.policy_change import PolicyChange
from jobs.pricing.commands.rollback import Rollback
from jobs.pricing.commands.sale_target import SaleTarget
from jobs.pricing.commands.settle import Settle

COMMANDS: tuple[CommandHandler, ...] = (
    Approve(),
    Reject(),
    Freeze(),
    Unfreeze(),
    ManualPrice(),
    SaleTarget(),
    PolicyChange(),
    Settle(),
    Rollback(),
    KillSwitch(),
    Resume(),
)
HANDLER_OF: Mapping[str, CommandHandler] = {handler.kind: handler for handler in COMMANDS}
"""The handler of a kind."""


def apply_command(context: CommandContext) -> list[Output]:
    """Carry a command out; return decisions and tables, or the record of a command that is refused."""
    handler = HANDLER_OF[context.command.kind]
    if problem := handler.problem(context.command):
        return [refusal_of(context.command, problem)]
    return list(handler.apply(context))


__all__ = ["COMMANDS", "HANDLER_OF", "Argument", "CommandContext", "CommandHandler", "apply_command"]
