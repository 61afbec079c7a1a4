"""Every line of science § 3's table, through the very estimators that elasticity_job runs.

    python -m tests.simulation.accept_elasticity [--quick] [--out FOLDER] [--data FOLDER] [--seed N]

Prints each figure beside its limit, writes accept_elasticity.json, and ends with 1 if a line is missed.
``--quick`` takes fewer brands, splits and repetitions, with wider limits where chance is in a line.
Real data: Dominick's orange juice in two forms (folder ``WALRAS_DATA``, default ../shared/data).

One file although long: the lines share their data, and a reader checks them against one table.

(Over 300 lines: one experiment for each line of the table, and their command.)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from features.elasticity import ElasticitySettings, SeriesModel, WithinRiver, WithinSums
from features.elasticity.base import PeriodRows
from features.elasticity.logic import ElasticityLogic
from features.elasticity.pooling import Products, pool_products, sufficiency
from features.elasticity.pooling_logic import PoolingLogic
from features.logic import Batch, Fact, Output, parse_batch
from schemas.codes import Sufficiency
from schemas.events import CatalogEntry, Cell, Offer, Stock

DAY_MS, WEEK_MS, MINUTE_MS = 86_400_000, 604_800_000, 60_000
START_MS = 1_700_006_400_000 // WEEK_MS * WEEK_MS
Z90 = 1.6448536269514722
REFERENCE = ElasticitySettings(kind="within", forgetting_per_week=1.0, period_ms=WEEK_MS)
OUNCES = {"64oz": 64, "96oz": 96, "128oz": 128}
JUICE = Path("dominicks_oj_bayesm/store_week_brand.parquet")
"""The orange-juice data below the data folder."""


def data_folder() -> Path:
    """Where the recorded data sets lie."""
    return Path(os.environ.get("WALRAS_DATA", Path(__file__).parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Line:
    """One figure beside its limit."""

    name: str
    value: float
    limit: str
    ok: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'MISS'}  {self.value:>11.5g}  {self.limit:<14}  {self.name}"


def at_most(name: str, value: float, limit: float) -> Line:
    """A line that holds up to the limit."""
    return Line(name, float(value), f"<= {limit:g}", bool(value <= limit))


def at_least(name: str, value: float, limit: float) -> Line:
    """A line that holds from the limit on."""
    return Line(name, float(value), f">= {limit:g}", bool(value >= limit))


def between(name: str, value: float, low: float, high: float) -> Line:
    """A line that holds within two limits."""
    return Line(name, float(value), f"{low:g} .. {high:g}", bool(low <= value <= high))


# -- orange juice: 83 stores, 11 brands, 121 weeks ---------------------------------------------------


@dataclass(frozen=True)
class Juice:
    """Rows sorted by week and series; series = brand x store, product = brand."""

    week: np.ndarray
    series: np.ndarray
    brand_of_series: np.ndarray
    quantity: np.ndarray
    wide: np.ndarray  # K = 13
    narrow: np.ndarray  # K = 4
    reference: np.ndarray
    frame: pd.DataFrame


def load_juice(folder: Path) -> Juice:
    """The bayesm data with the design of both cases."""
    frame = pd.read_parquet(folder / JUICE)
    pairs = frame[["brand", "store"]].drop_duplicates().sort_values(["brand", "store"]).reset_index(drop=True)
    pairs["series"] = pairs.index
    frame = frame.merge(pairs, on=["brand", "store"]).sort_values(["week", "series"], kind="stable")
    prices = np.log(frame[[f"price{b}" for b in range(1, 12)]].to_numpy())
    brand = frame["brand"].to_numpy() - 1
    own = prices[np.arange(len(frame)), brand]
    others = np.array([[b for b in range(11) if b != mine] for mine in range(11)])
    rivals = np.take_along_axis(prices, others[brand], axis=1)
    promotion = frame[["deal", "feat"]].to_numpy(np.float64)
    table = pd.read_csv(folder / "REFERENCES.csv")
    table = table[table["dataset"] == "dominicks_oj_bayesm"]
    reference = np.zeros(11)
    for estimate, value in zip(table["estimate"], table["value"], strict=True):
        reference[int(estimate.split("brand ")[1].split()[0]) - 1] = value
    return Juice(
        week=frame["week"].to_numpy(),
        series=frame["series"].to_numpy(),
        brand_of_series=pairs["brand"].to_numpy() - 1,
        quantity=np.exp(frame["logmove"].to_numpy()),
        wide=np.column_stack([own, rivals, promotion]),
        narrow=np.column_stack([own, rivals.mean(axis=1), promotion]),
        reference=reference,
        frame=frame,
    )


def fit(model: SeriesModel, juice: Juice, x: np.ndarray, weeks: Iterable[int], brands: Sequence[int]) -> Products:
    """One pass over some weeks and brands, in time order; then pooled over stores."""
    keep = np.isin(juice.brand_of_series[juice.series], brands)
    model.grow(len(juice.brand_of_series))
    for week in sorted(weeks):
        at = np.flatnonzero((juice.week == week) & keep)
        rows = PeriodRows(week, juice.series[at], x[at], juice.quantity[at], np.zeros(len(at)))
        model.learn(rows)
    return pool_products(model.statistics(), juice.brand_of_series, 11, REFERENCE)


def juice_lines(juice: Juice, quick: bool) -> list[Line]:
    """Wide, narrow, half, tenth, River against the sums, halves against each other."""
    every = sorted(set(juice.week.tolist()))
    brands = list(range(11))
    wide = fit(WithinSums(REFERENCE, 13), juice, juice.wide, every, brands)
    narrow = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every, brands)
    half = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[: len(every) // 2], brands)
    tenth = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[: len(every) // 10], brands)
    said = [
        sufficiency(b, se, w, bool(moved), REFERENCE)[0]
        for b, se, w, moved in zip(tenth.b, tenth.se, tenth.periods, tenth.moved, strict=True)
    ]
    error = np.abs(narrow.b - juice.reference)
    some = [0, 10] if quick else brands
    river = fit(WithinRiver(REFERENCE, 4), juice, juice.narrow, every[:40] if quick else every, some)
    sums = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[:40] if quick else every, some)
    lines = [
        at_most("juice K=13: worst brand against the reference", np.abs(wide.b - juice.reference).max(), 0.001),
        at_most("juice K=4: worst brand against the reference", error.max(), 0.2),
        at_most("juice K=4: mean abs error", error.mean(), 0.10),
        at_most("juice K=4, half of the weeks: mean abs error", np.abs(half.b - juice.reference).mean(), 0.35),
        at_most("juice K=4, a tenth: brands said to be sufficient", said.count(Sufficiency.SUFFICIENT), 0),
        at_most("juice K=4: River against plain sums, b", np.abs(river.b - sums.b)[some].max(), 1e-6),
        at_most("juice K=4: River against plain sums, SE", np.abs(river.se - sums.se)[some].max(), 1e-6),
    ]
    rng = np.random.default_rng(7)
    honest, naive, total = 0, 0, 0
    for _ in range(2 if quick else 25):
        weeks = rng.permutation(every)
        cut = len(weeks) // 2
        one = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, weeks[:cut].tolist(), brands)
        two = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, weeks[cut:].tolist(), brands)
        away = np.abs(one.b - two.b)
        honest += int((away <= Z90 * np.hypot(one.se, two.se)).sum())
        shrink_se = [np.sqrt(np.maximum(1, p.rows / p.periods)) for p in (one, two)]
        naive += int((away <= Z90 * np.hypot(one.se / shrink_se[0], two.se / shrink_se[1])).sum())
        total += len(brands)
    lines.append(at_least("halves of the weeks: 90 % intervals cover", honest / total, 0.85))
    lines.append(at_most("(control: naive intervals cover)", naive / total, 0.6))
    return lines


def replay_line(juice: Juice, quick: bool) -> list[Line]:
    """The cells of the weeks through both logics, against a batch regression with store intercepts."""
    frame = juice.frame[juice.frame["brand"].isin([11] if quick else range(1, 12))]
    ounces = frame["brand_name"].str.split().str[-1].map(OUNCES).to_numpy()
    own = frame[[f"price{b}" for b in range(1, 12)]].to_numpy()[np.arange(len(frame)), frame["brand"] - 1]
    cents = np.rint(own * ounces * 100).astype(int)
    units = np.rint(frame["move_oz"].to_numpy() / ounces).astype(int)
    prices = np.log(frame[[f"price{b}" for b in range(1, 12)]].to_numpy())
    rival = np.rint(np.exp((prices.sum(axis=1) - np.log(own)) / 10) * ounces * 100).astype(int)
    rows = pd.DataFrame(
        {
            "week": frame["week"].to_numpy(),
            "market": [f"store{s}-us-usd" for s in frame["store"]],
            "sku": [f"brand{b:02d}" for b in frame["brand"]],
            "cents": cents,
            "units": units,
            "rival": rival,
        }
    )
    settings = replace(REFERENCE, host="river")
    buckets: dict[int, ElasticityLogic] = {b: ElasticityLogic(settings) for b in range(4)}
    pool, estimates, seen = PoolingLogic(settings), {}, set[str]()
    for week, part in rows.groupby("week", sort=True):
        end = START_MS + (int(str(week)) + 1) * WEEK_MS
        batches: dict[int, dict[str, list[Any]]] = {b: {"cells": [], "offers": [], "catalog": []} for b in buckets}
        for r in part.itertuples():
            name = ("shop", r.market, r.sku, r.sku)
            into = batches[sum(r.market.encode()) % 4]
            if f"{r.market}/{r.sku}" not in seen:
                seen.add(f"{r.market}/{r.sku}")
                into["catalog"].append(CatalogEntry("e", 0, *name, "juice", "kvi", "USD", 1, True))
            offer = Offer("e", end - 9, *name, "others", r.rival, 0, True, "USD", 1, "t", 1.0, WEEK_MS)
            into["offers"].append(offer)
            into["cells"].append(Cell(*name, "base", "all", r.cents, "USD", orders=r.units, units=r.units))
        for b, logic in buckets.items():
            batch = Batch(
                b, end, *(tuple(batches[b][kind]) for kind in ("cells", "offers")), (), batches[b]["catalog"]
            )  # type: ignore[arg-type]
            take(pool, logic.on_batch(batch), estimates)
    worst = 0.0
    for sku, part in rows[rows["units"] > 0].groupby("sku"):
        data = pd.DataFrame(
            {
                "y": np.log(part["units"]),
                "x": np.log(part["cents"]),
                "r": np.log(part["rival"]),
                "market": part["market"],
            }
        )
        within = data[["y", "x", "r"]] - data.groupby("market")[["y", "x", "r"]].transform("mean")
        b = np.linalg.lstsq(within[["x", "r"]].to_numpy(), within["y"].to_numpy(), rcond=None)[0][0]
        learned = {e["raw_mean"] for e in estimates.values() if e["sku"] == sku}
        worst = max(worst, *(abs(value - b) for value in learned))
    return [at_most("juice as cells through both logics (River): worst brand against batch", worst, 1e-6)]


def taddy_lines(folder: Path, quick: bool) -> list[Line]:
    """The 3-brand data: by brand and advertisement, by brand, pooled with brand intercepts."""
    frame = pd.read_csv(folder / "dominicks_oj_bds" / "oj.csv")
    table = pd.read_csv(folder / "REFERENCES.csv")
    table = table[table["dataset"] == "dominicks_oj_bds"].set_index("estimate")["value"]
    cells = frame["brand"] + np.where(frame["feat"] == 1, " featured", " not featured")
    worst = 0.0
    cases = [
        (cells, cells, "{}"),
        (frame["brand"], frame["brand"], "by brand: {}"),
        (frame["brand"], pd.Series("pooled, brand intercepts", frame.index), "{}"),
    ]
    compared = 0
    for series_of, product_of, name in cases[:1] if quick else cases:
        codes, series_names = pd.factorize(series_of, sort=True)
        _, product_names = pd.factorize(product_of, sort=True)
        first = dict(zip(series_of, product_of, strict=True))
        product = np.array([list(product_names).index(first[s]) for s in series_names])
        model = WithinSums(REFERENCE, 1)
        # No time order in these data: the n-th row of every series makes up one "period".
        turn = frame.groupby(codes).cumcount().to_numpy()
        order = np.lexsort([codes, turn])
        x, q = np.log(frame["price"].to_numpy())[order][:, None], frame["sales"].to_numpy()[order]
        cuts = np.flatnonzero(np.diff(turn[order])) + 1
        for at in np.split(np.arange(len(frame)), cuts):
            rows = PeriodRows(int(turn[order][at[0]]), codes[order][at], x[at], q[at], np.zeros(len(at)))
            model.learn(rows)
        got = pool_products(model.statistics(), product, len(product_names), REFERENCE)
        for p, label in enumerate(product_names):
            worst = max(worst, abs(float(got.b[p]) - float(table[name.format(label)])))
            compared += 1
    return [at_most(f"juice (bds): worst of {compared} references", worst, 0.01)]


# -- simulated counts --------------------------------------------------------------------------------


def take(pool: PoolingLogic, outputs: Iterable[Output], estimates: dict[str, dict[str, Any]]) -> None:
    """Carry stage 1's outputs to stage 2 as Kafka would: as JSON, one fact each."""
    for output in outputs:
        value = orjson.loads(orjson.dumps(output.value))
        fact = Fact(output.stream, value, output.event_time_ms, "", output.event_time_ms)
        for got in pool.on_fact(fact):
            estimates[got.key] = got.value


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
        float((np.abs(away) <= Z90 * sd).mean()),
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
