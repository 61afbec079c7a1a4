"""The quick form of the arena: a shop that loses an order of magnitude, or a broken tool, fails here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.reports.arena.arena import START_MS, main
from infra.reports.arena.shops import market_config, open_shop
from jobs.simulation.count_market import CountMarket, Shown


def test_walras_comes_near_the_clairvoyant_within_a_day_and_above_cost_plus(tmp_path: Path) -> None:
    shops = "walras,cost_plus_15,cost_plus_25,clairvoyant"
    asked = ["--families", "logit,step", "--seeds", "3", "--days", "1", "--listings", "6", "--shops", shops]
    assert main([*asked, "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "arena.json").read_text())
    assert told["accepted"] and told["seeds"] == {"logit": [3], "step": [3]}
    assert (tmp_path / "arena.png").stat().st_size > 0


def test_the_same_seed_gives_the_same_market_and_other_prices_leave_its_arrivals_alone() -> None:
    def week(dearer: float) -> tuple[np.ndarray, np.ndarray]:
        market = CountMarket(market_config("mixture", 5, 4, 1.0), 5, START_MS)
        market.opening()
        shown = Shown.single(np.round(market.list_minor * dearer).astype(int))
        minutes = [market.step(shown) for _ in range(90)]
        return sum(m.requests for m in minutes), sum(m.profit_minor for m in minutes)

    once, again, dearer = week(1.0), week(1.0), week(1.1)
    assert np.array_equal(once[1], again[1])
    assert np.array_equal(once[0], dearer[0]) and not np.array_equal(once[1], dearer[1])


def test_a_minutes_cells_hold_what_its_profit_says_on_average() -> None:
    market = CountMarket(market_config("logit", 5, 4, 1.0), 5, START_MS)
    market.opening()
    shown = Shown.single(market.list_minor)
    seen = expected = 0.0
    for _ in range(1500):
        costs = {x.sku: int(c) for x, c in zip(market.listings, market.cost_minor, strict=True)}
        minute = market.step(shown)
        expected += float(minute.profit_minor.sum())
        seen += sum(cell.units * (cell.price_minor - costs[cell.sku]) for cell in minute.cells)
        assert all(cell.orders <= cell.exposures for cell in minute.cells)
    assert seen == pytest.approx(expected, rel=0.12)


def test_unknown_shops_and_families_are_refused_by_name() -> None:
    market = CountMarket(market_config("logit", 1, 2, 1.0), 1, START_MS)
    with pytest.raises(ValueError, match="expected one of walras"):
        open_shop("guess", market)
    with pytest.raises(ValueError, match=r"families of logit.*got magic"):
        main(["--families", "magic"])
