"""Choice of the simulated market's speed and traffic from a measurement of the machine."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from infra.local import calibration
from infra.local.__main__ import parser
from infra.local.calibration import LEVELS, Choice, Machine, Market, choose, choose_once, measure
from infra.local.config import ROOT

FAST, SLOW = Machine(2, 1.0, 1.0), Machine(2, 0.4, 1.0)


def test_levels_descend_to_one_without_a_requirement() -> None:
    for above, below in pairwise(LEVELS):
        assert above.market.speed >= below.market.speed
        assert above.market.events_per_second > below.market.events_per_second
        assert above.cores > below.cores
    assert LEVELS[-1].cores == 0


def test_level_is_chosen_from_its_required_capacity() -> None:
    assert [choose(level.cores) for level in LEVELS] == [level.market for level in LEVELS]
    assert choose(LEVELS[0].cores - 0.01) == LEVELS[1].market


def test_slow_machine_gets_less_traffic_and_no_archive() -> None:
    market = choose(SLOW.capacity)
    assert (market.events_per_second, market.archive) == (1_500, False)
    assert market.settings() == {"MARKET_RATE": "1500", "ARCHIVE": "false", "BUCKETS": "16"}


def test_measurement_returns_cores_speed_and_free_share() -> None:
    machine = measure(seconds=0.1)
    assert machine.cores >= 1
    assert machine.core_speed > 0
    assert 0 < machine.free <= 1


def test_restart_keeps_the_first_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = tmp_path / "run" / "market.json", Choice(LEVELS[1].market, SLOW)
    monkeypatch.setattr(calibration, "measure", lambda: SLOW)
    assert choose_once(path, {}) == (first, True)
    monkeypatch.setattr(calibration, "measure", lambda: FAST)
    assert choose_once(path, {}) == (first, False)


def test_previous_run_keeps_its_buckets_and_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure", lambda: SLOW)
    choice, _ = choose_once(tmp_path / "market.json", {"WALRAS_BUCKETS": "320"})
    assert (choice.market.buckets, choice.market.archive, choice.market.events_per_second) == (320, True, 1_500)


def test_unreadable_choice_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure", lambda: FAST)
    path = tmp_path / "market.json"
    path.write_text('{"market": {}}')
    assert choose_once(path, {}) == (Choice(LEVELS[0].market, FAST), True)


def test_summary_contains_measurement_and_choice() -> None:
    summary = Choice(Market(20, 2_500, archive=False), Machine(2, 0.94, 0.5)).summary()
    words = ("2 cores", "0.94 times", "50 % free", "20 market seconds", "2,500 events", "no archive of raw events")
    assert [word for word in words if word not in summary] == []


@pytest.mark.parametrize(("given", "option"), [([], ""), (["SPEED=7"], "--speed 7")])
def test_make_run_passes_a_given_speed(given: list[str], option: str) -> None:
    output = subprocess.run(
        ["make", "-n", "-o", "env", "run", *given], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert ("--speed" in output) == bool(option)
    assert option in output


def test_up_and_run_have_no_default_speed() -> None:
    assert [parser().parse_args([command]).speed for command in ("up", "run")] == [None, None]
