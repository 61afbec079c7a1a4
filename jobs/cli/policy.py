"""walras policy: show, set, diff, history, rollback, preview."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import Progress

from jobs.audit.explanation import format_time
from jobs.cli.base import AsJson, Operator, Reason, columns, commands, out, wrong
from jobs.cli.policy_texts import change_lines, preview_data, preview_lines, rollback_lines
from jobs.connectors.kafka.commands import OperatorError
from jobs.policies import (
    PolicyUseError,
    covered_listings,
    diff,
    history,
    preview,
    rollback,
    set_policy,
    show,
)
from jobs.policies.documents import cancelled
from jobs.pricing.policies import PatchError, ScopeError
from jobs.pricing.policies.live_keys import accepts_null, description, is_live
from jobs.pricing.policy import PolicyError
from jobs.runtime.settings import Settings
from schemas.records.operator_events import Command

REFUSED = (PolicyUseError, PatchError, ScopeError, OperatorError, PolicyError)

policy = typer.Typer(
    help="Policies by scope: show, change, preview and take back business numbers while the jobs run.\n\n"
    "A SCOPE is tenant or tenant/market, optionally with one of :category=…, :role=…, :price_group=…, :sku=… "
    "(acme/web-us-usd:category=shoes). Narrower scopes override wider ones.",
    no_args_is_help=True,
)
commands.add_typer(policy, name="policy")

_SCOPE = "tenant, tenant/market, or either with :category=… (role, price_group, sku)"
ScopeText = Annotated[str, typer.Argument(help=_SCOPE, metavar="[SCOPE]")]
PatchScope = Annotated[str, typer.Argument(help=_SCOPE, metavar="SCOPE")]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(help="section.key=value, such as limits.max_step=0.05", metavar="KEY=VALUE…"),
]
Unset = Annotated[
    list[str] | None, typer.Option("--unset", help="Key whose wider value applies again; may be repeated.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="First market minute: 10m, 2h or an ISO time; default: as soon as possible. A time without a zone is "
        "UTC; a rule's valid_from is in its market's local time.",
    ),
]


def parse_changes(assignments: list[str] | None, unset: list[str] | None) -> dict[str, Any]:
    """Return key → value of the assignments, read as YAML, and key → None of what is unset.

    >>> parse_changes(["limits.max_step=0.05", "roles.kvi=1"], ["grid.ending_minor"])
    {'limits.max_step': 0.05, 'roles.kvi': 1, 'grid.ending_minor': None}

    Raises
    ------
    PolicyUseError
        If an assignment has no value or cannot be read.
    """
    changes: dict[str, Any] = {}
    for text in assignments or []:
        key, sign, value = text.partition("=")
        if not sign:
            raise PolicyUseError(f"expected section.key=value, got {text!r}")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise PolicyUseError(f"{key}: expected a YAML value, got {value!r} ({error})") from None
        if changes[key] is None:
            unset_text = f"--unset {key} removes it from the scope"
            if accepts_null(key):
                meaning = f"null as its value ({description(key)}) can be set in the policy file alone"
                raise PolicyUseError(f"{key}: {meaning}; {unset_text}")
            raise PolicyUseError(f"{key}: expected a value, got {value!r}; {unset_text}")
    return changes | dict.fromkeys(unset or [])


@policy.command(name="show")
def show_command(
    scope: ScopeText = "",
    every: Annotated[bool, typer.Option("--all", help="Every key, not only those that a scope sets.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the policy in force in a scope, and which scope set each key; pending patches follow.

    Scopes whose keys cannot be applied, as after a change of the policy file, are named with the reason.
    """
    settings = Settings.load()
    with _refusing():
        view = show(settings, scope or settings.tenant)
    lines = [f"{view.scope} at {format_time(view.at_ms)}: policy {view.hash}"]
    rows = [
        (f"  {key}", str(found.value), found.scope, "" if is_live(key) else "restart", description(key))
        for key, found in view.values.items()
        if every or found.scope != "default"
    ]
    lines += list(columns(rows)) or ["  no scope sets a key; --all shows every key of the policy file"]
    lines += [f"  pending: {line}" for line in change_lines(list(view.pending))]
    lines += [f"  not applied: {name}: {problem}" for name, problem in view.left_out.items()]
    data = asdict(view) | {"values": {key: found._asdict() for key, found in view.values.items()}}
    out(data, lines, as_json)


