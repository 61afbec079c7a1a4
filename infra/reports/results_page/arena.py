"""Section of the arena: profit beside simple strategies and a clairvoyant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.reports.results_page.formatting import LINK, load, origin, percent, table, undated

NOT_JUDGED = "shown, not judged"
"""Limit of a line of the arena that has none."""


def arena(folder: Path) -> Iterator[str]:
    """Yield the section of the arena: profit beside simple strategies and a clairvoyant."""
    report = load("arena.json", folder)
    seeds = max(len(each) for each in report["seeds"].values())
    judged = [line for line in report["lines"] if line["wanted"] != NOT_JUDGED]
    missed = [f"{line['family']}: {line['claim']}" for line in judged if not line["accepted"]]
    yield "## Arena"
    yield ""
    yield (
        f"`make arena`: {report['days']:g} simulated days, {report['listings']} listings, {seeds} seeds, 95 % "
        f"intervals; [data]({LINK}/arena.json); date: {report.get('date') or undated('arena.json', folder)}. "
        "Profit is expected profit per price request. The clairvoyant knows the true demand and prices under the "
        'same guardrails. "Hourly" has the same beliefs, optimizer and guardrails and reprices every hour. Only '
        "logit is the demand that the models assume."
    )
    yield ""
    rows = []
    for family, strategies in report["families"].items():
        lines = {line["claim"]: line for line in report["lines"] if line["family"] == family}
        over_cost = min(line["value"] for claim, line in lines.items() if "over cost_plus" in claim)
        share = lines["share of the clairvoyant's profit"]
        match, hourly = lines["profit over match_rival"], lines["profit over hourly"]
        changes = [_mean(strategies[name]["changes_per_listing_day"]) for name in ("walras", "hourly")]
        rows.append((
            family, f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})", share["wanted"],
            percent(over_cost), _interval(match), _interval(hourly), f"{changes[0]:.2f}, {changes[1]:.2f}",
        ))  # fmt: skip
    head = ("family of demand", "share of the clairvoyant's profit", "limit", "over the best cost-plus",
            "over matching the rival", "over hourly repricing",
            "price changes per listing and day: Walras, hourly")  # fmt: skip
    yield from table(head, rows)
    yield from _shares(report)
    yield (
        f"{len(judged) - len(missed)} of {len(judged)} judged lines hold"
        + (f"; missed: {'; '.join(missed)}." if missed else ".")
        + " The comparison with hourly repricing is not judged: its intervals hold zero, with fewer price changes."
    )
    yield ""
    yield f"![Profit beside simple strategies and a clairvoyant]({LINK}/arena.png)"
    yield ""
    yield from _strategies(folder)


def _strategies(folder: Path) -> Iterator[str]:
    """Yield the table of a run with every strategy and every family of demand, on few seeds."""
    report = load("arena_strategies.json", folder)
    seeds = sorted({seed for each in report["seeds"].values() for seed in each})
    date, machine, commit = origin(report)
    yield "### Every strategy in every family"
    yield ""
    yield (
        f'`make arena ARGS="--seeds {",".join(map(str, seeds))}"`; [data]({LINK}/arena_strategies.json); '
        f"date: {date}; machine: {machine}; commit: {commit}. "
        "All methods but walras, the rules and the clairvoyant run on the fixed hourly schedule with the same "
        "beliefs and guardrails. Not every one aims at profit: revenue_lp maximizes revenue, and target_lp sells "
        "a quantity. With so few seeds, differences of a few "
        "hundredths mean little."
    )
    yield ""
    yield from _shares(report)


def _shares(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of each method's mean share of the clairvoyant's profit, by family of demand."""
    families = report["families"].values()
    rows = [
        (name, *(f"{_mean(of[name]['share_of_clairvoyant']):.3f}" for of in families))
        for name in next(iter(families))
    ]
    yield from table(("share of the clairvoyant's profit by", *report["families"]), rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval(line: Mapping[str, Any]) -> str:
    return f"{percent(line['value'])} ({percent(line['low'])} to {percent(line['high'])})"
