"""Sections of `make bench`: figures beside their peers, and the whole pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.reports.results_page.formatting import LINK, UNKNOWN, kept, load, number, origin, table

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
                latency(detail[phase]["offer_to_table"], limit)
                for phase, limit in (("full", None), ("half", 250), ("idle", 100))
            ), date, machine, commit,
        ))  # fmt: skip
    head = ("run", "events/s", "offer to table at that rate (p50, p99)", "at half of it", "idle after the load",
            "date", "machine", "commit")  # fmt: skip
    yield from table(head, rows)


def latency(seen: Mapping[str, Any], limit: float | None = None) -> str:
    """Return median, p99 and number of an offer's latencies in words; a p99 beyond the limit is marked."""
    missed = ", **missed**" if limit is not None and seen["p99_ms"] > limit else ""
    return f"{number(seen['p50_ms'])}, {number(seen['p99_ms'])} ms ({seen['n']} probes){missed}"
