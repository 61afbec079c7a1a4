"""The arena: Walras against simple ways of pricing and against one who knows the truth.

    python -m infra.reports.arena.arena [--families logit,mixture,…] [--seeds 1-10] [--days 7] [--quick]
                                     [--shops walras,hourly,…] [--listings N] [--out FOLDER]

One simulated week per family of demand and seed, through the very logics that run on the platform
(RepricingLogic, ElasticityLogic, PoolingLogic), minute by minute on cells; who prices in it is
:mod:`infra.reports.arena.shops`.

Profit is expected profit at the prices shown (the luck of single orders taken out) per price request.
The limits are those of science § 7, "Reference numbers".
Only the logit family is what the project's models assume; mixture, step, reference and stockpiling are
assumed by none. Prints a table, writes arena.json and arena.png; ends with 1 if a line is missed.
Over 300 lines: runs, lines and figure of one table, checked against one another.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from infra.reports.arena.shops import DAY, HOUR, SHOPS, SIMPLE, Walras, market_config, open_shop
from jobs.simulation.count_market import CountMarket, Shown
from jobs.simulation.demand import FAMILIES

START_MS = 1_767_571_200_000  # Monday 2026-01-05
ASSUMED = "logit"
FAMILY_NAMES = tuple(family.name for family in FAMILIES)
NEEDED = {ASSUMED: 0.90}
"""Profit as a share of the clairvoyant's; .85 in every family that is not listed."""
REMEMBERING = ("reference", "stockpiling")
"""Families in which today's price changes tomorrow's demand."""
OPTIMAL = 0.995
"""A simple shop this near the clairvoyant is optimal, and a tie with it is no shame."""


@dataclass
class Week:
    """One shop's run: per hour the requests and the expected profit, and how often prices changed."""

    requests: np.ndarray
    profit: np.ndarray
    changes_per_listing_day: float
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def per_request(self) -> float:
        """Expected profit per price request in minor units."""
        return float(self.profit.sum() / self.requests.sum())


