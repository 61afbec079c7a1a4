"""Drift detection: changes found, few false ones, and unchanged by restarts."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from features.array_text import array_text
from features.elasticity.drift import Change, DriftMonitor, DriftSettings, Residuals, Scope, Statistic

LISTINGS, PRICES = 20, np.array([-0.1, 0.0, 0.1])
ROWS = LISTINGS * len(PRICES)
LISTING = [f"acme/web/s{row // 3}" for row in range(ROWS)]
CATEGORY = [f"acme/c{row // 3 % 4}" for row in range(ROWS)]
X = np.tile(PRICES, LISTINGS)


def run(
    periods: int, shift_from: int, shift: np.ndarray | float, restart_every: int = 0
) -> list[tuple[int, Change]]:
    """Observe Poisson counts around a forecast of a third of an order per row; ``shift`` is of their log."""
    rng, monitor, found = np.random.default_rng(7), DriftMonitor(DriftSettings()), []
    mean, one = np.full(ROWS, 1 / 3), np.ones(ROWS)
    for period in range(periods):
        counts = rng.poisson(mean * np.exp(shift if period >= shift_from else 0.0))
        residuals = Residuals(counts - mean, mean, mean, one, X, LISTING, CATEGORY, ["acme/web"] * ROWS)
        found += [(period, change) for change in monitor.observe(residuals)]
        if restart_every and period % restart_every == 0:
            fresh = DriftMonitor(DriftSettings())
            fresh.restore(orjson.loads(orjson.dumps(monitor.snapshot(), default=array_text)))
            monitor = fresh
    return found


def test_unchanged_demand_is_rarely_reported() -> None:
    assert len(run(1_000, 1_000, 0.0)) <= 2


def test_steeper_response_is_found_with_its_size() -> None:
    period, change = run(400, 300, -2.0 * X)[0]
    assert 300 <= period < 348
    assert (change.scope, change.statistic) == (Scope.MARKET, Statistic.PRICE)
    assert change.after < change.before
    assert change.adjustment.slope_shift == pytest.approx(-2.0, abs=3 * change.adjustment.slope_variance**0.5)


def test_one_listings_loss_of_demand_concerns_that_listing_alone() -> None:
    shift = np.where(np.arange(ROWS) // 3 == 3, -2.0, 0.0)
    _, change = run(400, 300, shift)[0]
    assert (change.scope, change.key, change.statistic) == (Scope.LISTING, "acme/web/s3", Statistic.LEVEL)
    assert change.rows == (9, 10, 11)
    assert change.adjustment.slope_shift == 0.0 and change.adjustment.level_variance > 0


@pytest.mark.parametrize("every", [1, 37])
def test_restart_changes_nothing(every: int) -> None:
    assert run(400, 300, -2.0 * X, restart_every=every) == run(400, 300, -2.0 * X)


def test_wide_change_covers_its_listings() -> None:
    found = run(340, 300, -1.0)
    first = found[0][0]
    assert found[0][1].scope is Scope.MARKET
    assert all(change.scope is Scope.MARKET for period, change in found if period == first)
