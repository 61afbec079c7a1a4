"""``walras``: the questions and commands of the people who run the market.

Exit codes of every command: 0 it is so, or it is done; 1 it is not so (a difference, no such listing,
a part that is not well); 2 wrong use; 3 a part that is needed does not answer. ``--json`` prints data.

To add a command: one function in :mod:`jobs.cli.queries`, or in :mod:`jobs.cli.operator_commands` if it changes
something; :mod:`jobs.cli.quarantine` is a group of commands of its own. ``walras --help`` lists them in this
order.
"""

from __future__ import annotations

import typer

# Imported for the commands that they declare, in the order of the help page.
from jobs.cli import operator_commands, quarantine, queries  # noqa: F401
from jobs.cli.base import UNREACHED, WRONG_USE, commands
from jobs.monitoring.health import UNREACHABLE
from jobs.runtime.settings import SETTINGS_ERRORS


def app() -> None:
    """Run a command; print a wrong setting (exit code 2) or a silent part (exit code 3) without a stack."""
    try:
        commands()
    except SETTINGS_ERRORS as error:
        typer.echo(f"walras: {error}", err=True)
        raise SystemExit(WRONG_USE) from None
    except UNREACHABLE as error:
        typer.echo(f"walras: a part does not answer: {error}; `walras status` says which", err=True)
        raise SystemExit(UNREACHED) from None
