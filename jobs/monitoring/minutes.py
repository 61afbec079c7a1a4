"""Health of market minutes: whether they close in time, and whether every bucket processes them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.audit.quarantine import failed_minutes, failing_among, newest_records
from jobs.connectors.kafka.offsets import KAFKA_UNREACHABLE, newest_timestamp
from jobs.monitoring import minute_progress
from jobs.monitoring.component import ComponentHealth
from jobs.monitoring.minute_progress import Sample
from jobs.runtime.clock import Clock
from jobs.runtime.settings import Settings
from schemas.time_units import DAY_MS, MINUTE_MS
from schemas.topics import TOPICS

MAX_DELAY_S = 60
"""Wall seconds beyond its lateness after which an open minute is a problem."""
NOTABLE_DELAY_S = 15
"""Wall seconds beyond its lateness after which a delay is reported."""


def newest_minute(settings: Settings) -> int:
    """Return the end of the newest closed minute, by the newest batch of cells, epoch ms; -1 if none has closed.

    Raises
    ------
    confluent_kafka.KafkaException, KeyError
        If the broker does not answer or has no such topic.
    """
    return newest_timestamp(settings.kafka, TOPICS["cells"].topic)


def check_minutes(settings: Settings) -> ComponentHealth | None:
    """Report whether minutes close, by the newest batch of cells; None in a replay, which has no clock.

    Event time advances with ticks in every partition of every input: without them all components run and no minute
    closes.
    """
    clock = settings.host_clock
    if clock is None:
        return None
    try:
        newest = newest_minute(settings)
    except KAFKA_UNREACHABLE as error:
        return ComponentHealth("minutes", False, f"not known: {error}")
    samples = minute_progress.read_samples(settings.minute_progress_file, round(time.time() * 1000))
    return judge_newest_minute(newest, clock, settings.lateness_ms, samples)


def judge_newest_minute(
    newest_ms: int, clock: Clock, lateness_ms: int, samples: Sequence[Sample] = ()
) -> ComponentHealth:
    """Judge the end of the newest closed minute, epoch ms; -1: none has closed.

    Parameters
    ----------
    clock, lateness_ms : the run's Clock, and how long after its end a minute closes.
    samples : samples of the newest closed minute over the last wall minute, which show when a late run will have
        caught up.

    >>> import time
    >>> noon = 43_200_000
    >>> judge_newest_minute(noon - 60_000, Clock(noon, round(time.time() * 1000)), 10_000).note
    'closed up to 11:59'
    >>> judge_newest_minute(noon - 600_000, Clock(noon, round(time.time() * 1000)), 10_000).note
    'closed up to 11:50, 10 minutes ago: demand_job is behind, or the ticker is not running'

    On a clock faster than the wall clock, a delay may mean that the machine is too slow for that speed.
    """
    if newest_ms < 0:
        return ComponentHealth("minutes", False, "none has closed yet")
    when = datetime.fromtimestamp(newest_ms / 1000, UTC).strftime("%H:%M")
    behind_ms = clock.now_ms() - newest_ms
    late_ms = behind_ms - MINUTE_MS - lateness_ms
    if late_ms <= NOTABLE_DELAY_S * 1000 * clock.speed:
        return ComponentHealth("minutes", True, f"closed up to {when}")
    ago = f"closed up to {when}, {behind_ms / MINUTE_MS:.0f} minutes ago"
    coming = minute_progress.catch_up_text(late_ms, clock.speed, samples)
    if late_ms <= MAX_DELAY_S * 1000 * clock.speed:
        return ComponentHealth("minutes", True, f"{ago}{': ' if coming else ''}{coming}", notable=True)
    if coming.startswith("catching up"):
        return ComponentHealth("minutes", False, f"{ago}: {coming}")
    advice = "; if the delay persists, start with a slower clock (`make run SPEED=10`)" if clock.speed > 1 else ""
    why = f"demand_job is behind, or the ticker is not running{f'; {coming}' if coming else ''}"
    return ComponentHealth("minutes", False, f"{ago}: {why}{advice}")


def check_buckets(settings: Settings) -> ComponentHealth | None:
    """Report whether every bucket processes its minutes; None if the broker does not answer.

    A bucket is FAILING when a job's logic raised in three minutes in a row; its listings keep their tables. Failed
    minutes stay in the note for a day of the run.
    """
    try:
        records = newest_records(settings.kafka)
    except KAFKA_UNREACHABLE:
        return None  # check_broker reports the error.
    return judge_buckets(records, settings.run_clock.now_ms())


def judge_buckets(records: Sequence[Mapping[str, Any]], now_ms: int) -> ComponentHealth:
    """Judge the buckets by the newest records of the topic `quarantine`.

    >>> judge_buckets([], 0).note
    'all process their minutes'
    >>> failed = {"logic": "pricing", "bucket": "3", "kind": "batch", "event_time_ms": 43_200_000,
    ...           "failing_minutes": 1, "error": "KeyError: 'web'"}
    >>> judge_buckets([failed], 43_260_000).note
    'all process their minutes; 1 minute of 1 bucket failed in the last day, newest 12:00; `walras quarantine \
list` shows why'
    """
    failing = failing_among(records)
    if not failing:
        failed = failed_minutes(records, now_ms - DAY_MS)
        note = "all process their minutes"
        if not failed.minutes:
            return ComponentHealth("buckets", True, note)
        minutes, buckets = _counted(failed.minutes, "minute"), _counted(failed.buckets, "bucket")
        note += (
            f"; {minutes} of {buckets} failed in the last day, newest "
            f"{datetime.fromtimestamp(failed.newest_ms / 1000, UTC):%H:%M}; `walras quarantine list` shows why"
        )
        return ComponentHealth("buckets", True, note, notable=True)
    described = "; ".join(
        f"{each.logic} bucket {each.bucket} FAILING for {each.minutes} minutes, newest "
        f"{datetime.fromtimestamp(each.newest_ms / 1000, UTC):%H:%M}: {each.error[:120]}"
        for each in failing[:3]
    )
    more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
    return ComponentHealth("buckets", False, f"{described}{more}; `walras quarantine list` shows what failed")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
