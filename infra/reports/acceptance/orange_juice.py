"""The elasticity estimators on orange-juice scanner data of Dominick's, with a store's week as the period.

Two forms of the data are used: 83 stores, 11 brands, 121 weeks (bayesm), and three brands with advertisements
(bds). The references are in the data folder. The bayesm data also run as cells through both stages of
elasticity_job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.bucket_logic import Batch
from features.elasticity import SeriesModel, WithinRiver, WithinSums
from features.elasticity.base import PeriodRows
from features.elasticity.elasticity_logic import ElasticityLogic
from features.elasticity.pooling import Products, pool_products, sufficiency
from features.elasticity.pooling.pooling_logic import PoolingLogic
from features.segments.customers import Z_90
from infra.reports.acceptance.stages import REFERENCE, START_MS, at_least, at_most, pool_outputs
from infra.reports.report import Figure
from schemas.codes import Sufficiency
from schemas.events import CatalogEntry, Offer
from schemas.records.counts import Cell
from schemas.time_units import WEEK_MS

OUNCES = {"64oz": 64, "96oz": 96, "128oz": 128}
"""Ounces of a package, by its name in the data."""
JUICE = Path("dominicks_oj_bayesm/store_week_brand.parquet")
"""Path of the bayesm data below the data folder."""


@dataclass(frozen=True)
class Juice:
    """Rows sorted by week and series; a series is a brand in a store, a product is a brand."""

    week: np.ndarray
    series: np.ndarray
    brand_of_series: np.ndarray
    quantity: np.ndarray
    wide: np.ndarray  # K = 13 regressors: own price, ten rivals' prices, coupon, feature
    narrow: np.ndarray  # K = 4 regressors: own price, the rivals' mean, coupon, feature
    reference: np.ndarray
    frame: pd.DataFrame


def load_juice(folder: Path) -> Juice:
    """Read the bayesm data and build the regressors of both cases."""
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
    """Learn some weeks and brands in order of time, then pool over stores."""
    keep = np.isin(juice.brand_of_series[juice.series], brands)
    model.grow(len(juice.brand_of_series))
    for week in sorted(weeks):
        at = np.flatnonzero((juice.week == week) & keep)
        rows = PeriodRows(week, juice.series[at], x[at], juice.quantity[at], np.zeros(len(at)))
        model.learn(rows)
    return pool_products(model.statistics(), juice.brand_of_series, 11, REFERENCE)


def juice_figures(juice: Juice, quick: bool) -> list[Figure]:
    """Return the errors of the estimates: K = 13, K = 4, fewer weeks, River against sums, split halves."""
    every = sorted(set(juice.week.tolist()))
    brands = list(range(11))
    wide = fit(WithinSums(REFERENCE, 13), juice, juice.wide, every, brands)
    narrow = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every, brands)
    half = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[: len(every) // 2], brands)
    tenth = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[: len(every) // 10], brands)
    labels = [sufficiency(tenth, brand, REFERENCE).sufficiency for brand in brands]
    error = np.abs(narrow.b - juice.reference)
    some = [0, 10] if quick else brands
    river = fit(WithinRiver(REFERENCE, 4), juice, juice.narrow, every[:40] if quick else every, some)
    sums = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every[:40] if quick else every, some)
    figures = [
        at_most("juice K=13: worst brand against the reference", np.abs(wide.b - juice.reference).max(), 0.001),
        at_most("juice K=4: worst brand against the reference", error.max(), 0.2),
        at_most("juice K=4: mean abs error", error.mean(), 0.10),
        at_most("juice K=4, half of the weeks: mean abs error", np.abs(half.b - juice.reference).mean(), 0.35),
        at_most("juice K=4, a tenth: brands said to be sufficient", labels.count(Sufficiency.SUFFICIENT), 0),
        at_most("juice K=4: River against plain sums, b", np.abs(river.b - sums.b)[some].max(), 1e-6),
        at_most("juice K=4: River against plain sums, SE", np.abs(river.se - sums.se)[some].max(), 1e-6),
    ]
    rng = np.random.default_rng(7)
    clustered, naive, total = 0, 0, 0
    for _ in range(2 if quick else 25):
        weeks = rng.permutation(every)
        cut = len(weeks) // 2
        one = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, weeks[:cut].tolist(), brands)
        two = fit(WithinSums(REFERENCE, 4), juice, juice.narrow, weeks[cut:].tolist(), brands)
        error = np.abs(one.b - two.b)
        clustered += int((error <= Z_90 * np.hypot(one.se, two.se)).sum())
        shrink_se = [np.sqrt(np.maximum(1, p.rows / p.periods)) for p in (one, two)]
        naive += int((error <= Z_90 * np.hypot(one.se / shrink_se[0], two.se / shrink_se[1])).sum())
        total += len(brands)
    figures.append(at_least("halves of the weeks: 90 % intervals cover", clustered / total, 0.85))
    figures.append(at_most("(control: naive intervals cover)", naive / total, 0.6))
    return figures


def replay_figures(juice: Juice, quick: bool) -> list[Figure]:
    """Return the error of both stages on the weeks as cells, against a regression with store intercepts."""
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
    settings = replace(REFERENCE, host="river", emit="changed")
    buckets: dict[int, ElasticityLogic] = {b: ElasticityLogic(settings) for b in range(4)}
    pool, estimates, seen = PoolingLogic(settings), dict[str, dict[str, Any]](), set[str]()
    for week, part in rows.groupby("week", sort=True):
        end = START_MS + (int(str(week)) + 1) * WEEK_MS
        batches: dict[int, dict[str, list[Any]]] = {b: {"cells": [], "offers": [], "catalog": []} for b in buckets}
        values = part[["market", "sku", "cents", "units", "rival"]].to_numpy().tolist()
        for market, sku, cents, units, rival in values:
            name = ("shop", market, sku, sku)
            into = batches[sum(market.encode()) % 4]
            if f"{market}/{sku}" not in seen:
                seen.add(f"{market}/{sku}")
                into["catalog"].append(CatalogEntry("e", 0, *name, "juice", "kvi", "USD", 1, True))
            offer = Offer("e", end - 9, *name, "others", rival, 0, True, "USD", 1, "t", 1.0, WEEK_MS)
            into["offers"].append(offer)
            into["cells"].append(Cell(*name, "base", "all", cents, "USD", orders=units, units=units))
        for b, logic in buckets.items():
            found = batches[b]
            batch = Batch(b, end, tuple(found["cells"]), tuple(found["offers"]), catalog=tuple(found["catalog"]))
            pool_outputs(pool, logic.on_batch(batch), estimates)
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


def bds_figures(folder: Path, quick: bool) -> list[Figure]:
    """Return the errors on the bds data: by brand and advertisement, by brand, pooled with brand intercepts."""
    frame = pd.read_csv(folder / "dominicks_oj_bds" / "oj.csv")
    table = pd.read_csv(folder / "REFERENCES.csv")
    reference = table[table["dataset"] == "dominicks_oj_bds"].set_index("estimate")["value"].to_dict()
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
        # These data have no order of time: the n-th row of every series forms one period.
        row = frame.groupby(codes).cumcount().to_numpy()
        order = np.lexsort([codes, row])
        x, q = np.log(frame["price"].to_numpy())[order][:, None], frame["sales"].to_numpy()[order]
        cuts = np.flatnonzero(np.diff(row[order])) + 1
        for at in np.split(np.arange(len(frame)), cuts):
            rows = PeriodRows(int(row[order][at[0]]), codes[order][at], x[at], q[at], np.zeros(len(at)))
            model.learn(rows)
        got = pool_products(model.statistics(), product, len(product_names), REFERENCE)
        for p, label in enumerate(product_names):
            worst = max(worst, abs(float(got.b[p]) - float(reference[name.format(label)])))
            compared += 1
    return [at_most(f"juice (bds): worst of {compared} references", worst, 0.01)]
