"""Pure packages use no wall clock, no unseeded randomness and no environment variable.

Results depend on arguments alone, so that a decision or a feature row can be recomputed from its inputs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "features", "jobs/pricing", "jobs/simulation")

ALLOWED: dict[tuple[str, str], str] = {}
"""Allowed uses: (file, name of the function) → reason."""

CLOCK = {
    *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")),
    *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")),
    *(f"time.{name}" for name in ("localtime", "gmtime", "ctime", "sleep")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
ENTROPY = {"os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "random.SystemRandom"}
SEEDED = {"random.Random", "numpy.random.default_rng"} | {
    f"numpy.random.{name}" for name in ("SeedSequence", "PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937")
}
"""Generators that are allowed with a seed."""
TYPES = {"numpy.random.Generator", "numpy.random.BitGenerator"}


def impure_uses(source: str) -> list[tuple[int, str]]:
    """Return line and full name of every impure function or attribute that the source uses."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = _full_name(node, names)
            whole = id(node) not in inner or name in ENVIRONMENT
            if name is not None and whole and _is_impure(name, called.get(id(node))):
                found.append((node.lineno, name))
    return sorted(found)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each imported name with its full name, at any depth of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or full, full
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield (alias.asname or alias.name), f"{node.module}.{alias.name}"


def _full_name(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _full_name(node.value, names)
        return None if base is None else f"{base}.{node.attr}"
    return None


def _is_impure(name: str, call: ast.Call | None) -> bool:
    if name in CLOCK | ENVIRONMENT | ENTROPY or name.startswith("secrets."):
        return True
    if name in SEEDED:
        return not _has_seed(call) if call is not None else name == "numpy.random.default_rng"
    return name.startswith(("random.", "numpy.random.")) and name not in TYPES


def _has_seed(call: ast.Call) -> bool:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in arguments)


def _files() -> list[str]:
    return sorted(
        path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_files(package: str) -> None:
    assert any(file.startswith(f"{package}/") for file in _files())


@pytest.mark.parametrize("file", _files())
def test_file_is_pure(file: str) -> None:
    uses = impure_uses((ROOT / file).read_text(encoding="utf-8"))
    assert [f"{file}:{line} {name}" for line, name in uses if (file, name) not in ALLOWED] == []


def test_every_allowed_use_exists() -> None:
    for file, name in ALLOWED:
        assert name in {used for _, used in impure_uses((ROOT / file).read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\nt = time.time()", "time.time"),
        ("from time import monotonic\nclock = monotonic", "time.monotonic"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("import datetime as dt\ndt.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import random\nrandom.random()", "random.random"),
        ("import random\nrandom.Random()", "random.Random"),
        ("from random import choice\nchoice([1])", "random.choice"),
        ("import numpy as np\nnp.random.normal()", "numpy.random.normal"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng"),
        ("import numpy as np\nnp.random.default_rng(None)", "numpy.random.default_rng"),
        ("import numpy as np\nnp.random.Generator(np.random.PCG64())", "numpy.random.PCG64"),
        ("import os\nos.environ['X']", "os.environ"),
        ("import os\nos.environ.get('X')", "os.environ"),
        ("def f():\n    from os import getenv\n    return getenv('X')", "os.getenv"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4"),
    ],
)
def test_impure_use_is_found(source: str, name: str) -> None:
    assert [found for _, found in impure_uses(source)] == [name]


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "import random\nrandom.Random(7)\ndef f(order: random.Random): ...",
        "import numpy as np\nnp.random.default_rng([seed, 1])\ndef f(rng: np.random.Generator): ...",
        "import numpy as np\nnp.random.Generator(np.random.Philox(key=[seed, 1]))",
        "import os\nos.path.join('a', 'b')",
        "time = 5\nprint(time)",
    ],
)
def test_pure_use_is_accepted(source: str) -> None:
    assert impure_uses(source) == []