def run(
    name: str, family: str, seed: int, days: float, listings: int, watch: Callable[..., None] | None = None
) -> Week:
    """One shop's week on one market."""
    began = time.process_time()
    market = CountMarket(market_config(family, seed, listings, days), seed, START_MS)
    shop = open_shop(name, market)
    hours = math.ceil(days * 24)
    requests, profit = np.zeros(hours), np.zeros(hours)
    opened = market.opening()
    shown = Shown.single(market.list_minor)
    for k in range(int(days * DAY)):
        minute = market.step(shown, isinstance(shop, Walras))
        if k == 0:
            minute = minute._replace(offers=opened.offers + minute.offers, catalog=opened.catalog + minute.catalog)
        requests[k // HOUR] += minute.requests.sum()
        profit[k // HOUR] += minute.profit_minor.sum()
        shown = shop.take(market, minute)
        if watch is not None:
            watch(k, market, shop, shown)
    outcomes = getattr(shop, "outcomes", {})
    return Week(
        requests,
        profit,
        shop.changes / listings / days,
        {f"{cause}:{outcome}": count for (cause, outcome), count in sorted(outcomes.items())},
        time.process_time() - began,
    )


def best_informed(family: str, seed: int, days: float, listings: int) -> Week:
    """The best of those who know the truth; where nothing is remembered they are the same."""
    weeks = [run("clairvoyant", family, seed, days, listings)]
    if family in REMEMBERING:
        weeks += [run(name, family, seed, days, listings) for name in ("clairvoyant_long", "clairvoyant_patient")]
    return max(weeks, key=lambda week: week.per_request)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of a few paired figures (Student's t over seeds)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


@dataclass
class Arena:
    """All runs of one call: family → seed → shop → week."""

    days: float
    listings: int
    weeks: dict[str, dict[int, dict[str, Week]]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def ratio(self, family: str, shop: str) -> list[float]:
        """Profit per request over the clairvoyant's, per seed."""
        return [w[shop].per_request / w["clairvoyant"].per_request for w in self.weeks[family].values()]

    def judge(self) -> None:
        """The lines that the arena asks for, one family after another."""
        self.lines = []
        for family, seeds in self.weeks.items():
            shops = next(iter(seeds.values()))
            mean, low, high = interval(self.ratio(family, "walras"))
            needed = NEEDED.get(family, 0.85)
            self._line(
                family, "share of the clairvoyant's profit", mean, low, high, mean >= needed, f">= {needed}"
            )
            for rule in (name for name in SIMPLE if name in shops):
                over = [w["walras"].per_request / w[rule].per_request - 1 for w in seeds.values()]
                mean, low, high = interval(over)
                optimal = float(np.mean(self.ratio(family, rule))) >= OPTIMAL
                ok = low > 0 or (optimal and high >= 0) or (len(seeds) == 1 and mean > 0)
                self._line(family, f"profit over {rule}", mean, low, high, ok, "interval above 0")
            if "hourly" in shops:
                fewer = [
                    w["hourly"].changes_per_listing_day - w["walras"].changes_per_listing_day
                    for w in seeds.values()
                ]
                mean, low, high = interval(fewer)
                self._line(family, "fewer price changes than hourly", mean, low, high, mean > 0, "> 0")
                over = [w["walras"].per_request / w["hourly"].per_request - 1 for w in seeds.values()]
                self._line(family, "profit over hourly", *interval(over), True, "shown, not judged")

    def _line(self, family: str, claim: str, mean: float, low: float, high: float, ok: bool, wanted: str) -> None:
        inner = {"value": mean, "low": low, "high": high}
        finite = {name: value if math.isfinite(value) else None for name, value in inner.items()}
        self.lines.append({"family": family, "claim": claim, **finite, "wanted": wanted, "accepted": bool(ok)})

    @property
    def accepted(self) -> bool:
        """Whether every line holds."""
        return all(line["accepted"] for line in self.lines)

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        families: dict[str, Any] = {}
        for family, seeds in self.weeks.items():
            shops = next(iter(seeds.values()))
            families[family] = {
                shop: {
                    "profit_per_request_minor": [week[shop].per_request for week in seeds.values()],
                    "share_of_clairvoyant": self.ratio(family, shop),
                    "changes_per_listing_day": [week[shop].changes_per_listing_day for week in seeds.values()],
                    "regret_per_request_minor_by_hour": self.regret(family, shop).tolist(),
                    "outcomes": _summed([week[shop].outcomes for week in seeds.values()]),
                }
                for shop in shops
            }
        return {
            "days": self.days, "listings": self.listings, "accepted": self.accepted,
            "seeds": {family: list(seeds) for family, seeds in self.weeks.items()},
            "lines": self.lines, "families": families,
        }  # fmt: skip

    def regret(self, family: str, shop: str) -> np.ndarray:
        """What the clairvoyant earned more per request, by hour, mean over seeds."""
        lost = [
            (week["clairvoyant"].profit - week[shop].profit) / week[shop].requests
            for week in self.weeks[family].values()
        ]
        return np.asarray(np.mean(lost, axis=0)).round(4)


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def fight(
    families: Sequence[str],
    seeds: Sequence[int],
    days: float,
    listings: int,
    shops: Sequence[str] = SHOPS,
    kept: Callable[[Arena], None] | None = None,
) -> Arena:
    """Run everything, seed by seed, a process a core, with progress; ``kept`` is called after every seed.

    Raises
    ------
    ValueError
        If a family or a shop is unknown.
    """
    unknown = [name for name in families if name not in FAMILY_NAMES] + [
        name for name in shops if name not in SHOPS
    ]
    if unknown:
        raise ValueError(
            f"expected families of {', '.join(FAMILY_NAMES)} and shops of {', '.join(SHOPS)}; "
            f"got {', '.join(unknown)}"
        )
    arena = Arena(days, listings)
    asked = [name for name in shops if name != "clairvoyant"]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        matches = {
            (seed, family): pool.submit(match, family, seed, days, listings, asked)
            for seed in seeds
            for family in families
        }
        for k, seed in enumerate(seeds):
            for family in families:
                weeks = matches[seed, family].result()
                arena.weeks.setdefault(family, {})[seed] = weeks
                best = weeks["clairvoyant"].per_request
                shown = "  ".join(f"{name} {week.per_request / best:.3f}" for name, week in weeks.items())
                print(f"[{k + 1}/{len(seeds)}] {family:<12} seed {seed:<4} {shown}", flush=True)
            arena.judge()
            if kept is not None:
                kept(arena)
    return arena


def match(family: str, seed: int, days: float, listings: int, asked: Sequence[str]) -> dict[str, Week]:
    """All shops' weeks on one market."""
    weeks = {name: run(name, family, seed, days, listings) for name in asked}
    return weeks | {"clairvoyant": best_informed(family, seed, days, listings)}


def draw(arena: Arena, path: Path) -> None:
    """Shares of the clairvoyant's profit with intervals, price changes, and regret over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = list(arena.weeks)
    shops = [
        name for name in SHOPS if name != "clairvoyant" and name in next(iter(arena.weeks[families[0]].values()))
    ]
    colours = dict(
        zip(SHOPS, ("#1b6ca8", "#7a9a01", "#e6c9a8", "#d9a066", "#c8803d", "#8a5a2b", "#c8553d"), strict=False)
    )
    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.4), width_ratios=(2.2, 1.2, 1.6))
    wide = 0.8 / len(shops)
    for j, shop in enumerate(shops):
        x = np.arange(len(families)) + wide * (j - (len(shops) - 1) / 2)
        told = [interval(arena.ratio(family, shop)) for family in families]
        heights = np.array([t[0] for t in told])
        half = np.array([t[0] - t[1] if math.isfinite(t[1]) else 0.0 for t in told])
        label = shop.replace("_", " ")
        left.bar(x, heights, wide, yerr=half, capsize=2, label=label, color=colours[shop])
        changes = [np.mean([w[shop].changes_per_listing_day for w in arena.weeks[f].values()]) for f in families]
        middle.bar(x, changes, wide, color=colours[shop])
        if shop in ("walras", "hourly", "match_rival"):
            lost = np.mean([np.cumsum(arena.regret(f, shop)) / np.arange(1, arena.regret(f, shop).size + 1)
                            / np.mean([w["clairvoyant"].per_request for w in arena.weeks[f].values()])
                            for f in families], axis=0)  # fmt: skip
            right.plot(np.arange(1, lost.size + 1) / 24, lost, label=label, color=colours[shop])
    left.axhline(1.0, color="#444", lw=0.8)
    left.set_ylabel("profit per request ÷ clairvoyant's (95 % intervals)")
    left.set_ylim(0.3, 1.08)
    left.legend(frameon=False, fontsize=7, ncol=4, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    middle.set_ylabel("price changes per listing and day")
    right.set_ylabel("mean regret so far ÷ clairvoyant's profit")
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


def seeds_of(text: str) -> list[int]:
    """``1-10`` or ``3,5,8``.

    >>> seeds_of("1-3,7")
    [1, 2, 3, 7]
    """
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        if not low.isdigit() or (high and not high.isdigit()):
            raise ValueError(f"seeds: expected numbers and ranges like 1-10,42; got {text!r}")
        found += range(int(low), int(high or low) + 1)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 if every line holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--families", default=",".join(FAMILY_NAMES), help="comma-separated")
    parser.add_argument("--seeds", type=seeds_of, default=None, help="like 1-10,42")
    parser.add_argument("--days", type=float, default=None)
    parser.add_argument("--listings", type=int, default=None)
    parser.add_argument(
        "--shops", default=",".join(SHOPS), help="comma-separated; the clairvoyant is always there"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two days, few listings")
    parser.add_argument(
        "--out", type=Path, default=Path("infra/reports/results"), help="folder of arena.json and .png"
    )
    chosen = parser.parse_args(arguments)
    seeds = chosen.seeds or ([1] if chosen.quick else list(range(1, 11)))
    days = chosen.days or (2.0 if chosen.quick else 7.0)
    listings = chosen.listings or (8 if chosen.quick else 16)
    chosen.out.mkdir(parents=True, exist_ok=True)

    def keep(arena: Arena) -> None:
        text = json.dumps(arena.document(), indent=1) + "\n"
        (chosen.out / "arena.json").write_text(text)
        draw(arena, chosen.out / "arena.png")

    arena = fight(chosen.families.split(","), seeds, days, listings, chosen.shops.split(","), keep)
    for line in arena.lines:
        around = "" if line["low"] is None else f"  [{line['low']:+.4f}, {line['high']:+.4f}]"
        word = "accept" if line["accepted"] else "FAIL  "
        print(f"{word}  {line['family']:<12} {line['claim']:<36} {line['value']:+.4f}{around}   {line['wanted']}")
    print(f"{'all accepted' if arena.accepted else 'NOT ALL ACCEPTED'}; {chosen.out}/arena.json, arena.png")
    return 0 if arena.accepted else 1


if __name__ == "__main__":
    sys.exit(main())
