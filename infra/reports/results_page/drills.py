"""Sections of the drills: chaos on the whole platform, and the edge alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.reports.results_page.formatting import LINK, UNKNOWN, load, number, origin, table


def chaos(folder: Path) -> Iterator[str]:
    """Yield the section of the chaos drills."""
    yield "## Chaos drills"
    yield ""
    yield (
        f"`make chaos`; [report]({LINK}/chaos.md), [data]({LINK}/chaos.json). A recorded input with broken "
        "records runs on an undisturbed platform and on one whose processes are killed. Compared are cells, "
        "features, raw "
        "estimates, prices after `settle`, versions, bands, recomputation and both ledgers; the logics in one "
        "process must give the same. In one drill at earlier code one quote of 12,540 had no answer within five "
        "seconds "
        "(decision 38)."
    )
    yield ""
    rows = []
    for drill in load("chaos.json", folder):
        killed = [each["what"] for each in drill["killed"] if each["note"].startswith(("killed", "silent"))]
        managers = sum(what.startswith("taskmanager") for what in killed)
        others = ", ".join(what for what in killed if not what.startswith("taskmanager"))
        broken = sum(bool(count) for count in drill["compared"].values())
        date, machine, commit = origin(drill)
        rows.append((
            str(drill["seed"]), f"{drill['records']:,}", f"{drill['undisturbed']['rejected']:,}",
            f"{managers} task managers, {others}", f"{broken} of {len(drill['compared'])}",
            f"{drill['edge_answers']:,}", str(len(drill["edge_failures"])),
            f"{len(drill['edge_slow'])}, the slowest {drill['edge_slowest_s']:.1f} s", date, machine, commit,
        ))  # fmt: skip
    head = ("seed", "records", "refused records", "killed or hung", "promises broken", "quotes answered",
            "unanswered", "slower than 0.25 s", "date", "machine", "commit")  # fmt: skip
    yield from table(head, rows)


def edge_drill(folder: Path) -> Iterator[str]:
    """Yield the section of the edge drill."""
    runs = load("edge_drill.json", folder)
    yield "## Edge drill"
    yield ""
    yield (
        f"`make edge-drill`; [data]({LINK}/edge_drill.json). Redis, Kafka and edges without Flink: 500 quotes a "
        "second while servers fail, ten times the rate limit of a key, and publications that three edges are "
        "asked for without a pause. A p99 counts from half a second after the beginning of a failure. In "
        "runs 1 and 2 other work shared the machine and raised the times (see the load average); run 3 had the "
        "machine alone."
    )
    yield ""
    heads = [
        f"run {n}: {', '.join(origin(run)[::2])}, autogroup nice {run['autogroup_nice']}"
        for n, run in enumerate(runs, 1)
    ]
    rows = [
        (figure["claim"], figure.get("limit", UNKNOWN), *(_drilled(run["figures"].get(name)) for run in runs))
        for name, figure in runs[-1]["figures"].items()
    ]
    yield from table(("figure", "limit", *heads), rows)
    yield f"Machine: {origin(runs[-1])[1]}."
    yield ""


def _drilled(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return UNKNOWN
    load_average = figure.get("detail", {}).get("load_average")
    beside = "" if load_average is None else f" (load {number(load_average)})"
    return f"{number(figure['value'])} {figure['unit']}{beside}{'' if figure['ok'] else ', **missed**'}"
