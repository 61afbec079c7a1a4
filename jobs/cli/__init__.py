"""``walras``: queries and commands for operators.

Exit codes of every command: 0 yes or done; 1 no (a difference, no such listing, a component with a problem); 2
wrong use; 3 a required component does not answer. ``--json`` prints data.

To add a command: one function in :mod:`jobs.cli.queries`, in :mod:`jobs.cli.operator_commands` if it changes
something, or in :mod:`jobs.cli.learning` if it needs no running part; :mod:`jobs.cli.keys`,
:mod:`jobs.cli.locks`, :mod:`jobs.cli.quarantine`, :mod:`jobs.cli.rules` and :mod:`jobs.cli.strategies` are groups
of their own.
"""

from __future__ import annotations

import sys

try:
    import typer
except ModuleNotFoundError:
    print("walras: expected an environment with the extra `full`, got one without typer", file=sys.stderr)
    raise SystemExit(2) from None

from jobs.access.signatures import CommandKeyError

# Imported for the commands that they declare.
from jobs.cli import (  # noqa: F401
    keys,
    learning,
    locks,
    model_reports,
    operator_commands,
    policy,
    quarantine,
    queries,
    recompute,
    rules,
    strategies,
)
from jobs.cli.base import UNREACHED, WRONG_USE, commands
from jobs.monitoring.health import UNREACHABLE
from jobs.runtime.settings import SETTINGS_ERRORS


def app() -> None:
    """Run a command; print a wrong setting (exit code 2) or an unreachable component (exit code 3) without a
    traceback.
    """
    try:
        commands()
    except (*SETTINGS_ERRORS, CommandKeyError) as error:
        typer.echo(f"walras: {error}", err=True)
        raise SystemExit(WRONG_USE) from None
    except UNREACHABLE as error:
        typer.echo(f"walras: a component does not answer: {error}; `walras status` names it", err=True)
        raise SystemExit(UNREACHED) from None
