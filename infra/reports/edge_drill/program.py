"""The program ``edge-drill``: the quote port while its servers fail, under load, and after a publication.

A broker, Redis and edges run without Flink. (a) At 500 quotes a second, with every disturbance of
:data:`~infra.reports.edge_drill.disturbances.DISTURBANCES` in turn, each quote of a known listing is answered with
source and age, within 100 ms (p99) after the first half second of a failure, and reaches Kafka under its id, while
the edge's memory stays bounded. (b) Of ten times the rate limit the excess gets 429 with Retry-After, and the rest
is served as fast. (c) Three edges answer with a published price within 50 ms (p99), or without hints within a
second, and no edge goes back to an older version. Between edges there is no such order: for the time that the
report states, one may answer the new version and another the old one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from infra.reports import RESULTS
from infra.reports.edge_drill import failures
from infra.reports.edge_drill.disturbances import DISTURBANCES
from infra.reports.edge_drill.market import load_market
from infra.reports.edge_drill.overload import run_overload
from infra.reports.edge_drill.process_sampler import autogroup_nice
from infra.reports.edge_drill.publications import EDGES, run_publications
from infra.reports.edge_drill.servers import EDGE, LIMITED, Servers, running_servers
from infra.reports.program import Program, UsageError, ignore_environment
from infra.reports.report import Figure, Report, write_json

REPORT = RESULTS / "edge_drill.json"


def _failures(servers: Servers, home: Path, quick: bool) -> list[Figure]:
    times = failures.QUICK_TIMES if quick else failures.FULL_TIMES
    return failures.figures(failures.run_failures(servers, DISTURBANCES, times, home, quick=quick))


def _overload(servers: Servers, home: Path, quick: bool) -> list[Figure]:
    servers.start_edge(LIMITED)
    try:
        return run_overload(servers, home, quick=quick)
    finally:
        servers.platform.stop(LIMITED)


def _publications(servers: Servers, home: Path, quick: bool) -> list[Figure]:
    for edge in EDGES[1:]:
        servers.start_edge(edge)
    return run_publications(servers, quick=quick)


STAGES: dict[str, Callable[[Servers, Path, bool], list[Figure]]] = {
    "failures": _failures, "overload": _overload, "publications": _publications,
}  # fmt: skip


class EdgeDrill(Program):
    """Quotes while Redis and Kafka fail, beyond the rate limit, and after a publication, on servers of its own."""

    name = "edge-drill"
    summary = "quotes while Redis and Kafka fail, beyond the rate limit, and after a publication (10 minutes)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        stages = ", ".join(STAGES)
        parser.add_argument("--only", default=",".join(STAGES), help=f"stages, of: {stages}")
        parser.add_argument("--quick", action="store_true", help="short stages; a missed limit is no failure")
        parser.add_argument(
            "--report", type=Path, help=f"gets the run added; default {REPORT.name}, --quick: none"
        )
        parser.add_argument(
            "--home", type=Path, default=Path(".walras/edge-drill"), help="folder of the servers (%(default)s)"
        )

    def run(self, options: argparse.Namespace) -> Report:
        """Start the servers, run the stages, and stop the servers."""
        names = [name for name in options.only.split(",") if name]
        if unknown := [name for name in names if name not in STAGES]:
            raise UsageError(f"--only: expected some of {', '.join(STAGES)}; got {', '.join(unknown)}")
        ignore_environment()
        report = Report(self.name, judged=not options.quick, data={"autogroup_nice": autogroup_nice()})
        with running_servers(options.home) as servers:
            load_market(servers.settings)
            servers.start_edge(EDGE)
            for name in names:
                report.add(*STAGES[name](servers, options.home, options.quick))
        path = options.report or (None if options.quick else REPORT)
        if path is not None:
            # Runs are kept beside each other, since other work on the machine changes their times.
            earlier = json.loads(path.read_text()) if path.exists() else []
            write_json(path, [*earlier, report.to_json()])
            print(f"written: {path}")
        return report
