"""Tests on missing recorded data are deselected, and pytest's summary reports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.reports.recorded_data import DEFAULT, data_folder

pytest_plugins = ["pytester"]

SUITE = """
import pytest
@pytest.mark.recorded("carts")
def test_recorded(): pass
def test_generated(): pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs two tests, one of which needs recorded carts, with a data folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeini("[pytest]\nmarkers = recorded(name): needs a data set")
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(SUITE)

    def with_data(folder: Path, *options: str) -> pytest.RunResult:
        monkeypatch.setenv("WALRAS_DATA", str(folder))
        return pytester.runpytest_subprocess("-q", *options)

    return with_data


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["one process", "workers"])
def test_test_on_missing_data_is_deselected_and_reported(run: Any, tmp_path: Path, options: list[str]) -> None:
    done = run(tmp_path, *options)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["recorded data: no tests added, 1 left out: no carts below *(WALRAS_DATA)"])


def test_test_on_recorded_data_runs_and_is_reported(run: Any, tmp_path: Path) -> None:
    (tmp_path / "carts").mkdir()
    done = run(tmp_path)
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["recorded data: 1 tests added, on the data sets below *(WALRAS_DATA)"])


def test_data_folder_is_beside_the_clone_by_default() -> None:
    assert data_folder({}) == data_folder({"WALRAS_DATA": ""}) == DEFAULT
    assert data_folder({"WALRAS_DATA": "/elsewhere"}) == Path("/elsewhere")
