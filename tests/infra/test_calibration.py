"""The market's speed and traffic follow from a measurement of the machine, once a run."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from infra.local import calibration
from infra.local.__main__ import parser
from infra.local.calibration import LADDER, Choice, Market, choose, choose_once, measure
from infra.local.config import ROOT


def test_ladder_goes_down_in_speed_traffic_and_need_to_a_rung_that_needs_nothing() -> None:
    for faster, slower in pairwise(LADDER):
        assert faster.market.speed > slower.market.speed
        assert faster.market.events_per_second > slower.market.events_per_second
        assert faster.cores > slower.cores
    assert LADDER[-1].cores == 0


def test_each_rung_is_chosen_from_the_capacity_it_needs() -> None:
    assert [choose(rung.cores) for rung in LADDER] == [rung.market for rung in LADDER]
    assert choose(LADDER[0].cores - 0.01) == LADDER[1].market


def test_measurement_counts_every_core_and_takes_about_a_second() -> None:
    capacity, cores = measure(seconds=0.1)
    assert cores >= 1
    assert capacity > 0


def test_restart_keeps_the_first_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure", lambda: (LADDER[1].cores, 2))
    path = tmp_path / "run" / "market.json"
    assert choose_once(path) == (Choice(LADDER[1].market, LADDER[1].cores, 2), True)
    monkeypatch.setattr(calibration, "measure", lambda: (100.0, 2))
    assert choose_once(path) == (Choice(LADDER[1].market, LADDER[1].cores, 2), False)


def test_an_unreadable_choice_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure", lambda: (0.0, 1))
    path = tmp_path / "market.json"
    path.write_text('{"market": {}}')
    assert choose_once(path) == (Choice(LADDER[-1].market, 0.0, 1), True)


def test_line_names_cores_capacity_speed_and_traffic() -> None:
    line = Choice(Market(20, 2_500), 0.94, 2).line()
    assert all(word in line for word in ("2 cores", "0.9", "20 market seconds", "2,500 events"))


@pytest.mark.parametrize(("given", "option"), [([], ""), (["SPEED=7"], "--speed 7")])
def test_make_run_chooses_the_speed_unless_it_is_given(given: list[str], option: str) -> None:
    said = subprocess.run(
        ["make", "-n", "-o", "env", "run", *given], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert ("--speed" in said) == bool(option)
    assert option in said


def test_no_speed_is_the_default_of_up_and_run() -> None:
    assert [parser().parse_args([command]).speed for command in ("up", "run")] == [None, None]
