"""The quick form of the acceptance of science § 3: it finds a broken promise, not a lost per cent.

The orange juice lines run on generated scanner weeks everywhere, and on the recorded ones where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.elasticity import WithinSums
from features.segments.customers import Z_90
from infra.reports.acceptance import accept_elasticity as accept
from infra.reports.acceptance import juice as juices
from infra.reports.acceptance.lines import REFERENCE
from infra.reports.recorded_data import data_folder
from tests.generated_data import Weeks, write_weeks


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Weeks, Path]:
    """Generated scanner weeks and their data folder."""
    root = tmp_path_factory.mktemp("weeks")
    return write_weeks(root), root


@pytest.fixture(
    scope="module",
    params=["generated", pytest.param("recorded", marks=pytest.mark.recorded(str(juices.JUICE.parent)))],
)
def juice(request: pytest.FixtureRequest) -> Any:
    """The orange juice rows, read once."""
    if request.param == "recorded":
        return juices.load_juice(data_folder())
    return juices.load_juice(request.getfixturevalue("weeks")[1])


def test_the_orange_juice_references_are_met(juice: Any) -> None:
    missed = [str(line) for line in juices.juice_lines(juice, quick=True) if not line.ok]
    assert missed == []


def test_the_weeks_as_cells_through_both_logics_equal_the_batch_regression(juice: Any) -> None:
    missed = [str(line) for line in juices.replay_line(juice, quick=True) if not line.ok]
    assert missed == []


def test_estimates_of_generated_weeks_find_the_elasticities_they_were_drawn_with(
    weeks: tuple[Weeks, Path],
) -> None:
    known, root = weeks
    juice = juices.load_juice(root)
    every = range(juice.week.min(), juice.week.max() + 1)
    found = juices.fit(WithinSums(REFERENCE, 4), juice, juice.narrow, every, range(11))
    away = np.abs(found.b - known.elasticity)
    assert away.max() <= 0.3
    assert away.mean() <= 0.1
    assert (away <= Z_90 * found.se).sum() >= 8


def test_simulated_counts_keep_their_errors_and_intervals() -> None:
    missed = [str(line) for line in accept.count_lines(quick=True, seed=0) if not line.ok]
    assert missed == []


def test_learning_is_fast_and_its_state_small() -> None:
    # An order of magnitude is what this finds; the figure itself is the full form's.
    speed, size = accept.speed_line(quick=True)
    assert speed.value > 1_000
    assert size.ok
