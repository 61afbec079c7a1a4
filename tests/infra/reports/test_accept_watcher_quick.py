"""The quick form of accept_watcher: a regression of an order of magnitude fails here."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.reports.acceptance.accept_watcher import accept


def test_the_watchers_table_holds_in_its_quick_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = accept(quick=True, out=tmp_path, only="fairness,gap,delays,known,dispersion,shifts,compare")
    assert report.accepted, capsys.readouterr().out
    assert (tmp_path / "accept_watcher.png").stat().st_size > 0
