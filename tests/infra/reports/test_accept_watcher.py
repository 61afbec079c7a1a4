"""The quick form of accept-watcher, which detects regressions by an order of magnitude."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.reports.acceptance.accept_watcher import measure, write
from infra.reports.acceptance.simulated_streams import Size


def test_watcher_keeps_its_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = Size.of(quick=True)
    report = measure(size, only="fairness,gap,delays,known,dispersion,shifts,compare")
    assert report.ok, capsys.readouterr().out
    write(report, size, tmp_path)
    assert json.loads((tmp_path / "accept_watcher.json").read_text())["accepted"]
    assert (tmp_path / "accept_watcher.png").stat().st_size > 0
