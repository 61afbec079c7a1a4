"""The quick form of accept-elasticity, which detects regressions by an order of magnitude.

The figures of the orange-juice data run on generated scanner weeks, and on the recorded ones where they exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.elasticity import WithinSums
from features.segments.customers import Z_90
from infra.reports.acceptance import accept_elasticity as accept
from infra.reports.acceptance import named_covariates, orange_juice
from infra.reports.acceptance.stages import REFERENCE
from infra.reports.recorded_data import data_folder
from tests.generated_data import Weeks, write_weeks


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Weeks, Path]:
    """Return generated scanner weeks and their data folder."""
    root = tmp_path_factory.mktemp("weeks")
    return write_weeks(root), root


@pytest.fixture(
    scope="module",
    params=["generated", pytest.param("recorded", marks=pytest.mark.recorded(str(orange_juice.JUICE.parent)))],
)
def folder(request: pytest.FixtureRequest) -> Path:
    """Return the data folder of the orange-juice data."""
    return data_folder() if request.param == "recorded" else request.getfixturevalue("weeks")[1]


@pytest.fixture(scope="module")
def juice(folder: Path) -> Any:
    """Return the rows of the orange-juice data."""
    return orange_juice.load_juice(folder)


def test_estimates_match_the_references(juice: Any) -> None:
    missed = [figure.line() for figure in orange_juice.juice_figures(juice, quick=True) if not figure.ok]
    assert missed == []


def test_both_stages_match_the_batch_regression(juice: Any) -> None:
    missed = [figure.line() for figure in orange_juice.replay_figures(juice, quick=True) if not figure.ok]
    assert missed == []


def test_named_covariates_and_competitors_reach_the_references(juice: Any, folder: Path) -> None:
    figures = named_covariates.covariate_figures(juice, folder, quick=True)
    assert [figure.line() for figure in figures if not figure.ok] == []


def test_estimates_match_the_elasticities_of_the_generator(weeks: tuple[Weeks, Path]) -> None:
    known, root = weeks
    juice = orange_juice.load_juice(root)
    every = range(juice.week.min(), juice.week.max() + 1)
    found = orange_juice.fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every, range(11))
    error = np.abs(found.b - known.elasticity)
    assert error.max() <= 0.3
    assert error.mean() <= 0.1
    assert (error <= Z_90 * found.se).sum() >= 8


def test_estimates_of_simulated_counts_keep_their_limits() -> None:
    missed = [figure.line() for figure in accept.count_figures(quick=True, seed=0) if not figure.ok]
    assert missed == []


def test_cost_of_learning_keeps_its_limits() -> None:
    # A fifth of the limit, since other tests may load the machine.
    speed, size = accept.cost_figures(quick=True)
    assert (speed.value or 0) > 1_000
    assert size.ok
