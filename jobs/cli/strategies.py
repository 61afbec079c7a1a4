"""``walras strategies``: which strategies the policy uses, and how they compare in the decision log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.base import NO, AsJson, columns, commands, out, wrong
from jobs.connectors.kafka.commands import OperatorError, parse_since, parse_target
from jobs.connectors.kafka.policies import PolicyTopic
from jobs.connectors.kafka.reading import read_values
from jobs.runtime.settings import Settings
from schemas.money import Money

if TYPE_CHECKING:
    from jobs.audit.strategies import StrategyComparison, StrategyResult

strategies = typer.Typer(
    name="strategies",
    help="List the strategies that propose prices, and compare those in force with the shadows.",
    no_args_is_help=True,
)
commands.add_typer(strategies)


@strategies.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the strategies that a policy may name, and what the policy file uses each for."""
    # Imported here, since numpy and scipy take longer to import than the other commands to run.
    from jobs.audit.strategies import list_strategies
    from jobs.pricing.policy import Policy

    found = list_strategies(Policy.load(Settings.load().policy))
    rows = [(each.name, ", ".join(each.used_for) or "-", each.settings or "-", each.what) for each in found]
    out([asdict(each) for each in found], columns([("strategy", "used for", "section", "prices"), *rows]), as_json)


@strategies.command()
def compare(
    scope: Annotated[str, typer.Argument(help="tenant, tenant/market or tenant/market/sku; by default all.")] = "",
    since: Annotated[
        str, typer.Option("--since", help="Only decisions since then: 90m, 2h, 3d of run time, or an ISO date.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare, per category, what the strategies in force and the shadows decided, from the `decisions` topic.

    A shadow's change is against the price in force of the same decision. Gains are expected gains of a decision
    per period over the table then in force, with 90 % intervals. Exit code 1 if no decision is in the scope.
    """
    from jobs.audit.strategies import compare_strategies

    settings = Settings.load()
    try:
        if scope:
            parse_target(scope)
        since_ms = parse_since(since, settings.run_clock.now_ms()) if since else None
    except OperatorError as error:
        raise wrong(str(error)) from None
    found = compare_strategies(
        read_values(settings.kafka, "decisions"), scope, since_ms, PolicyTopic(settings.kafka)
    )
    out(asdict(found), comparison_lines(found), as_json)
    if not found.decisions:
        raise typer.Exit(NO)


def comparison_lines(found: StrategyComparison) -> Iterator[str]:
    """Yield a comparison as lines: a table, and the number of decisions."""
    head = ("category", "strategy", "", "decisions", "mean price", "change", "gain", "90 % interval", "bound by")
    if found.results:
        yield from columns([head, *(_cells(each) for each in found.results)])
    yield f"{found.decisions:,} {'decision' if found.decisions == 1 else 'decisions'}"
    if found.decisions and all(each.in_force for each in found.results):
        yield "no shadows: `strategies.shadow` of the policy names none"


def _cells(row: StrategyResult) -> tuple[str, ...]:
    def money(minor: float | None) -> str:
        return "-" if minor is None else str(Money(round(minor), row.currency))

    interval = (
        "-" if row.gain_low_minor is None else f"{money(row.gain_low_minor)} to {money(row.gain_high_minor)}"
    )
    change = "-" if row.mean_change is None or row.in_force else f"{row.mean_change:+.1%}"
    bound = ", ".join(f"{code} {share:.0%}" for code, share in row.bound.items())
    return (
        row.category, row.strategy, "in force" if row.in_force else "shadow", f"{row.decisions:,}",
        money(row.mean_price_minor), change, money(row.gain_minor), interval, bound or "-",
    )  # fmt: skip
