"""The program ``forge-locks``: verify forged tokens of price locks and count those that are accepted."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

from infra.reports.fuzz.lock_forgeries import Attack, attack
from infra.reports.program import Program, UsageError
from infra.reports.report import Figure, Limit, Report, write_json

RUN_SIZE = 10_000
"""Tokens of one run; each run has its own seed and keys."""
SHOWN_ACCEPTED = 20


class ForgeLocks(Program):
    """Verify forged, altered and expired tokens, and genuine ones among them."""

    name = "forge-locks"
    summary = "forged, altered and expired tokens of price locks (minutes)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--tries", type=int, default=1_000_000, help="number of tokens (%(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="seed of the first run; each run adds 1")
        parser.add_argument("--out", type=Path, help="file of the report; default: not written")

    def run(self, options: argparse.Namespace) -> Report:
        """Verify the tokens in runs of :data:`RUN_SIZE`."""
        if options.tries < 1:
            raise UsageError(f"--tries: expected at least 1, got {options.tries}")
        total = Attack()
        sizes = [min(RUN_SIZE, options.tries - start) for start in range(0, options.tries, RUN_SIZE)]
        for number, size in enumerate(track(sizes, description="runs")):
            found = attack(size, options.seed + number)
            total.refused += found.refused
            total.accepted += found.accepted
            total.genuine_refused += found.genuine_refused
        report = Report(self.name, data={"refused": dict(sorted(total.refused.items()))})
        report.add(
            Figure("tokens", options.tries),
            Figure(
                "accepted", len(total.accepted), "tokens", Limit(at_most=0),
                detail={"first": total.accepted[:SHOWN_ACCEPTED]},
            ),
            Figure("genuine tokens refused", total.genuine_refused, "tokens", Limit(at_most=0)),
        )  # fmt: skip
        for code, count in sorted(total.refused.items()):
            print(f"  refused {code}: {count}")
        for text in total.accepted[:SHOWN_ACCEPTED]:
            print(f"ACCEPTED {text}")
        if options.out:
            write_json(options.out, report.to_json())
        return report
