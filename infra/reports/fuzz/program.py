"""The program ``fuzz``: feed hostile records to the chain and count the broken invariants."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from rich.progress import track

from infra.reports.fuzz.chain_fuzz import run
from infra.reports.program import Program, UsageError
from infra.reports.report import Figure, Limit, Report, write_json
from jobs.hosting.host import LogicError

RUN_SIZE = 20_000
"""Records of one run; each run has its own seed, market and event time."""
SHOWN_BREAKS = 20


class Fuzz(Program):
    """Feed hostile records of every input stream to the logic of every job in one process, without containment."""

    name = "fuzz"
    summary = "hostile records in every field of every stream (minutes)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--records", type=int, default=200_000, help="number of records (%(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="seed of the first run; each run adds 1")
        parser.add_argument("--buckets", type=int, default=4, help="buckets of the deployment (%(default)s)")
        parser.add_argument("--minutes", type=int, default=120, help="event minutes of a run (%(default)s)")
        parser.add_argument("--out", type=Path, help="file of the report; default: not written")

    def run(self, options: argparse.Namespace) -> Report:
        """Feed the records in runs of :data:`RUN_SIZE`."""
        for name in ("records", "buckets", "minutes"):
            if getattr(options, name) < 1:
                raise UsageError(f"--{name}: expected at least 1, got {getattr(options, name)}")
        refused: Counter[str] = Counter()
        decisions: Counter[str] = Counter()
        broken: list[str] = []
        sizes = [min(RUN_SIZE, options.records - start) for start in range(0, options.records, RUN_SIZE)]
        for number, size in enumerate(track(sizes, description="runs")):
            seed = options.seed + number
            try:
                found = run(size, seed=seed, buckets=options.buckets, minutes=options.minutes)
            except LogicError as error:
                broken.append(f"seed {seed}: {error}")
                continue
            refused += found.refused
            decisions += found.decisions
            broken += [f"seed {seed}: {text}" for text in found.broken]
        report = Report(self.name, data={"refused": dict(refused), "decisions": dict(decisions)})
        report.add(
            Figure("records", options.records),
            Figure("refused", refused.total(), "records"),
            Figure("decisions", decisions.total()),
            Figure(
                "broken invariants", len(broken), limit=Limit(at_most=0), detail={"first": broken[:SHOWN_BREAKS]}
            ),
        )
        for code, count in refused.most_common():
            print(f"  refused {code}: {count}")
        for text in broken[:SHOWN_BREAKS]:
            print(f"BROKEN {text}")
        if options.out:
            write_json(options.out, report.to_json())
        return report
