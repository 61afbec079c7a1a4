"""Figures with their limits and peers, and the report that a program returns.

A figure is one measured number. It is compared with a limit, with a peer measured in the same run, or with both.
An absolute time depends on the machine as much as on the code; the ratio to a peer does not.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Limit:
    """A closed interval in which a figure's value, or its ratio to the peer, must lie.

    Examples
    --------
    >>> str(Limit(at_least=0.5, of="ratio")), str(Limit(at_most=100)), str(Limit(0.87, 0.94))
    ('ratio ≥ 0.5', '≤ 100', '0.87 to 0.94')
    >>> Limit(at_most=100).widened(3), Limit(at_least=0.9).widened(3)
    (Limit(at_least=None, at_most=300, of='value'), Limit(at_least=0.3, at_most=None, of='value'))
    """

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["value", "ratio"] = "value"

    @property
    def bounds(self) -> str:
        """Return the interval as text, without what it applies to."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def __str__(self) -> str:
        return f"ratio {self.bounds}" if self.of == "ratio" else self.bounds

    def contains(self, number: float | None) -> bool:
        """Return whether a number lies in the interval; a missing number does not."""
        if number is None:
            return False
        low, high = self.at_least, self.at_most
        return bool((low is None or number >= low) and (high is None or number <= high))

    def widened(self, factor: float) -> Limit:
        """Return the interval with its lower bound divided and its upper bound multiplied by ``factor``."""
        low = None if self.at_least is None else self.at_least / factor
        high = None if self.at_most is None else self.at_most * factor
        return Limit(low, high, self.of)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Parameters
    ----------
    name : key in the report's JSON.
    value : the number; None if it could not be measured.
    unit : of the value and the peer.
    limit : interval for the value or the ratio; None: the figure is shown without a verdict.
    peer : number of a peer of the same run.
    claim : the figure in words; default: the name.
    interval : 95 % interval of the value.
    verdict : result of a rule that is not an interval; it replaces the limit's result.
    rule : that rule in words.
    detail : further data of the measurement.

    Examples
    --------
    >>> Figure("quotes", 10.0, "1/s", Limit(at_least=0.5, of="ratio"), peer=40.0).ok
    False
    >>> Figure("rmse", 0.2, limit=Limit(at_most=0.3)).to_json()["limit"]
    '≤ 0.3'
    """

    name: str
    value: float | None
    unit: str = ""
    limit: Limit | None = None
    peer: float | None = None
    claim: str = ""
    interval: tuple[float, float] | None = None
    verdict: bool | None = None
    rule: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Return the value divided by the peer's; None without a peer."""
        return None if self.value is None or not self.peer else self.value / self.peer

    @property
    def ok(self) -> bool:
        """Return whether the verdict is positive and the limit, if there is one, is kept."""
        if self.verdict is not None:
            return self.verdict
        if self.limit is None:
            return True
        return self.limit.contains(self.ratio if self.limit.of == "ratio" else self.value)

    @property
    def has_verdict(self) -> bool:
        """Return whether the figure is judged at all."""
        return self.limit is not None or self.verdict is not None

    def line(self) -> str:
        """Return the figure as one line of text.

        >>> Figure("rmse", 0.2, limit=Limit(at_most=0.3)).line().split()
        ['ok', 'rmse', '0.2', '≤', '0.3']
        """
        word = ("ok" if self.ok else "MISSED") if self.has_verdict else "shown"
        value = "-" if self.value is None else f"{self.value:.6g}"
        beside = [f"[{self.interval[0]:.4g}, {self.interval[1]:.4g}]"] if self.interval else []
        beside += [f"peer {self.peer:.6g}, ratio {self.ratio:.3g}"] if self.ratio is not None else []
        beside += [self.rule] if self.rule else [str(self.limit)] if self.limit else []
        measured = f"{value:>12} {self.unit}".rstrip()
        return f"{word:<7} {self.claim or self.name:<64} {measured}  {', '.join(beside)}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the figure as plain data; absent parts are left out."""
        found: dict[str, Any] = {"value": self.value, "unit": self.unit, "ok": self.ok}
        found |= {"claim": self.claim} if self.claim else {}
        found |= {"limit": self.rule or str(self.limit)} if self.has_verdict else {}
        found |= {"peer": self.peer, "ratio": self.ratio} if self.peer is not None else {}
        found |= {"interval": list(self.interval)} if self.interval else {}
        return found | ({"detail": dict(self.detail)} if self.detail else {})


@dataclass
class Report:
    """The figures of one run of a program.

    Parameters
    ----------
    program : name of the program.
    judged : False for a run of reduced size, whose missed limits do not change the exit code.
    figures : the figures in the order of their measurement.
    data : further data for the JSON document.
    """

    program: str
    judged: bool = True
    figures: list[Figure] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, *figures: Figure) -> None:
        """Append figures and print each."""
        for figure in figures:
            self.figures.append(figure)
            print(figure.line(), flush=True)

    @property
    def missed(self) -> list[Figure]:
        """Return the figures that miss their limit."""
        return [figure for figure in self.figures if not figure.ok]

    @property
    def ok(self) -> bool:
        """Return whether every figure keeps its limit."""
        return not self.missed

    @property
    def exit_code(self) -> int:
        """Return 1 when a limit is missed in a judged run, otherwise 0."""
        return int(self.judged and not self.ok)

    def summary(self) -> str:
        """Return one line with the number of kept limits and the names of the missed ones."""
        judged = [figure for figure in self.figures if figure.has_verdict]
        if not judged:
            return f"{self.program}: {len(self.figures)} figures without limits"
        names = ", ".join(figure.claim or figure.name for figure in self.missed)
        missed = f"; missed: {names}" if names else ""
        return f"{self.program}: {len(judged) - len(self.missed)} of {len(judged)} limits kept{missed}"

    def to_json(self) -> dict[str, Any]:
        """Return the report with machine, date and commit."""
        figures = {figure.name: figure.to_json() for figure in self.figures}
        return {"program": self.program, **provenance(), "ok": self.ok, "figures": figures, **self.data}


def write_json(path: Path, document: Any) -> None:
    """Write a document, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def provenance() -> dict[str, str | None]:
    """Return the date, the machine and the commit of a run."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine(), "commit": commit()}


def machine() -> str:
    """Return the machine in one line: processor, cores, memory, kernel, and autogroup scheduling (decision 38)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    grouped = ", autogroup" if AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1" else ""
    release = ".".join(platform.release().split(".")[:2])
    system = f"{platform.system()} {release} {platform.machine()}"
    return f"{name}, {os.cpu_count()} cores, {pages / 2**30:.0f} GiB, {system}{grouped}"


@cache
def commit() -> str | None:
    """Return the short commit of the checkout, with ``-dirty`` when files differ from it; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
