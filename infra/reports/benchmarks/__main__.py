"""``make bench``: measure, compare with limits and peers, write report.json.

``python -m infra.reports.benchmarks [--only quotes,reprice] [--quick] [--report FILE] [--home FOLDER]``.
The groups that need a platform start one of their own under ``--home`` and stop it. The exit code is 1 when a
limit is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.reports.benchmarks import figures
from infra.reports.benchmarks.figures import LIMITS, Figure

HOME = Path(".walras/bench")


def reprice(quick: bool, home: Path) -> list[Figure]:
    """Repricing per listing, and the gap to GLOP."""
    from infra.reports.benchmarks import bench_pricing

    took = bench_pricing.repricing(judged=50 if quick else 200)
    gap = bench_pricing.gap(400 if quick else 10_000)
    return [
        Figure("reprice_per_listing", took["hull_us"], "µs", took["glop_us"], took),
        Figure("hull_glop_gap", gap["max_relative_gap"], "relative", None, gap),
    ]


def quotes(quick: bool, home: Path) -> list[Figure]:
    """Quotes a second beside a bare reply, and their p99 at half load."""
    from infra.reports.benchmarks import bench_quotes

    found = bench_quotes.measure(seconds=1.0 if quick else 4.0, rounds=2 if quick else 5)
    per_second = float(found["quotes_per_second"])
    # Each turn has its own peer, since the machine is not equally free in all: the ratio is the turns' median.
    bare = per_second / float(found["ratio"])
    p99, bare_p99 = float(found["p99_ms_half_load"]), float(found["bare_p99_ms_same_rate"])
    return [
        Figure("quotes", per_second, "1/s", bare, found),
        Figure("quote_p99", p99, "ms at half load", bare_p99),
    ]


def state(quick: bool, home: Path) -> list[Figure]:
    """State bytes per listing over the jobs."""
    from infra.reports.benchmarks import bench_learning

    found = bench_learning.state(days=2 if quick else 31, minutes=10 if quick else 240)
    return [Figure("state_per_listing", found["bytes_per_listing"], "bytes", 8_000, found)]


def learning(quick: bool, home: Path) -> list[Figure]:
    """Cells learned a second by elasticity's first stage."""
    from infra.reports.benchmarks import bench_learning

    found = bench_learning.learned(minutes=70 if quick else 600)
    return [Figure("cells_learned_per_s", found["cells_per_second"], "1/s", found["decoded_per_second"], found)]


def demand(quick: bool, home: Path) -> list[Figure]:
    """(a, b) demand_job beside raw Kafka → JSON → blackhole, archive off and on."""
    from infra.reports.benchmarks import bench_demand

    return bench_demand.measure(home, events=300_000 if quick else 4_500_000)


def pipeline(quick: bool, home: Path) -> list[Figure]:
    """(c, d) The whole pipeline's rate without a growing lag, and an offer's way to Redis, idle and loaded."""
    from infra.reports.benchmarks import bench_pipeline

    return bench_pipeline.measure(home, listings=100 if quick else 1_000, minutes=2 if quick else 10)


def growth(quick: bool, home: Path) -> list[Figure]:
    """1k, 10k, 100k listings: rate, latency, checkpoints, memory."""
    from infra.reports.benchmarks import bench_pipeline

    return bench_pipeline.growth(home, sizes=(100, 300) if quick else (1_000, 10_000, 100_000))


GROUPS: dict[str, Callable[[bool, Path], list[Figure]]] = {
    "reprice": reprice, "quotes": quotes, "state": state, "learning": learning,
    "demand": demand, "pipeline": pipeline, "growth": growth,
}  # fmt: skip
PURE = ("reprice", "quotes", "state", "learning")
"""Groups that need no platform."""


def run(names: Sequence[str], *, quick: bool, home: Path, say: Callable[[str], None] = print) -> list[Figure]:
    """Measure groups one after the other."""
    found: list[Figure] = []
    for number, name in enumerate(names, 1):
        group = GROUPS[name]
        say(f"[{number}/{len(names)}] {name}: {(group.__doc__ or '').strip()}")
        began = time.monotonic()
        found += group(quick, home)
        say(f"    {time.monotonic() - began:.0f} s")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; answers 1 when a limit is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.reports.benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups, of: {', '.join(GROUPS)}; or 'pure'")
    parser.add_argument("--quick", action="store_true", help="small sizes: orders of magnitude, no verdict")
    parser.add_argument("--report", type=Path, default=None, help=f"default {figures.REPORT}; --quick writes none")
    parser.add_argument("--home", type=Path, default=HOME, help=f"the platform's folder (default {HOME})")
    args = parser.parse_args(argv)
    names = PURE if args.only == "pure" else [name for name in args.only.split(",") if name]
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        parser.error(f"no group is called {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    found = run(names, quick=args.quick, home=args.home)
    print(figures.table(found), flush=True)
    report = args.report or (None if args.quick else figures.REPORT)
    if report is not None:
        figures.merge(found, report)
        print(f"written: {report}")
    missed = [figure.name for figure in found if figure.name in LIMITS and not LIMITS[figure.name].holds(figure)]
    return 1 if missed and not args.quick else 0


if __name__ == "__main__":
    sys.exit(main())
