"""What a platform says of itself when a test on it has failed: a log alone must be enough to find the cause."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from infra.local.errors import PlatformError

if TYPE_CHECKING:
    from infra.local.platform import Platform

LINES = 8
"""Of each part's warnings and errors, the newest."""


def words(platform: Platform) -> str:
    """Parts, jobs, what the jobs have not yet taken, their last failure, and each part's last warnings."""
    return "\n".join(f"{name}: {told}" for name, told in _told(platform))


def _told(platform: Platform) -> Iterator[tuple[str, str]]:
    # Imported here: tests that need no platform load none of it.
    from infra.local import jobs
    from infra.local.parts import flink_get
    from jobs.connectors.kafka.offsets import consumer_lag

    status = _or_why(platform.status)
    for kind in ("parts", "jobs"):
        for name, info in (status[kind] if isinstance(status, dict) else {}).items():
            yield name, json.dumps(info)
    yield "records in no checkpoint yet", str(_or_why(lambda: consumer_lag(platform.env["WALRAS_KAFKA"])))
    for job in _or_why(lambda: jobs.all_jobs(platform.env)) or ():
        if isinstance(job, jobs.JobState):
            failed = _or_why(lambda job=job: flink_get(platform.env, f"/jobs/{job.id}/exceptions?maxExceptions=2"))
            yield f"{job.name} {job.id} {job.state}", str(failed)[:2000]
    for path in sorted(platform.layout.run.glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()
        bad = [
            line[:400] for line in lines if any(word in line for word in ("WARN", "ERROR", "Error", "Exception"))
        ]
        yield path.name, "".join(f"\n    {line}" for line in bad[-LINES:])


def _or_why(ask: Callable[[], Any]) -> Any:
    """An answer, or why there is none: a part that is down is what is being reported."""
    try:
        return ask()
    except (OSError, ValueError, KeyError, KafkaException, PlatformError) as error:
        return repr(error)
