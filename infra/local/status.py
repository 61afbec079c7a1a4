"""Format a platform's status as text or JSON, and decide whether it is healthy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def without_password(address: str) -> str:
    """Return an address with stars in place of its password.

    >>> without_password("redis://:secret@127.0.0.1:6379/0"), without_password("127.0.0.1:9092")
    ('redis://:***@127.0.0.1:6379/0', '127.0.0.1:9092')
    """
    return re.sub(r"(?<=//)([^:/@]*):[^@/]*@", r"\1:***@", address)


def status_text(status: Mapping[str, Any]) -> str:
    """Return the status as a table: parts, jobs, memory, addresses, and the two ports."""
    if not status["up"]:
        return f"no platform is up under {status['home']}; `make run` or `make up` starts one"
    lines = [f"{'part':<12} {'state':<9} {'since':>8} {'memory':>8}  "]
    for name, part in status["parts"].items():
        since = f"{part['up_s'] // 60:.0f}m{part['up_s'] % 60:02.0f}s" if part["pid"] else ""
        memory = f"{part['memory_mb']} MB" if part["pid"] else ""
        lines.append(f"{name:<12} {part['state']:<9} {since:>8} {memory:>8}  {part['waits_for'] or ''}".rstrip())
    lines += [f"{name:<12} {job['state']}" for name, job in sorted(status["jobs"].items())]
    lines.append(f"total        {status['memory_mb']} MB")
    lines += [f"{name}={value}" for name, value in status["addresses"].items() if name.count("_") == 1]
    lines += [f"{name:<12} {address}" for name, address in status["ports"].items()]
    return "\n".join(lines)


def is_healthy(status: Mapping[str, Any]) -> bool:
    """Return whether every part that is up is ready and every job on the cluster runs."""
    parts_healthy = all(
        p["state"] in ("RUNNING", "YOURS", "STOPPED") and not p["waits_for"] for p in status["parts"].values()
    )
    return (
        bool(status["up"]) and parts_healthy and all(job["state"] == "RUNNING" for job in status["jobs"].values())
    )


def status_json(status: Mapping[str, Any]) -> str:
    """Return the status as JSON."""
    return json.dumps(status, indent=1)
