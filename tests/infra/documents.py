"""What the tests of the documents share: code blocks, and a check of the commands that they contain.

A command is parsed with the program's own parser and not run: a renamed command, option, make target or module is
found, and no platform is started.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import typer

from infra.local.__main__ import parser
from jobs.cli import commands
from jobs.replay.command import app as replay

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "infra" / "docs"
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^(\w+)\s*\?=", MAKEFILE, re.MULTILINE))
PLACEHOLDER = re.compile(r"<[a-z /0-9]+>")
ENVIRONMENT = re.compile(r"WALRAS_[A-Z_]+=\S+")
PROGRAMS = ("make", "walras", "python", ".walras/env/bin/walras", ".walras/env/bin/python")


def code_blocks(text: str, language: str = "") -> list[str]:
    """Return the contents of a page's fenced code blocks of one language."""
    return [
        body
        for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if kind == language
    ]


def commands_in(text: str) -> list[str]:
    """Return every command of a page: lines of code blocks and inline code that start with a known program."""
    lines = [line for block in code_blocks(text) for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    stripped = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in stripped if _words(line) and _words(line)[0] in PROGRAMS and len(_words(line)) > 1]


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(PLACEHOLDER.sub(".", command))
    except ValueError:
        return []
    while words and ENVIRONMENT.fullmatch(words[0]):
        words.pop(0)
    return words


def check_command(command: str) -> None:
    """Check that a command exists and takes its arguments.

    Raises
    ------
    AssertionError, SystemExit, click.ClickException
        If a target, variable, module, command or option does not exist.
    """
    program, *arguments = _words(command)
    if program == "make":
        _check_make(arguments)
    elif program.endswith("walras"):
        _check_walras(arguments)
    else:
        assert arguments[0] == "-m", command
        _check_module(arguments[1], arguments[2:])


def _check_make(arguments: list[str]) -> None:
    target, *given = arguments
    assert target in TARGETS, target
    for pair in given:
        name, _, value = pair.partition("=")
        assert name in VARIABLES, pair
        if name == "ARGS" and target in ("run", "up", "logs"):
            parser().parse_args([target, *shlex.split(value)])


def _check_walras(arguments: list[str]) -> None:
    if arguments == ["--help"]:
        return
    command = typer.main.get_command(commands)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands, name
        command = command.commands[name]
        if not arguments and hasattr(command, "commands"):
            return
    _check_parameters(command, arguments)


def _check_parameters(command: Any, arguments: list[str]) -> None:
    """Parse arguments without running the command; a mention in a sentence may leave arguments out."""
    try:
        command.make_context(command.name or "", list(arguments))
    except Exception as error:
        if type(error).__name__ != "MissingParameter":
            raise
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {each for each in arguments if each.startswith("--")} <= known, arguments


def _check_module(module: str, arguments: list[str]) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    if module == "infra.local":
        if arguments:
            parser().parse_args(arguments)
    elif module == "jobs.replay":
        _check_parameters(typer.main.get_command(replay), arguments)
    else:
        source = Path(spec.origin).read_text()
        if spec.submodule_search_locations:
            source += Path(spec.origin).with_name("__main__.py").read_text()
        for option in (each for each in arguments if each.startswith("--")):
            assert f'"{option}"' in source, (module, option)
