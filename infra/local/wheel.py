"""Build the wheel of the project: ``python -m infra.local.wheel <folder>``, or ``make wheel``.

The wheel holds ``jobs``, ``features``, ``schemas`` and ``feature_repo`` with the files that they read, and the
policy file. The local platform (``infra``) runs from a checkout.

The build runs on a temporary copy, since setuptools writes into the folder that it builds, and takes files of an
earlier build from there into the wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("jobs", "features", "schemas", "feature_repo", "infra/config", "pyproject.toml", "README.md", "LICENSE")
"""Files and folders that the build reads."""


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, without a package index, and return its path.

    Raises
    ------
    subprocess.CalledProcessError
        If the build fails; pip has printed why.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        copy, built = Path(temporary) / "source", Path(temporary) / "built"
        for name in SOURCES:
            source, target = ROOT / name, copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run(
            [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(built), str(copy)],
            check=True,
        )
        [wheel] = built.glob("walras-*.whl")
        return Path(shutil.copy(wheel, folder))


def main(arguments: list[str]) -> int:
    """Build the wheel into the folder that the command line names, and print its path."""
    if len(arguments) != 1:
        print(f"wheel: expected one folder, got {' '.join(arguments) or 'none'}", file=sys.stderr)
        return 2
    print(build_wheel(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
