"""Arena: compare Walras with simple pricing methods and a clairvoyant on simulated demand.

Each run is one simulated week of one family of demand and one seed. It runs the logics of the platform
(RepricingLogic, ElasticityLogic, PoolingLogic) minute by minute on cells. The methods are in
:mod:`infra.reports.arena.pricing_methods`.

Profit is the expected profit at the prices shown, without the randomness of single orders, per price request. The
project's models assume the logit family only; mixture, step, reference and stockpiling violate their assumptions.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from infra.reports.arena.clairvoyant import Clairvoyant
from infra.reports.arena.comparison import Comparison, MethodRun
from infra.reports.arena.market import market_config
from infra.reports.arena.picture import draw
from infra.reports.arena.pricing_methods import (
    LEARNING_STRATEGIES,
    METHODS,
    SCHEDULE_POLICY,
    PricingMethod,
    RulePricing,
    ScheduledRepricing,
    Walras,
    strategy_policy,
)
from infra.reports.program import Program, UsageError
from infra.reports.report import Report, provenance, write_json
from jobs.pricing.policy import Policy
from jobs.pricing.strategies.cost_plus import CostPlus, CostPlusSettings
from jobs.pricing.strategies.match_rival import MatchRival
from jobs.simulation.count_market import CountMarket, Shown
from jobs.simulation.demand import FAMILIES
from schemas.time_units import MINUTES_PER_DAY, MINUTES_PER_HOUR

START_MS = 1_767_571_200_000  # Monday 2026-01-05
FAMILY_NAMES = tuple(family.name for family in FAMILIES)
STATEFUL = ("reference", "stockpiling")
"""Families in which the present price changes later demand."""
CLAIRVOYANTS = ("clairvoyant", "clairvoyant_long", "clairvoyant_patient")


def make_method(name: str, market: CountMarket) -> PricingMethod:
    """Return a pricing method by its name.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name in LEARNING_STRATEGIES:
        return Walras(market, strategy_policy(name), ScheduledRepricing)
    match name.split("_"):
        case ["walras"]:
            return Walras(market)
        case ["hourly"]:
            return Walras(market, SCHEDULE_POLICY, ScheduledRepricing)
        case ["cost", "plus", markup] if markup.isdigit():
            policy = Policy.from_dict({CostPlusSettings.key: {"markup": int(markup) / 100}})
            return RulePricing(market, CostPlus(), policy)
        case ["match", "rival"]:
            return RulePricing(market, MatchRival())
        case ["clairvoyant"]:
            return Clairvoyant(market)
        case ["clairvoyant", "long"]:
            return Clairvoyant(market, long_run=True)
        case ["clairvoyant", "patient"]:
            return Clairvoyant(market, long_run=True, patient=True)
    raise ValueError(f"pricing method: expected one of {', '.join(METHODS)}; got {name!r}")


