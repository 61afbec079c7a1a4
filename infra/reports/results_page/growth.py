"""Section of growth with the number of listings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.reports.results_page.benchmarks import latency
from infra.reports.results_page.formatting import LINK, load, origin, table

GROWTH_FILES: dict[str, str] = {
    "hour_slow.json": "at the code of decision 35, across the end of an hour of market time",
    "growth_slow.json": "before decision 35",
    "report.json": "before decisions 31 to 35",
}
"""Reports that hold growth measurements, and the code at which each was taken."""


class Growth(NamedTuple):
    """One growth measurement: a number of listings on one machine at one date."""

    listings: int
    date: str
    machine: str
    file: str
    seen: Mapping[str, Any]


def growth_measurements(folder: Path) -> list[Growth]:
    """Return every growth measurement, by listings and with the newest first."""
    found = []
    for name in GROWTH_FILES:
        report = load(name, folder)
        if "seen" in report:
            seen, figure = [report["seen"]], {}
        else:
            figure = report["figures"]["taskmanager_100k"]
            seen = figure["detail"]["sizes"]
        date, machine, _ = origin(figure, report)
        found += [Growth(each["listings"], date, machine, name, each) for each in seen]
    return sorted(sorted(found, key=lambda each: each.date, reverse=True), key=lambda each: each.listings)


def growth(folder: Path) -> Iterator[str]:
    """Yield the section of growth with the number of listings; per size the newest measurement is current."""
    yield "## Growth with the number of listings"
    yield ""
    yield (
        '`make bench ARGS="--only growth"`: one subtask per operator, task managers of 2.7 and 1.15 GB, 5,000 '
        "events/s. Measured are the opening (until every listing has a decision), some minutes of a market and an "
        "idle time. Memory is that of task managers and Python workers together; its limit is 4,000 MB at 100,000 "
        "listings."
    )
    yield ""
    measured = growth_measurements(folder)
    current: dict[int, Growth] = {}
    for each in measured:
        current.setdefault(each.listings, each)
    older = [each for each in measured if current[each.listings] is not each]
    yield "**Current figures**: the newest measurement of each size."
    yield ""
    yield from _growth_table(current.values())
    for each in current.values():
        slowest = max(row["ms"] for row in each.seen["idle"]["offer_to_table"].get("slowest", [{"ms": 0.0}]))
        checkpoints = each.seen["checkpoints"]["repricing_job"]
        yield (
            f"- {each.listings:,} listings: the slowest idle probe took {slowest:,.0f} ms; "
            f"{checkpoints['failed']} of {checkpoints['completed'] + checkpoints['failed']} checkpoints of "
            f"repricing_job failed; {each.seen['full']['left_in_kafka']['feature_job']:,} records were unread by "
            "feature_job at the end of the load."
        )
    yield ""
    yield "**Superseded figures**, measured at earlier code and partly on a faster machine:"
    yield ""
    yield from _growth_table(older)


def _growth_table(measured: Iterable[Growth]) -> Iterator[str]:
    rows = [
        (
            f"{each.listings:,}", f"{each.seen['opening_s']:,.0f} s",
            f"{each.seen['full']['events_per_second']:,.0f}",
            f"{min(each.seen['full']['minute_delay_s'])} to {max(each.seen['full']['minute_delay_s'])} s",
            latency(each.seen["full"]["offer_to_table"]), latency(each.seen["idle"]["offer_to_table"]),
            f"{each.seen['memory_mb']['together']:,} MB", each.date, each.machine,
            f"[{each.file}]({LINK}/{each.file}), {GROWTH_FILES[each.file]}",
        )
        for each in measured
    ]  # fmt: skip
    head = ("listings", "opening", "events/s", "cells after the end of their minute (lateness: 10 s)",
            "offer to table, loaded (p50, p99)", "idle", "memory", "date", "machine", "source")  # fmt: skip
    yield from table(head, rows)
