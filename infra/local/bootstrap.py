"""Install the environment with nothing but Python 3.11: ``python3.11 infra/local/bootstrap.py``.

This file runs before anything is installed, so it imports the standard library alone. It creates ``.walras/env``,
installs the packages of ``requirements.lock`` with verified hashes, and writes a stamp file, so that a second call
returns at once.

pip installs uv at pinned hashes, and uv installs the rest about ten times as fast as pip. uv does not read pip's
configuration, so pip's index settings are passed to it as environment variables. If uv fails, pip installs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
UV_LOCK = ROOT / "infra" / "local" / "uv.lock.txt"
ENV = ROOT / ".walras" / "env"

PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
}
"""Environment variable of uv for each option of pip."""


def uv_variables(pip_config: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables with which uv uses the package index that pip is configured for.

    Parameters
    ----------
    pip_config : output of ``pip config list``; a later section wins, ``:env:`` over all.
    environ : the environment; variables of uv that are already set are not overridden.

    Examples
    --------
    >>> uv_variables("global.index-url='https://mirror.example/simple'", {})
    {'UV_DEFAULT_INDEX': 'https://mirror.example/simple'}
    >>> uv_variables("global.index-url='a'", {"UV_INDEX_URL": "b"})
    {}
    """
    found: dict[str, str] = {}
    ranks: dict[str, int] = {}
    order = ("global", "site", "user", "install", ":env:")
    for line in pip_config.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        rank = order.index(section) if section in order else -1
        if option in PIP_TO_UV and rank >= ranks.get(option, 0):
            ranks[option] = rank
            found[PIP_TO_UV[option]] = " ".join(value.strip().strip("'\"").replace("\\n", " ").split())
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = found["UV_FIND_LINKS"].replace(" ", ",")
    aliases = {
        "UV_DEFAULT_INDEX": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
        "UV_INDEX": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    }
    return {k: v for k, v in found.items() if v and not any(n in environ for n in aliases.get(k, (k,)))}


def fingerprint() -> str:
    """Return a hash of the lock file and the interpreter's version."""
    return hashlib.sha256(LOCK.read_bytes() + repr(sys.version_info[:2]).encode()).hexdigest()


def print_progress(text: str) -> None:
    """Print one line of progress."""
    print(f"[env] {text}", flush=True)


def install(python: Path) -> None:
    """Install the locked packages into the environment of ``python``, with uv or, if uv fails, with pip."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--require-hashes", "-r", str(UV_LOCK)], check=True)
    uv = [str(python.with_name("uv")), "pip", "install", "--python", str(python), "--require-hashes"]
    config = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    variables = uv_variables(config, os.environ)
    if subprocess.run([*uv, "-r", str(LOCK)], env={**os.environ, **variables}, check=False).returncode == 0:
        return
    print_progress("uv failed; installing with pip, which takes some minutes but reads pip's whole configuration")
    subprocess.run([*pip, "install", "--require-hashes", "-r", str(LOCK)], check=True)


def link_project(python: Path) -> None:
    """Add this checkout to the environment's path and write the ``walras`` command beside ``python``."""
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "walras.pth").write_text(f"{ROOT}\n")
    command = python.with_name("walras")
    command.write_text(f"#!{python}\nfrom jobs.cli import app\n\napp()\n")
    command.chmod(0o755)


def main() -> int:
    """Create the environment unless it is up to date, and return the exit code."""
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        print_progress(f"Python 3.11 is required by Flink's Python wheels; this is {found} at {sys.executable}.")
        print_progress("Install Python 3.11, or pass its path: make PYTHON=/path/to/python3.11 …")
        return 2
    stamp = ENV / ".stamp"
    if stamp.exists() and stamp.read_text() == fingerprint() and (ENV / "bin" / "python").exists():
        return 0
    started = time.monotonic()
    if ENV.exists():
        print_progress("requirements.lock or Python has changed: installing the environment again")
        shutil.rmtree(ENV)
    print_progress(f"installing {ENV.relative_to(ROOT)} (about 1.3 GB; once)")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(ENV)], check=True)
        install(ENV / "bin" / "python")
        link_project(ENV / "bin" / "python")
    except subprocess.CalledProcessError as error:
        print_progress(f"{' '.join(map(str, error.cmd[:6]))} … exited with {error.returncode} (output above).")
        print_progress("pip must reach a package index (see `pip config list`). Run the same command again.")
        return 1
    stamp.write_text(fingerprint())
    print_progress(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