def run_method(
    name: str, family: str, seed: int, days: float, listings: int, observe: Callable[..., None] | None = None
) -> MethodRun:
    """Run one pricing method on one market.

    Parameters
    ----------
    observe : called every minute with the minute, the market, the method and the prices shown.
    """
    began = time.process_time()
    market = CountMarket(market_config(family, seed, listings, days), seed, START_MS)
    method = make_method(name, market)
    hours = math.ceil(days * 24)
    requests, profit = np.zeros(hours), np.zeros(hours)
    opening = market.opening()
    shown = Shown.single(market.list_minor)
    for k in range(int(days * MINUTES_PER_DAY)):
        minute = market.step(shown, isinstance(method, Walras))
        if k == 0:
            offers, catalog = opening.offers + minute.offers, opening.catalog + minute.catalog
            minute = minute._replace(offers=offers, catalog=catalog)
        requests[k // MINUTES_PER_HOUR] += minute.requests.sum()
        profit[k // MINUTES_PER_HOUR] += minute.profit_minor.sum()
        shown = method.step(market, minute)
        if observe is not None:
            observe(k, market, method, shown)
    outcomes = getattr(method, "outcomes", {})
    return MethodRun(
        requests,
        profit,
        method.changes / listings / days,
        {f"{cause}:{outcome}": count for (cause, outcome), count in sorted(outcomes.items())},
        time.process_time() - began,
    )


def run_clairvoyant(family: str, seed: int, days: float, listings: int) -> MethodRun:
    """Run the clairvoyant; in a stateful family, return the best of its three variants."""
    names = CLAIRVOYANTS if family in STATEFUL else CLAIRVOYANTS[:1]
    runs = [run_method(name, family, seed, days, listings) for name in names]
    return max(runs, key=lambda run: run.per_request)


def run_market(family: str, seed: int, days: float, listings: int, methods: Sequence[str]) -> dict[str, MethodRun]:
    """Run the methods and the clairvoyant on one market."""
    runs = {name: run_method(name, family, seed, days, listings) for name in methods}
    return runs | {"clairvoyant": run_clairvoyant(family, seed, days, listings)}


def run_all(
    families: Sequence[str],
    seeds: Sequence[int],
    days: float,
    listings: int,
    methods: Sequence[str] = METHODS,
    on_seed: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Run every family and seed, with one process per core, and print the progress.

    Parameters
    ----------
    on_seed : called with the results so far after every seed.

    Raises
    ------
    UsageError
        If a family or a method is unknown.
    """
    unknown = [name for name in families if name not in FAMILY_NAMES]
    unknown += [name for name in methods if name not in METHODS]
    if unknown:
        raise UsageError(
            f"expected families of {', '.join(FAMILY_NAMES)} and methods of {', '.join(METHODS)}; "
            f"got {', '.join(unknown)}"
        )
    comparison = Comparison(days, listings)
    others = [name for name in methods if name != "clairvoyant"]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        markets = {
            (seed, family): pool.submit(run_market, family, seed, days, listings, others)
            for seed in seeds
            for family in families
        }
        for k, seed in enumerate(seeds):
            for family in families:
                runs = markets[seed, family].result()
                comparison.runs.setdefault(family, {})[seed] = runs
                best = runs["clairvoyant"].per_request
                shares = "  ".join(f"{name} {run.per_request / best:.3f}" for name, run in runs.items())
                print(f"[{k + 1}/{len(seeds)}] {family:<12} seed {seed:<4} {shares}", flush=True)
            if on_seed is not None:
                on_seed(comparison)
    return comparison


def seeds_of(text: str) -> list[int]:
    """Parse seeds like ``1-10`` or ``3,5,8``.

    Raises
    ------
    ValueError
        If the text has another form.

    Examples
    --------
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


class Arena(Program):
    """Compare the profit of Walras with simple pricing methods and a clairvoyant on simulated demand."""

    name = "arena"
    summary = "Walras against simple pricing methods and a clairvoyant (half an hour)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--families", default=",".join(FAMILY_NAMES), help="comma-separated (%(default)s)")
        parser.add_argument("--seeds", type=seeds_of, help="like 1-10,42 (default 1-10, --quick 1)")
        parser.add_argument("--days", type=float, help="length of a run (default 7, --quick 2)")
        parser.add_argument("--listings", type=int, help="listings of the market (default 16, --quick 8)")
        parser.add_argument(
            "--methods", "--shops", dest="methods", default=",".join(METHODS),
            help="comma-separated (%(default)s); the clairvoyant always runs",
        )  # fmt: skip
        parser.add_argument("--quick", action="store_true", help="one seed, two days, few listings")
        parser.add_argument(
            "--out", type=Path, default=Path("infra/reports/results"), help="folder of arena.json and arena.png"
        )

    def run(self, options: argparse.Namespace) -> Report:
        """Run every family, seed and method."""
        seeds = options.seeds or ([1] if options.quick else list(range(1, 11)))
        days = options.days or (2.0 if options.quick else 7.0)
        listings = options.listings or (8 if options.quick else 16)

        def write(comparison: Comparison) -> None:
            write_json(options.out / "arena.json", provenance() | comparison.document())
            draw(comparison, options.out / "arena.png")

        methods = options.methods.split(",")
        comparison = run_all(options.families.split(","), seeds, days, listings, methods, write)
        report = Report(self.name)
        report.add(*comparison.figures())
        print("\n".join(comparison.table_lines()))
        print(f"written: {options.out}/arena.json, arena.png")
        return report
