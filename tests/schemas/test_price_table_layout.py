"""Redis layout of price tables, byte for byte, and the distribution of customers' prices."""

from __future__ import annotations

import json
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, kstest

from schemas.listings import Listing
from schemas.price_table import FULL, PriceList, PriceTable, unit_draw
from schemas.redis_keys import READY_KEY, price_key, segment_key, updates_channel

GOLDEN = Path(__file__).parents[1] / "golden" / "redis_layout.json"
CUSTOMERS = [f"customer-{i:05d}" for i in range(4000)]
PRICES = PriceList.from_propensities([1799, 1899, 1999, 2099], [0.4, 0.3, 0.2, 0.1])


def a_table() -> PriceTable:
    return PriceTable(
        listing=Listing("acme", "web-us-usd", "sku-1"),
        price_group="group-1",
        version=1_795_000_000_123,
        table_id="t-1795000000000",
        published_ms=1_795_000_000_123,
        expires_ms=1_795_086_400_123,
        currency="USD",
        table={
            "base": {"myopic": PRICES, "strategic": PriceList.from_propensities([1899], [1.0])},
            "careful": {"all": PriceList.from_propensities([1899, 1999], [0.98, 0.02])},
        },
        list_minor=2199,
        offer_minor=None,
        reason="EVIDENCE orders ×0.7: PUBLISHED 19.99 → 17.99 USD",
        decision_id="d-1",
    )


def picks(table_id: str) -> np.ndarray:
    return np.array([PRICES.pick(unit_draw(table_id, customer))[0] for customer in CUSTOMERS])


def dependence(left: np.ndarray, right: np.ndarray) -> float:
    """Return the p-value of the independence of two columns of picks."""
    counts = np.zeros((len(PRICES.prices), len(PRICES.prices)))
    index = {price: i for i, price in enumerate(PRICES.prices)}
    for a, b in zip(left, right, strict=True):
        counts[index[a], index[b]] += 1
    return float(chi2_contingency(counts).pvalue)


def test_layout_equals_the_golden_file() -> None:
    table = a_table()
    layout = {
        "price_key": price_key(table.listing),
        "price_hash": table.to_redis(),
        "segment_key": segment_key("acme", "8e3362b1a148ff005e63f045933232a9"),
        "ready_key": READY_KEY,
        "updates_channel": updates_channel("acme", "web-us-usd"),
        "picks": {c: list(table.pick(c, "myopic")) for c in CUSTOMERS[:8]},
    }
    assert json.loads(GOLDEN.read_text()) == layout


def test_table_survives_a_round_trip() -> None:
    assert PriceTable.from_redis(a_table().listing, a_table().to_redis()) == a_table()
    assert PriceTable.from_record(a_table().to_record()) == a_table()


def test_share_of_customers_per_price_equals_its_propensity() -> None:
    observed = [int((picks("t-1") == price).sum()) for price in PRICES.prices]
    expected = np.array([0.4, 0.3, 0.2, 0.1]) * len(CUSTOMERS)
    assert chisquare(observed, expected).pvalue > 0.001


def test_draws_of_customers_are_uniform() -> None:
    draws = np.array([unit_draw("t-1", customer) for customer in CUSTOMERS]) / FULL
    assert kstest(draws, "uniform").pvalue > 0.001


def test_price_of_a_customer_depends_on_the_table_id() -> None:
    assert (picks("t-1") == picks("t-1")).all()
    assert (picks("t-1") != picks("t-2")).mean() > 0.5


def test_picks_of_different_tables_are_independent() -> None:
    columns = [picks(f"t-{i}") for i in range(7)]
    p_values = [dependence(a, b) for a, b in combinations(columns, 2)]
    # The smallest of 21 p-values is above its Bonferroni bound, and their distribution is uniform.
    assert min(p_values) > 0.001 / len(p_values)
    assert kstest(p_values, "uniform").pvalue > 0.001


@pytest.mark.parametrize("purpose", ["arm|experiment-1", "arm|experiment-2", "segment"])
def test_price_is_independent_of_draws_for_other_purposes(purpose: str) -> None:
    other = np.array([PRICES.pick(unit_draw("t-1", customer, purpose))[0] for customer in CUSTOMERS])
    assert dependence(picks("t-1"), other) > 0.001


def test_crc_picks_of_different_tables_are_dependent() -> None:
    """Negative control for the choice of MD5."""

    def crc_picks(table_id: str) -> np.ndarray:
        return np.array([PRICES.pick(zlib.crc32(f"{table_id}|{c}|price".encode()))[0] for c in CUSTOMERS])

    assert dependence(crc_picks("t-1"), crc_picks("t-2")) < 1e-12
