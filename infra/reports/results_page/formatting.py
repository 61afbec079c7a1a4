"""Formatting shared by the sections of the results page, and where the reports are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
LINK = "../reports/results"
UNKNOWN = "–"

RUNS: dict[str, tuple[str, str]] = {
    "arena.json": ("eba60f96", "2026-11-27; the run of 2026-11-29 differs in the last digits of a double alone"),
}
"""Date of a report that records none: the first digits of the file's SHA-256 to which the date belongs, and it."""


def load(name: str, folder: Path = RESULTS) -> Any:
    """Return the content of one report."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def number(value: float | None) -> str:
    """Return a figure with four significant digits, or with thousands separators from 1,000 on.

    >>> number(98553.8), number(0.12367), number(9.869e-16), number(45.0), number(None)
    ('98,554', '0.1237', '9.869e-16', '45', '–')
    """
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(value: float) -> str:
    """Return a share as signed per cent.

    >>> percent(0.11916), percent(-0.0051)
    ('+11.9 %', '-0.5 %')
    """
    return f"{100 * value:+.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table and an empty line after it."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def origin(*reports: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return date, machine and commit, each from the first report that records it."""
    found = [
        next((str(r[name]) for r in reports if r.get(name)), UNKNOWN) for name in ("date", "machine", "commit")
    ]
    return found[0], found[1], found[2]


def kept(ok: bool | None) -> str:
    """Return whether a limit is kept, as a word."""
    return {True: "kept", False: "**missed**", None: UNKNOWN}[ok]


def undated(name: str, folder: Path) -> str:
    """Return the date of a report that records none, if it is known for exactly this content."""
    digest, date = RUNS.get(name, ("", ""))
    content = (folder / name).read_bytes()
    return date if digest and hashlib.sha256(content).hexdigest().startswith(digest) else "not recorded"
