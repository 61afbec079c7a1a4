"""Lengths of time have one definition."""

from __future__ import annotations

import ast
from pathlib import Path

from schemas import time_units

ROOT = Path(__file__).parents[2]
NAMES = {name for name in vars(time_units) if name.isupper()}


def assigned_names(path: Path) -> set[str]:
    """Names that a module assigns at its top level, without leading underscores."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in ast.walk(target) if target is not None else ():
                if isinstance(name, ast.Name):
                    found.add(name.id.lstrip("_"))
    return found


def test_only_time_units_defines_lengths_of_time() -> None:
    modules = [path for room in ("schemas", "features", "jobs", "infra") for path in (ROOT / room).rglob("*.py")]
    defining = {
        name: sorted(assigned_names(path) & NAMES)
        for path in modules
        if (name := path.relative_to(ROOT).as_posix()) != "schemas/time_units.py"
    }
    assert {name: names for name, names in defining.items() if names} == {}
