"""Acceptance of the elasticity estimators: every line of the table of science § 3.

The program runs the estimators that elasticity_job runs, compares each figure with its limit and writes
accept_elasticity.json. ``--quick`` uses fewer brands, splits and repetitions, and wider limits for random figures.
This module holds the figures of simulated counts; those of recorded data (Dominick's orange juice, in the folder
``WALRAS_DATA``) are in :mod:`infra.reports.acceptance.orange_juice`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from features.array_text import array_text
from features.bucket_logic import Batch, parse_batch
from features.elasticity import ElasticitySettings
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling.pooling_logic import PoolingLogic
from features.segments.customers import Z_90
from infra.reports.acceptance.demand_changes import change_figures
from infra.reports.acceptance.intervals import interval_figures
from infra.reports.acceptance.named_covariates import covariate_figures
from infra.reports.acceptance.orange_juice import (
    JUICE,
    bds_figures,
    juice_figures,
    load_juice,
    replay_figures,
)
from infra.reports.acceptance.stages import START_MS, at_least, at_most, pool_outputs
from infra.reports.program import Program, UsageError
from infra.reports.recorded_data import data_folder
from infra.reports.report import Figure, Limit, Report, provenance, write_json
from schemas.events import CatalogEntry, Stock
from schemas.records.counts import Cell
from schemas.time_units import DAY_MS, MINUTE_MS

WEEKDAYS = np.array([0.8, 0.85, 0.9, 1.0, 1.1, 1.3, 1.15])
GRID = np.array([800, 900, 1000, 1100, 1200])


@dataclass(frozen=True)
class Score:
    """Errors of the estimates after some cells: RMSE, mean error, coverage of 90 % intervals, mean raw error."""

    rmse: float
    bias: float
    coverage: float
    raw_bias: float


def simulate(
    seed: int,
    *,
    products: int = 200,
    checks: Sequence[int] = (5, 20, 100),
    stock_outs: bool = False,
    overdispersion: float = 0.0,
    buckets: int = 3,
    ignore_stock: bool = False,
) -> tuple[dict[int, Score], float]:
    """Simulate products with elasticities of mean -2 (sd 0.4) and one price a day, through both stages.

    Returns
    -------
    The scores by number of cells, and the share of cells that a stock-out shortens.
    """
    rng = np.random.default_rng(seed)
    beta = rng.normal(-2, 0.4, products)
    level = np.log(0.05) + rng.normal(0, 0.3, products)
    settings = ElasticitySettings(
        period_ms=DAY_MS, forgetting_per_week=1.0, conversion=0.05, models=("poisson",), emit="changed"
    )
    logics = {b: ElasticityLogic(settings) for b in range(buckets)}
    pool, estimates, scores = PoolingLogic(settings), dict[str, dict[str, Any]](), dict[int, Score]()
    names = [("shop", "web-us-usd", f"p{i:03d}", f"p{i:03d}") for i in range(products)]
    entries = [CatalogEntry("e", 0, *name, "toys", "margin", "USD", 1, True) for name in names]
    days = max(checks)
    exposures = rng.integers(20, 201, (days, products))
    price = GRID[rng.integers(0, 5, (days, products))]
    mean = exposures * np.exp(level + beta * np.log(price / 1000)) * WEEKDAYS[np.arange(days) % 7][:, None]
    if overdispersion:
        mean = mean * rng.gamma(1 / overdispersion, overdispersion, (days, products))
    demand = rng.poisson(mean)
    stock = np.maximum(np.quantile(demand, 0.85, axis=0), 1.0).round()
    out = (demand > stock) if stock_outs else np.zeros_like(demand, bool)
    sold = np.where(out, stock, demand).astype(int)
    share = np.where(out, rng.beta(np.maximum(sold, 1), np.maximum(demand - sold + 1, 1)), 1.0)
    for day in range(days):
        end = START_MS + (day + 1) * DAY_MS
        for b, logic in logics.items():
            mine = range(b, products, buckets)
            cells = tuple(
                Cell(*names[i], "base", "all", int(price[day, i]), "USD", exposures=int(exposures[day, i]),
                     orders=int(sold[day, i]), units=int(sold[day, i])) for i in mine
            )  # fmt: skip
            facts = [(end - MINUTE_MS, i, 10) for i in mine if day]
            facts += [(end - MINUTE_MS + int(MINUTE_MS * share[day, i]), i, 0) for i in mine if out[day, i]]
            levels = tuple(Stock("e", at, *names[i], on_hand, 0, 1.0) for at, i, on_hand in sorted(facts))
            catalog = tuple(entries[i] for i in mine) if day == 0 else ()
            batch = Batch(b, end, cells, (), () if ignore_stock else levels, catalog)
            pool_outputs(pool, logic.on_batch(batch), estimates)
        if day + 1 in checks:
            # The period that is open for late orders belongs to these cells: close it on a restored copy.
            pool_copy, now = PoolingLogic(settings), dict(estimates)
            pool_copy.restore(through_json(pool.snapshot()))
            for b, logic in logics.items():
                logic_copy = ElasticityLogic(settings)
                logic_copy.restore(through_json(logic.snapshot()))
                pool_outputs(pool_copy, logic_copy.on_batch(Batch(b, (day + 2) * DAY_MS + START_MS)), now)
            scores[day + 1] = score(now, names, beta)
    return scores, float(out.mean())


def through_json(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot as it is restored from Flink's state."""
    return dict(orjson.loads(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY)))


