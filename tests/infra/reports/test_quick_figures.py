"""Quick forms of the benchmarks that need no platform: a regression of an order of magnitude fails here.

Limits are ratios to a peer of the same run, never times: the machine may be busy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.reports.benchmarks import made_input
from infra.reports.benchmarks.__main__ import PURE, run
from infra.reports.benchmarks.figures import LIMITS, Figure, machine, merge, table


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    found = run(PURE, quick=True, home=tmp_path_factory.mktemp("bench"))
    return {figure.name: figure for figure in found}


def test_the_hull_is_faster_than_glop_and_finds_what_glop_finds(measured: dict[str, Figure]) -> None:
    assert (measured["reprice_per_listing"].ratio or 1) < 0.5
    assert LIMITS["hull_glop_gap"].holds(measured["hull_glop_gap"])


def test_a_quote_costs_no_more_than_a_few_bare_replies_and_every_one_is_answered(
    measured: dict[str, Figure],
) -> None:
    assert (measured["quotes"].ratio or 0) > 0.15
    assert measured["quotes"].detail["not_answered"] == 0


def test_a_listing_fits_into_its_state(measured: dict[str, Figure]) -> None:
    assert LIMITS["state_per_listing"].holds(measured["state_per_listing"])


def test_learning_a_cell_costs_no_more_than_a_hundred_times_its_decoding(measured: dict[str, Figure]) -> None:
    assert (measured["cells_learned_per_s"].ratio or 0) > 0.01


def test_figures_of_several_runs_are_merged_into_one_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    merge([Figure("quotes", 10.0, "1/s", 20.0)], path)
    path.write_text(path.read_text().replace(machine(), "another machine"))
    report = merge([Figure("quote_p99", 6.0, "ms", 2.0)], path)
    assert [report["figures"][name]["machine"] for name in ("quote_p99", "quotes")] == [
        machine(),
        "another machine",
    ]
    assert set(report) == {"machine", "versions", "date", "figures"}
    assert report["figures"]["quotes"]["ratio"] == 0.5 and report["figures"]["quotes"]["within"] is True
    assert report["figures"]["quote_p99"]["within"] is False
    assert "MISSED" in table([Figure("quote_p99", 6.0, "ms", 2.0)])


def test_input_made_beforehand_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "input.bin"
    opening, written = made_input.write(
        path, listings=9, events_per_minute=200, start_ms=1_790_000_040_000, minutes=2
    )
    records = list(made_input.read(path))
    assert len(records) == written > opening > 0
    assert {"catalog", "quotes", "clicks"} <= {made.topic for made in records}
    assert all(made.value.startswith(b"{") for made in records)
