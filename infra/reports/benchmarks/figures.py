"""Limits of the benchmarks, and the file report.json into which their figures are merged."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.reports import RESULTS
from infra.reports.report import Figure, Limit, provenance, write_json

REPORT = RESULTS / "report.json"
PACKAGES = (
    "apache-flink", "confluent-kafka", "numpy", "orjson", "ortools", "pyarrow", "redis", "river", "uvicorn",
    "uvloop",
)  # fmt: skip

LIMITS: dict[str, Limit] = {
    "demand_job": Limit(at_least=0.45, of="ratio"),
    "demand_job_archived": Limit(at_least=0.0, of="ratio"),
    "pipeline_events_per_s": Limit(at_least=20_000),
    "offer_to_table_p99_idle": Limit(at_most=100),
    "offer_to_table_p99_loaded": Limit(at_most=250),
    "reprice_per_listing": Limit(at_most=50),
    "hull_glop_gap": Limit(at_most=1e-9),
    "quotes": Limit(at_least=0.45, of="ratio"),
    "quote_p99": Limit(at_most=5),
    "quote_in_batch": Limit(at_most=1, of="ratio"),
    "lock_verification": Limit(at_most=2, of="ratio"),
    "state_per_listing": Limit(at_most=8_000),
    "taskmanager_100k": Limit(at_most=4_000),
    "cells_learned_per_s": Limit(at_least=5_000),
    "history_rows_per_s": Limit(at_least=20_000),
    "history_memory": Limit(at_most=1_500),
}
"""Limits by figure; demand_job_archived is measured beside demand_job and has no limit of its own."""


def benchmark_figure(
    name: str, value: float | None, unit: str, peer: float | None = None, detail: Mapping[str, Any] | None = None
) -> Figure:
    """Return a figure with its limit."""
    return Figure(name, value, unit, LIMITS.get(name), peer, detail=detail or {})


def recorded_figure(figure: Figure) -> dict[str, Any]:
    """Return a figure in the form of report.json, whose reference is the peer or, without one, the limit."""
    limit, reference = figure.limit, figure.peer
    if reference is None and limit is not None:
        reference = limit.at_most if limit.at_most is not None else limit.at_least
    ratio = None if figure.value is None or not reference else figure.value / reference
    return {
        "value": figure.value, "unit": figure.unit, "reference": reference, "ratio": ratio,
        "limit": f"{limit.of} {limit.bounds}" if limit else None, "within": figure.ok if limit else None,
        **({"detail": dict(figure.detail)} if figure.detail else {}),
    }  # fmt: skip


def merge(figures: Iterable[Figure], path: Path = REPORT) -> dict[str, Any]:
    """Write figures into report.json and return its content.

    Figures of other runs are kept with their date, machine and commit. Those at the top of the file belong to the
    last run.
    """
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"figures": {}}
    for record in report["figures"].values():
        record.setdefault("machine", report.get("machine"))
    origin = provenance()
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    report |= {**origin, "versions": versions}
    report["figures"] |= {figure.name: recorded_figure(figure) | origin for figure in figures}
    report["figures"] = dict(sorted(report["figures"].items()))
    write_json(path, report)
    return report
