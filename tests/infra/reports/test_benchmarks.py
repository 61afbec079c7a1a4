"""The quick forms of the benchmarks without a platform, which detect regressions by an order of magnitude.

The limits are ratios to a peer of the same run, since other processes may load the machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.reports.benchmarks.figures import benchmark_figure, merge
from infra.reports.benchmarks.program import WITHOUT_PLATFORM, measure
from infra.reports.inputs import market_file
from infra.reports.report import Figure, Report, machine


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    report = Report("bench")
    measure(report, WITHOUT_PLATFORM, quick=True, home=tmp_path_factory.mktemp("bench"))
    return {figure.name: figure for figure in report.figures}


def test_hull_is_faster_than_glop_with_the_same_objective(measured: dict[str, Figure]) -> None:
    assert (measured["reprice_per_listing"].ratio or 1) < 0.5
    assert measured["hull_glop_gap"].ok


def test_quotes_reach_a_sixth_of_constant_responses(measured: dict[str, Figure]) -> None:
    assert (measured["quotes"].ratio or 0) > 0.15
    assert measured["quotes"].detail["not_answered"] == 0


def test_state_per_listing_keeps_its_limit(measured: dict[str, Figure]) -> None:
    assert measured["state_per_listing"].ok


def test_learning_a_cell_costs_at_most_a_hundred_times_its_decoding(measured: dict[str, Figure]) -> None:
    assert (measured["cells_learned_per_s"].ratio or 0) > 0.01


def test_figures_of_several_runs_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    merge([benchmark_figure("quotes", 10.0, "1/s", 20.0)], path)
    path.write_text(path.read_text().replace(machine(), "another machine"))
    report = merge([benchmark_figure("quote_p99", 6.0, "ms", 2.0)], path)
    assert [report["figures"][name]["machine"] for name in ("quote_p99", "quotes")] == [
        machine(),
        "another machine",
    ]
    assert set(report) == {"machine", "versions", "date", "commit", "figures"}
    assert report["figures"]["quotes"]["ratio"] == 0.5 and report["figures"]["quotes"]["within"] is True
    assert report["figures"]["quote_p99"]["within"] is False


def test_market_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "input.bin"
    opening, written = market_file.write(
        path, listings=9, events_per_minute=200, start_ms=1_790_000_040_000, minutes=2
    )
    records = list(market_file.read(path))
    assert len(records) == written > opening > 0
    assert {"catalog", "quotes", "clicks"} <= {record.topic for record in records}
    assert all(record.value.startswith(b"{") for record in records)
