"""Settings is the only reader of the environment, and something reads each of its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from jobs.runtime.settings import Settings

ROOT = Path(__file__).parents[3]
SETTINGS = "jobs/runtime/settings.py"
ENVIRONMENT_USERS = {
    SETTINGS: "reads WALRAS_HOME before it can read the settings file",
    "jobs/audit/data_quality.py": "sets GX_ANALYTICS_ENABLED for Great Expectations; reads nothing",
    "jobs/connectors/feast/features.py": "passes the environment on to the `feast apply` process",
}


def parsed_modules(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def uses_environment(module: ast.Module) -> bool:
    """Whether a module uses ``os.environ`` or ``os.getenv``, or imports one of them from ``os``."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "os.environb"):
            return True
        imported = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if imported & {"environ", "environb", "getenv"}:
            return True
    return False


def settings_read(name: str, module: ast.Module) -> set[str]:
    """Attributes that a module reads of an object named ``settings``; in the settings module, of ``self``."""
    read = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = ast.unparse(node.value)
            is_settings = owner.rpartition(".")[2].lstrip("_") == "settings" or owner.startswith("Settings")
            if is_settings or (name == SETTINGS and owner == "self"):
                read.add(node.attr)
    return read


def test_only_settings_reads_the_environment() -> None:
    users = {name for name, module in parsed_modules("jobs", "features", "schemas") if uses_environment(module)}
    assert users == set(ENVIRONMENT_USERS)


def test_every_setting_is_read() -> None:
    read = set[str]()
    for name, module in parsed_modules("jobs", "infra"):
        read |= settings_read(name, module)
    assert set(Settings.model_fields) - read == set()
