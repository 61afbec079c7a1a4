"""``walras rules``: pricing rules in force, their check, and what they did to prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from jobs.cli.base import NO, AsJson, columns, commands, out, wrong
from jobs.connectors.kafka.commands import OperatorError, parse_since, parse_target
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import read_values
from jobs.runtime.settings import Settings

if TYPE_CHECKING:
    from jobs.audit.rules import RuleReport
    from jobs.policies.rules import ScopeRules
    from jobs.pricing.rules.check import RuleCheck

rules = typer.Typer(
    name="rules",
    help="Pricing rules: list those in force by scope, check them, and report what they did to prices.\n\n"
    "Rules are a key of the policy, `rules.entries`: `walras policy set` sends them, `preview` shows what they "
    "would change, and `rollback` takes them back.",
    invoke_without_command=True,
)
commands.add_typer(rules)

Target = Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku; by default all.")]
Since = Annotated[
    str, typer.Option("--since", help="Only decisions since then: 90m, 2h, 3d of run time, or an ISO date.")
]


@rules.callback()
def list_(context: typer.Context, since: Since = "1d", as_json: AsJson = False) -> None:
    """List the rules in force by scope, with the listings that they applied to."""
    if context.invoked_subcommand is not None:
        return
    from jobs.policies.rules import rules_in_force

    settings = Settings.load()
    found = rules_in_force(settings, settings.tenant)
    names = {rule.name for scope in found for rule in scope.rules}
    report = _report(settings, settings.tenant, since, names)
    data = [
        {"scope": each.scope, "rules": [rule.model_dump(mode="json") for rule in each.rules]} for each in found
    ]
    statistics = {name: asdict(row) for name in sorted(names) if (row := report.of_rule(name)) is not None}
    out({"scopes": data, "statistics": statistics}, list_lines(found, report), as_json)


@rules.command()
def check(
    scope: Annotated[str, typer.Argument(help="As for `walras policy`; by default the run's tenant.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="YAML file with a list of rules, in place of those in force.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report conflicts, gaps, expired and shadowed rules; exit code 1 for a conflict of equal priority."""
    from jobs.policies.rules import check_scope
    from jobs.pricing.policies import ScopeError
    from jobs.pricing.policy import PolicyError

    settings = Settings.load()
    try:
        found = check_scope(settings, scope or settings.tenant, None if file is None else read_rules(file))
    except (ScopeError, PolicyError) as error:
        raise wrong(f"rules: {error}") from None
    out(asdict(found), check_lines(found), as_json)
    if found.has_errors:
        raise typer.Exit(NO)


@rules.command(name="report")
def report_command(target: Target = "", since: Since = "", as_json: AsJson = False) -> None:
    """Report listings and price changes per rule and strategy from the `decisions` topic.

    Each listing counts once, by its last decision, and changes from its price before the first decision. Exit
    code 1 if no decision is in the scope.
    """
    settings = Settings.load()
    found = _report(settings, target, since)
    out(asdict(found), report_lines(found), as_json)
    if not found.listings:
        raise typer.Exit(NO)


def read_rules(path: Path) -> list[dict[str, Any]]:
    """Return the rules of a YAML file; end the command if it holds no list."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise wrong(f"--file {path}: expected a readable YAML file, got {error}") from None
    if not isinstance(found, list):
        raise wrong(f"--file {path}: expected a list of rules, as in rules.entries of the policy; got {found!r}")
    return found


def _report(
    settings: Settings, target: str, since: str, names: set[str] | frozenset[str] = frozenset()
) -> RuleReport:
    # Imported here, since numpy and scipy take longer to import than the other commands to run.
    from jobs.audit.rules import rule_report

    try:
        if target:
            parse_target(target)
        since_ms = parse_since(since, settings.run_clock.now_ms()) if since else None
    except OperatorError as error:
        raise wrong(str(error)) from None
    decisions, policies = read_values(settings.kafka, "decisions"), PolicyTopic(settings.kafka)
    return rule_report(decisions, policies, scope=target, since_ms=since_ms, rules=names)


def list_lines(found: tuple[ScopeRules, ...], report: RuleReport) -> Iterator[str]:
    """Yield the rules in force as lines: per scope a table."""
    for each in found:
        yield f"{each.scope}:"
        rows = [("  rule", "priority", "valid", "action", "when", "applied to")]
        for rule in each.rules:
            when = ", ".join(f"{key}: {_text(value)}" for key, value in rule.when.model_dump(mode="json").items())
            valid = (
                f"{rule.valid_from or ''} to {rule.valid_to or ''}" if rule.valid_from or rule.valid_to else "-"
            )
            applied = report.of_rule(rule.name)
            rows.append(
                (
                    f"  {rule.name}", str(rule.priority), valid.strip(), _action(rule.action, rule.effect),
                    when or "always", applied.text if applied else "no listing",
                )
            )  # fmt: skip
        yield from columns(rows)
    if not found:
        yield "no rules: `walras policy set SCOPE 'rules.entries=[…]'` sends some"


def check_lines(found: RuleCheck) -> Iterator[str]:
    """Yield the findings of a check as lines, errors first."""
    for finding in found.findings:
        yield f"{finding.severity}: {finding.kind.replace('_', ' ')}: {finding.text}"
    yield f"{_count(found.rules, 'rule')}, {_count(len(found.findings), 'finding')}"


def report_lines(found: RuleReport) -> Iterator[str]:
    """Yield a report as lines: per action the rules and the listings without one, strategies, conflicts."""
    for action in found.actions:
        if action.rules:
            yield f"{action.action}:"
            rows = [(f"  {row.name}", row.text) for row in action.rules]
            yield from columns([*rows, ("  without such a rule", action.without.text)])
    yield f"without any rule: {found.without_rule.text}"
    if found.strategies:
        yield "strategies:"
        yield from columns([(f"  {row.name or 'not recorded'}", row.text) for row in found.strategies])
    for conflict in found.conflicts:
        instead = f"{conflict.to} applied" if conflict.to else "no rule applied instead"
        listings = _count(conflict.listings, "listing")
        yield f"conflict: {conflict.rule} lost by {conflict.reason} on {listings}; {instead}"
    for name, number in found.overruled.items():
        yield f"overruled: the band of {name} lay outside the policy's hard limits on {_count(number, 'listing')}"
    yield f"never matched: {', '.join(found.never_matched) or 'none'}"
    yield f"{_count(found.listings, 'listing')}, {_count(found.decisions, 'decision')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what if number == 1 else f'{what}s'}"


def _action(kind: str, effect: Any) -> str:
    return kind if effect is True else f"{kind} {effect:+.1%}" if kind == "adjust" else f"{kind} {_text(effect)}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
