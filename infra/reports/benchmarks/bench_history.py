"""Rows per second and memory of `walras learn` on generated scanner rows, report and files included.

    python -m infra.reports.benchmarks.bench_history <folder>

learns the files of :mod:`infra.reports.benchmarks.scanner_set` in a folder and prints the figures as JSON. The
benchmark runs it in a process of its own, whose largest memory is that of the run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from infra.reports.benchmarks import scanner_set
from jobs.learning.command import learn_files
from jobs.pricing.policy import Policy
from jobs.replay.mapping import Mapping
from jobs.runtime.settings import Settings

CATEGORIES, BUCKETS = 40, 100


def measure(folder: Path, *, items: int, weeks: int) -> dict[str, Any]:
    """Return rows per second, seconds of wall and processor time, and the largest memory in MB."""
    scanner_set.write(folder, items=items, weeks=weeks, buckets=BUCKETS, categories=CATEGORIES)
    command = [sys.executable, "-m", "infra.reports.benchmarks.bench_history", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def learned(folder: Path) -> dict[str, Any]:
    """Learn the files of a folder, and return the figures of this process."""
    began = time.perf_counter()
    mapping = Mapping.load(folder / "scanner.yaml")
    done = learn_files(
        mapping, [folder / "weeks.csv"], Policy(), out=folder / "out", memory=Settings.load().replay_memory
    )
    took_s = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    rows = done.results.accounts.used
    return {
        "rows_per_second": rows / took_s,
        "rows": rows,
        "products": len(done.results.products),
        "seconds": took_s,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    print(json.dumps(learned(Path(sys.argv[1]))))
