"""The base class of programs that produce reports, and the runner that they share.

To add a program: write a subclass of :class:`Program` in a module below ``infra/reports``, add an instance to
``PROGRAMS`` in ``infra/reports/programs.py``, and add a target with the same name to the Makefile.
"""

from __future__ import annotations

import argparse
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from infra.reports.report import Report


class UsageError(ValueError):
    """An option with a value that the program does not know; the text states what was expected and found."""


class Program(ABC):
    """A program that measures something and returns a report.

    A subclass sets ``name`` (on the command line) and ``summary`` (one line of help), declares its options in
    :meth:`add_options`, and measures in :meth:`run`. It adds figures to a :class:`~infra.reports.report.Report`,
    which prints them, and writes its own JSON document where an option names one.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""

    @abstractmethod
    def run(self, options: argparse.Namespace) -> Report:
        """Measure and return the report.

        Raises
        ------
        UsageError
            If an option has an unknown value.
        """


def ignore_environment() -> None:
    """Remove the settings of another platform from the environment, except the folder of the jars."""
    for name in [name for name in os.environ if name.startswith("WALRAS_") and name != "WALRAS_JARS"]:
        del os.environ[name]


def build_parser(programs: Sequence[Program]) -> argparse.ArgumentParser:
    """Return the parser of ``python -m infra.reports`` with one command per program."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.reports",
        description="Run a program that measures Walras. The exit code is 1 when a limit is missed.",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="PROGRAM")
    for program in programs:
        command = commands.add_parser(program.name, help=program.summary, description=type(program).__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        program.add_options(command)
        command.set_defaults(program=program)
    return parser


def run_program(programs: Sequence[Program], arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the named program, print its summary and return the exit code.

    The exit code is 0 when every limit is kept, 1 when one is missed, and 2 for a wrong option.
    """
    options = build_parser(programs).parse_args(arguments)
    try:
        report: Report = options.program.run(options)
    except UsageError as error:
        print(f"python -m infra.reports {options.name}: {error}", file=sys.stderr)
        return 2
    print(report.summary(), flush=True)
    return report.exit_code
