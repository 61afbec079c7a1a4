"""The quick form of the arena, which detects large losses of profit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infra.reports.arena.arena import FAMILY_NAMES, START_MS, make_method, run_all, run_market
from infra.reports.arena.comparison import Comparison
from infra.reports.arena.market import market_config
from infra.reports.arena.pricing_methods import METHOD_OF, METHODS
from infra.reports.program import run_program
from infra.reports.programs import PROGRAMS
from jobs.pricing.strategies import STRATEGIES
from jobs.simulation.count_market import CountMarket, Shown


def test_walras_exceeds_cost_plus_and_keeps_its_share_of_the_clairvoyant(tmp_path: Path) -> None:
    methods = "walras,cost_plus_15,cost_plus_25,clairvoyant"
    options = ["--families", "logit,step", "--seeds", "3", "--days", "1", "--listings", "6", "--methods", methods]
    assert run_program(PROGRAMS, ["arena", *options, "--out", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "arena.json").read_text())
    assert written["accepted"] and written["seeds"] == {"logit": [3], "step": [3]}
    assert (tmp_path / "arena.png").stat().st_size > 0


def test_every_strategy_runs_in_every_family_and_is_in_the_table() -> None:
    strategies = [METHOD_OF.get(each.name, each.name) for each in STRATEGIES if each.selectable]
    assert set(strategies) <= set(METHODS)
    comparison = Comparison(0.05, 1)
    for family in FAMILY_NAMES:
        comparison.runs[family] = {1: run_market(family, 1, 0.05, 1, strategies)}
    head, *rows = comparison.table_lines()
    assert head.split() == ["method", *FAMILY_NAMES]
    assert {row.split()[0] for row in rows} == {*strategies, "clairvoyant"}
    assert all(0 < float(share) < 1.5 for row in rows for share in row.split()[1:])


def test_arrivals_depend_on_the_seed_and_not_on_prices() -> None:
    def run_market(factor: float) -> tuple[np.ndarray, np.ndarray]:
        market = CountMarket(market_config("mixture", 5, 4, 1.0), 5, START_MS)
        market.opening()
        shown = Shown.single(np.round(market.list_minor * factor).astype(int))
        minutes = [market.step(shown) for _ in range(90)]
        return sum(m.requests for m in minutes), sum(m.profit_minor for m in minutes)

    once, again, higher = run_market(1.0), run_market(1.0), run_market(1.1)
    assert np.array_equal(once[1], again[1])
    assert np.array_equal(once[0], higher[0]) and not np.array_equal(once[1], higher[1])


def test_profit_of_the_cells_equals_the_expected_profit_on_average() -> None:
    market = CountMarket(market_config("logit", 5, 4, 1.0), 5, START_MS)
    market.opening()
    shown = Shown.single(market.list_minor)
    observed = expected = 0.0
    for _ in range(1500):
        costs = {x.sku: int(c) for x, c in zip(market.listings, market.cost_minor, strict=True)}
        minute = market.step(shown)
        expected += float(minute.profit_minor.sum())
        observed += sum(cell.units * (cell.price_minor - costs[cell.sku]) for cell in minute.cells)
        assert all(cell.orders <= cell.exposures for cell in minute.cells)
    assert observed == pytest.approx(expected, rel=0.12)


def test_unknown_methods_and_families_are_refused() -> None:
    market = CountMarket(market_config("logit", 1, 2, 1.0), 1, START_MS)
    with pytest.raises(ValueError, match="expected one of walras"):
        make_method("guess", market)
    with pytest.raises(ValueError, match=r"families of logit.*got magic"):
        run_all(["magic"], [1], 1.0, 2)
