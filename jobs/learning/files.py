"""The results of `walras learn` as JSON and as Parquet files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.learning.results import CategoryResult, ProductResult, Results
from jobs.replay.records import Refused
from schemas.codes import Sufficiency

JSON_PRODUCTS = 1_000
"""Most products in the JSON document; the Parquet file has all."""
_REFUSED_ROWS = 20_000
_TEXT, _FLOAT, _WHOLE = pa.string(), pa.float64(), pa.int64()
PRODUCTS = pa.schema(
    [
        ("tenant", _TEXT), ("category", _TEXT), ("sku", _TEXT), ("listings", _WHOLE), ("market", _TEXT),
        ("currency", _TEXT), ("state", _TEXT), ("missing", _TEXT), ("raw", _FLOAT), ("raw_se", _FLOAT),
        ("raw_low", _FLOAT), ("raw_high", _FLOAT), ("mean", _FLOAT), ("sd", _FLOAT), ("low", _FLOAT),
        ("high", _FLOAT), ("rival_elasticity", _FLOAT), ("rival_elasticity_sd", _FLOAT), ("rows", _FLOAT),
        ("periods", _FLOAT), ("periods_missing", _WHOLE), ("units", _FLOAT), ("revenue_minor", _FLOAT),
        ("endogeneity", _TEXT), ("lagged_correlation", _FLOAT), ("lagged_z", _FLOAT), ("cost_minor", _WHOLE),
        ("low_price_minor", _FLOAT), ("high_price_minor", _FLOAT), ("last_price_minor", _FLOAT),
        ("optimal_price_minor", _FLOAT), ("optimal_lowest_minor", _FLOAT), ("optimal_highest_minor", _FLOAT),
        ("optimal_bound", _TEXT), ("optimal_gain", _FLOAT),
        ("covariates", pa.list_(pa.struct([("name", _TEXT), ("slope", _FLOAT), ("se", _FLOAT)]))),
    ]
)  # fmt: skip
"""Columns of ``products.parquet``; money in minor units, prices of the product's largest listing."""
CATEGORIES = pa.schema(
    [
        ("tenant", _TEXT), ("category", _TEXT), ("products", _WHOLE), ("mean", _FLOAT), ("sd", _FLOAT),
        ("dispersion", _FLOAT), *((state.value, _WHOLE) for state in Sufficiency), ("revenue_minor", _FLOAT),
        ("endogeneity", _TEXT), ("lagged_correlation", _FLOAT), ("lagged_z", _FLOAT),
    ]
)  # fmt: skip
_REFUSED = pa.schema([(name, _WHOLE if name == "row" else _TEXT) for name in Refused._fields])


def product_record(product: ProductResult) -> dict[str, Any]:
    """Return a product as plain data with the columns of ``PRODUCTS``."""
    learned, best = product.estimate, product.optimal
    return {
        "tenant": product.tenant, "category": product.category, "sku": product.sku,
        "listings": product.listings, "market": product.market, "currency": product.currency,
        "state": product.state.value, "missing": product.missing, "raw": learned.raw, "raw_se": learned.raw_se,
        "raw_low": learned.raw_low, "raw_high": learned.raw_high, "mean": learned.mean, "sd": learned.sd,
        "low": learned.low, "high": learned.high, "rival_elasticity": learned.rival,
        "rival_elasticity_sd": learned.rival_sd, "rows": learned.rows, "periods": learned.periods,
        "periods_missing": learned.periods_missing, "units": product.units,
        "revenue_minor": product.revenue_minor, "endogeneity": product.endogeneity.value,
        "lagged_correlation": product.lagged_correlation, "lagged_z": product.lagged_z,
        "cost_minor": product.cost_minor, "low_price_minor": product.low_price,
        "high_price_minor": product.high_price, "last_price_minor": product.last_price,
        "optimal_price_minor": best and best.price, "optimal_lowest_minor": best and best.lowest,
        "optimal_highest_minor": best and best.highest, "optimal_bound": best and best.bound,
        "optimal_gain": best and best.gain, "covariates": [asdict(effect) for effect in learned.covariates],
    }  # fmt: skip


def category_record(category: CategoryResult) -> dict[str, Any]:
    """Return a category as plain data with the columns of ``CATEGORIES``."""
    found = asdict(category)
    return {**found, **found.pop("states"), "endogeneity": category.endogeneity.value}


def document(results: Results) -> dict[str, Any]:
    """Return the JSON document: accounts, states, categories, and the products of the highest revenue."""
    accounts = results.accounts
    return {
        "name": results.name,
        "kind": results.kind,
        "rows": {
            "read": accounts.read,
            "used": accounts.used,
            "sources": [{**each._asdict(), "balances": each.balances} for each in accounts.sources],
            "refused": [asdict(each) for each in accounts.refusals],
            "records_counted": accounts.counted,
            "learned": accounts.learned_rows,
            "without_sale_or_exposure": accounts.rows_without_sale,
        },
        "states": {state.value: results.states[state.value] for state in Sufficiency},
        "categories": [category_record(each) for each in results.categories],
        "products_in_all": len(results.products),
        "products": [product_record(each) for each in results.products[:JSON_PRODUCTS]],
    }


def write_parquet(results: Results, refused: Iterable[Refused], folder: Path) -> list[Path]:
    """Write products, categories and refused rows; return the paths."""
    tables = (
        ("products", PRODUCTS, [product_record(each) for each in results.products]),
        ("categories", CATEGORIES, [category_record(each) for each in results.categories]),
    )
    paths = []
    for name, schema, rows in tables:
        paths.append(folder / f"{name}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema), paths[-1], compression="zstd")
    paths.append(folder / "refused.parquet")
    with pq.ParquetWriter(paths[-1], _REFUSED, compression="zstd") as writer:
        chunk: list[dict[str, Any]] = []
        for each in refused:
            chunk.append(each._asdict())
            if len(chunk) >= _REFUSED_ROWS:
                writer.write_table(pa.Table.from_pylist(chunk, _REFUSED))
                chunk = []
        writer.write_table(pa.Table.from_pylist(chunk, _REFUSED))
    return paths
