"""Every line of science § 3's table, through the very estimators that elasticity_job runs.

    python -m infra.reports.acceptance.accept_elasticity [--quick] [--out FOLDER] [--data FOLDER] [--seed N]

Prints each figure beside its limit, writes accept_elasticity.json, and ends with 1 if a line is missed.
``--quick`` takes fewer brands, splits and repetitions, with wider limits where chance is in a line.
Here are the lines of simulated counts; those of real data, Dominick's orange juice (folder ``WALRAS_DATA``,
default ../shared/data beside the clone), are in juice.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from features.bucket_logic import Batch, parse_batch
from features.elasticity import ElasticitySettings
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling_logic import PoolingLogic
from features.segments.customers import Z_90
from infra.reports.acceptance.juice import JUICE, juice_lines, load_juice, replay_line, taddy_lines
from infra.reports.acceptance.lines import START_MS, Line, at_least, at_most, between, take
from infra.reports.recorded_data import data_folder
from schemas.events import CatalogEntry, Cell, Stock
from schemas.time_units import DAY_MS, MINUTE_MS

WEEKDAYS = np.array([0.8, 0.85, 0.9, 1.0, 1.1, 1.3, 1.15])
GRID = np.array([800, 900, 1000, 1100, 1200])


@dataclass(frozen=True)
class Score:
    """How estimates compare with the truth after some cells."""

    rmse: float
    bias: float
    coverage: float
    raw_bias: float


def simulate(
    seed: int,
    *,
    products: int = 200,
    checks: Sequence[int] = (5, 20, 100),
    cut: bool = False,
    overdispersion: float = 0.0,
    buckets: int = 3,
    ignore_stock: bool = False,
) -> tuple[dict[int, Score], float]:
    """Products with elasticities around -2 (sd .4), one price a day, through both logics.

    Returns the scores by number of cells, and the share of cells that a stock-out cut.
    """
    rng = np.random.default_rng(seed)
    beta = rng.normal(-2, 0.4, products)
    level = np.log(0.05) + rng.normal(0, 0.3, products)
    settings = ElasticitySettings(period_ms=DAY_MS, forgetting_per_week=1.0)
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
    out = (demand > stock) if cut else np.zeros_like(demand, bool)
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
            take(pool, logic.on_batch(batch), estimates)
        if day + 1 in checks:
            # What is held back for late orders belongs to these cells: close it on a restored copy.
            twin, now = PoolingLogic(settings), dict(estimates)
            twin.restore(carried(pool.snapshot()))
            for b, logic in logics.items():
                ended = ElasticityLogic(settings)
                ended.restore(carried(logic.snapshot()))
                take(twin, ended.on_batch(Batch(b, (day + 2) * DAY_MS + START_MS)), now)
            scores[day + 1] = score(now, names, beta)
    return scores, float(out.mean())


def carried(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot as it comes back from Flink's state."""
    return dict(orjson.loads(orjson.dumps(snapshot, option=orjson.OPT_SERIALIZE_NUMPY)))


def score(estimates: dict[str, dict[str, Any]], names: list[tuple[str, ...]], beta: np.ndarray) -> Score:
    """Errors of the published estimates against the truth."""
    got = [estimates[f"{'/'.join(name[:3])}|own_price_elasticity|all"] for name in names]
    mean, sd = (np.array([e[key] for e in got]) for key in ("mean", "sd"))
    raw = np.array([np.nan if e["raw_mean"] is None else e["raw_mean"] for e in got], float)
    away = mean - beta
    return Score(
        float(np.sqrt(np.mean(away**2))),
        float(away.mean()),
        float((np.abs(away) <= Z_90 * sd).mean()),
        float(np.nanmean(raw - beta)),
    )


