"""The quick form of accept_watcher: a regression of an order of magnitude fails here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def test_the_watchers_table_holds_in_its_quick_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).with_name("accept_watcher.py")
    spec = importlib.util.spec_from_file_location("accept_watcher", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["accept_watcher"] = module
    spec.loader.exec_module(module)
    report = module.accept(quick=True, out=tmp_path, only="fairness,gap,delays,known,dispersion,shifts,compare")
    assert report.accepted, capsys.readouterr().out
    assert (tmp_path / "accept_watcher.png").stat().st_size > 0
