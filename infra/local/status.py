"""What a platform's status says: to people, to programs, and whether all is well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def status_text(status: Mapping[str, Any]) -> str:
    """Status as a table for people."""
    if not status["up"]:
        return f"nothing is up under {status['home']}; `make run` or `make up` starts the platform"
    lines = [f"{'part':<12} {'state':<9} {'since':>8} {'memory':>8}  "]
    for name, part in status["parts"].items():
        since = f"{part['up_s'] // 60:.0f}m{part['up_s'] % 60:02.0f}s" if part["pid"] else ""
        memory = f"{part['memory_mb']} MB" if part["pid"] else ""
        lines.append(f"{name:<12} {part['state']:<9} {since:>8} {memory:>8}  {part['waits_for'] or ''}".rstrip())
    lines += [f"{name:<12} {job['state']}" for name, job in sorted(status["jobs"].items())]
    lines.append(f"all together {status['memory_mb']} MB")
    lines += [f"{name}={value}" for name, value in status["addresses"].items() if name.count("_") == 1]
    return "\n".join(lines)


def is_healthy(status: Mapping[str, Any]) -> bool:
    """Everything that is up runs and answers, and every job that is on the cluster runs."""
    well = all(
        p["state"] in ("RUNNING", "YOURS", "STOPPED") and not p["waits_for"] for p in status["parts"].values()
    )
    return bool(status["up"]) and well and all(job["state"] == "RUNNING" for job in status["jobs"].values())


def status_json(status: Mapping[str, Any]) -> str:
    """Status for programs."""
    return json.dumps(status, indent=1)
