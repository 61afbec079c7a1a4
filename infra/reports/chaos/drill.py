"""The program ``chaos``: one recorded input on an undisturbed platform and on one whose parts are killed.

After both runs: cells, features and raw estimates are equal, every decision recomputes from its record, versions
have only increased, both ledgers balance, no new price lies outside its hard bands, and prices are equal after
``settle``. The edge responded throughout and never served a version older than one before. The pure logic in one
process (:mod:`jobs.hosting.chain`) must produce the cells, estimates and settled prices of the undisturbed run.
The report, with every kill and comparison, is written to ``chaos.json`` and ``chaos.md``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.reports import RESULTS
from infra.reports.arena.arena import seeds_of
from infra.reports.chaos.capture import Capture, differences
from infra.reports.chaos.disturbances import plan
from infra.reports.chaos.markdown import markdown
from infra.reports.chaos.playback import BUCKETS, QUICK, Size, run
from infra.reports.chaos.recording import INVALID_KINDS, record
from infra.reports.program import Program, ignore_environment
from infra.reports.report import Figure, Limit, Report, provenance, write_json

REPORT = RESULTS / "chaos.json"


class ChaosDrill(Program):
    """Kill parts under a recorded input and compare the outputs with those of an undisturbed run."""

    name = "chaos"
    summary = "kill parts under a recorded input and compare with an undisturbed run"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--seed", type=seeds_of, default=[1], help="one or several, like 1-3,7 (default 1)")
        parser.add_argument("--kills", type=int, default=10, help="of task managers; other parts once each")
        parser.add_argument("--quick", action="store_true", help="a small market and a short run")
        parser.add_argument(
            "--home", type=Path, default=Path(".walras/chaos"), help="folder of the platform (%(default)s)"
        )
        parser.add_argument(
            "--report", type=Path, default=REPORT, help="file of the report; .md is written beside it"
        )

    def run(self, options: argparse.Namespace) -> Report:
        """Run one drill per seed, without settings of another platform from the environment."""
        ignore_environment()
        report = Report(self.name)
        drills: list[dict[str, Any]] = []
        for seed in options.seed:
            size = QUICK if options.quick else Size()
            drills.append(drill(options.home, seed=seed, kills=options.kills, size=size))
            write_json(options.report, drills)
            options.report.with_suffix(".md").write_text(markdown(drills))
            report.add(*figures(drills[-1]))
        print(markdown(drills))
        return report


def figures(found: dict[str, Any]) -> list[Figure]:
    """Return the number of violations of each guarantee in a drill."""
    return [
        Figure(f"seed {found['seed']}, {name}", count, "violations", Limit(at_most=0))
        for name, count in found["compared"].items()
    ]


def compare(undisturbed: Capture, disturbed: Capture, log: dict[str, Any]) -> dict[str, list[str]]:
    """Return the violations by guarantee; an empty list for a guarantee that was kept."""
    found = {
        "cells differ": differences(undisturbed.cells, disturbed.cells),
        "features differ": differences(undisturbed.features, disturbed.features),
        "raw estimates differ": differences(undisturbed.estimates, disturbed.estimates),
        "known to settle differs": differences(undisturbed.known, disturbed.known),
        "prices after settle differ": differences(undisturbed.prices, disturbed.prices),
        "stale tables taken": list(log["stale_tables_taken"]),
        "the edge did not answer": list(log["edge_failures"]),
        "the edge went back to an older version": list(log["edge_versions_fallen"]),
    }
    for name, wrong in undisturbed.wrong.items():
        found[f"undisturbed: {name}"] = wrong
    for name, wrong in disturbed.wrong.items():
        found[f"disturbed: {name}"] = wrong
    return found


def compare_with_process(in_process: Capture, platform: Capture) -> dict[str, list[str]]:
    """Return the differences between the pure logic in one process and the platform, on the same lines."""
    return {
        "pure logic and platform: cells": differences(in_process.cells, platform.cells),
        "pure logic and platform: raw estimates": differences(in_process.estimates, platform.estimates),
        "pure logic and platform: known to settle": differences(in_process.known, platform.known),
        "pure logic and platform: prices after settle": differences(in_process.prices, platform.prices),
    }


def drill(home: Path, *, seed: int, kills: int, size: Size) -> dict[str, Any]:
    """Execute both runs and return their comparison in the form of chaos.json."""
    start_ms = (round(time.time() * 1000) // 3_600_000 - 6) * 3_600_000
    records = record(
        seed=seed, start_ms=start_ms, minutes=size.minutes, skus=size.skus,
        events_per_minute=size.events_per_minute, buckets=BUCKETS,
    )  # fmt: skip
    speed = size.minutes * 60 / size.feed_s
    print(f"{len(records)} records of {size.minutes} minutes, at {speed:.0f} times wall speed", flush=True)
    began = time.monotonic()
    steps = plan(seed, kills, size.feed_s * 0.8)
    undisturbed, first_log = run(home, records, size, speed, None)
    print(f"undisturbed: {undisturbed.counts}", flush=True)
    disturbed, log = run(home, records, size, speed, steps)
    print(f"disturbed: {disturbed.counts}", flush=True)
    violations = compare(undisturbed, disturbed, log)
    violations |= compare_with_process(first_log["in_process"], undisturbed)
    return {
        **provenance(), "seed": seed, "kills": kills,
        "size": asdict(size), "records": len(records), "kinds_of_poison": INVALID_KINDS,
        "seconds": round(time.monotonic() - began), **log,
        "undisturbed": undisturbed.counts, "disturbed": disturbed.counts,
        "compared": {name: len(wrong) for name, wrong in violations.items()},
        "differences": {name: wrong[:20] for name, wrong in violations.items() if wrong},
        "equal": not any(violations.values()),
    }  # fmt: skip