def count_lines(quick: bool, seed: int) -> list[Line]:
    """RMSE, bias and coverage of shrunk estimates; with stock-outs; with overdispersion."""
    repetitions = 1 if quick else 10
    slack = 1.25 if quick else 1.0
    some = 100 if quick else 200
    plain = [simulate(seed + r, products=some)[0] for r in range(repetitions)]
    lines = []
    for cells, limit in ((5, 0.45), (20, 0.38), (100, 0.26)):
        rmse = float(np.mean([s[cells].rmse for s in plain]))
        lines.append(at_most(f"simulated Poisson, {cells} cells: RMSE", rmse, limit * slack))
    bias = float(np.mean([s[100].bias for s in plain]))
    lines.append(at_most("simulated Poisson, 100 cells: |bias|", abs(bias), 0.03 * (3 if quick else 1)))
    coverage = float(np.mean([s[100].coverage for s in plain]))
    lines.append(
        between(
            "simulated Poisson, 100 cells: 90 % intervals cover",
            coverage,
            *((0.82, 0.98) if quick else (0.87, 0.94)),
        )
    )
    cut = [simulate(seed + 100 + r, products=some, cut=True, checks=(100,)) for r in range(repetitions)]
    bias = float(np.mean([s[100].bias for s, _ in cut]))
    share = float(np.mean([c for _, c in cut]))
    lines.append(at_most(f"{share:.0%} of cells cut by stock-outs: |bias|", abs(bias), 0.04 * (3 if quick else 1)))
    blind = [
        simulate(seed + 100 + r, products=some, cut=True, checks=(100,), ignore_stock=True)[0]
        for r in range(1 if quick else 2)
    ]
    bias = float(np.mean([s[100].bias for s in blind]))
    lines.append(at_least("(control: the same with the stock-outs not told: bias)", bias, 0.1))
    wild = [
        simulate(seed + 200 + r, products=some, overdispersion=0.3, checks=(100,))[0] for r in range(repetitions)
    ]
    coverage = float(np.mean([s[100].coverage for s in wild]))
    lines.append(
        at_least("overdispersed (gamma, .3), 100 cells: 90 % intervals cover", coverage, 0.8 if quick else 0.85)
    )
    return lines


def speed_line(quick: bool) -> list[Line]:
    """Cells learned per second by one bucket, JSON decoded and state written every minute."""
    names = [("shop", "web-us-usd", f"p{i:02d}", f"p{i:02d}") for i in range(32)]
    logic = ElasticityLogic()
    entries = [CatalogEntry("e", 0, *n, f"c{i % 4}", "margin", "USD", 1, True) for i, n in enumerate(names)]
    logic.on_batch(Batch(0, START_MS + MINUTE_MS, catalog=tuple(entries)))
    rng = np.random.default_rng(1)
    minutes = 65 if quick else 370
    payloads = []
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
        largest = max(largest, len(orjson.dumps(logic.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)))
    spent = time.process_time() - began
    return [
        at_least("cells learned per second on one core", cells / spent, 5_000),
        at_most("state of stage 1, bytes a listing", largest / 32, 1_500),
    ]


def run(quick: bool = False, seed: int = 0, folder: Path | None = None) -> Iterator[Line]:
    """Every line, in the order of the table, as soon as it is known."""
    folder = folder or data_folder()
    juice = load_juice(folder)
    yield from juice_lines(juice, quick)
    yield from replay_line(juice, quick)
    yield from taddy_lines(folder, quick)
    yield from count_lines(quick, seed)
    yield from speed_line(quick)


def main() -> int:
    """Print the table; 1 if a line is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the recorded data (default: WALRAS_DATA)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    folder = asked.data or data_folder()
    if not (folder / JUICE).is_file():
        parser.error(f"expected {JUICE} in the data folder, got {folder}: name it by --data or WALRAS_DATA")
    lines = []
    for line in run(asked.quick, asked.seed, folder):
        print(line, flush=True)
        lines.append(line)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        figures = {line.name: {"value": line.value, "limit": line.limit, "ok": line.ok} for line in lines}
        (asked.out / "accept_elasticity.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    missed = sum(not line.ok for line in lines)
    print(f"{len(lines) - missed} of {len(lines)} lines hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
