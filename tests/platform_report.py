"""The state of a platform as text, for the report of a failed test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from infra.local.errors import PlatformError

if TYPE_CHECKING:
    from infra.local.platform import Platform

LINES = 8
"""Number of the newest warnings and errors that are shown per part."""


def describe(platform: Platform) -> str:
    """Return the parts, the jobs with unread records and last failures, and each part's last warnings."""
    return "\n".join(f"{name}: {text}" for name, text in _sections(platform))


def _sections(platform: Platform) -> Iterator[tuple[str, str]]:
    # Imported here, so that tests without a platform do not load it.
    from infra.local import jobs
    from infra.local.parts import flink_get
    from jobs.connectors.kafka.offsets import consumer_lag

    status = _or_error(platform.status)
    for kind in ("parts", "jobs"):
        for name, info in (status[kind] if isinstance(status, dict) else {}).items():
            yield name, json.dumps(info)
    yield "records in no checkpoint yet", str(_or_error(lambda: consumer_lag(platform.env["WALRAS_KAFKA"])))
    for job in _or_error(lambda: jobs.all_jobs(platform.env)) or ():
        if isinstance(job, jobs.JobState):
            failed = _or_error(
                lambda job=job: flink_get(platform.env, f"/jobs/{job.id}/exceptions?maxExceptions=2")
            )
            yield f"{job.name} {job.id} {job.state}", str(failed)[:2000]
    for log in sorted(platform.layout.run.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        bad = [
            line[:400] for line in lines if any(word in line for word in ("WARN", "ERROR", "Error", "Exception"))
        ]
        yield log.name, "".join(f"\n    {line}" for line in bad[-LINES:])


def _or_error(read: Callable[[], Any]) -> Any:
    """Return a value, or the error of a part that is down."""
    try:
        return read()
    except (OSError, ValueError, KeyError, KafkaException, PlatformError) as error:
        return repr(error)
