"""Find the members of a kind by listing its folder, to compare them with the kind's tuple."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

BASE = "base"
"""The module of a kind's folder that holds its base class."""


def member_classes(package: ModuleType, base: type) -> dict[str, set[type]]:
    """Return the concrete subclasses of a base that each file of a package defines.

    Returns
    -------
    Module name without the package → classes; the module :data:`BASE` is left out.
    """
    found: dict[str, set[type]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == BASE:
            continue
        content = importlib.import_module(f"{package.__name__}.{module.name}")
        classes = inspect.getmembers(content, inspect.isclass)
        found[module.name] = {
            cls
            for _, cls in classes
            if cls.__module__ == content.__name__ and issubclass(cls, base) and not inspect.isabstract(cls)
        }
    return found


@contextmanager
def extra_file(package: ModuleType, folder: Path, name: str, text: str) -> Iterator[None]:
    """Add a file to a package for a test, and remove it afterwards."""
    (folder / f"{name}.py").write_text(text)
    path = list(package.__path__)
    package.__path__ = [*path, str(folder)]
    try:
        yield
    finally:
        package.__path__ = path
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)
