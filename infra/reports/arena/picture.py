"""The picture of the arena's results."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from infra.reports.arena.comparison import Comparison, interval
from infra.reports.arena.pricing_methods import METHODS


def draw(comparison: Comparison, path: Path) -> None:
    """Write a picture of the profit shares, the price changes, and the regret over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(comparison.runs)
    methods = [
        name
        for name in METHODS
        if name != "clairvoyant" and name in next(iter(comparison.runs[families[0]].values()))
    ]
    colours = dict(zip(METHODS, itertools.cycle(pyplot.get_cmap("tab20")(range(20))), strict=False))
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.4), width_ratios=(2.2, 1.2, 1.6))
    width = 0.8 / len(methods)
    for j, method in enumerate(methods):
        x = np.arange(len(families)) + width * (j - (len(methods) - 1) / 2)
        shares = [interval(comparison.share(family, method)) for family in families]
        heights = np.array([s[0] for s in shares])
        half = np.array([s[0] - s[1] if math.isfinite(s[1]) else 0.0 for s in shares])
        label = method.replace("_", " ")
        left.bar(x, heights, width, yerr=half, capsize=2, label=label, color=colours[method])
        changes = [
            np.mean([run[method].changes_per_listing_day for run in comparison.runs[f].values()]) for f in families
        ]
        middle.bar(x, changes, width, color=colours[method])
        if method in ("walras", "hourly", "match_rival"):
            regrets = []
            for family in families:
                regret = comparison.regret(family, method)
                best = np.mean([run["clairvoyant"].per_request for run in comparison.runs[family].values()])
                regrets.append(np.cumsum(regret) / np.arange(1, regret.size + 1) / best)
            lost = np.mean(regrets, axis=0)
            right.plot(np.arange(1, lost.size + 1) / 24, lost, label=label, color=colours[method])
    left.axhline(1.0, color="#444", lw=0.8)
    left.set_ylabel("profit per request ÷ clairvoyant's (95 % intervals)")
    left.set_ylim(0.3, 1.08)
    left.legend(frameon=False, fontsize=7, ncol=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    middle.set_ylabel("price changes per listing and day")
    right.set_ylabel("cumulative mean regret ÷ clairvoyant's profit")
    right.set_xlabel("day")
    right.legend(frameon=False, fontsize=8)
    for axis in (left, middle):
        axis.set_xticks(
            range(len(families)), families, fontsize=8, rotation=30, ha="right", rotation_mode="anchor"
        )
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
