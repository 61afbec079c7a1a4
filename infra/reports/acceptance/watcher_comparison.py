"""Compare the watcher with the usual tests: run lengths, delays, and their picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from infra.reports.acceptance.simulated_streams import DAY, SHIFTS, WEEK, Cusum, Size, Streams, ZTest, run_length
from infra.reports.report import Report


def compare(report: Report, size: Size, seed: int) -> None:
    """Add the run lengths and delays of a z-test, a tuned CUSUM and an hourly schedule to the report's data.

    They run on streams of the same kind, whose rate they know exactly.
    """
    count, ticks = size.streams, size.ticks
    streams = Streams(count, 1.0, seed)
    z = run_length(streams, ZTest(streams).step, min(ticks, 3_000)).mean
    streams = Streams(count, 1.0, seed)
    limits = np.array([3.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0])
    cusum = Cusum(streams, limits)
    for _ in range(ticks):
        cusum.step(streams.minute())
    lengths = np.array([passage.mean for passage in cusum.passages])
    tuned = float(np.exp(np.interp(math.log(10_080.0), np.log(lengths), np.log(limits))))
    delays: dict[str, dict[str, float]] = {"z_test": {}, "cusum": {}, "hourly_schedule": {}}
    for name, factor, odds, _ in SHIFTS:
        for label in ("z_test", "cusum"):
            streams = Streams(count, 1.0, seed + 2, seasonal=False)
            test = ZTest(streams) if label == "z_test" else Cusum(streams, np.array([tuned]))
            for _ in range(30):
                test.step(streams.minute())
            delays[label][name] = run_length(streams, test.step, 600 if size.quick else 2 * DAY, factor, odds).mean
        delays["hourly_schedule"][name] = 30.0
    week = {"z_test": WEEK / z, "cusum": WEEK / 10_080.0, "hourly_schedule": 168.0}
    known = [figure.value for figure in report.figures if figure.name == "arl_known_1"]
    week["watcher"] = WEEK / (known[0] if known and known[0] else 10_080.0)
    delays["watcher"] = report.data["delays"]
    report.data["comparison"] = {
        "false_repricings_a_week": week,
        "mean_delay_minutes": delays,
        "cusum_limit_tuned": tuned,
        "z_test_run_length": z,
    }
    print(f"shown   z-test each minute at 1.96: a false alarm every {z:.0f} min; CUSUM limit tuned to {tuned:.2f}")


def draw(comparison: dict[str, Any], folder: Path) -> None:
    """Write the comparison as ``accept_watcher.png`` into ``folder``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = {
        "watcher": "Walras, known rate",
        "cusum": "CUSUM, known rate, tuned",
        "z_test": "z-test every minute",
        "hourly_schedule": "fixed hourly schedule",
    }
    colours = {"watcher": "#1b6ca8", "cusum": "#7a9a01", "z_test": "#c8553d", "hourly_schedule": "#8a8a8a"}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    names = [name for name, *_ in SHIFTS]
    for k, (label, title) in enumerate(labels.items()):
        heights = [comparison["mean_delay_minutes"][label][name] for name in names]
        left.bar(np.arange(len(names)) + 0.2 * (k - 1.5), heights, 0.2, label=title, color=colours[label])
    left.set_xticks(range(len(names)), [name.replace(" with ", "\nwith ") for name in names])
    left.set_ylabel("mean delay in minutes (1 order per minute)")
    left.legend(frameon=False, fontsize=8)
    bars = [comparison["false_repricings_a_week"][label] for label in labels]
    right.barh(list(labels.values()), bars, color=[colours[label] for label in labels])
    right.set_xscale("log")
    right.invert_yaxis()
    right.set_xlabel("false repricings per week (log scale)")
    for y, bar in enumerate(bars):
        right.text(bar * 1.05, y, f"{bar:.2g}", va="center", fontsize=9)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "accept_watcher.png", dpi=130)
    pyplot.close(figure)
