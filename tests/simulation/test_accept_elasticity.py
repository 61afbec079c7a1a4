"""The quick form of the acceptance of science § 3: it finds a broken promise, not a lost per cent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import accept_elasticity as accept
from tests.simulation import juice as juices


@pytest.fixture(scope="module")
def juice() -> Any:
    """The orange juice rows, read once."""
    return juices.load_juice(juices.data_folder())


def test_the_orange_juice_references_are_met(juice: Any) -> None:
    missed = [str(line) for line in juices.juice_lines(juice, quick=True) if not line.ok]
    assert missed == []


def test_the_weeks_as_cells_through_both_logics_equal_the_batch_regression(juice: Any) -> None:
    missed = [str(line) for line in juices.replay_line(juice, quick=True) if not line.ok]
    assert missed == []


def test_simulated_counts_keep_their_errors_and_intervals() -> None:
    missed = [str(line) for line in accept.count_lines(quick=True, seed=0) if not line.ok]
    assert missed == []


def test_learning_is_fast_and_its_state_small() -> None:
    # An order of magnitude is what this finds; the figure itself is the full form's.
    speed, size = accept.speed_line(quick=True)
    assert speed.value > 1_000
    assert size.ok
