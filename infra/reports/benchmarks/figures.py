"""What a benchmark figure is, the limits, and the report that figures are merged into.

A figure stands beside a peer of the same run (``reference``), since an absolute time says as much about the
machine as about the code; ``ratio`` is value over reference. The limits are the ones the project promises.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parents[1] / "results" / "report.json"
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
PACKAGES = (
    "apache-flink", "confluent-kafka", "numpy", "orjson", "ortools", "pyarrow", "redis", "river", "uvicorn",
    "uvloop",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limit:
    """A promise: ``of`` is what is compared (``value`` or ``ratio``)."""

    of: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, figure: Figure) -> bool:
        """Whether the figure keeps it; a figure without a number does not."""
        number = figure.value if self.of == "value" else figure.ratio
        if number is None:
            return False
        low, high = self.at_least, self.at_most
        return (low is None or number >= low) and (high is None or number <= high)

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{self.of} {sign} {bound:g}"


LIMITS: dict[str, Limit] = {
    "demand_job": Limit("ratio", at_least=0.45),
    "demand_job_archived": Limit("ratio", at_least=0.0),
    "pipeline_events_per_s": Limit("value", at_least=20_000),
    "offer_to_table_p99_idle": Limit("value", at_most=100),
    "offer_to_table_p99_loaded": Limit("value", at_most=250),
    "reprice_per_listing": Limit("value", at_most=50),
    "hull_glop_gap": Limit("value", at_most=1e-9),
    "quotes": Limit("ratio", at_least=0.5),
    "quote_p99": Limit("value", at_most=5),
    "state_per_listing": Limit("value", at_most=8_000),
    "taskmanager_100k": Limit("value", at_most=4_000),
    "cells_learned_per_s": Limit("value", at_least=5_000),
}
"""By figure; demand_job_archived is shown beside demand_job and has no limit of its own."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Parameters
    ----------
    reference : the peer's number, or the limit where there is no peer; None: neither.
    detail : what else was seen, for whoever asks how.
    """

    name: str
    value: float | None
    unit: str
    reference: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Value over reference."""
        return None if self.value is None or not self.reference else self.value / self.reference

    def record(self) -> dict[str, Any]:
        """As it stands in the report."""
        limit = LIMITS.get(self.name)
        return {
            "value": self.value, "unit": self.unit, "reference": self.reference, "ratio": self.ratio,
            "limit": str(limit) if limit else None, "within": limit.holds(self) if limit else None,
            **({"detail": dict(self.detail)} if self.detail else {}),
        }  # fmt: skip


def machine() -> str:
    """The machine in a line: processor, cores, memory, kernel, whether it schedules by autogroup (decision 38)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    grouped = ", autogroup" if AUTOGROUP.exists() and AUTOGROUP.read_text().strip() == "1" else ""
    release = ".".join(platform.release().split(".")[:2])
    system = f"{platform.system()} {release} {platform.machine()}"
    return f"{name}, {os.cpu_count()} cores, {pages / 2**30:.0f} GiB, {system}{grouped}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def merge(figures: Iterable[Figure], path: Path = REPORT, *, now: datetime | None = None) -> dict[str, Any]:
    """Put figures into the report; those of other runs stay as they are, each with its own date and machine.

    The report's own are those of the last run.
    """
    now = now or datetime.now(UTC)
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"figures": {}}
    date, here = now.strftime("%Y-%m-%d %H:%M UTC"), machine()
    for record in report["figures"].values():
        record.setdefault("machine", report.get("machine"))
    report |= {
        "machine": here,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "date": date,
    }
    report["figures"] |= {figure.name: figure.record() | {"date": date, "machine": here} for figure in figures}
    report["figures"] = dict(sorted(report["figures"].items()))
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def table(figures: Iterable[Figure]) -> str:
    """Figures with peer, limit and verdict, for people."""
    rows = [("figure", "value", "unit", "peer", "ratio", "limit", "")]
    for figure in figures:
        limit = LIMITS.get(figure.name)
        verdict = "" if limit is None else ("holds" if limit.holds(figure) else "MISSED")
        rows.append(
            (figure.name, _number(figure.value), figure.unit, _number(figure.reference), _number(figure.ratio),
             str(limit or ""), verdict)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
