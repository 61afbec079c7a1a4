"""The simulator's command line."""

from __future__ import annotations

import pytest

from jobs.simulate import main
from jobs.simulation.config import MarketConfig
from jobs.simulator.dry_run import dry_run


def test_dry_run_measures_list_prices_and_price_tables() -> None:
    speeds = dry_run(MarketConfig(skus=5, events_per_minute=2000.0), seed=1, budget_s=0.05)
    assert set(speeds) == {"list_prices_events_per_second", "price_tables_events_per_second"}
    assert min(speeds.values()) > 1000


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "--http-share" in capsys.readouterr().out
