"""The program ``bench``: measure groups of figures and merge them into report.json.

Groups that need a platform start one of their own under ``--home`` and stop it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.reports.benchmarks.figures import REPORT, benchmark_figure, merge
from infra.reports.program import Program, UsageError
from infra.reports.report import Figure, Report

HOME = Path(".walras/bench")


def reprice(quick: bool, home: Path) -> list[Figure]:
    """Measure the time to reprice a listing, and the gap of the objective to GLOP's (e)."""
    from infra.reports.benchmarks import bench_optimizer

    times = bench_optimizer.repricing(compared=50 if quick else 200)
    gap = bench_optimizer.gap(400 if quick else 10_000)
    return [
        benchmark_figure("reprice_per_listing", times["hull_us"], "µs", times["glop_us"], times),
        benchmark_figure("hull_glop_gap", gap["max_relative_gap"], "relative", None, gap),
    ]


def quotes(quick: bool, home: Path) -> list[Figure]:
    """Measure quotes per second beside a constant response, their p99 at half load, and quotes in batches (f)."""
    from infra.reports.benchmarks.quote_port import bench_quote_lists, bench_quotes

    found = bench_quotes.measure(seconds=1.0 if quick else 4.0, rounds=2 if quick else 5)
    lists = bench_quote_lists.measure(seconds=1.0 if quick else 4.0, rounds=2 if quick else 5)
    per_second = found["quotes_per_second"]
    # Each round has its own peer, since the load of the machine varies: the ratio is the median over rounds.
    bare = per_second / found["ratio"]
    p99, bare_p99 = found["p99_ms_half_load"], found["bare_p99_ms_same_rate"]
    return [
        benchmark_figure("quotes", per_second, "1/s", bare, found),
        benchmark_figure("quote_p99", p99, "ms at half load", bare_p99),
        benchmark_figure("quote_in_batch", lists["batch_us"], "µs of processor time", lists["single_us"], lists),
    ]


def locks(quick: bool, home: Path) -> list[Figure]:
    """Measure the time to verify a price lock beside the bare check of its signature."""
    from infra.reports.benchmarks.quote_port import bench_locks

    found = bench_locks.measure(rounds=5 if quick else 41)
    # Each round has its own peer, since the load of the machine varies: the ratio is the median over rounds.
    bare = found["verify_us"] / found["ratio"]
    return [benchmark_figure("lock_verification", found["verify_us"], "µs", bare, found)]


def state(quick: bool, home: Path) -> list[Figure]:
    """Measure the state per listing, summed over the jobs (g)."""
    from infra.reports.benchmarks import bench_learning

    found = bench_learning.state(days=2 if quick else 31, minutes=10 if quick else 240)
    return [benchmark_figure("state_per_listing", found["bytes_per_listing"], "bytes", None, found)]


def learning(quick: bool, home: Path) -> list[Figure]:
    """Measure the cells per second that stage 1 of elasticity_job learns (i)."""
    from infra.reports.benchmarks import bench_learning

    found = bench_learning.learned(minutes=70 if quick else 600)
    return [
        benchmark_figure(
            "cells_learned_per_s", found["cells_per_second"], "1/s", found["decoded_per_second"], found
        )
    ]


def history(quick: bool, home: Path) -> list[Figure]:
    """Measure the rows per second and the memory of `walras learn` on generated scanner rows."""
    from infra.reports.benchmarks import bench_history

    found = bench_history.measure(home / "history", items=100 if quick else 4_000, weeks=60 if quick else 400)
    return [
        benchmark_figure("history_rows_per_s", found["rows_per_second"], "1/s", None, found),
        benchmark_figure("history_memory", found["peak_mb"], "MB"),
    ]


def demand(quick: bool, home: Path) -> list[Figure]:
    """Measure demand_job beside Kafka → JSON → blackhole, without and with the archive (a, b)."""
    from infra.reports.benchmarks import bench_demand

    return bench_demand.measure(home, events=300_000 if quick else 4_500_000)


def pipeline(quick: bool, home: Path) -> list[Figure]:
    """Measure the pipeline's rate without a growing lag, and the time from an offer to its table (c, d)."""
    from infra.reports.benchmarks import bench_pipeline

    return bench_pipeline.measure(home, listings=100 if quick else 1_000, minutes=2 if quick else 10)


def growth(quick: bool, home: Path) -> list[Figure]:
    """Measure rate, latency, checkpoints and memory with 1,000, 10,000 and 100,000 listings (h)."""
    from infra.reports.benchmarks import bench_pipeline

    return bench_pipeline.growth(home, sizes=(100, 300) if quick else (1_000, 10_000, 100_000))


Group = Callable[[bool, Path], list[Figure]]
GROUPS: dict[str, Group] = {
    "reprice": reprice, "quotes": quotes, "locks": locks, "state": state, "learning": learning,
    "history": history, "demand": demand, "pipeline": pipeline, "growth": growth,
}  # fmt: skip
WITHOUT_PLATFORM = ("reprice", "quotes", "locks", "state", "learning", "history")
"""Groups that need no platform, selected by ``--only pure``."""


def measure(report: Report, names: Sequence[str], *, quick: bool, home: Path) -> None:
    """Measure groups one after another and add their figures to the report."""
    for number, name in enumerate(names, 1):
        group = GROUPS[name]
        print(f"[{number}/{len(names)}] {name}: {(group.__doc__ or '').strip()}", flush=True)
        began = time.monotonic()
        report.add(*group(quick, home))
        print(f"    {time.monotonic() - began:.0f} s", flush=True)


class Benchmarks(Program):
    """Measure throughput, latency, memory and solver time, each beside its limit or a peer of the same run."""

    name = "bench"
    summary = "throughput, latency, memory and solver time (hours; --only pure: minutes)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        groups = ", ".join(GROUPS)
        parser.add_argument("--only", default=",".join(GROUPS), help=f"groups, of: {groups}; or 'pure'")
        parser.add_argument("--quick", action="store_true", help="small sizes; a missed limit is no failure")
        parser.add_argument("--report", type=Path, help=f"default {REPORT.name} in results; --quick writes none")
        parser.add_argument("--home", type=Path, default=HOME, help="folder of the platform (%(default)s)")

    def run(self, options: argparse.Namespace) -> Report:
        """Measure the groups."""
        only = options.only
        names = WITHOUT_PLATFORM if only == "pure" else [name for name in only.split(",") if name]
        unknown = [name for name in names if name not in GROUPS]
        if unknown:
            raise UsageError(f"--only: expected some of {', '.join(GROUPS)}; got {', '.join(unknown)}")
        report = Report(self.name, judged=not options.quick)
        measure(report, names, quick=options.quick, home=options.home)
        path = options.report or (None if options.quick else REPORT)
        if path is not None:
            merge(report.figures, path)
            print(f"written: {path}")
        return report