def score(estimates: dict[str, dict[str, Any]], names: Sequence[tuple[str, ...]], beta: np.ndarray) -> Score:
    """Return the errors of the published estimates."""
    got = [estimates[f"{'/'.join(name[:3])}|own_price_elasticity|all"] for name in names]
    mean, sd = (np.array([e[key] for e in got]) for key in ("mean", "sd"))
    raw = np.array([np.nan if e["raw_mean"] is None else e["raw_mean"] for e in got], float)
    error = mean - beta
    return Score(
        float(np.sqrt(np.mean(error**2))),
        float(error.mean()),
        float((np.abs(error) <= Z_90 * sd).mean()),
        float(np.nanmean(raw - beta)),
    )


def count_figures(quick: bool, seed: int) -> list[Figure]:
    """Return the errors of pooled estimates: Poisson counts, stock-outs, overdispersed counts."""
    repetitions = 1 if quick else 10
    tolerance = 1.25 if quick else 1.0
    products = 100 if quick else 200
    plain = [simulate(seed + r, products=products)[0] for r in range(repetitions)]
    figures = []
    for cells, limit in ((5, 0.45), (20, 0.38), (100, 0.26)):
        rmse = float(np.mean([s[cells].rmse for s in plain]))
        figures.append(at_most(f"simulated Poisson, {cells} cells: RMSE", rmse, limit * tolerance))
    bias = float(np.mean([s[100].bias for s in plain]))
    figures.append(at_most("simulated Poisson, 100 cells: |bias|", abs(bias), 0.03 * (3 if quick else 1)))
    coverage = float(np.mean([s[100].coverage for s in plain]))
    limits = Limit(0.82, 0.98) if quick else Limit(0.87, 0.94)
    figures.append(Figure("simulated Poisson, 100 cells: 90 % intervals cover", coverage, limit=limits))
    seeds = range(seed + 100, seed + 100 + repetitions)
    short = [simulate(s, products=products, stock_outs=True, checks=(100,)) for s in seeds]
    bias = float(np.mean([s[100].bias for s, _ in short]))
    share = float(np.mean([c for _, c in short]))
    name = f"{share:.0%} of cells cut by stock-outs: |bias|"
    figures.append(at_most(name, abs(bias), 0.04 * (3 if quick else 1)))
    without_stock = [
        simulate(s, products=products, stock_outs=True, checks=(100,), ignore_stock=True)[0]
        for s in seeds[: 1 if quick else 2]
    ]
    bias = float(np.mean([s[100].bias for s in without_stock]))
    figures.append(at_least("(control: the same with the stock-outs not told: bias)", bias, 0.1))
    overdispersed = [
        simulate(seed + 200 + r, products=products, overdispersion=0.3, checks=(100,))[0]
        for r in range(repetitions)
    ]
    coverage = float(np.mean([s[100].coverage for s in overdispersed]))
    name = "overdispersed (gamma, .3), 100 cells: 90 % intervals cover"
    figures.append(at_least(name, coverage, 0.8 if quick else 0.85))
    return figures


