"""Size of packages and files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "features", "jobs", "infra")
MAX_MODULES = 14
"""Modules of one package besides ``__init__.py``."""
MAX_LINES = 300
"""Lines of a file whose module docstring gives no reason for more."""
LONG_FILES: set[str] = set()
"""Known exceptions; remove an entry when its file is shorter or gives its reason."""


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def reason(docstring: str) -> str:
    """Return the paragraph that contains "300 lines"; empty if there is none.

    >>> reason("Summary.\\n\\nThe module has over 300 lines because of A. A reader needs B.")
    'The module has over 300 lines because of A. A reader needs B.'
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in docstring.split("\n\n")]
    return next((paragraph for paragraph in paragraphs if "300 lines" in paragraph), "")


def sentences(text: str) -> int:
    """Return the number of sentences from the one that contains "300 lines" on.

    >>> sentences("It writes files. The module has over 300 lines because of A. A reader needs B.")
    2
    """
    found = re.split(r"(?<=[.!?])\s+", text)
    start = next((i for i, sentence in enumerate(found) if "300 lines" in sentence), len(found))
    return len(found) - start


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_has_more_than_14_modules(package: str) -> None:
    folders = {path.parent for path in python_files(package)}
    sizes = {
        str(folder.relative_to(ROOT)): len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        for folder in folders
    }
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_long_files_give_a_reason_of_two_sentences() -> None:
    without_reason = []
    for path in python_files(*PACKAGES, "tests"):
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        if len(text.splitlines()) > MAX_LINES and name not in LONG_FILES:
            docstring = ast.get_docstring(ast.parse(text)) or ""
            if sentences(reason(docstring)) < 2:
                without_reason.append(name)
    assert without_reason == []