@policy.command(name="set")
def set_command(
    scope: PatchScope,
    assignments: Assignments = None,
    unset: Unset = None,
    since: Since = None,
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Change keys in a scope from a market minute on. Keys and values are checked before anything is sent.

    null cannot be set: a key for which null is a value (roles.kvi, tables.unconfirmed_minutes …) gets it in the
    policy file alone.
    """
    settings = Settings.load()
    with _refusing():
        changes = parse_changes(assignments, unset)
        author = operator or getpass.getuser()
        command = set_policy(settings, scope, changes, operator=author, reason=reason, since=since)
    _sent(settings, scope, command)


@policy.command(name="diff")
def diff_command(
    scope: PatchScope,
    other: Annotated[str | None, typer.Argument(help="Another scope; by default the policy file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the keys in which a scope's policy differs from the policy file's, or from another scope's."""
    settings = Settings.load()
    with _refusing():
        found = diff(settings, scope, other)
    rows = [(f"  {key}", str(before), "→", str(after)) for key, (before, after) in found.items()]
    out(found, list(columns(rows)) or ["no key differs"], as_json)


@policy.command(name="history")
def history_command(scope: ScopeText = "", as_json: AsJson = False) -> None:
    """List all patches with author, reason, minute and outcome; of one scope where given."""
    settings = Settings.load()
    with _refusing():
        found = history(settings, scope or None)
    by = cancelled(found)
    data = [asdict(each) | {"cancelled_by": by.get(each.command_id)} for each in found]
    out(data, change_lines(found) or ["no patch"], as_json)


@policy.command(name="rollback")
def rollback_command(
    scope: PatchScope,
    to: Annotated[
        str | None, typer.Option("--to", help="Patch to return to, in place of taking back the last.")
    ] = None,
    since: Since = None,
    operator: Operator = "",
    reason: Reason = "",
) -> None:
    """Take back the patch of a scope that was sent last, or return to an earlier one.

    A pending patch is cancelled: it never holds. One that holds is undone from a market minute on. The scope's
    other pending patches are cancelled too.
    """
    settings = Settings.load()
    with _refusing():
        sent = rollback(settings, scope, operator=operator or getpass.getuser(), reason=reason, to=to, since=since)
    for line in rollback_lines(sent):
        typer.echo(line)
    _sent(settings, scope, sent.command)


@policy.command(name="preview")
def preview_command(
    scope: PatchScope,
    assignments: Assignments = None,
    unset: Unset = None,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the last day's decisions as if a patch had been in force; nothing is sent.

    Pending patches that hold in the patch's minute are part of it.
    """
    settings = Settings.load()
    with (
        _refusing(),
        Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("decisions", total=None)
        found = preview(
            settings, scope, parse_changes(assignments, unset), since=since,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    out(preview_data(found), list(preview_lines(found)), as_json)


def _sent(settings: Settings, scope: str, command: Command) -> None:
    typer.echo(f"policy {scope}: sent as {command.event_id}; holds from {format_time(command.from_ms or 0)}")
    count = covered_listings(settings, scope)
    typer.echo(f"{count} listings of the catalog are in this scope now; `walras policy history` shows the outcome")
    if not count:
        typer.echo(
            "warning: no listing is in this scope: check its spelling, or take it back with rollback", err=True
        )


class _refusing:
    """Turns a refused request into exit code 2 with its message."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, REFUSED):
            raise wrong(f"policy: {error}") from None