def cost_figures(quick: bool) -> list[Figure]:
    """Return the cells per second that one bucket learns, with decoding and snapshots, and its state size."""
    names = [("shop", "web-us-usd", f"p{i:02d}", f"p{i:02d}") for i in range(32)]
    logic = ElasticityLogic()
    entries = [CatalogEntry("e", 0, *n, f"c{i % 4}", "margin", "USD", 1, True) for i, n in enumerate(names)]
    logic.on_batch(Batch(0, START_MS + MINUTE_MS, catalog=tuple(entries)))
    rng = np.random.default_rng(1)
    minutes = 65 if quick else 370
    payloads: list[bytes] = []
    for _ in range(minutes):
        rows: list[dict[str, Any]] = []
        for n in names:
            for segment in ("myopic", "strategic"):
                for price in (980, 1000, 1020):
                    cell = Cell(*n, "base", segment, price, "USD", exposures=int(rng.integers(1, 9)),
                                orders=int(rng.random() < 0.2))  # fmt: skip
                    rows.append({"kind": "cell", **{f: getattr(cell, f) for f in Cell.__dataclass_fields__}})
            offer = {"kind": "offers", "p": 0, "o": len(rows), "event_id": "e", "event_time_ms": START_MS}
            offer |= dict(zip(("tenant", "market", "sku", "price_group"), n, strict=True))
            offer |= {"competitor": f"r{len(rows) % 3}", "price_minor": int(rng.integers(900, 1100))}
            offer |= {"shipping_minor": 0, "in_stock": True, "currency": "USD", "pack_size": 1, "source": "s"}
            rows.append(offer | {"match_confidence": 1.0, "validity_ms": None})
        end = START_MS + (len(payloads) + 2) * MINUTE_MS
        payloads.append(orjson.dumps({"bucket": 0, "window_end_ms": end, "rows": rows}))
    began, largest, cells = time.process_time(), 0, 0
    for payload in payloads:
        batch = parse_batch(payload)
        cells += len(batch.cells)
        logic.on_batch(batch)
        largest = max(largest, len(orjson.dumps(logic.snapshot(), default=array_text)))
    spent = time.process_time() - began
    return [
        at_least("cells learned per second on one core", cells / spent, 5_000),
        at_most("state of stage 1, bytes a listing", largest / 32, 1_500),
    ]


def measure(quick: bool = False, seed: int = 0, folder: Path | None = None) -> Iterator[Figure]:
    """Yield every figure in the order of the table, as soon as it is measured."""
    folder = folder or data_folder()
    juice = load_juice(folder)
    yield from juice_figures(juice, quick)
    yield from replay_figures(juice, quick)
    yield from covariate_figures(juice, folder, quick)
    yield from bds_figures(folder, quick)
    yield from count_figures(quick, seed)
    yield from interval_figures(juice, quick)
    yield from change_figures(quick)
    yield from cost_figures(quick)


class AcceptElasticity(Program):
    """Measure the elasticity estimators on recorded and simulated data against the table of science § 3."""

    name = "accept-elasticity"
    summary = "elasticity estimators on recorded and simulated data (minutes)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--quick", action="store_true", help="fewer repetitions, wider limits")
        parser.add_argument("--out", type=Path, help="folder of accept_elasticity.json; default: not written")
        parser.add_argument("--data", type=Path, help="folder of the recorded data (default: WALRAS_DATA)")
        parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")

    def run(self, options: argparse.Namespace) -> Report:
        """Measure every figure."""
        folder = options.data or data_folder()
        if not (folder / JUICE).is_file():
            raise UsageError(f"expected {JUICE} in the data folder, got {folder}: set --data or WALRAS_DATA")
        report = Report(self.name)
        for figure in measure(options.quick, options.seed, folder):
            report.add(figure)
        if options.out:
            origin = provenance()
            figures = {figure.name: figure.to_json() | origin for figure in report.figures}
            write_json(options.out / "accept_elasticity.json", figures)
        return report
