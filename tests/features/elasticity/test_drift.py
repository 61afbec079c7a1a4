"""Drift detection: changes found, few false ones, and unchanged by restarts."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.elasticity.drift import Change, DriftMonitor, DriftSettings, Residuals, Scope, Statistic

LISTINGS = 20
NAMES = [f"acme/web/s{i}" for i in range(LISTINGS)]
CATEGORIES = [f"acme/c{i % 4}" for i in range(LISTINGS)]
MARKETS = ["acme/web"] * LISTINGS


def residuals(rng: np.random.Generator, shift: np.ndarray | float = 0.0) -> Residuals:
    """Poisson residuals around a forecast of one order, at prices of ±10 % around the first one."""
    price = np.linspace(-0.1, 0.1, LISTINGS)
    mean = np.ones(LISTINGS)
    return Residuals(rng.poisson(mean * np.exp(shift)) - mean, mean, price, NAMES, CATEGORIES, MARKETS)


def run(
    periods: int, shift_from: int, shift: np.ndarray | float, restart_every: int = 0
) -> list[tuple[int, Change]]:
    rng, monitor, found = np.random.default_rng(7), DriftMonitor(DriftSettings()), []
    for period in range(periods):
        found += [
            (period, change) for change in monitor.observe(residuals(rng, shift if period >= shift_from else 0.0))
        ]
        if restart_every and period % restart_every == 0:
            fresh = DriftMonitor(DriftSettings())
            fresh.restore(orjson.loads(orjson.dumps(monitor.snapshot(), default=array_text)))
            monitor = fresh
    return found


def test_unchanged_demand_is_rarely_reported() -> None:
    assert len(run(2_000, 2_000, 0.0)) <= 2


def test_steeper_response_is_found_as_a_change_of_the_dependence_on_price() -> None:
    price = np.linspace(-0.1, 0.1, LISTINGS)
    found = run(400, 300, -4.0 * price)
    assert found and found[0][0] >= 300
    assert (found[0][1].scope, found[0][1].statistic) == (Scope.MARKET, Statistic.PRICE)
    assert found[0][1].after < found[0][1].before


def test_one_listings_loss_of_demand_concerns_that_listing_alone() -> None:
    shift = np.zeros(LISTINGS)
    shift[3] = -2.0
    found = [change for _, change in run(400, 300, shift)]
    assert [(change.scope, change.key, change.statistic) for change in found][:1] == [
        (Scope.LISTING, NAMES[3], Statistic.LEVEL)
    ]
    assert found[0].rows == (3,)


@pytest.mark.parametrize("every", [1, 37])
def test_restart_changes_nothing(every: int) -> None:
    price = np.linspace(-0.1, 0.1, LISTINGS)
    assert run(400, 300, -4.0 * price, restart_every=every) == run(400, 300, -4.0 * price)


def test_wide_change_covers_its_listings() -> None:
    found = run(340, 300, -1.0)
    at = found[0][0]
    assert found[0][1].scope is Scope.MARKET
    assert all(change.scope is Scope.MARKET for period, change in found if period == at)
