"""Generated files in the formats of the recorded data sets, drawn from a seed, with known results.

There are three formats: carts (``rees46``), order lines with rivals' prices (``olist``), and scanner weeks of
eleven brands (``dominicks``). A clone without recorded data runs the same code on the same columns, and the tests
compare its results with the generator's rows, refusals and elasticities.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

BRANDS = 11
WEEKS_FOLDER, ORDERS_FOLDER, CARTS_FOLDER = "dominicks_oj_bayesm", "olist_replay", "rees46_sample"
"""Folders below the data folder, with the names of the recorded data sets."""
FIRST_WEEK = 40


@dataclass(frozen=True)
class Answer:
    """Expected report of a replay: rows of each source with a primary entry, and number of refused rows."""

    folder: Path
    rows: list[int]
    refused: int


def write_carts(root: Path, seed: int = 0, sessions: int = 60) -> Answer:
    """Write ``events.csv``: views, carts and purchases, some with price 0, and one kind that no mapping reads.

    Events of price 0 and of the unknown kind are refused.
    """
    rng = np.random.default_rng(seed)
    prices = np.round(rng.uniform(5, 500, 20), 2)
    start, rows, refused = datetime(2019, 10, 1), [], 0
    for session in range(sessions):
        at = start + timedelta(seconds=30 * session)
        for step in range(int(rng.integers(1, 5))):
            product = int(rng.integers(len(prices)))
            kind = str(rng.choice(["view", "view", "view", "cart", "purchase", "remove_from_cart"]))
            price = 0.0 if rng.random() < 0.05 else float(prices[product])
            refused += price == 0.0 or kind == "remove_from_cart"
            rows.append({
                "event_time": at + timedelta(seconds=5 * step), "event_type": kind,
                "product_id": 1_000 + product, "category_id": 7, "brand": "maker" if product % 2 else None,
                "category_code": f"toys.kind{product % 3}" if product % 4 else None, "price": price,
                "user_id": 500 + session % 25, "user_session": f"session-{session}",
            })  # fmt: skip
    folder = _folder(root, CARTS_FOLDER)
    frame = pd.DataFrame(rows).sort_values("event_time", kind="stable")
    frame.to_csv(folder / "events.csv", index=False)
    return Answer(folder, [len(frame)], int(refused))


def write_orders(root: Path, seed: int = 0, skus: int = 4, months: int = 4) -> Answer:
    """Write ``order_lines.csv`` and ``competitor_prices.csv``: a line per unit, an offer per month and rival.

    Order lines of price 0 are refused.
    """
    rng = np.random.default_rng(seed)
    lines: list[dict[str, object]] = []
    offers: list[dict[str, object]] = []
    refused = 0
    for month in range(months):
        first = datetime(2017, 1 + month, 1)
        for number in range(skus):
            sku, price = f"toys{number}", round(40.0 * (1 + number) * float(rng.uniform(0.8, 1.2)), 2)
            for _ in range(int(rng.poisson(6 * (price / (40.0 * (1 + number))) ** -2.0)) + 1):
                paid = 0.0 if rng.random() < 0.05 else price
                refused += paid == 0.0
                lines.append({
                    "event_time": first + timedelta(minutes=int(rng.integers(1, 28 * 1440))),
                    "order_id": f"order-{len(lines)}", "order_item_id": 1, "sku": sku, "product_id": sku,
                    "seller_id": "seller", "price": paid, "freight_value": 9.9, "category": "toys",
                })  # fmt: skip
            for rival in range(2):
                copy = rival == 1 and bool(rng.random() < 0.3)
                offers.append({
                    "month": first, "sku": sku, "competitor": f"comp_{rival}", "own_unit_price": price,
                    "competitor_price": price if copy else round(price * float(rng.uniform(0.4, 1.4)), 2),
                    "competitor_product_score": 4.0, "competitor_freight_price": 9.9, "is_own_price_copy": copy,
                })  # fmt: skip
    folder = _folder(root, ORDERS_FOLDER)
    pd.DataFrame(lines).sort_values("event_time", kind="stable").to_csv(folder / "order_lines.csv", index=False)
    pd.DataFrame(offers).to_csv(folder / "competitor_prices.csv", index=False)
    return Answer(folder, [len(lines), len(offers)], int(refused))


@dataclass(frozen=True)
class Weeks:
    """Generated scanner weeks: the expected report, and the elasticity of each brand in the generator."""

    answer: Answer
    elasticity: np.ndarray


def write_weeks(root: Path, seed: int = 0, stores: int = 20, weeks: int = 80) -> Weeks:
    """Write ``store_week_brand.parquet``, and ``REFERENCES.csv`` beside its folder.

    Demand is log-linear in the own price (elasticity between -4 and -1), the mean log price of the other ten
    brands (0.8), coupon and feature. All stores share a brand's weekly shock and its promotions, so that standard
    errors must be clustered by week.

    As in the recorded data, ``REFERENCES.csv`` contains each brand's least-squares estimate with store intercepts,
    all eleven log prices, coupon and feature.
    """
    rng = np.random.default_rng(seed)
    elasticity = np.round(np.linspace(-4.0, -1.0, BRANDS), 2)
    shape = (weeks, stores, BRANDS)
    promoted = rng.random((weeks, 1, BRANDS)) < 0.3
    log_price = (
        np.log(rng.uniform(0.025, 0.06, BRANDS))
        + rng.normal(0, 0.05, (1, stores, BRANDS))
        - promoted * rng.uniform(0.05, 0.35, (weeks, 1, BRANDS))
        + rng.normal(0, 0.03, shape)
    )
    deal = promoted & (rng.random(shape) < 0.5)
    feature = np.where(promoted, rng.random(shape).round(2), 0.0)
    others = (log_price.sum(axis=2, keepdims=True) - log_price) / (BRANDS - 1)
    log_ounces = (
        rng.normal(8.0, 0.3, (1, stores, BRANDS))
        + elasticity * (log_price - np.log(0.04))
        + 0.8 * (others - np.log(0.04))
        + 0.3 * deal
        + 0.4 * feature
        + rng.normal(0, 0.08, (weeks, 1, BRANDS))
        + rng.normal(0, 0.04, shape)
    )
    week, store, brand = (axis.ravel() for axis in np.indices(shape))
    frame = pd.DataFrame({
        "store": store + 2, "brand": brand + 1, "week": week + FIRST_WEEK,
        "brand_name": [f"Brand {b + 1} {(64, 96, 128)[b % 3]}oz" for b in brand],
        "logmove": log_ounces.ravel(), "deal": deal.ravel().astype(int), "feat": feature.ravel(),
        "profit": rng.uniform(20, 40, week.size), "move_oz": np.exp(log_ounces.ravel()),
    })  # fmt: skip
    prices = np.exp(log_price)[week, store]
    for b in range(BRANDS):
        frame[f"price{b + 1}"] = prices[:, b]
    folder = _folder(root, WEEKS_FOLDER)
    frame.to_parquet(folder / "store_week_brand.parquet")
    _references(frame).to_csv(root / "REFERENCES.csv", index=False)
    return Weeks(Answer(folder, [len(frame)], 0), elasticity)


def _references(frame: pd.DataFrame) -> pd.DataFrame:
    """Return own-price estimates by least squares within stores, one row per brand."""
    rows = []
    for brand, part in frame.groupby("brand"):
        x = np.column_stack(
            [np.log(part[f"price{b}"]) for b in range(1, BRANDS + 1)] + [part["deal"], part["feat"]]
        )
        data = pd.DataFrame(np.column_stack([part["logmove"], x]), index=part.index)
        within = (data - data.groupby(part["store"]).transform("mean")).to_numpy()
        found = np.linalg.lstsq(within[:, 1:], within[:, 0], rcond=None)[0]
        name = f"own-price: brand {brand} {part['brand_name'].iloc[0]}"
        rows.append({"dataset": WEEKS_FOLDER, "estimate": name, "value": found[int(str(brand)) - 1]})
    return pd.DataFrame(rows)


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
